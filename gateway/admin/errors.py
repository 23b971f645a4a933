"""What the administration API refuses, as MinIO says it: class name = wire code, told as JSON.

`as_admin` is the one place where what others raise becomes such an error; anything it does not know is a mistake of ours.
"""

from __future__ import annotations

import json

from gateway.errors import InternalError, S3Error, SlowDown
from iam import refusals
from iam.seal import CannotOpen
from iam.store import StoreError, StoreRefused


class XMinioAdminConfigBadJSON(S3Error):
    status = 400
    message = "The body is not the JSON document that this call takes."


class XMinioAdminConfigTooLarge(S3Error):
    status = 400
    message = "The body is larger than this call takes."


class XMinioAdminGroupNotEmpty(S3Error):
    status = 400
    message = "The specified group is not empty - cannot remove it."


class XMinioAdminInvalidAccessKey(S3Error):
    status = 400
    message = "The access key is invalid."


class XMinioAdminInvalidArgument(S3Error):
    status = 400
    message = "Invalid arguments specified."


class XMinioAdminInvalidSecretKey(S3Error):
    status = 400
    message = "The secret key is invalid."


class XMinioAdminNoAccessKey(S3Error):
    status = 400
    message = "No access key was provided."


class XMinioAdminNoSecretKey(S3Error):
    status = 400
    message = "No secret key was provided."


class XMinioAdminNoSuchAccessKey(S3Error):
    status = 404
    message = "The specified access key does not exist."


class XMinioAdminNoSuchGroup(S3Error):
    status = 404
    message = "The specified group does not exist."


class XMinioAdminNoSuchKey(S3Error):
    status = 404
    message = "The specified session key does not exist."


class XMinioAdminNoSuchPolicy(S3Error):
    status = 404
    message = "The canned policy does not exist."


class XMinioAdminNoSuchRequest(S3Error):
    status = 404
    message = "This process has refused no such request, or too many since; with several processes ask again, or each."


class XMinioAdminNoSuchUser(S3Error):
    status = 404
    message = "The specified user does not exist."


class XMinioAdminPolicyChangeAlreadyApplied(S3Error):
    status = 400
    message = "The specified policy change is already in effect."


class XMinioAdminVersionMismatch(S3Error):
    status = 426
    message = "This server has no such administration call, or not in this version of the API."


class XMinioIAMActionNotAllowed(S3Error):
    status = 403
    message = "Specified IAM action is not allowed."


class XMinioIAMNotInitialized(S3Error):
    status = 503
    message = "The store of identities does not answer; nothing is known to have been changed."


class XMinioIAMPolicyInUse(S3Error):
    status = 400
    message = "The policy cannot be removed, as it is in use."


class XMinioIAMServiceAccountNotAllowed(S3Error):
    status = 400
    message = "The specified service account action is not allowed."


class XMinioInvalidIAMCredentials(S3Error):
    status = 400
    message = "User is not allowed to be same as admin access key, or is no user."


class XMinioIAMNotPortable(S3Error):
    status = 400
    message = "The document is no export, or cannot be opened."


class XMinioMalformedIAMPolicy(S3Error):
    status = 400
    message = "The policy has an error."


class ServiceAccountNotFound(S3Error):
    """There is no such service account; MinIO's code for it says something else."""

    status = 404
    message = "The specified service account is not found."

    @property
    def code(self) -> str:
        """Return MinIO's code."""
        return XMinioInvalidIAMCredentials.__name__


#: What a change refuses, the more special class before its base.
_REFUSED: tuple[tuple[type[Exception], type[S3Error]], ...] = (
    (refusals.NoSuchUser, XMinioAdminNoSuchUser),
    (refusals.NoSuchGroup, XMinioAdminNoSuchGroup),
    (refusals.NoSuchPolicy, XMinioAdminNoSuchPolicy),
    (refusals.NoSuchAccount, ServiceAccountNotFound),
    (refusals.NoSuchKey, XMinioAdminNoSuchKey),
    (refusals.NoSuchSession, XMinioAdminNoSuchAccessKey),
    (refusals.Contended, SlowDown),
    (refusals.InvalidSecret, XMinioAdminInvalidSecretKey),
    (refusals.InvalidPolicy, XMinioMalformedIAMPolicy),
    (refusals.PolicyInUse, XMinioIAMPolicyInUse),
    (refusals.GroupNotEmpty, XMinioAdminGroupNotEmpty),
    (refusals.NothingChanged, XMinioAdminPolicyChangeAlreadyApplied),
    (refusals.ChangeError, XMinioAdminInvalidArgument),
)


def as_admin(error: Exception) -> S3Error | None:
    """Return what a client of the administration API is told, None for what is a mistake of ours."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, refusals.Unfinished):
        return _unfinished(error)
    if isinstance(error, StoreRefused):
        return XMinioAdminInvalidArgument("The store does not take a change of this size.", reason=str(error))
    if isinstance(error, StoreError | CannotOpen):  # without a data key no secret can be written
        return XMinioIAMNotInitialized(reason=f"{type(error).__name__}: {error}")
    for refused, shown in _REFUSED:
        if isinstance(error, refused):
            return shown(str(error) or None)
    return None


def _unfinished(error: refusals.Unfinished) -> S3Error | None:
    """Return why a change of many records broke off, and how far it came: nobody shall take it for undone."""
    cause = error.__cause__
    if not isinstance(cause, Exception):
        return XMinioIAMNotInitialized(str(error))
    why = as_admin(cause)
    if isinstance(why, XMinioIAMNotInitialized):
        return XMinioIAMNotInitialized(f"The store of identities does not answer any more. {error}", reason=why.reason)
    return type(why)(f"{why.text} {error}", reason=why.reason) if why else None


def render(error: S3Error | None, *, resource: str, request_id: str) -> bytes:
    """Return the JSON document of an error, of InternalError for None: the members that MinIO's have."""
    shown = error or InternalError()
    document = {
        "Code": shown.code, "Message": shown.text, **shown.elements, "Resource": resource, "RequestId": request_id, "HostId": "",
    }  # fmt: skip
    return json.dumps(document).encode()
