"""`minio-gw admin service-account …` against a real gateway."""

from __future__ import annotations

import json

import pytest

from tests.unit.gateway.commands.conftest import POLICY


def test_an_account_s_life(admin):
    """Made for a user with a policy and an end, listed, shown, changed and removed."""
    admin.user("sam", "readwrite")
    policy = admin.file("policy.json", json.dumps(POLICY))
    made = admin(
        "service-account",
        "add",
        "--for",
        "sam",
        "--policy",
        policy,
        "--expires",
        "30d",
        "--name",
        "ci",
        "--description",
        "builds",
    )
    key = made["accessKey"]
    assert (len(key), len(made["secretKey"])) == (20, 40)
    listed = admin("service-account", "list", "--of", "sam")["serviceAccounts"]
    assert [(a["accessKey"], a["parentUser"], a["name"], a["impliedPolicy"]) for a in listed] == [
        (key, "sam", "ci", False)
    ]
    assert key in {a["accessKey"] for a in admin("service-account", "list", "--all")["serviceAccounts"]}
    assert [key, "sam", "on", made["expiration"], "ci", "builds"] in [
        line.split() for line in admin.text("service-account", "list", "--of", "sam").splitlines()
    ]
    assert admin("service-account", "info", key)["policy"] == POLICY
    assert "policy:      its own\n" in admin.text("service-account", "info", key)
    changed = admin("service-account", "update", key, "--no-policy", "--status", "off", "--expires", "1d")
    assert changed == {"accessKey": key, "changed": ["expiration", "policy", "status"]}
    shown = admin("service-account", "info", key)
    assert (shown["accountStatus"], shown["impliedPolicy"], shown["name"]) == ("off", True, "ci")
    assert admin.text("service-account", "remove", key) == f"removed {key}\n"
    assert admin.refused("service-account", "info", key)["status"] == 404


def test_keys_that_are_given(admin):
    """An access key and a secret of one's own are taken together, and sign."""
    admin.user("sue", "readonly")
    secret = admin.file("secret", "the-secret-of-svc\n")
    made = admin("service-account", "add", "--for", "sue", "--key", "svc-of-sue", "--new-secret-file", secret)
    assert made["accessKey"] == "svc-of-sue"
    assert admin.refused("service-account", "add", "--key", "svc-alone")["code"] == "XMinioAdminNoSecretKey"
    admin.become("svc-of-sue", "the-secret-of-svc")
    assert [a["accessKey"] for a in admin("service-account", "list")["serviceAccounts"]] == ["svc-of-sue"]


def test_an_account_for_oneself(admin):
    """Without --for it acts for the caller, and is shown to people with its secret, once."""
    sid = admin.user("sid")
    admin("policy", "attach", "readonly", "--user", "sid")
    admin.become(*sid)
    text = admin.text("service-account", "add")
    assert [line.split(":")[0] for line in text.splitlines()] == ["access key", "secret key", "expires"]
    assert text.splitlines()[2].split() == ["expires:", "never"]
    assert len(admin("service-account", "list")["serviceAccounts"]) == 1


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_policy_that_is_no_json(admin, text):
    """It is told before anything is asked."""
    assert "no JSON" in admin.refused("service-account", "add", "--policy", admin.file("p", text), status=2)["message"]


def test_nothing_to_change(admin):
    """An update that changes nothing is a mistake."""
    assert "nothing is to be changed" in admin.refused("service-account", "update", "any", status=2)["message"]
