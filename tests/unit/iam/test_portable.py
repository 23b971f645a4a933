"""A whole IAM as one document, and back."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iam import portable
from iam.model import Secret
from iam.portable import NotPortable
from iam.records import Attachment, Epoch, Group, KeyRecord, PolicyDocument, Revocation, ServiceAccount, User
from iam.view import IamView

PHOTOS = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}]}'
WHOLE = [
    User("alice", Secret("alice-secret"), updated_at=5),
    User("bob", Secret("bob-secret-1"), enabled=False),
    Group("team", ("alice", "bob"), updated_at=6),
    PolicyDocument("photos", PHOTOS, 1, 2),
    ServiceAccount(
        "SVCALICE", Secret("svc-secret"), "alice", policy=PHOTOS, name="n", description="d ä", expires_at=9_999
    ),
    ServiceAccount("SVCROOT1", Secret("svc-secret"), "rootkey"),
    ServiceAccount(
        "SVCOIDC1",
        Secret("svc-secret"),
        "openid:corp:s",
        provider="openid:corp",
        claims={"a": [1, {"b": None}]},
        groups=("g",),
    ),
    Attachment("alice", ("photos", "readonly"), updated_at=7),
    Attachment("team", ("readwrite",), group=True),
    Attachment("uid=alice,dc=x", ("photos",)),
]
PASS = Secret("a passphrase")


def write(records=WHOLE, passphrase=PASS, root="rootkey"):
    """Return the document of records."""
    return portable.write(records, root_access_key=root, passphrase=passphrase, random=os.urandom)


def read(text, passphrase=PASS, root="rootkey"):
    """Return a document's records."""
    return portable.read(text, root_access_key=root, passphrase=passphrase)


def changed(change, passphrase=None):
    """Return a document of which something was changed by hand."""
    document = json.loads(write(passphrase=None).text)
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize("passphrase", [PASS, None])
def test_a_whole_iam_comes_back(passphrase):
    """What is exported is imported again, every member of every record."""
    back = read(write(passphrase=passphrase).text, passphrase)
    assert sorted(back, key=repr) == sorted(WHOLE, key=repr)
    assert {r.secret.reveal() for r in back if isinstance(r, User)} == {"alice-secret", "bob-secret-1"}


def test_trap_54_no_secret_is_in_the_clear_unless_asked_for():
    """With a passphrase no secret key is in the document in any form a reader could see; without one they are, at one place."""
    sealed, clear = write().text, write(passphrase=None).text
    for record in WHOLE:
        if isinstance(record, User | ServiceAccount):
            assert record.secret.reveal() not in sealed
            assert record.secret.reveal() in json.dumps(json.loads(clear).pop("secrets"))
    assert set(json.loads(clear)["secrets"]) == {"clear"}


def test_two_exports_differ_in_what_is_sealed_only():
    """The document is sorted, whatever the order of the records, so that exports can be compared."""
    one, two = json.loads(write().text), json.loads(write(WHOLE[::-1]).text)
    assert one.pop("secrets") != two.pop("secrets")
    assert json.dumps(one) == json.dumps(two)


def test_root_goes_by_no_name():
    """A service account of root becomes that of the importing gateway's root, whatever both are called."""
    text = write(root="rootkey").text
    assert "rootkey" not in text
    assert ServiceAccount("SVCROOT1", Secret("svc-secret"), "otherroot") in read(text, root="otherroot")


def test_sessions_and_their_keys_stay():
    """Keys, revocations and epochs are not exported; what cannot be read in the store is told."""
    others = [KeyRecord("k", b"1" * 32, b"2" * 32), Revocation("AKEY", 1, 2), Epoch("alice", 3)]
    broken = [Attachment("carol", (), broken=True), PolicyDocument("lost", "")]
    export = write([*WHOLE, *others, *broken])
    assert sorted(read(export.text), key=repr) == sorted(WHOLE, key=repr)
    assert {note.about for note in export.skipped} == {"attachments/user/carol", "policies/lost"}


def test_a_view_is_exported_whole():
    """A view with everything in it gives a document with everything but what belongs to its gateways."""
    view = IamView().apply([*WHOLE, Epoch("alice", 3), Revocation("AKEY", 1, 2)], 1)
    assert sorted(portable.of_view(view), key=repr) == sorted(WHOLE, key=repr)


def test_another_passphrase_opens_nothing():
    """A wrong or missing passphrase is told, and no record comes out."""
    with pytest.raises(NotPortable, match="does not open"):
        read(write().text, Secret("another one"))
    with pytest.raises(NotPortable, match="passphrase of the export is needed"):
        read(write().text, None)


