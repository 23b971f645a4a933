"""LDAP through a real gateway: minio-py's provider and the form of minio-go, before a real slapd and a real store."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest
from minio import Minio, MinioAdmin
from minio.credentials import LdapIdentityProvider, StaticProvider
from minio.error import MinioAdminException, S3Error

from tests.conftest import s3_client
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess, until
from tests.servers.slapd import (
    GROUP_FILTER,
    GROUPS,
    LOOKUP_DN,
    LOOKUP_PASSWORD,
    PASSWORD,
    PEOPLE,
    USER_FILTER,
    USERS,
    Slapd,
)

NAMESPACE = "{https://sts.amazonaws.com/doc/2011-06-15/}"
HOME = {
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::home-${ldap:username}-*"],
        "Condition": {"StringEquals": {"ldap:user": "uid=slow,ou=people,dc=example,dc=org"}},
    }],
}  # fmt: skip
PROBE = 1.0  # seconds that Kubernetes gives a probe
WRONG = "a wrong password that no log may show"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A real directory."""
    server = Slapd(tmp_path_factory.mktemp("directory") / "slapd")
    yield server
    server.close()


@pytest.fixture(scope="module")
def by_ldap(tmp_path_factory, weed, directory):
    """A gateway that asks the directory by StartTLS; the group of writers may write, Bob may read."""
    folder = tmp_path_factory.mktemp("by-ldap")
    server = GatewayProcess(
        folder, weed.endpoint, MINIO_GW_DATA_DIR=str(folder / "data"), MINIO_GW_LDAP_CA=str(directory.ca),
        MINIO_IDENTITY_LDAP_SERVER_ADDR=f"127.0.0.1:{directory.port}", MINIO_IDENTITY_LDAP_SERVER_STARTTLS="on",
        MINIO_IDENTITY_LDAP_LOOKUP_BIND_DN=LOOKUP_DN, MINIO_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD=LOOKUP_PASSWORD,
        MINIO_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN=PEOPLE, MINIO_IDENTITY_LDAP_USER_DN_SEARCH_FILTER=USER_FILTER,
        MINIO_IDENTITY_LDAP_GROUP_SEARCH_BASE_DN=GROUPS, MINIO_IDENTITY_LDAP_GROUP_SEARCH_FILTER=GROUP_FILTER,
    ).start()  # fmt: skip
    attach(server)
    yield server
    server.close()


def admin(gateway) -> MinioAdmin:
    """Return minio-py's administrator, signing as root."""
    root = StaticProvider(ROOT_USER, ROOT_PASSWORD)
    return MinioAdmin(endpoint=gateway.endpoint.removeprefix("http://"), credentials=root, secure=False)


def attach(gateway) -> None:
    """Attach policies to names of the directory, however they are written."""
    one = admin(gateway)
    one.policy_add("home", policy=HOME)
    one.attach_policy_ldap(["readwrite"], group=f"CN=Writers, {GROUPS.upper()}")
    one.attach_policy_ldap(["readonly"], user=USERS["Bob"])
    one.attach_policy_ldap(["home"], user=USERS["slow"].replace("uid", "0.9.2342.19200300.100.1.1"))


def minio(gateway, username, password=PASSWORD) -> Minio:
    """Return minio-py's client with its own LDAP provider."""
    provider = LdapIdentityProvider(gateway.endpoint, username, password)
    return Minio(gateway.endpoint.removeprefix("http://"), credentials=provider, secure=False)


