"""`minio-gw admin policy …` against a real gateway."""

from __future__ import annotations

import json

import pytest

from tests.unit.gateway.commands.conftest import POLICY


def test_a_policy_s_life(admin):
    """Put, shown, listed, attached, detached and removed; one that somebody has stays."""
    admin.user("pia")
    admin.policy("pictures")
    assert admin("policy", "show", "pictures") == {"policy": "pictures", "document": POLICY}
    assert json.loads(admin.text("policy", "show", "pictures")) == POLICY
    assert {"policy": "pictures", "document": POLICY} in admin("policy", "list")["policies"]
    assert ["pictures", "1"] in [line.split() for line in admin.text("policy", "list").splitlines()]
    attached = admin("policy", "attach", "pictures", "readonly", "--user", "pia")
    assert (attached["user"], attached["policiesAttached"]) == ("pia", ["pictures", "readonly"])
    assert admin.refused("policy", "remove", "pictures")["code"] == "XMinioIAMPolicyInUse"
    assert (
        admin.refused("policy", "attach", "pictures", "--user", "pia")["code"]
        == "XMinioAdminPolicyChangeAlreadyApplied"
    )
    assert admin("policy", "detach", "pictures", "readonly", "--user", "pia")["policiesDetached"] == [
        "pictures",
        "readonly",
    ]
    assert admin.text("policy", "remove", "pictures") == "removed pictures\n"
    assert admin.refused("policy", "show", "pictures")["code"] == "XMinioAdminNoSuchPolicy"


def test_a_provider_s_people_have_policies(admin):
    """Whoever an identity provider names may be given some before he was ever here, and is listed with them."""
    subject = "openid:corp:\u202esomebody"
    admin("policy", "attach", "readwrite", "--user", subject)
    admin("policy", "attach", "readwrite", "--group", "openid:corp:staff")
    found = admin("policy", "entities", "--policy", "readwrite")["policyMappings"]
    assert [(m["policy"], subject in m["users"], "openid:corp:staff" in m["groups"]) for m in found] == [
        ("readwrite", True, True)
    ]
    (line,) = [line for line in admin.text("policy", "entities").splitlines() if line.startswith("readwrite")]
    assert "openid:corp:\\u202esomebody" in line
    admin("policy", "detach", "readwrite", "--user", subject)
    admin("policy", "detach", "readwrite", "--group", "openid:corp:staff")


def test_entities_of_somebody(admin):
    """Asked about a user and a group, only these are shown."""
    admin.user("paul", "writeonly")
    admin("group", "add", "painters", "paul")
    admin("policy", "attach", "diagnostics", "--group", "painters")
    found = admin("policy", "entities", "--user", "paul", "--group", "painters")
    assert [(m["user"], m["policies"]) for m in found["userMappings"]] == [("paul", ["writeonly"])]
    assert found["groupMappings"] == [{"group": "painters", "policies": ["diagnostics"]}]
    rows = [
        line.split() for line in admin.text("policy", "entities", "--user", "paul", "--group", "painters").splitlines()
    ]
    assert rows == [["POLICY", "USERS", "GROUPS"], ["diagnostics", "-", "painters"], ["writeonly", "paul", "-"]]


def test_distinguished_names_are_a_directory_s(admin):
    """However they are written they are kept in one form, and stand beside everybody else's in the list."""
    admin("policy", "attach", "diagnostics", "--user", "UID=Ann, DC=Example")
    admin("policy", "attach", "diagnostics", "--user", "custom:ann")
    found = admin("policy", "entities", "--policy", "diagnostics")["policyMappings"]
    assert [m["policy"] for m in found] == ["diagnostics"]
    assert {"uid=ann,dc=example", "custom:ann"} <= set(found[0]["users"])
    mapping = admin("policy", "entities", "--user", "uid=ANN,dc=example")["userMappings"]
    assert [(m["user"], m["policies"]) for m in mapping] == [("uid=ann,dc=example", ["diagnostics"])]
    assert admin("policy", "detach", "diagnostics", "--user", "uid=ann,dc=example")["policiesDetached"] == [
        "diagnostics"
    ]
    admin("policy", "detach", "diagnostics", "--user", "custom:ann")
    assert (
        admin.refused("policy", "attach", "diagnostics", "--user", "no name=,")["code"] == "XMinioAdminInvalidArgument"
    )


@pytest.mark.parametrize("text", ["", "{", '{"Statement": [{"Effect": "Maybe"}]}', '{"Version": "2012-10-17"}'])
def test_what_is_no_policy(admin, text):
    """It is refused with what is wrong, and nothing is put."""
    told = admin.refused("policy", "put", "broken", admin.file("broken.json", text))
    assert told["code"] == "XMinioMalformedIAMPolicy"
    assert admin.refused("policy", "show", "broken")["code"] == "XMinioAdminNoSuchPolicy"


def test_a_file_that_is_not_there(admin):
    """Nothing is asked of the gateway: status 2."""
    assert "No such file" in admin.refused("policy", "put", "x", "/nowhere/x.json", status=2)["message"]
