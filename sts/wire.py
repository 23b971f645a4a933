"""The STS wire: query or form -> StsCall; result or StsError -> XML. Pure.

Shapes: https://docs.aws.amazon.com/STS/latest/APIReference/ and MinIO's, which differ in small ways its clients rely on.
A parameter given twice, in one place or in two, is refused: nobody could say which was meant (trap 48).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from iam.model import Credentials, Principal

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
VERSION = "2011-06-15"
MAX_PARAMETERS = 160  # fifty tags are a hundred
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'


class StsError(Exception):
    """The base of STS errors: class name = wire code. `reason` is for the log."""

    status: ClassVar[int] = 400
    message: ClassVar[str] = "The request could not be understood."

    def __init__(self, message: str | None = None, *, reason: str = "") -> None:
        self.text = message or self.message
        self.reason = reason
        super().__init__(f"{self.code}: {self.text}")

    @property
    def code(self) -> str:
        """Return the wire code."""
        return type(self).__name__


class AccessDenied(StsError):
    """Who calls may not: no signature, a session's or a service account's, a policy that denies; the plugin refused."""

    status = 403
    message = "Access Denied."


class ExpiredTokenException(StsError):
    """The proof was good once: a token of the identity provider, a client certificate."""

    message = "The web identity token that was passed is expired."


ExpiredToken = ExpiredTokenException


class IDPCommunicationError(StsError):
    """The identity provider, the directory or the plugin does not answer; every SDK tries again."""

    status = 503
    message = "The identity provider could not be reached to verify the token; please try again."


class IDPRejectedClaim(StsError):
    """The token is genuine, and a claim of it is not acceptable; the message names the claim."""

    status = 403
    message = "A claim of the identity token is not acceptable."


class InsecureConnection(StsError):
    """A call that must come over TLS did not come so."""

    message = "The request was made over a plain HTTP connection. A TLS connection is required."


class InternalError(StsError):
    """A fault of ours; the log has it under the request id."""

    status = 500
    message = "We encountered an internal error, please try again."


class InvalidClientCertificate(StsError):
    """The client certificate proves nobody; the message says what is wrong with it."""

    message = "The provided client certificate is invalid."


class InvalidIdentityToken(StsError):
    """The token does not prove its bearer; the message names the claim or the part at fault."""

    message = "The identity token that was passed could not be validated."


class InvalidParameterValue(StsError):
    """A parameter, or the action, is unknown, refused, given twice or out of range; the message names it."""

    message = "An invalid or out-of-range value was supplied for the input parameter."


class MalformedPolicyDocument(StsError):
    """The session policy does not parse or is too long; the message names each place."""

    message = "The policy document was malformed."


class MissingAction(StsError):
    """No `Action`."""

    message = "The request is missing an action or a required parameter."


class MissingParameter(StsError):
    """A required parameter, the version or the client certificate is missing; the message names it."""

    message = "A required parameter for the specified action is not supplied."


class PackedPolicyTooLarge(StsError):
    """The session token would be longer than 4 KiB; the message names the largest claims."""

    message = "The session token would be too long to send: shorten the session policy or the identity token's claims."


class ServiceUnavailable(StsError):
    """The store does not take the session, or there is no key to mint with yet."""

    status = 503
    message = "The session store does not answer, so no session can be issued; please try again."


class STSNotInitialized(StsError):
    """This way in is not configured, or cannot be used yet."""

    status = 503
    message = "This action is not configured here."


class Throttling(StsError):
    """Too many attempts from one source, or at one name; SDKs wait and try again."""

    message = "Rate exceeded; please try again later."


@dataclass(frozen=True, slots=True)
class StsCall:
    """One call: its parameters, and who signed it, already verified (None: nobody).

    `secure`: it came over TLS; `certificate`: the client's certificate (DER), whose chain the listener has verified; None
    when it showed none. `user_agent` and `referer` are its headers of these names, "" without.
    """

    action: str
    parameters: Mapping[str, str] = field(repr=False)  # tokens and passwords
    signer: Principal | None
    source_ip: str
    certificate: bytes | None = None
    secure: bool = False
    user_agent: str = ""
    referer: str = ""


def parse_call(
    query: str, body: bytes | None, content_type: str, *, signer: Principal | None, source_ip: str,
    certificate: bytes | None = None, secure: bool = False,
) -> StsCall:  # fmt: skip
    """Read the parameters of a call from its query and, when the content type says so, from its form. Raises StsError.

    MinIO let the query win over the form; here a name may be given once (trap 48).
    """
    is_form = content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
    form = _pairs(body or b"") if is_form else []
    parameters: dict[str, str] = {}
    for name, value in [*_pairs(query.encode("utf-8", "surrogateescape")), *form]:
        if name in parameters:
            raise InvalidParameterValue(f"The parameter {name[:64]} was given more than once.")
        parameters[name] = value
    if not parameters.get("Action"):
        raise MissingAction
    # The clients of 2018 put all into the query and knew no Version.
    if parameters.get("Version", "" if form else VERSION) != VERSION:
        raise MissingParameter(f"Version must be {VERSION}.")
    return StsCall(parameters["Action"], parameters, signer, source_ip, certificate, secure)


def _pairs(data: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except UnicodeDecodeError:
        raise InvalidParameterValue("The parameters are not UTF-8.") from None
    except ValueError:
        raise InvalidParameterValue(f"There are more than {MAX_PARAMETERS} parameters.") from None


#: Elements of AWS's results that MinIO left empty: filled where there is something to say.
_SUBJECT = {
    "AssumeRoleWithWebIdentity": "SubjectFromWebIdentityToken",
    "AssumeRoleWithClientGrants": "SubjectFromToken",
}
_NAMES_A_ROLE = frozenset({"AssumeRole", *_SUBJECT})


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a result names: members are "" or None where there is nothing to say; `packed` is a percentage."""

    subject: str = ""
    audience: str = ""
    issuer: str = ""
    packed: int | None = None