def ask(gateway, username, password=PASSWORD, **more) -> tuple[int, ElementTree.Element]:
    """Ask for a session in a form, as minio-go does; return the status and the answer."""
    form = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": username,
            "LDAPPassword": password} | more  # fmt: skip
    request = urllib.request.Request(gateway.endpoint, urllib.parse.urlencode(form).encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, ElementTree.fromstring(error.read())


def code(answer) -> str:
    return answer.findtext(f".//{NAMESPACE}Code")


@pytest.mark.parametrize("username", ["alice", "comma", "star*", "back\\slash"])
def test_a_group_s_policy_is_its_members(by_ldap, username):
    """Whatever the user is called, the policy of a group of his lets him make a bucket, write, read and list."""
    client, bucket = minio(by_ldap, username), f"ldap-{uuid.uuid4().hex[:8]}"
    client.make_bucket(bucket)
    client.fput_object(bucket, "key", __file__)
    assert [found.object_name for found in client.list_objects(bucket)] == ["key"]
    client.remove_object(bucket, "key")
    client.remove_bucket(bucket)


def test_a_user_s_own_policy(by_ldap):
    """A policy of the user's own name counts, and nothing beyond it."""
    with pytest.raises(S3Error) as error:
        minio(by_ldap, "bob").make_bucket("never-made")
    assert error.value.code == "AccessDenied"


def test_the_operator_sees_it(by_ldap, directory):
    """The gateway says which directory it asks, and how."""
    assert f"LDAP: 127.0.0.1:{directory.port} (starttls)\n" in by_ldap.process.text


def test_what_is_no_name_of_a_directory_gets_no_policy(by_ldap):
    """A policy for a name that nobody can have would never count: it is refused."""
    for name in ("alice", "uid=alice,", ""):
        with pytest.raises((MinioAdminException, ValueError)):
            admin(by_ldap).attach_policy_ldap(["readonly"], user=name)


def test_policies_may_name_the_user(by_ldap):
    """One policy gives everybody the buckets of his own name; the name that was typed is the variable, the DN a condition key."""
    client, bucket = minio(by_ldap, "slow"), f"home-slow-{uuid.uuid4().hex[:8]}"
    client.make_bucket(bucket)
    client.remove_bucket(bucket)
    with pytest.raises(S3Error) as error:
        client.make_bucket(bucket.replace("slow", "alice"))
    assert error.value.code == "AccessDenied"


def test_a_user_without_a_policy_gets_no_session(by_ldap):
    """Nobody's policy is attached to him or to a group of his: he is told so, not given keys that do nothing."""
    status, answer = ask(by_ldap, "jürgen")
    assert (status, code(answer)) == (400, "InvalidParameterValue")
    assert "No policy is attached" in answer.findtext(f".//{NAMESPACE}Message")


def test_a_form_as_minio_go_sends_it(by_ldap):
    """The parameters in a form, a duration and a session policy: the session is as short and as narrow as asked for."""
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}'
    status, answer = ask(by_ldap, "alice", DurationSeconds="900", Policy=policy)
    assert status == 200
    assert answer.tag == f"{NAMESPACE}AssumeRoleWithLDAPIdentityResponse"
    found = {name: answer.findtext(f".//{NAMESPACE}{tag}") for name, tag in
             (("accessKey", "AccessKeyId"), ("secretKey", "SecretAccessKey"), ("sessionToken", "SessionToken"))}  # fmt: skip
    s3 = s3_client(by_ldap.endpoint, found)
    assert "Buckets" in s3.list_buckets()
    with pytest.raises(s3.exceptions.ClientError) as error:
        s3.create_bucket(Bucket="never-made")
    assert error.value.response["Error"]["Code"] == "AccessDenied"


def test_a_directory_that_is_away_is_told(by_ldap, directory):
    """The gateway stays ready, since who has credentials needs no directory; operators are told, until it is there again."""

    def told() -> list[str]:
        began = time.monotonic()
        with urllib.request.urlopen(by_ldap.endpoint + "/minio/health/ready", timeout=10) as answer:
            found = json.load(answer)
        assert (answer.status, found["ready"]) == (200, True)
        assert time.monotonic() - began < PROBE
        return found["sts_unready"]

    until(lambda: told() == [], "nobody is missed")
    directory.freeze()
    try:
        until(lambda: told() == ["AssumeRoleWithLDAPIdentity"], "it is told")
    finally:
        directory.thaw()
    until(lambda: told() == [], "it is there again")
    assert by_ldap.process.text.count("LDAP: TimeoutError") == 1


def test_trap_43_over_the_wire(by_ldap):
    """Wrong, unknown and filter syntax are one answer; empty is missing; too many are throttled; no password is in the log."""
    answers = [ask(by_ldap, username, WRONG) for username in ("comma", "ghost", "*)(uid=*")]
    texts = {(status, code(answer), answer.findtext(f".//{NAMESPACE}Message")) for status, answer in answers}
    assert texts == {(400, "InvalidParameterValue", "The LDAP user name or password is wrong.")}
    assert code(ask(by_ldap, "alice", "")[1]) == "MissingParameter"
    with pytest.raises(ValueError, match="400"):
        minio(by_ldap, "ghost", WRONG).list_buckets()
    told = lambda: by_ldap.process.text.count(" AssumeRoleWithLDAPIdentity ")  # noqa: E731
    before = told()
    with ThreadPoolExecutor(12) as threads:
        codes = [code(answer) for _, answer in threads.map(lambda _: ask(by_ldap, "plus", WRONG), range(12))]
    assert set(codes) == {"InvalidParameterValue", "Throttling"}
    until(lambda: told() >= before + 12, "all twelve are in the log")
    log = by_ldap.process.text
    assert not [text for word in (WRONG, PASSWORD, LOOKUP_PASSWORD) for text in
                (word, urllib.parse.quote(word), urllib.parse.quote_plus(word)) if text in log]  # fmt: skip
