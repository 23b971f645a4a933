"""MinioAdmin of the `minio` package against a real gateway: what it changes is what boto3 may do at the next request."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioAdminException

from tests.conftest import credentials_for, s3_client
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, until

READ_PHOTOS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"]},
    ],
}  # fmt: skip


def client(
    gateway, access_key: str = ROOT_USER, secret_key: str = ROOT_PASSWORD, token: str | None = None
) -> MinioAdmin:
    """Return a client as any administrator makes it."""
    provider = StaticProvider(access_key, secret_key, token)
    return MinioAdmin(endpoint=gateway.endpoint.removeprefix("http://"), credentials=provider, secure=False)


def code(refused: pytest.ExceptionInfo[MinioAdminException]) -> tuple[str, str]:
    """Return the status and the code of a refusal."""
    return refused.value._code, json.loads(refused.value._body)["Code"]


@pytest.fixture
def admin(gateway):
    """Root's client, and nobody but root at the end."""
    made = client(gateway)
    yield made
    for name in json.loads(made.user_list()):
        made.user_remove(name)
    for group in json.loads(made.group_list()):
        made.group_remove(group)
    for name in set(json.loads(made.policy_list())) - CANNED:
        made.policy_remove(name)


CANNED = {"readonly", "readwrite", "writeonly", "diagnostics", "consoleAdmin"}


@pytest.fixture
def photos(gateway, s3):
    """A bucket with an object, that somebody else has made."""
    s3.create_bucket(Bucket="photos")
    s3.put_object(Bucket="photos", Key="cat", Body=b"meow")
    yield "photos"
    for item in s3.list_objects_v2(Bucket="photos").get("Contents", []):
        s3.delete_object(Bucket="photos", Key=item["Key"])
    s3.delete_bucket(Bucket="photos")


def keys(access_key: str, secret_key: str) -> dict[str, str]:
    return {"accessKey": access_key, "secretKey": secret_key}


def refusal(call, **arguments) -> str:
    """Return the code that a call of boto3's is refused with."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def test_users(admin):
    """Users are added, disabled, enabled, shown, listed and removed; what is not there has MinIO's code."""
    admin.user_add("alice", "alice-secret")
    assert json.loads(admin.user_info("alice"))["status"] == "enabled"
    admin.user_disable("alice")
    assert json.loads(admin.user_list())["alice"]["status"] == "disabled"
    admin.user_enable("alice")
    assert json.loads(admin.user_list())["alice"]["status"] == "enabled"
    admin.user_remove("alice")
    assert json.loads(admin.user_list()) == {}
    with pytest.raises(MinioAdminException) as refused:
        admin.user_info("alice")
    assert code(refused) == ("404", "XMinioAdminNoSuchUser")


def test_groups(admin):
    """Groups are made by their members, disabled, enabled, shown and listed, and removed when they are empty."""
    admin.user_add("alice", "alice-secret")
    admin.user_add("bob", "bob-secret")
    admin.group_add("devs", ["alice", "bob"])
    admin.group_disable("devs")
    shown = json.loads(admin.group_info("devs"))
    assert (shown["members"], shown["status"]) == (["alice", "bob"], "disabled")
    admin.group_enable("devs")
    assert json.loads(admin.group_list()) == ["devs"]
    with pytest.raises(MinioAdminException) as refused:
        admin.group_remove("devs")
    assert code(refused) == ("400", "XMinioAdminGroupNotEmpty")
    admin.group_remove("devs", ["alice", "bob"])
    admin.group_remove("devs")
    assert json.loads(admin.group_list()) == []