def render_result(call: StsCall, credentials: Credentials, named: Named, *, request_id: str) -> bytes:
    """Return the XML of a call that issued credentials."""
    parts = [_role(call, credentials, named)] if call.action in _NAMES_A_ROLE else []
    parts.append(_credentials(credentials))
    if call.action == "AssumeRoleWithCustomToken":
        parts.append(_element("AssumedUser", named.subject))
    if call.action in _NAMES_A_ROLE:
        parts.append(_element("PackedPolicySize", "" if named.packed is None else str(named.packed)))
    if call.action in _SUBJECT:
        parts += [_element("Provider", named.issuer), _element("Audience", named.audience)]
        parts.append(_element(_SUBJECT[call.action], named.subject))
    return _document(call.action, "".join(parts), request_id)


def render_identity(*, arn: str, user_id: str, account: str, request_id: str) -> bytes:
    """Return the XML of GetCallerIdentity."""
    parts = f"<Arn>{_t(arn)}</Arn><UserId>{_t(user_id)}</UserId><Account>{_t(account)}</Account>"
    return _document("GetCallerIdentity", parts, request_id)


def _document(name: str, result: str, request_id: str) -> bytes:
    return (
        f'{_PROLOG}<{name}Response xmlns="{NAMESPACE}"><{name}Result>{result}</{name}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ).encode()


def _role(call: StsCall, credentials: Credentials, named: Named) -> str:
    """Return AssumedRoleUser, with MinIO's own spelling of AssumedRoleId beside AWS's."""
    session = call.parameters.get("RoleSessionName", "") or named.subject or credentials.access_key_id
    role_id = _t(f"{credentials.access_key_id}:{session}")
    arn = _t(call.parameters.get("RoleArn", ""))
    return f"<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>{role_id}</AssumedRoleId><AssumeRoleId></AssumeRoleId></AssumedRoleUser>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{_t(text)}</{name}>" if text else ""


def _credentials(credentials: Credentials) -> str:
    token = credentials.session_token.reveal() if credentials.session_token else ""
    expiration = datetime.fromtimestamp(credentials.expires_at or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"<Credentials><AccessKeyId>{credentials.access_key_id}</AccessKeyId>"
        f"<SecretAccessKey>{_t(credentials.secret.reveal())}</SecretAccessKey>"
        f"<SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
    )


def render_error(code: str, text: str, request_id: str) -> bytes:
    """Return the XML of an error; its code may be S3's, where a signature was at fault."""
    return (
        f'{_PROLOG}<ErrorResponse xmlns="{NAMESPACE}"><Error><Type></Type><Code>{code}</Code>'
        f"<Message>{_t(text)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _t(text: str) -> str:
    """Escape a text, without what XML 1.0 cannot carry (section 2.2)."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
