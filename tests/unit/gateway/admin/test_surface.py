"""surface: the steps of every call, over real connections."""

from __future__ import annotations

import asyncio
import json
import os
from hashlib import sha256

import pytest

from gateway import handed
from gateway.admin.router import MINIO, OURS, ROUTES
from iam import madmin
from iam.madmin import SIZE_LIMIT
from iam.model import Secret
from tests.unit.gateway.admin.conftest import key
from tests.unit.gateway.signers import ROOT, presigned, whole_target

EMPTY = sha256(b"").hexdigest()
LIST = f"{MINIO}/groups"


async def test_every_route_wants_a_signature(gateway):
    """Without one, with a wrong one, and with an unknown key no call gets anywhere; nobody is told more than that."""
    for path, method in ROUTES:
        target = path.replace("{}", "builtin") + "".join(
            f"{'&' if n else '?'}{name}=x" for n, name in enumerate(ROUTES[path, method].needs)
        )
        nobody = await gateway.front.call(method, target, who=None)
        assert (nobody.status, json.loads(nobody.body)["Code"]) == (403, "AccessDenied")
        wrong = await gateway.front.call(method, target, None, payload=EMPTY, unsigned={"Authorization": ""})
        assert (wrong.status, json.loads(wrong.body)["Code"]) == (403, "AccessDenied")
        guessed = await gateway.front.call(
            method, target, None, who=type(ROOT)(ROOT.access_key_id, key("x").secret), payload=EMPTY
        )
        assert (guessed.status, json.loads(guessed.body)["Code"]) == (403, "SignatureDoesNotMatch")
        unknown = await gateway.front.call(method, target, None, who=key("unknown"), payload=EMPTY)
        assert (unknown.status, json.loads(unknown.body)["Code"]) == (403, "InvalidAccessKeyId")


async def test_the_body_is_the_one_that_was_signed(gateway):
    """Its hash must be given and signed; another body, no hash, an unsigned one and streaming are refused."""
    body = json.dumps({"group": "devs", "members": []}).encode()
    target, right = f"{MINIO}/update-group-members", sha256(body).hexdigest()
    assert (await gateway.front.call("PUT", target, None, body, payload=right)).status == 200
    other = await gateway.front.call("PUT", target, None, body.replace(b"devs", b"evil"), payload=right)
    assert (other.status, json.loads(other.body)["Code"]) == (400, "XAmzContentSHA256Mismatch")
    for payload in (None, "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        extra = (
            {"x-amz-decoded-content-length": str(len(body))} if payload and payload.startswith("STREAMING") else None
        )
        refused = await gateway.front.call("PUT", target, extra, body, payload=payload)
        assert (refused.status, json.loads(refused.body)["Code"]) == (403, "AccessDenied")
    assert list(gateway.iam.watcher.view.groups) == ["devs"]


@pytest.fixture
def meanwhile(monkeypatch):
    """What happens between the head of a call, which is authenticated at once, and its body."""
    happens = []
    read = handed.body

    async def late(*given):
        for one in happens:
            await one()
        return await read(*given)

    monkeypatch.setattr(handed, "body", late)
    return happens


@pytest.mark.parametrize(("change", "status"), [
    (lambda changes: changes.remove_user("bob"), 403), (lambda changes: changes.put_user("bob", enabled=False), 403),
    (lambda changes: changes.put_user("bob", secret=Secret("another-secret")), 403), (lambda changes: changes.set_policies("bob", []), 403),
    (lambda changes: changes.put_user("eve", secret=Secret("another-secret")), 200),
], ids=["removed", "disabled", "secret", "rights", "another"])  # fmt: skip
async def test_who_asks_is_looked_up_again_behind_the_body(gateway, meanwhile, change, status):
    """Who is removed, disabled, has another secret or no right any more when the body has come does nothing."""
    who = await gateway.user("bob", "admin:*")
    meanwhile.append(lambda: change(gateway.iam.changes))
    assert (
        await gateway.call("PUT", "/update-group-members", {"group": "devs", "members": []}, who=who)
    ).status == status
    assert list(gateway.iam.watcher.view.groups) == (["devs"] if status == 200 else [])


async def test_rights_are_asked_for_behind_the_body(gateway, meanwhile):
    """Also where they were asked for before it: a right that is lost meanwhile is none."""
    who, policy = (
        await gateway.user("bob", "admin:*"),
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}},
    )
    meanwhile.append(lambda: gateway.iam.changes.set_policies("bob", []))
    before = set(gateway.office.policies())
    assert (await gateway.call("PUT", "/add-canned-policy", policy, who=who, name="mine")).status == 403
    assert set(gateway.office.policies()) == before