def test_a_short_passphrase_is_refused():
    """A passphrase has at least eight characters."""
    with pytest.raises(NotPortable, match="at least 8"):
        write(passphrase=Secret("short"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d.update(version=2), "no export of version 1"),
        (lambda d: d.update(format="else"), "no export of version 1"),
        (lambda d: d.update(more=[]), "more: unknown member"),
        (lambda d: d.update(users={}), "users: must be a list"),
        (lambda d: d["users"].append(7), r"users\[2\]: must be an object"),
        (lambda d: d["users"][0].update(name="a=b"), r"users\[0\].name: is no name"),
        (lambda d: d["users"][0].update(enabled=1), r"users\[0\].enabled: must be of type bool"),
        (lambda d: d["users"][0].pop("enabled"), r"users\[0\].enabled: must be"),
        (lambda d: d["users"][0].update(updatedAt=True), r"users\[0\].updatedAt: must be of type int"),
        (lambda d: d["users"][0].update(updatedAt=-1), r"users\[0\].updatedAt: must be of type int"),
        (lambda d: d["users"][0].update(updatedAt=10**30), r"users\[0\].updatedAt: must be of type int"),
        (lambda d: d["serviceAccounts"][0].update(expiresAt=10**30), r"serviceAccounts\[0\].expiresAt: must be"),
        (lambda d: d["serviceAccounts"][0].update(description="\ud800"), "no Unicode text"),
        (lambda d: d["secrets"]["clear"].update({"users/bob": "\ud800" * 8}), "no Unicode text"),
        (lambda d: d["groups"][0].update(members=[1]), r"groups\[0\].members: must be a list of texts"),
        (lambda d: d["policies"][0].update(text="{}"), r"policies\[0\].text: Statement"),
        (lambda d: d["serviceAccounts"][0].update(policy="{}"), r"serviceAccounts\[0\].policy: Statement"),
        (lambda d: d["serviceAccounts"][0].update(parent=None), r"serviceAccounts\[0\].parent: must be"),
        (lambda d: d["serviceAccounts"][0].update(expiresAt="x"), r"serviceAccounts\[0\].expiresAt: must be"),
        (lambda d: d["attachments"][0].update(policies=["a,b"]), r"attachments\[0\].policies: holds what"),
        (lambda d: d["attachments"][0].update(subject="a\nb"), r"attachments\[0\].subject: is no name"),
        (lambda d: d["secrets"]["clear"].pop("users/bob"), r"users\[1\]: its secret key is missing"),
        (lambda d: d["secrets"]["clear"].update({"users/bob": "short"}), "8 to 128"),
        (lambda d: d.update(secrets={}), "must be sealed or clear"),
        (lambda d: d.update(secrets={"clear": {"a": 1}}), "must be sealed or clear"),
    ],
)
def test_what_is_wrong_with_a_document_is_told(change, problem):
    """A document that we would not write is refused with the place and the fault."""
    with pytest.raises(NotPortable, match=problem):
        read(changed(change), None)


def test_sealed_secrets_are_text():
    """What the passphrase opens is held to the same: half a character is no part of a secret key."""
    sealed = write([User("alice", Secret("\ud800" * 8))]).text
    with pytest.raises(NotPortable, match="must be sealed or clear"):
        read(sealed)


def test_every_problem_is_told_at_once():
    """All problems of a document come in one answer."""

    def spoil(document):
        document["users"][0]["name"] = ""
        document["groups"][0]["enabled"] = None

    with pytest.raises(NotPortable) as refusal:
        read(changed(spoil), None)
    assert len(refusal.value.problems) == 3  # the name, its secret, the group


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100_000, '{"format":"minio-gw iam","format":"minio-gw iam","version":1}']
)
def test_what_is_no_document_is_refused(text):
    """Text that is not JSON, or gives a member twice, is no document."""
    with pytest.raises(NotPortable):
        read(text)


@settings(deadline=None)
@given(st.data())
def test_any_document_of_these_words_is_read_or_refused(data):
    """Whatever values stand in a document, reading answers or says NotPortable."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda v: st.lists(v, max_size=2)
    )
    document = json.loads(write(passphrase=None).text)
    section = data.draw(st.sampled_from(["users", "groups", "policies", "serviceAccounts", "attachments"]))
    one = document[section][0]
    one[data.draw(st.sampled_from(sorted(one)))] = data.draw(values)
    try:
        records = read(json.dumps(document), None)
    except NotPortable:
        return
    assert read(write(records, passphrase=None).text, None) == sorted_as_written(records)


def sorted_as_written(records):
    """Return records in the order and form of a document: members of groups are sorted."""
    fixed = [replace(r, members=tuple(sorted(r.members))) if isinstance(r, Group) else r for r in records]
    order = [User, Group, PolicyDocument, ServiceAccount, Attachment]
    return sorted(fixed, key=lambda record: (order.index(type(record)), repr(record)))
