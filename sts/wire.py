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
MAX_PARAMETERS = 100
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
    status = 403
    message = "Access Denied."


class ExpiredToken(StsError):
    message = "The web identity token that was passed is expired."


class InternalError(StsError):
    status = 500
    message = "We encountered an internal error, please try again."


class InvalidParameterValue(StsError):
    message = "An invalid or out-of-range value was supplied for the input parameter."


class IDPCommunicationError(StsError):
    status = 503
    message = "The identity provider could not be reached to verify the token; please try again."


class MalformedPolicyDocument(StsError):
    message = "The policy document was malformed."


class MissingAction(StsError):
    message = "The request is missing an action or a required parameter."


class MissingParameter(StsError):
    message = "A required parameter for the specified action is not supplied."


class PackedPolicyTooLarge(StsError):
    message = "The session token would be too long to send: shorten the session policy or the identity token's claims."


class ServiceUnavailable(StsError):
    status = 503
    message = "The session store does not answer, so no session can be issued; please try again."


class STSNotInitialized(StsError):
    status = 503
    message = "No OpenID provider is configured."


class Throttling(StsError):
    status = 429
    message = "Too many tries; please try again later."


@dataclass(frozen=True, slots=True)
class StsCall:
    """One call: its parameters, and who signed it (AssumeRole), already verified."""

    action: str
    parameters: Mapping[str, str] = field(repr=False)  # tokens and passwords
    signer: Principal | None
    source_ip: str


def parse_call(
    query: str, body: bytes | None, content_type: str, *, signer: Principal | None, source_ip: str
) -> StsCall:
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
    return StsCall(parameters["Action"], parameters, signer, source_ip)


def _pairs(data: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except UnicodeDecodeError:
        raise InvalidParameterValue("The parameters are not UTF-8.") from None
    except ValueError:
        raise InvalidParameterValue(f"There are more than {MAX_PARAMETERS} parameters.") from None


def render_result(call: StsCall, credentials: Credentials, *, subject: str, request_id: str) -> bytes:
    """Return the XML of a successful call."""
    name = call.action
    session = call.parameters.get("RoleSessionName", "") or subject or credentials.access_key_id
    arn = call.parameters.get("RoleArn", "")
    user = f"<Arn>{_t(arn)}</Arn><AssumedRoleId>{_t(f'{credentials.access_key_id}:{session}')}</AssumedRoleId><AssumeRoleId></AssumeRoleId>"
    subject_element = {
        "AssumeRoleWithWebIdentity": "SubjectFromWebIdentityToken",
        "AssumeRoleWithClientGrants": "SubjectFromToken",
    }.get(name)
    subject_xml = f"<{subject_element}>{_t(subject)}</{subject_element}>" if subject_element and subject else ""
    return (
        f'{_PROLOG}<{name}Response xmlns="{NAMESPACE}"><{name}Result>'
        f"<AssumedRoleUser>{user}</AssumedRoleUser>{_credentials(credentials)}{subject_xml}"
        f"</{name}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ).encode()


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