async def test_nobody_who_is_removed_makes_himself_again(gateway, meanwhile):
    """Whoever changes the own secret while being removed stays removed, before and behind the last look at him."""
    who = await gateway.user("bob", "s3:GetObject")
    meanwhile.append(lambda: gateway.iam.changes.remove_user("bob"))
    assert (
        await gateway.call("PUT", "/add-user", {"secretKey": "newer-secret"}, who=who, accessKey="bob")
    ).status == 403
    assert gateway.iam.watcher.view.users == {}
    meanwhile.clear()
    who, put_user = await gateway.user("bob", "s3:GetObject"), gateway.iam.changes.put_user

    async def removed(*given, **how):
        await gateway.iam.changes.remove_user("bob")
        return await put_user(*given, **how)

    gateway.iam.changes.put_user = removed
    assert (
        await gateway.call("PUT", "/add-user", {"secretKey": "newer-secret"}, who=who, accessKey="bob")
    ).status == 404
    assert gateway.iam.watcher.view.users == {}


async def test_a_presigned_url_is_no_call(gateway):
    """What a URL alone can do is S3's: its parameters are unknown here."""
    request, _ = presigned("GET", LIST, payload=EMPTY)
    answer = await gateway.front.call("GET", whole_target(request), who=None)
    assert answer.status in {400, 403}
    assert json.loads(answer.body)["Code"] in {"AccessDenied", "XMinioAdminInvalidArgument"}


async def test_a_signature_for_another_service_is_none(gateway):
    """The credential scope's service is s3, as for MinIO's clients."""
    refused = await gateway.front.call("GET", LIST, None, payload=EMPTY, service="sts")
    assert json.loads(refused.body)["Code"] == "AuthorizationHeaderMalformed"


async def test_sessions_bring_their_token(gateway):
    """A session is known by its token, which is signed; without it, or with another's, it is not."""
    bob = await gateway.user("bob", "admin:ListGroups")
    session = await gateway.iam.session("bob")
    assert (await gateway.call("GET", "/groups", who=session)).status == 200
    bare = type(ROOT)(session.access_key_id, session.secret)
    assert (await gateway.call("GET", "/groups", who=bare)).code == "InvalidAccessKeyId"
    other = await gateway.iam.session("bob", key="OTHER")
    assert (
        await gateway.call("GET", "/groups", who=type(ROOT)(session.access_key_id, session.secret, other.session_token))
    ).code == "InvalidTokenId"
    assert (
        await gateway.call("GET", "/groups", who=type(ROOT)(bob.access_key_id, bob.secret, other.session_token))
    ).status == 403


async def test_bodies_are_bounded(gateway):
    """A body larger than MinIO reads is refused, and any body where none belongs."""
    large = b"x" * (SIZE_LIMIT + 1)
    refused = await gateway.front.call(
        "PUT", f"{MINIO}/add-canned-policy?name=p", None, large, payload=sha256(large).hexdigest()
    )
    assert (refused.status, json.loads(refused.body)["Code"]) == (400, "XMinioAdminConfigTooLarge")
    some = await gateway.front.call("GET", LIST, None, b"x", payload=sha256(b"x").hexdigest())
    assert (some.status, json.loads(some.body)["Code"]) == (400, "XMinioAdminConfigTooLarge")


async def test_bodies_are_sealed_with_the_caller_s_secret(gateway):
    """One in the clear, one of another secret, and one that was changed are refused alike."""
    document = json.dumps({"secretKey": "long-enough"}).encode()
    sealed = madmin.encrypt(ROOT.secret.reveal(), document, random=os.urandom)
    foreign = madmin.encrypt("another-secret", document, random=os.urandom)
    for body in (document, foreign, sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b""):
        refused = await gateway.front.call(
            "PUT", f"{MINIO}/add-user?accessKey=bob", None, body, payload=sha256(body).hexdigest()
        )
        assert (refused.status, json.loads(refused.body)["Code"]) == (400, "XMinioAdminConfigBadJSON")
    assert gateway.iam.watcher.view.users == {}


async def test_parameters_stand_once(gateway):
    """A parameter given twice could mean either: refused, but where a list is meant."""
    refused = await gateway.front.call("GET", f"{MINIO}/group?group=a&group=b", None, payload=EMPTY)
    assert (refused.status, json.loads(refused.body)["Code"]) == (400, "InvalidArgument")
    lists = await gateway.front.call("GET", f"{MINIO}/idp/builtin/policy-entities?user=b&user=a", None, payload=EMPTY)
    assert lists.status == 200


@pytest.mark.parametrize(
    "path", ["/minio/admin/v3/nope", "/minio/admin/v4/list-users", "/minio-gw/admin/v1/nope", "/minio/admin/"]
)
async def test_unknown_paths_are_another_version_to_anybody(gateway, path):
    """426 without a signature: MinIO's clients take it as "ask for version 3"."""
    answer = await gateway.front.call("GET", path, who=None)
    document = json.loads(answer.body)
    assert (answer.status, document["Code"], document["Resource"]) == (426, "XMinioAdminVersionMismatch", path)
    assert document["RequestId"] == answer.headers["x-amz-request-id"]


