"""policies: documents, and to whom they are attached."""

from __future__ import annotations

import json

import pytest

from iam.policy import CANNED

READ = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"]}],
}
DN = "uid=bob,ou=people,dc=example,dc=org"


async def test_a_policy_is_put_shown_and_removed(gateway):
    """It is shown as it was put, bare and with its times, beside MinIO's own ones; one that somebody has cannot go."""
    assert (await gateway.call("PUT", "/add-canned-policy", READ, name="read")).status == 200
    assert (await gateway.call("GET", "/info-canned-policy", name="read")).document == READ
    shown = (await gateway.call("GET", "/info-canned-policy", name="read", v="2")).document
    assert (shown["PolicyName"], shown["Policy"]) == ("read", READ)
    assert shown["CreateDate"] == shown["UpdateDate"] > "2025"
    assert set((await gateway.call("GET", "/list-canned-policies")).document) == {*CANNED, "read"}
    await gateway.user("bob")
    await gateway.iam.changes.attach("bob", ["read"])
    used = await gateway.call("DELETE", "/remove-canned-policy", name="read")
    assert (used.status, used.code) == (400, "XMinioIAMPolicyInUse")
    await gateway.iam.changes.detach("bob", ["read"])
    assert (await gateway.call("DELETE", "/remove-canned-policy", name="read")).status == 200
    assert (await gateway.call("GET", "/info-canned-policy", name="read")).code == "XMinioAdminNoSuchPolicy"


async def test_canned_policies_are_shown_as_they_are(gateway):
    """A canned policy has a document like any other, and cannot be replaced or removed."""
    shown = (await gateway.call("GET", "/info-canned-policy", name="readonly")).document
    assert shown["Statement"][0]["Action"] == ["s3:GetBucketLocation", "s3:GetObject"]
    assert (await gateway.call("PUT", "/add-canned-policy", READ, name="readonly")).code == "XMinioAdminInvalidArgument"
    assert (await gateway.call("DELETE", "/remove-canned-policy", name="readonly")).code == "XMinioAdminInvalidArgument"


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("p", b"{}", "XMinioMalformedIAMPolicy"),
        ("p", b"\xff", "XMinioMalformedIAMPolicy"),
        ("p", b"", "XMinioMalformedIAMPolicy"),
        ("a,b", json.dumps(READ).encode(), "XMinioAdminInvalidArgument"),
    ],
)
async def test_what_is_no_policy_is_refused(gateway, name, body, code):
    """Documents that do not parse say so; a name with a comma would be two in a list."""
    refused = await gateway.call("PUT", "/add-canned-policy", body, name=name)
    assert (refused.status, refused.code) == (400, code)


async def test_policies_are_attached_and_detached(gateway):
    """Each answer says what has changed, sealed; what is so already is an error with MinIO's code."""
    await gateway.user("bob")
    attached = await gateway.call(
        "POST", "/idp/builtin/policy/attach", {"policies": ["readonly", "writeonly"], "user": "bob"}
    )
    assert attached.sealed
    assert attached.document["policiesAttached"] == ["readonly", "writeonly"]
    again = await gateway.call("POST", "/idp/builtin/policy/attach", {"policies": ["readonly"], "user": "bob"})
    assert (again.status, again.code) == (400, "XMinioAdminPolicyChangeAlreadyApplied")
    detached = await gateway.call(
        "POST", "/idp/builtin/policy/detach", {"policies": ["readonly", "readwrite"], "user": "bob"}
    )
    assert detached.document["policiesDetached"] == ["readonly"]
    assert gateway.iam.watcher.view.attached("bob") == ("writeonly",)


async def test_the_old_way_sets_all_policies(gateway):
    """set-user-or-group-policy gives exactly the comma list; an empty one takes all away."""
    await gateway.user("bob")
    await gateway.iam.changes.add_members("devs", ["bob"])
    await gateway.call(
        "PUT", "/set-user-or-group-policy", userOrGroup="bob", policyName="readonly,writeonly", isGroup="false"
    )
    await gateway.call("PUT", "/set-user-or-group-policy", userOrGroup="devs", policyName="readwrite", isGroup="true")
    view = gateway.iam.watcher.view
    assert view.attached("bob", ["devs"]) == ("readonly", "writeonly", "readwrite")
    assert (await gateway.call("PUT", "/set-user-or-group-policy", userOrGroup="bob", policyName="")).status == 200
    assert gateway.iam.watcher.view.attached("bob") == ()


