"""Certificates of the tests: made here, trusted by nobody else."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def certificate(folder: Path, name: str = "gateway of the tests") -> None:
    """Write public.crt and private.key for 127.0.0.1, in the name of `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "public.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "private.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def serving(folder: Path) -> ssl.SSLContext:
    """Make a certificate and return what serves with it."""
    certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "public.crt", folder / "private.key")
    return context


class Authority:
    """A CA of the tests that signs certificates of clients; `pem` is its own certificate."""

    def __init__(self, name: str = "CA of the tests") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._built(self.name, self.key, [(x509.BasicConstraints(ca=True, path_length=None), True)])
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def client(
        self, names: Sequence[str] = ("ann",), usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        *, ca: bool | None = None, begins: float = -300, ends: float = 86_400, now: datetime.datetime | None = None, organizations: Sequence[str] = (),
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:  # fmt: skip
        """Return a certificate with these common names and uses (None: no such extension), and its key; times in seconds from `now`."""
        extensions: list[tuple[x509.ExtensionType, bool]] = []
        if usages is not None:
            extensions.append((x509.ExtendedKeyUsage(usages), False))
        if ca is not None:
            extensions.append((x509.BasicConstraints(ca=ca, path_length=None), True))
        key = ec.generate_private_key(ec.SECP256R1())
        texts = [(NameOID.COMMON_NAME, name) for name in names] + [
            (NameOID.ORGANIZATION_NAME, o) for o in organizations
        ]
        subject = x509.Name([x509.NameAttribute(oid, text, _validate=False) for oid, text in texts])
        return self._built(subject, key, extensions, begins, ends, now), key

    def pair(self, path: Path, *args, **how) -> Path:
        """Write a client's certificate and its key into one file."""
        certificate, key = self.client(*args, **how)
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path

    def _built(self, subject, key, extensions, begins=-300, ends=86_400, now=None) -> x509.Certificate:
        at = now or datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at + datetime.timedelta(seconds=begins)).not_valid_after(at + datetime.timedelta(seconds=ends))
        )  # fmt: skip
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(self.key, hashes.SHA256())


def common_name(der: bytes) -> str:
    """Return in whose name a certificate is."""
    (name,) = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)