def test_policies(admin):
    """Policies are added, shown, listed and removed; attached, set, detached and unset; one that somebody has stays."""
    admin.user_add("alice", "alice-secret")
    admin.policy_add("photos", policy=READ_PHOTOS)
    assert json.loads(admin.policy_info("photos")) == READ_PHOTOS
    assert set(json.loads(admin.policy_list())) == {*CANNED, "photos"}
    assert json.loads(admin.attach_policy(["photos", "writeonly"], user="alice"))["policiesAttached"] == [
        "photos",
        "writeonly",
    ]
    with pytest.raises(MinioAdminException) as refused:
        admin.attach_policy(["photos"], user="alice")
    assert code(refused) == ("400", "XMinioAdminPolicyChangeAlreadyApplied")
    with pytest.raises(MinioAdminException) as refused:
        admin.policy_remove("photos")
    assert code(refused) == ("400", "XMinioIAMPolicyInUse")
    found = json.loads(admin.get_policy_entities(["alice"], [], ["photos"]))
    assert found["userMappings"] == [{"user": "alice", "policies": ["photos", "writeonly"], "memberOfMappings": []}]
    assert found["policyMappings"] == [{"policy": "photos", "users": ["alice"], "groups": []}]
    assert json.loads(admin.detach_policy(["photos"], user="alice"))["policiesDetached"] == ["photos"]
    admin.policy_set("readonly", user="alice")
    assert json.loads(admin.user_info("alice"))["policyName"] == "readonly"
    admin.policy_unset("readonly", user="alice")
    assert json.loads(admin.user_info("alice"))["policyName"] == ""
    admin.policy_remove("photos")
    with pytest.raises(MinioAdminException) as refused:
        admin.policy_add("broken", policy={"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]})
    assert code(refused) == ("400", "XMinioMalformedIAMPolicy")


def test_a_user_may_exactly_what_its_policy_says(admin, gateway, photos):
    """A new user may nothing; with a policy it may that and no more; disabled or removed it may nothing, at the next request."""
    admin.user_add("alice", "alice-secret")
    alice = s3_client(gateway.endpoint, keys("alice", "alice-secret"))
    assert refusal(alice.get_object, Bucket=photos, Key="cat") == "AccessDenied"
    admin.policy_add("photos", policy=READ_PHOTOS)
    admin.attach_policy(["photos"], user="alice")
    assert alice.get_object(Bucket=photos, Key="cat")["Body"].read() == b"meow"
    assert refusal(alice.put_object, Bucket=photos, Key="dog", Body=b"woof") == "AccessDenied"
    admin.user_disable("alice")
    assert refusal(alice.get_object, Bucket=photos, Key="cat") == "InvalidAccessKeyId"
    admin.user_enable("alice")
    assert alice.get_object(Bucket=photos, Key="cat")["Body"].read() == b"meow"
    admin.user_remove("alice")
    assert refusal(alice.get_object, Bucket=photos, Key="cat") == "InvalidAccessKeyId"


def test_a_group_gives_its_members_its_policies(admin, gateway, photos):
    """A member has the policies of an enabled group, and loses them when the group is disabled or left."""
    admin.user_add("alice", "alice-secret")
    admin.group_add("viewers", ["alice"])
    admin.policy_add("photos", policy=READ_PHOTOS)
    admin.attach_policy(["photos"], group="viewers")
    alice = s3_client(gateway.endpoint, keys("alice", "alice-secret"))
    assert alice.get_object(Bucket=photos, Key="cat")["Body"].read() == b"meow"
    admin.group_disable("viewers")
    assert refusal(alice.get_object, Bucket=photos, Key="cat") == "AccessDenied"
    admin.group_enable("viewers")
    assert alice.get_object(Bucket=photos, Key="cat")["Body"].read() == b"meow"
    admin.group_remove("viewers", ["alice"])
    assert refusal(alice.get_object, Bucket=photos, Key="cat") == "AccessDenied"


def test_a_service_account_is_its_maker_narrowed(admin, gateway, photos):
    """A user makes accounts for itself: one may what the user may, one with a policy less; both end as the administrator says."""
    admin.user_add("alice", "alice-secret")
    admin.policy_set("readwrite", user="alice")
    own = client(gateway, "alice", "alice-secret")
    whole = json.loads(own.add_service_account())["credentials"]
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    narrow = json.loads(own.add_service_account(
        access_key="alices-reader", secret_key="reader-secret", name="reader", description="reads", policy=READ_PHOTOS, expiration=ends,
    ))["credentials"]  # fmt: skip
    assert (narrow["accessKey"], narrow["secretKey"], narrow["expiration"]) == ("alices-reader", "reader-secret", ends)
    shown = json.loads(own.get_service_account("alices-reader"))
    assert (shown["parentUser"], shown["accountStatus"], shown["impliedPolicy"]) == ("alice", "on", False)
    assert (shown["name"], shown["description"], shown["expiration"]) == ("reader", "reads", ends)
    assert json.loads(shown["policy"]) == READ_PHOTOS
    listed = json.loads(own.list_service_account("alice"))["accounts"]
    assert {account["accessKey"] for account in listed} == {whole["accessKey"], "alices-reader"}
    both = [s3_client(gateway.endpoint, found) for found in (whole, narrow)]
    assert [one.get_object(Bucket=photos, Key="cat")["Body"].read() for one in both] == [b"meow", b"meow"]
    both[0].put_object(Bucket=photos, Key="dog", Body=b"woof")
    assert refusal(both[1].put_object, Bucket=photos, Key="dog", Body=b"woof") == "AccessDenied"
    admin.update_service_account(access_key="alices-reader", status="off", secret_key="another-secret")
    assert refusal(both[1].get_object, Bucket=photos, Key="cat") == "InvalidAccessKeyId"
    admin.update_service_account(access_key="alices-reader", status="on")
    again = s3_client(gateway.endpoint, keys("alices-reader", "another-secret"))
    assert again.get_object(Bucket=photos, Key="cat")["Body"].read() == b"meow"
    own.delete_service_account(whole["accessKey"])
    assert refusal(both[0].get_object, Bucket=photos, Key="cat") == "InvalidAccessKeyId"


def test_users_do_not_administrate(admin, gateway):
    """A user without admin: rights is refused everything but its own affairs, and an unknown signature everything."""
    admin.user_add("alice", "alice-secret")
    admin.policy_set("readwrite", user="alice")
    alice, nobody = client(gateway, "alice", "alice-secret"), client(gateway, "alice", "guessed-secret")
    for call in (
        alice.user_list,
        alice.group_list,
        alice.policy_list,
        alice.info,
        lambda: alice.user_add("eve", "eve-secret"),
    ):
        with pytest.raises(MinioAdminException) as refused:
            call()
        assert code(refused) == ("403", "AccessDenied")
    alice.user_add("alice", "alices-new-secret")
    with pytest.raises(MinioAdminException) as refused:
        nobody.account_info()
    assert code(refused) == ("403", "SignatureDoesNotMatch")
    assert json.loads(client(gateway, "alice", "alices-new-secret").account_info())["AccountName"] == "alice"


def test_a_session_administrates_with_its_token(gateway, issuer, admin):
    """A session whose claim names a policy is asked as what it is: refused with S3 rights only, whatever its token."""
    found = credentials_for(gateway, issuer, "app")
    session = client(gateway, found["accessKey"], found["secretKey"], found["sessionToken"])
    with pytest.raises(MinioAdminException) as refused:
        session.user_list()
    assert code(refused) == ("403", "AccessDenied")
    name = json.loads(session.account_info())["AccountName"]
    made = json.loads(session.add_service_account(name="for-later"))["credentials"]
    assert json.loads(admin.get_service_account(made["accessKey"]))["parentUser"] == name
    through = s3_client(gateway.endpoint, made)
    through.create_bucket(Bucket="by-account")
    through.delete_bucket(Bucket="by-account")
    session.delete_service_account(made["accessKey"])


def test_the_gateway_says_what_it_is(admin):
    """The info is a gateway's: online, one server, no drives, nothing counted."""
    found = json.loads(admin.info())
    assert (found["mode"], found["backend"]["backendType"], len(found["servers"])) == ("online", "Gateway", 1)
    assert found["buckets"] == {"count": 0, "error": "a gateway does not count what its store holds"}


def test_no_secret_is_in_the_log(admin, gateway):
    """The calls are in the log by their actions and whom they are about; no secret of any user or account is."""
    admin.user_add("mallory", "mallorys-secret")
    admin.user_add("mallory", "mallorys-newer-secret")
    admin.policy_set("readonly", user="mallory")
    made = json.loads(client(gateway, "mallory", "mallorys-newer-secret").add_service_account(name="m"))["credentials"]
    until(lambda: "admin:CreateServiceAccount" in gateway.process.text, "the last call is in the log")
    text = gateway.process.text
    assert "admin:CreateUser" in text
    assert "about=accessKey=mallory" in text
    secrets = ("mallorys-secret", "mallorys-newer-secret", "alice-secret", made["secretKey"], ROOT_PASSWORD)
    assert all(secret not in text for secret in secrets)
