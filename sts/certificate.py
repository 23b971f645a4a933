"""AssumeRoleWithCertificate: the caller is proved by the client certificate of the very TLS connection that the call came on.

The listener has verified the chain against the operator's CAs, and that the client has the key; what is asked here is what
TLS does not ask. RFC 5280 sections 4.1.2.5, 4.2.1.9 and 4.2.1.12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iam.policy import CANNED
from iam.records import is_subject
from sts.proof import Proof
from sts.wire import (
    ExpiredTokenException,
    InsecureConnection,
    InvalidClientCertificate,
    MissingParameter,
    StsCall,
)

PROVIDER = "tls"
MAX_NAME = 256  # characters of a common name; RFC 5280 has 64
_CLIENT = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


class ClientCertificate:
    """A `WayIn` for client certificates. `now` is in epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    async def prove(self, call: StsCall) -> Proof:
        """Return whom the certificate names: `tls:<common name>`, until its NotAfter. Raises StsError."""
        if not call.secure:
            raise InsecureConnection
        if call.certificate is None:
            raise MissingParameter("No client certificate was presented.")
        try:
            certificate = x509.load_der_x509_certificate(call.certificate)
            return self._proof(certificate)
        except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise InvalidClientCertificate(
                "The client certificate cannot be read.", reason=type(error).__name__
            ) from None

    async def ready(self) -> str | None:
        """Return None: the CAs are read at the start."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""

    @staticmethod
    def policies(_provider: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the policy that is called like the client, as in MinIO; never a canned one, of which no CA thinks (trap 44)."""
        name = claims.get("sub")
        return (name,) if isinstance(name, str) and name not in CANNED else ()

    def _proof(self, certificate: x509.Certificate) -> Proof:
        ends = self._within(certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        _check_use(certificate)
        name = _common_name(certificate)
        issuer = _texts(certificate.issuer, NameOID.COMMON_NAME)
        organization = _texts(certificate.subject, NameOID.ORGANIZATION_NAME)
        claims = {"sub": name, "iss": issuer[0] if issuer else ""} | ({"aud": organization} if organization else {})
        return Proof(
            PROVIDER, f"{PROVIDER}:{name}", claims, expires_at=ends, subject=name, issuer=issuer[0] if issuer else ""
        )

    def _within(self, begins: datetime, ends: datetime) -> int:
        """Return when the certificate ends: the connection may be older than that."""
        if begins.timestamp() > self._now():
            raise InvalidClientCertificate("The client certificate is not valid yet.")
        if ends.timestamp() <= self._now():
            raise ExpiredTokenException("The client certificate has expired.")
        return int(ends.timestamp())


def _check_use(certificate: x509.Certificate) -> None:
    """Refuse a CA's certificate, and one that does not say that it is for clients."""
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise InvalidClientCertificate("The client certificate is a CA's.")
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or _CLIENT.isdisjoint(usage):
        raise InvalidClientCertificate("The client certificate's extended key usage does not name clientAuth.")


def _common_name(certificate: x509.Certificate) -> str:
    names = _texts(certificate.subject, NameOID.COMMON_NAME)
    if len(names) != 1 or not names[0]:
        raise MissingParameter("The client certificate's subject needs one common name (CN).")
    if len(names[0]) > MAX_NAME or not is_subject(names[0]) or not names[0].isprintable():
        raise InvalidClientCertificate("The client certificate's common name (CN) is not a name.")
    return names[0]


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]
