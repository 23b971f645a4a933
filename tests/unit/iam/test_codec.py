"""Records as bytes: what was written is read, junk is skipped with a reason, and a junk revocation still revokes."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam import codec
from iam.model import Secret
from iam.records import (
    DATA_KEY,
    Attachment,
    Epoch,
    Group,
    KeyRecord,
    Kind,
    PolicyDocument,
    Revocation,
    SealRecord,
    ServiceAccount,
    User,
)
from iam.seal import CannotOpen, Seal
from iam.store import SessionRecord
from tests.servers.iam import CODEC, a_codec

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


TEXTS = st.lists(st.text()).map(tuple)
SECRETS = st.text(min_size=8).map(Secret)
RECORDS = st.one_of(
    st.builds(User, NAMES, SECRETS, st.booleans(), TIMES),
    st.builds(Group, NAMES, TEXTS, st.booleans(), TIMES),
    st.builds(PolicyDocument, NAMES, st.text(), TIMES, TIMES),
    st.builds(
        ServiceAccount, NAMES, SECRETS, st.text(), st.booleans(), st.none() | st.text(), st.text(), st.text(),
        st.none() | TIMES, st.text(), st.dictionaries(st.text(), JSON), TEXTS, TIMES,
    ),
    st.builds(Attachment, st.text(), TEXTS, st.booleans(), TIMES),
    st.builds(KeyRecord, NAMES, st.binary(min_size=64, max_size=64), st.binary(min_size=64, max_size=64), TIMES, TIMES),
    st.builds(SealRecord, NAMES, st.dictionaries(NAMES, st.tuples(TIMES, st.binary()))),
    st.builds(Revocation, NAMES, TIMES, TIMES),
    st.builds(Epoch, st.text(), TIMES, st.dictionaries(st.text(), TIMES), TIMES),
)  # fmt: skip


@given(RECORDS)
def test_every_record_survives_its_bytes(record):
    """Each kind of record is read back as it was, under its name."""
    kind, name = codec.record_key(record)
    assert CODEC.decode(kind, name, CODEC.encode(record)) == record


@given(RECORDS)
def test_trap_54_no_secret_is_stored_in_the_clear(record):
    """Neither a secret key nor key material stands in the bytes of a record, as text or in base64."""
    value = CODEC.encode(record)
    secrets = [record.secret.reveal().encode()] if isinstance(record, User | ServiceAccount) else []
    secrets += [record.signing, record.derivation] if isinstance(record, KeyRecord) else []
    for secret in secrets:
        # Short texts of one sign may stand there by chance, in a member's name or in the sealed text.
        assert len(set(secret)) < 6 or (secret not in value and base64.b64encode(secret)[:10] not in value)


def test_a_sealed_secret_opens_for_its_own_record_only():
    """A secret that is moved to another name, or kind, or store, is not read: swapping two users' records gives nobody in."""
    value = CODEC.encode(User("alice", Secret("alices-secret")))
    for place in ((Kind.USER, "bob"), (Kind.ACCOUNT, "alice")):
        with pytest.raises(codec.Unreadable):
            CODEC.decode(*place, value)
    with pytest.raises(codec.Unreadable):
        a_codec().decode(Kind.USER, "alice", value)


def test_without_a_data_key_nothing_secret_is_written_or_read():
    """A codec that knows no data key neither writes a user nor reads one."""
    blank = codec.Codec(Seal((), bytes))
    with pytest.raises(CannotOpen):
        blank.encode(User("alice", Secret("alices-secret")))
    with pytest.raises(codec.Unreadable):
        blank.decode(Kind.USER, "alice", CODEC.encode(User("alice", Secret("alices-secret"))))


def test_the_records_say_their_version():
    """Both kinds of records are JSON objects with version 1 and the members that other programs may rely on."""
    session = json.loads(codec.encode_session(GOOD))
    assert session == {
        "version": 1, "accessKey": "AKEY", "parent": "sub", "issuer": "https://idp", "provider": "AssumeRole",
        "issuedAt": 1, "expiresAt": 2, "claims": {"sub": "x"}, "kid": "", "revokeType": "",
    }  # fmt: skip
    revocation = json.loads(CODEC.encode(Revocation("A", 3, 4)))
    assert revocation == {"version": 1, "accessKeyId": "A", "revokedAt": 3, "expiresAt": 4}


def test_unknown_members_are_tolerated():
    """A newer program may add members: the record is read all the same."""
    value = json.dumps(json.loads(codec.encode_session(GOOD)) | {"colour": ["blue"]}).encode()
    assert codec.decode_session("AKEY", value) == GOOD
    value = b'{"version":1,"revokedAt":1,"expiresAt":5,"x":{}}'
    assert CODEC.decode(Kind.REVOCATION, "A", value) == Revocation("A", 1, 5)


@pytest.mark.parametrize("value", JUNK, ids=lambda v: repr(v[:40]))
def test_junk_sessions_are_skipped_with_a_reason(value):
    """A record that cannot be read is left out of the list, its neighbours stay, and the reason is told."""
    skipped = []
    rows = [("BAD", value), ("AKEY", codec.encode_session(GOOD))]
    assert codec.decode_sessions(rows, lambda name, reason: skipped.append((name, reason))) == [GOOD]
    assert [(name, bool(reason)) for name, reason in skipped] == [("BAD", True)]


@pytest.mark.parametrize("value", JUNK, ids=lambda v: repr(v[:40]))
def test_junk_fails_closed(value):
    """What cannot be read falls to the safe side: it revokes, it takes all rights, or its bearer is unknown."""
    revocation = CODEC.decode(Kind.REVOCATION, "AKEY", value)
    assert (revocation.access_key_id, revocation.expires_at) == ("AKEY", codec.FOREVER)
    assert revocation.problem
    epoch = CODEC.decode(Kind.EPOCH, "alice", value)
    assert epoch.not_before == codec.FOREVER
    assert CODEC.decode(Kind.ATTACHMENT, "group/devs", value) == Attachment("devs", (), group=True, broken=True)
    for kind in (Kind.USER, Kind.GROUP, Kind.ACCOUNT, Kind.KEY, Kind.SEAL):
        with pytest.raises(codec.Unreadable):
            CODEC.decode(kind, "AKEY", value)


@given(st.sampled_from(Kind), st.binary() | JSON.map(lambda document: json.dumps(document).encode()))
def test_no_bytes_crash_the_reader(kind, value):
    """Any bytes at all give a record or Unreadable, never another error."""
    with suppress(codec.Unreadable):
        CODEC.decode(kind, "AKEY", value)
    assert codec.decode_sessions([("AKEY", value)], lambda *_: None) in ([], [GOOD])


@pytest.mark.parametrize("at", [b"1e999", b"-Infinity", b"NaN", b"[]", b'"x"'])
def test_a_data_key_wrapped_at_no_time_is_unreadable(at):
    """A time that is none makes the data key's record unreadable, and is no error that ends the watch."""
    with pytest.raises(codec.Unreadable, match="wraps"):
        CODEC.decode(Kind.SEAL, DATA_KEY, b'{"version":1,"id":"x","wraps":{"k":[%s,"AAAA"]}}' % at)


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