async def test_subjects_of_providers_get_policies(gateway):
    """A subject or group of an OpenID provider, a certificate's name and a token's user get policies without being there."""
    for subject in ("openid:corp:alice", "tls:machine", "custom:eve"):
        assert (
            await gateway.call("POST", "/idp/builtin/policy/attach", {"policies": ["readonly"], "user": subject})
        ).status == 200
        assert gateway.iam.watcher.view.attached(subject) == ("readonly",)
    await gateway.call("POST", "/idp/builtin/policy/attach", {"policies": ["readonly"], "group": "openid:corp:staff"})
    assert gateway.iam.watcher.view.attached("nobody", ["openid:corp:staff"]) == ("readonly",)


async def test_distinguished_names_are_normalized(gateway):
    """However a DN is written, its policies are its own; what is no DN is refused there, and a DN is no builtin user."""
    written = {"policies": ["readonly"], "user": " UID=Bob , OU=People,dc=example,DC=org"}
    assert (await gateway.call("POST", "/idp/ldap/policy/attach", written)).status == 200
    assert gateway.iam.watcher.view.attached(DN) == ("readonly",)
    assert (await gateway.call("POST", "/idp/ldap/policy/attach", {"policies": ["readonly"], "user": DN})).status == 400
    assert (
        await gateway.call("POST", "/idp/ldap/policy/attach", {"policies": ["readonly"], "user": "bob"})
    ).code == "XMinioAdminInvalidArgument"
    assert (
        await gateway.call("POST", "/idp/builtin/policy/attach", {"policies": ["readonly"], "user": DN})
    ).code == "XMinioAdminNoSuchUser"
    assert (await gateway.call("POST", "/idp/ldap/policy/detach", written)).document["policiesDetached"] == ["readonly"]


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ({"policies": ["readonly"], "user": "nobody"}, 404, "XMinioAdminNoSuchUser"),
        ({"policies": ["readonly"], "group": "nobody"}, 404, "XMinioAdminNoSuchGroup"),
        ({"policies": ["nope"], "user": "bob"}, 404, "XMinioAdminNoSuchPolicy"),
        ({"policies": [], "user": "bob"}, 400, "XMinioAdminInvalidArgument"),
        ({"policies": ["readonly"]}, 400, "XMinioAdminConfigBadJSON"),
        ({"policies": ["readonly"], "user": "bob", "group": "devs"}, 400, "XMinioAdminConfigBadJSON"),
        ({"policies": ["readonly"], "user": "ROOTKEY"}, 404, "XMinioAdminNoSuchUser"),
    ],
)
async def test_what_cannot_be_attached_is_refused(gateway, document, status, code):
    """Unknown subjects and policies, none or two of them, and root."""
    await gateway.user("bob")
    refused = await gateway.call("POST", "/idp/builtin/policy/attach", document)
    assert (refused.status, refused.code) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "document", "query", "actions"),
    [
        ("PUT", "/add-canned-policy", READ, {"name": "p"}, ["admin:CreatePolicy"]),
        ("GET", "/info-canned-policy", None, {"name": "readonly"}, ["admin:GetPolicy"]),
        ("GET", "/list-canned-policies", None, {}, ["admin:ListUserPolicies"]),
        ("DELETE", "/remove-canned-policy", None, {"name": "read"}, ["admin:DeletePolicy"]),
        ("PUT", "/set-user-or-group-policy", None, {"userOrGroup": "bob", "policyName": "read"}, ["admin:AttachUserOrGroupPolicy", "admin:UpdatePolicyAssociation"]),
        ("POST", "/idp/builtin/policy/attach", {"policies": ["read"], "user": "bob"}, {}, ["admin:AttachUserOrGroupPolicy", "admin:UpdatePolicyAssociation"]),
    ],
)  # fmt: skip
async def test_each_call_takes_its_own_action(gateway, method, path, document, query, actions):
    """Who may do nothing of it is refused; any one of the actions is enough."""
    await gateway.user("bob")
    await gateway.iam.changes.put_policy("read", json.dumps(READ))
    others = await gateway.user("everybut", "s3:*", "admin:ServerInfo")
    assert (await gateway.call(method, path, document, who=others, **query)).code == "AccessDenied"
    for number, action in enumerate(actions):
        some = await gateway.user(f"someone{number}", action)
        assert (await gateway.call(method, path, document, who=some, **query)).status == 200
        await gateway.iam.changes.set_policies("bob", [])
