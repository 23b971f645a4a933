"""`minio-gw admin session …` against a real gateway: what boto3 was given, and can no longer use."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError


def session_of(admin, name: str, secret: str) -> dict[str, str]:
    """Return temporary credentials of a user."""
    client = boto3.client(
        "sts",
        endpoint_url=admin.gateway.endpoint,
        region_name="us-east-1",
        aws_access_key_id=name,
        aws_secret_access_key=secret,
    )
    made = client.assume_role(RoleArn="arn:xxx:xxx:xxx:xxxx", RoleSessionName="any")["Credentials"]
    return {"access": made["AccessKeyId"], "secret": made["SecretAccessKey"], "token": made["SessionToken"]}


def may(admin, made: dict[str, str]) -> bool:
    """Return whether a session is let in."""
    client = boto3.client(
        "s3", endpoint_url=admin.gateway.endpoint, region_name="us-east-1", aws_access_key_id=made["access"],
        aws_secret_access_key=made["secret"], aws_session_token=made["token"],
    )  # fmt: skip
    try:
        client.head_object(Bucket="photos", Key="cat")
    except ClientError:
        return False
    return True


def test_sessions_are_listed(admin):
    """Each with whose it is and how long; by its principal when one is asked for; never with its secret."""
    made = session_of(admin, *admin.user("tess", "readonly"))
    (found,) = admin("session", "list", "--principal", "tess")["sessions"]
    assert (found["accessKey"], found["parent"], found["provider"], found["revoked"]) == (
        made["access"],
        "tess",
        "user",
        False,
    )
    text = admin.text("session", "list", "--principal", "tess")
    assert text.splitlines()[1].split()[:3] == [made["access"], "tess", "user"]
    assert made["access"] in {s["accessKey"] for s in admin("sessions", "list")["sessions"]}  # by the name of old
    assert made["secret"] not in text
    assert made["token"] not in text


def test_one_session_ends(admin):
    """The next request of that one is refused, another one of the same user is not."""
    user = admin.user("tina", "readonly")
    first, second = session_of(admin, *user), session_of(admin, *user)
    assert may(admin, first)
    assert admin.text("session", "revoke", first["access"]) == f"revoked {first['access']}\n"
    assert not may(admin, first)
    assert may(admin, second)
    revoked = {s["accessKey"]: s["revoked"] for s in admin("session", "list", "--principal", "tina")["sessions"]}
    assert revoked == {first["access"]: True, second["access"]: False}


def test_all_sessions_of_somebody_end(admin):
    """By the principal's name; those of one type only where a type is given."""
    made = session_of(admin, *admin.user("toni", "readonly"))
    assert admin("session", "revoke", "--principal", "toni", "--type", "laptop")["tokenRevokeType"] == "laptop"
    assert may(admin, made)
    assert admin("session", "revoke", "--principal", "toni")["parent"] == "toni"
    assert not may(admin, made)
    assert admin.text("session", "revoke", "--principal", "toni").startswith(
        "revoked all sessions of toni issued up to "
    )


def test_what_is_not_there(admin):
    """A session that nobody issued is not found."""
    assert admin.refused("session", "revoke", "NONE")["code"] == "XMinioAdminNoSuchAccessKey"


@pytest.mark.parametrize("words", [(), ("KEY", "--principal", "x"), ("KEY", "--type", "x"), ("--type", "x")])
def test_half_a_question_is_none(admin, words):
    """It must be clear whose sessions end: status 2."""
    assert "ACCESS_KEY" in admin.refused("session", "revoke", *words, status=2)["message"]