@pytest.mark.parametrize(
    "path",
    ["/minio/%61dmin/v3/groups", "/minio/admin%2Fv3/groups", "/%6dinio/admin/v3/groups", "/minio-gw/%61dmin/v1/keys"],
)
async def test_no_other_spelling_is_a_call_or_an_object(gateway, path):
    """Its signature is the same as the plain path's: it is neither the call nor an object of a bucket called minio."""
    answer = await gateway.front.call("GET", path, None, payload=EMPTY)
    assert (answer.status, json.loads(answer.body)["Code"]) == (426, "XMinioAdminVersionMismatch")


async def test_a_wrong_method_is_refused(gateway):
    """405, before anybody is asked who it is."""
    answer = await gateway.front.call("POST", LIST, who=None)
    assert (answer.status, json.loads(answer.body)["Code"]) == (405, "MethodNotAllowed")


async def test_the_log_says_who_did_what_to_whom(gateway):
    """One line for each call, refused ones too, with the action and whom it is about; never a secret or a body."""
    bob = await gateway.user("bob", "s3:GetObject")
    await gateway.call("PUT", "/add-user", {"secretKey": "carols-own-secret"}, accessKey="carol")
    await gateway.call("DELETE", "/remove-user", who=bob, accessKey="carol")
    await gateway.call("POST", "/idp/builtin/policy/attach", {"policies": ["readonly", "writeonly"], "user": "carol"})
    await gateway.ours("POST", "/sessions/revoke", {"parent": "carol"})
    await gateway.call("POST", "/revoke-tokens/builtin", user="carol", fullRevoke="true")
    lines = await gateway.lines()
    assert [(line["operation"], line["access_key_id"], line["status"], line["about"]) for line in lines] == [
        ("admin:CreateUser", "ROOTKEY", 200, "accessKey=carol"),
        ("admin:DeleteUser", "bob", 403, "accessKey=carol"),
        ("admin:AttachUserOrGroupPolicy", "ROOTKEY", 200, "user=carol,policies=readonly+writeonly"),
        ("admin:RemoveServiceAccount", "ROOTKEY", 200, "parent=carol"),
        ("admin:RemoveServiceAccount", "ROOTKEY", 204, "user=carol,builtin"),
    ]
    assert lines[1]["error"] == "AccessDenied"
    assert "no statement allows admin:DeleteUser" in lines[1]["reason"]
    text = gateway.front.log.getvalue()
    assert not any(secret in text for secret in ("carols-own-secret", ROOT.secret.reveal(), bob.secret.reveal()))


async def test_the_log_of_a_session_names_its_parent(gateway):
    """A line of a session tells its key and whose it is."""
    await gateway.user("bob", "admin:ListGroups")
    session = await gateway.iam.session("bob")
    await gateway.call("GET", "/groups", who=session)
    (line,) = await gateway.lines()
    assert (line["access_key_id"], line["parent"], line["operation"]) == (
        session.access_key_id,
        "bob",
        "admin:ListGroups",
    )


async def test_a_mistake_of_ours_is_an_internal_error(gateway, monkeypatch, caplog):
    """What nobody foresaw is told as InternalError, logged once with its request, and tells the client nothing."""

    def broken() -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setitem(vars(gateway.office), "view", broken)
    failed = await gateway.call("GET", "/groups")
    assert (failed.status, failed.code) == (500, "InternalError")
    assert "detail" not in json.dumps(failed.document)
    assert [record.name for record in caplog.records].count("minio_gw.admin") == 1


async def test_a_store_that_is_away_is_told(gateway):
    """503 and MinIO's code for it: the client may try again."""
    await gateway.iam.store.close()
    failed = await gateway.ours("GET", "/sessions")
    assert (failed.status, failed.code) == (503, "XMinioIAMNotInitialized")


async def test_every_call_closes_its_connection(gateway):
    """A request that follows a call on its connection is answered by nobody, as after an STS call."""
    signed = gateway.front.headers("GET", LIST, None, payload=EMPTY)
    head = "".join([f"GET {LIST} HTTP/1.1\r\n", *(f"{n}: {v}\r\n" for n, v in signed.items()), "\r\n"]).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.front.port)
    writer.write(head + head)
    async with asyncio.timeout(20):
        found = await reader.read()
    writer.close()
    assert found.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in found.lower()


async def test_json_says_that_it_is_json(gateway):
    """Plain answers are application/json and not to be guessed at; ours are never sealed."""
    answer = await gateway.front.call("GET", f"{OURS}/keys", None, payload=EMPTY)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
