"""Policies: put, show, list, remove; attach them to subjects and detach them, in MinIO's old way and its new one."""

from __future__ import annotations

import json
from typing import Any

from gateway.admin.call import AdminCall, Body, Reply, Route, utc
from gateway.admin.errors import (
    XMinioAdminConfigBadJSON,
    XMinioAdminInvalidArgument,
    XMinioAdminNoSuchPolicy,
    XMinioMalformedIAMPolicy,
)
from gateway.admin.office import Office
from gateway.admin.subjects import builtin, directory, either
from gateway.admin.users import names_of

_ASSOCIATION = ("policies", "user", "group", "configName")


async def put(call: AdminCall, office: Office) -> Reply:
    """Put a policy under a name: what does not parse is refused, and where it fails is said."""
    try:
        text = call.body.decode("utf-8")
    except UnicodeDecodeError:
        raise XMinioMalformedIAMPolicy("The policy is not UTF-8.") from None
    await office.changes.put_policy(call.one("name"), text)
    return Reply()


async def show(call: AdminCall, office: Office) -> Reply:
    """Show a policy: the bare document, or with its times (`v=2`)."""
    version, name = call.choice("v", ("", "2")), call.one("name")
    document = _document(office, name)
    if not version:
        return Reply(document)
    stored = office.view().policies.get(name)
    times = {"CreateDate": utc(stored.created_at), "UpdateDate": utc(stored.updated_at)} if stored else {}
    return Reply({"PolicyName": name, "Policy": document, **times})


async def show_all(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """Return all policies by name: MinIO's own, those of the folder, and those of the store."""
    return Reply({name: json.loads(policy.text) for name, policy in sorted(office.policies().items()) if policy.text})


async def remove(call: AdminCall, office: Office) -> Reply:
    """Remove a policy that nobody has."""
    await office.changes.remove_policy(call.one("name"))
    return Reply()


async def set_for(call: AdminCall, office: Office) -> Reply:
    """Give a subject exactly these policies (a comma list); none takes all away. MinIO's way before December 2022."""
    group = call.flag("isGroup")
    subject = either(office, call.one("userOrGroup"), group=group)
    await office.changes.set_policies(subject, names_of(call.one("policyName")), group=group)
    return Reply()


async def attach(call: AdminCall, office: Office) -> Reply:
    """Attach policies to a user, a group, or a provider's subject; say which are new."""
    subject, policies, group = _association(call, office, ldap=False)
    return _changed(office, attached=await office.changes.attach(subject, policies, group=group))


async def detach(call: AdminCall, office: Office) -> Reply:
    """Detach policies from a user, a group, or a provider's subject; say which it had."""
    subject, policies, group = _association(call, office, ldap=False)
    return _changed(office, detached=await office.changes.detach(subject, policies, group=group))


async def attach_ldap(call: AdminCall, office: Office) -> Reply:
    """Attach policies to a distinguished name of the directory."""
    subject, policies, group = _association(call, office, ldap=True)
    return _changed(office, attached=await office.changes.attach(subject, policies, group=group))


async def detach_ldap(call: AdminCall, office: Office) -> Reply:
    """Detach policies from a distinguished name of the directory."""
    subject, policies, group = _association(call, office, ldap=True)
    return _changed(office, detached=await office.changes.detach(subject, policies, group=group))


def _association(call: AdminCall, office: Office, *, ldap: bool) -> tuple[str, tuple[str, ...], bool]:
    document = call.document(*_ASSOCIATION)
    user, group, policies = document.text("user"), document.text("group"), document.texts("policies")
    if bool(user) == bool(group):
        raise XMinioAdminConfigBadJSON("The body must name a user or a group, and one of them only.")
    if not policies:
        raise XMinioAdminInvalidArgument("The body names no policy.")
    name = user or group
    return directory(name) if ldap else builtin(office, name, group=bool(group)), policies, bool(group)


def _changed(office: Office, attached: tuple[str, ...] = (), detached: tuple[str, ...] = ()) -> Reply:
    document: dict[str, Any] = (
        {"policiesAttached": list(attached)} if attached else {"policiesDetached": list(detached)}
    )
    return Reply({**document, "updatedAt": utc(int(office.now()))})


def _document(office: Office, name: str) -> Any:
    policy = office.policies().get(name)
    if policy is None:
        raise XMinioAdminNoSuchPolicy
    if not policy.text:
        raise XMinioMalformedIAMPolicy("The policy that is stored does not parse; put it anew.")
    return json.loads(policy.text)


#: MinIO takes either, for all of these calls.
_ATTACH = ("admin:AttachUserOrGroupPolicy", "admin:UpdatePolicyAssociation")
_SEALED: dict[str, Any] = {"body": Body.SEALED, "answer": Body.SEALED}
_SUBJECT = ("user", "group", "policies")

ROUTES = (
    Route("PUT", "/add-canned-policy", ("admin:CreatePolicy",), put, needs=("name",), body=Body.JSON, about=("name",)),
    Route("GET", "/info-canned-policy", ("admin:GetPolicy",), show, needs=("name",), may=("v",), answer=Body.JSON, about=("name",)),
    Route("GET", "/list-canned-policies", ("admin:ListUserPolicies",), show_all, answer=Body.JSON),
    Route("DELETE", "/remove-canned-policy", ("admin:DeletePolicy",), remove, needs=("name",), about=("name",)),
    Route(
        "PUT", "/set-user-or-group-policy", _ATTACH, set_for, needs=("userOrGroup", "policyName"), may=("isGroup",),
        about=("userOrGroup", "isGroup", "policyName"),
    ),
    Route("POST", "/idp/builtin/policy/attach", _ATTACH, attach, **_SEALED, about=_SUBJECT),
    Route("POST", "/idp/builtin/policy/detach", _ATTACH, detach, **_SEALED, about=_SUBJECT),
    Route("POST", "/idp/ldap/policy/attach", _ATTACH, attach_ldap, **_SEALED, about=_SUBJECT),
    Route("POST", "/idp/ldap/policy/detach", _ATTACH, detach_ldap, **_SEALED, about=_SUBJECT),
)  # fmt: skip
