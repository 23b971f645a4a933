"""To whom policies are attached: users and groups of ours, and what identity providers name, in one namespace (decision 0010)."""

from __future__ import annotations

from gateway.admin.errors import XMinioAdminInvalidArgument, XMinioAdminNoSuchGroup, XMinioAdminNoSuchUser
from gateway.admin.office import Office
from iam.records import is_subject
from sts import dn

#: How the names begin that only identity providers make; a user's has no colon.
FEDERATED = ("openid:", "tls:", "custom:")


def is_dn(subject: str) -> bool:
    """Return whether a subject is a distinguished name: only these have a `=`."""
    return "=" in subject and not subject.startswith(FEDERATED)


def builtin(office: Office, name: str, *, group: bool) -> str:
    """Return a subject that is no directory's: a user or a group that exists, or a provider's name.

    Raises XMinioAdminNoSuchUser, XMinioAdminNoSuchGroup.
    """
    view = office.view()
    if name in (view.groups if group else view.users):
        return name
    if name.startswith(FEDERATED) and is_subject(name):
        return name
    raise XMinioAdminNoSuchGroup if group else XMinioAdminNoSuchUser


def directory(name: str) -> str:
    """Return a directory's subject: its distinguished name, normalized. Raises XMinioAdminInvalidArgument."""
    try:
        found = dn.normalize(name)
    except dn.NotADn as error:
        raise XMinioAdminInvalidArgument(f"This is no distinguished name: {error}.") from None
    if not is_dn(found) or not is_subject(found):
        raise XMinioAdminInvalidArgument("This is no distinguished name.")
    return found


def either(office: Office, name: str, *, group: bool) -> str:
    """Return a subject, of a directory where it is written like a distinguished name. Raises as the two others."""
    return directory(name) if is_dn(name) else builtin(office, name, group=group)
