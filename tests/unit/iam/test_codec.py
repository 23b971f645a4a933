"""Records as bytes: what was written is read, junk is skipped with a reason, and a junk revocation still revokes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam import codec
from iam.model import Secret
from iam.store import Revocation, SessionRecord

NAMES = st.from_regex(r"[0-9A-Za-z]{3,20}", fullmatch=True)
TIMES = st.integers(0, 2**40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
SESSIONS = st.builds(
    SessionRecord, NAMES, st.text(), st.text(), st.text(), TIMES, TIMES, st.dictionaries(st.text(), JSON)
)
GOOD = SessionRecord("AKEY", "sub", "https://idp", "AssumeRole", 1, 2, {"sub": "x"})
JUNK = [
    b"", b"\xff\xfe", b"null", b"[]", b"7", b'"text"', b"{", b"{}", b"[" * 100_000, b'{"version":1}', b"9" * 5000,
    b'{"version":1,"revokedAt":1,"expiresAt":Infinity}', b'{"version":1,"revokedAt":1,"expiresAt":1e999}',
    b'{"version":1,"revokedAt":1,"expiresAt":NaN}', b'{"version":1,"revokedAt":1,"expiresAt":true}',
    b'{"version":1,"revokedAt":1,"expiresAt":"5"}', b'{"version":1,"revokedAt":1,"expiresAt":5.0}',
    b'{"version":2,"revokedAt":1,"expiresAt":5}', b'{"version":true,"revokedAt":1,"expiresAt":5}',
    b'{"revokedAt":1,"expiresAt":5}',
]  # fmt: skip


@given(SESSIONS)
def test_a_session_survives_its_bytes(record):
    """Whatever a session record holds is read back as it was."""
    assert codec.decode_session(record.access_key_id, codec.encode_session(record)) == record


@given(NAMES, TIMES, TIMES)
def test_a_revocation_survives_its_bytes(name, revoked_at, expires_at):
    """A revocation is read back as it was, under its key's name."""
    revocation = Revocation(name, revoked_at, expires_at)
    assert codec.decode_revocation(name, codec.encode_revocation(revocation)) == revocation


def test_the_records_say_their_version():
    """Both kinds of records are JSON objects with version 1 and the members that other programs may rely on."""
    session = json.loads(codec.encode_session(GOOD))
    assert session == {
        "version": 1, "accessKey": "AKEY", "parent": "sub", "issuer": "https://idp", "provider": "AssumeRole",
        "issuedAt": 1, "expiresAt": 2, "claims": {"sub": "x"}, "kid": "", "revokeType": "",
    }  # fmt: skip
    assert json.loads(codec.encode_revocation(Revocation("A", 3, 4))) == {"version": 1, "revokedAt": 3, "expiresAt": 4}


def test_unknown_members_are_tolerated():
    """A newer program may add members: the record is read all the same."""
    value = json.dumps(json.loads(codec.encode_session(GOOD)) | {"colour": ["blue"]}).encode()
    assert codec.decode_session("AKEY", value) == GOOD
    assert codec.decode_revocation("A", b'{"version":1,"revokedAt":1,"expiresAt":5,"x":{}}') == Revocation("A", 1, 5)


@pytest.mark.parametrize("value", JUNK, ids=lambda v: repr(v[:40]))
def test_junk_sessions_are_skipped_with_a_reason(value):
    """A record that cannot be read is left out of the list, its neighbours stay, and the reason is told."""
    skipped = []
    rows = [("BAD", value), ("AKEY", codec.encode_session(GOOD))]
    assert codec.decode_sessions(rows, lambda name, reason: skipped.append((name, reason))) == [GOOD]
    assert [(name, bool(reason)) for name, reason in skipped] == [("BAD", True)]


@pytest.mark.parametrize("value", JUNK, ids=lambda v: repr(v[:40]))
def test_junk_revocations_fail_closed(value):
    """A revocation that cannot be read revokes its key for good, and says why."""
    revocation = codec.decode_revocation("AKEY", value)
    assert (revocation.access_key_id, revocation.expires_at) == ("AKEY", codec.FOREVER)
    assert revocation.problem


@given(st.binary() | JSON.map(lambda document: json.dumps(document).encode()))
def test_no_bytes_crash_the_reader(value):
    """Any bytes at all give a record or Unreadable, never another error."""
    assert codec.decode_revocation("AKEY", value).access_key_id == "AKEY"
    assert codec.decode_sessions([("AKEY", value)], lambda *_: None) in ([], [GOOD])


@pytest.mark.parametrize("member", ["accessKey", "parent", "issuer", "provider", "issuedAt", "expiresAt"])
def test_every_member_of_a_session_is_needed(member):
    """A record without one of its members, or with one of another type, is not a session."""
    document = json.loads(codec.encode_session(GOOD))
    for broken in ({k: v for k, v in document.items() if k != member}, document | {member: None}):
        with pytest.raises(codec.Unreadable, match=member):
            codec.decode_session("AKEY", json.dumps(broken).encode())


def test_a_session_under_another_key_is_refused():
    """A record that names another access key than the one it lies under is not believed."""
    with pytest.raises(codec.Unreadable, match="another access key"):
        codec.decode_session("OTHER", codec.encode_session(GOOD))


def test_a_secret_among_the_claims_is_masked():
    """A claim that is a Secret never reaches the store as its text."""
    record = SessionRecord("AKEY", "", "", "", 1, 2, {"oops": Secret("hunter2-hunter2")})
    assert b"hunter2" not in codec.encode_session(record)
