"""Records as bytes: what was written is read, junk is skipped with a reason, and a junk revocation still revokes."""

import base64
import json
import os
from contextlib import suppress
from dataclasses import replace

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
from tests.servers.iam import CODEC, MASTER, a_codec, proved

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
    """A codec that knows no data key neither writes a user or a group nor reads one."""
    blank = codec.Codec(Seal((), bytes))
    for record in (User("alice", Secret("alices-secret")), Group("devs", ("alice",))):
        with pytest.raises(CannotOpen):
            blank.encode(record)
        with pytest.raises(codec.Unreadable, match="data key is not known"):
            blank.decode(*codec.record_key(record), CODEC.encode(record))


def test_the_records_say_their_version():
    """Both kinds of records are JSON objects with version 1 and the members that other programs may rely on."""
    session = json.loads(codec.encode_session(GOOD))
    assert session == {
        "version": 1, "accessKey": "AKEY", "parent": "sub", "issuer": "https://idp", "provider": "AssumeRole",
        "issuedAt": 1, "expiresAt": 2, "claims": {"sub": "x"}, "kid": "", "revokeType": "",
    }  # fmt: skip
    revocation = json.loads(CODEC.encode(Revocation("A", 3, 4)))
    assert len(base64.b64decode(revocation.pop("proof"))) == 32
    assert revocation == {"version": 1, "accessKeyId": "A", "revokedAt": 3, "expiresAt": 4}


def test_unknown_members_are_tolerated():
    """A newer program may add members: the record is read all the same."""
    value = json.dumps(json.loads(codec.encode_session(GOOD)) | {"colour": ["blue"]}).encode()
    assert codec.decode_session("AKEY", value) == GOOD
    value = b'{"version":1,"revokedAt":1,"expiresAt":5,"x":{}}'
    assert CODEC.decode(Kind.REVOCATION, "A", proved(Kind.REVOCATION, "A", value)) == Revocation("A", 1, 5)


@given(RECORDS.filter(lambda record: not isinstance(record, SealRecord)), st.data())
def test_a_record_that_nobody_of_ours_wrote_is_none(record, data):
    """One changed byte, another place, another store's proof or none: it is not read, or falls to the safe side."""
    kind, name = codec.record_key(record)
    value = bytearray(CODEC.encode(record))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    bare = json.dumps({n: v for n, v in json.loads(CODEC.encode(record)).items() if n != "proof"}).encode()
    for forged in (
        bytes(value),
        bare,
        a_codec().encode(record),
        proved(Kind.SEAL, name, bare),
        proved(kind, name + "x", bare),
    ):
        with suppress(codec.Unreadable):
            assert is_safe(CODEC.decode(kind, name, forged))


def is_safe(record) -> bool:
    """Return whether a record gives nobody anything."""
    match record:
        case Attachment():
            return record.broken and not record.policies
        case PolicyDocument():
            return not record.text
        case Revocation() | Epoch():
            return record.expires_at == codec.FOREVER
    return False


def test_a_store_that_is_older_than_proofs_goes_on():
    """Where the operator says so what an earlier version wrote is read; else its data key is not taken, and nothing is believed."""
    seal = Seal((MASTER,), os.urandom)
    record = seal.create(1)
    unasked = Seal((MASTER,), os.urandom)
    unasked.learn(rewrapped(record, "0123456789abcdef"))
    assert not unasked.is_known
    assert "MINIO_GW_UNPROVED_RECORDS" in unasked.trouble
    older = codec.Codec(Seal((MASTER,), os.urandom, believes_older=True))
    older.seal.learn(rewrapped(record, "0123456789abcdef"))
    assert older.decode(Kind.REVOCATION, "A", b'{"version":1,"revokedAt":1,"expiresAt":5}') == Revocation("A", 1, 5)
    assert older.decode(Kind.GROUP, "devs", older.encode(Group("devs", ("ann",)))) == Group("devs", ("ann",))


def test_no_older_data_key_takes_the_place_of_one_that_demands_proofs():
    """Its id is bound to its wraps, so that it cannot be called otherwise; another installation's of the same master key is refused."""
    seal = Seal((MASTER,), os.urandom)
    record = seal.create(1)
    called = replace(record, id="0123456789abcdef")
    one = Seal((MASTER,), os.urandom, believes_older=True)
    one.learn(called)
    assert not one.is_known
    one.learn(record)
    proof = one.prove(Kind.GROUP, "devs", b"{}")
    for other in (rewrapped(seal.create(1), "0123456789abcdef"), seal.create(2)):
        one.learn(other)
        assert one.demands_proof
        assert one.is_proved(Kind.GROUP, "devs", b"{}", proof)
        assert "another data key" in one.trouble
    one.learn(record)
    assert not one.trouble


def rewrapped(record: SealRecord, identity: str) -> SealRecord:
    """Return a data key of another id, as an earlier version made it."""
    seal, keys = Seal((MASTER,), os.urandom), iter([bytes.fromhex(identity), os.urandom(32), os.urandom(12)])
    made = Seal((MASTER,), lambda _: next(keys)).create(1)
    assert made.id == "p1-" + identity
    key = seal._unwrapped(made)
    return seal._wrapped(SealRecord(identity), key, 1)


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
    revocation = CODEC.decode(Kind.REVOCATION, "AKEY", proved(Kind.REVOCATION, "AKEY", value))
    assert (revocation.access_key_id, revocation.expires_at) == ("AKEY", codec.FOREVER)
    assert revocation.problem
    epoch = CODEC.decode(Kind.EPOCH, "alice", proved(Kind.EPOCH, "alice", value))
    assert epoch.not_before == codec.FOREVER
    attachment = CODEC.decode(Kind.ATTACHMENT, "group/devs", proved(Kind.ATTACHMENT, "group/devs", value))
    assert attachment == Attachment("devs", (), group=True, broken=True)
    for kind in (Kind.USER, Kind.GROUP, Kind.ACCOUNT, Kind.KEY, Kind.SEAL):
        with pytest.raises(codec.Unreadable):
            CODEC.decode(kind, "AKEY", proved(kind, "AKEY", value))


@given(st.sampled_from(Kind), st.binary() | JSON.map(lambda document: json.dumps(document).encode()))
def test_no_bytes_crash_the_reader(kind, value):
    """Any bytes at all give a record or Unreadable, never another error."""
    for told in (value, proved(kind, "AKEY", value)):
        with suppress(codec.Unreadable):
            CODEC.decode(kind, "AKEY", told)
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
