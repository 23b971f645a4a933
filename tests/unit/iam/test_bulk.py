"""Many records into a real store at once."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from iam import bulk
from iam.codec import record_key
from iam.embedded import EmbeddedStore
from iam.model import Secret
from iam.records import Attachment, Group, Kind, PolicyDocument, ServiceAccount, User
from iam.store import Conflict, StoreUnavailable, Write
from tests.servers.iam import CODEC
from tests.unit.iam.test_portable import WHOLE

NOW = 1_700_000_000
FRESH = 100


@pytest.fixture
async def store(tmp_path):
    """A store in a file."""
    one = EmbeddedStore(tmp_path / "iam.db")
    await one.open()
    yield one
    await one.close()


async def put(store, *records, **options):
    """Put records, as a gateway whose root is called rootkey."""
    return await bulk.put(store, CODEC, records, root_access_key="rootkey", now=NOW, **options)


async def stored(store):
    """Return the records that are there."""
    rows = (await store.snapshot()).rows
    return {CODEC.decode(row.kind, row.name, row.value) for row in rows}


def told(notes):
    """Return notes by what they are about."""
    return {note.about: note.text for note in notes}


async def test_a_whole_iam_is_written_and_a_second_run_changes_nothing(store):
    """All records are there afterwards; the same again is unchanged, and writes nothing."""
    first = await put(store, *WHOLE)
    assert (len(first.created), first.replaced, first.kept, first.skipped) == (len(WHOLE), (), (), ())
    revision = (await store.snapshot()).revision
    second = await put(store, *WHOLE)
    assert (second.created, len(second.unchanged)) == ((), len(WHOLE))
    assert (await store.snapshot()).revision == revision


async def test_a_dry_run_tells_the_same_and_writes_nothing(store):
    """What a dry run tells is what the run does."""
    dry = await put(store, *WHOLE, dry_run=True)
    assert not (await store.snapshot()).rows
    assert replace(await put(store, *WHOLE), dry_run=True, revision=0) == dry


async def test_more_records_than_one_transaction_takes(store):
    """Hundreds of records are written, in several transactions."""
    users = [User(f"user{i:03}", Secret("long-enough")) for i in range(250)]
    await put(store, Group("team", tuple(user.name for user in users)), *users)
    assert len(await stored(store)) == 251


async def test_ours_that_differs_stays_unless_told(store):
    """A record of ours that is newer, or of which nobody knows, stays; `overwrite` replaces it."""
    await put(store, User("alice", Secret("our-secret"), updated_at=FRESH))
    for at in (0, FRESH - 1, FRESH):
        kept = await put(store, User("alice", Secret("their-secret"), updated_at=at))
        assert told(kept.kept) == {"users/alice": "ours differs and is not older"}
    assert {user.secret.reveal() for user in await stored(store)} == {"our-secret"}
    assert (await put(store, User("alice", Secret("their-secret")), overwrite=True)).replaced == ("users/alice",)
    assert {user.secret.reveal() for user in await stored(store)} == {"their-secret"}


async def test_theirs_that_is_newer_replaces_ours(store):
    """A record that was changed there after ours comes along at the next run; a time to come does not count as one."""
    await put(store, User("alice", Secret("our-secret"), updated_at=FRESH))
    done = await put(store, User("alice", Secret("their-secret"), updated_at=NOW * 2))
    assert done.replaced == ("users/alice",)
    assert {user.updated_at for user in await stored(store)} == {NOW}


async def test_a_record_without_a_time_gets_one(store):
    """MinIO's older records have no times; ours are of the day they came."""
    await put(store, User("alice", Secret("our-secret")))
    assert {user.updated_at for user in await stored(store)} == {NOW}


async def test_what_cannot_be_read_is_kept_unless_told(store):
    """A record nobody can read is not silently replaced."""
    await store.swap([Write(Kind.USER, "alice", b"?")])
    assert told((await put(store, User("alice", Secret("their-secret")))).kept) == {
        "users/alice": "ours cannot be read"
    }
    assert (await put(store, User("alice", Secret("their-secret")), overwrite=True)).replaced == ("users/alice",)


async def test_trap_47_nobody_takes_the_name_of_root_or_of_an_account(store):
    """A user is not called like root or a service account, nor a service account like root or a user."""
    done = await put(
        store, User("rootkey", Secret("their-secret")), User("alice", Secret("their-secret")),
        ServiceAccount("rootkey", Secret("their-secret"), "alice"), ServiceAccount("alice", Secret("their-secret"), "alice"),
        ServiceAccount("SVCALICE", Secret("their-secret"), "alice"),
    )  # fmt: skip
    assert set(told(done.skipped)) == {"users/rootkey", "service-accounts/rootkey", "service-accounts/alice"}
    assert set(told((await put(store, User("SVCALICE", Secret("their-secret")))).skipped)) == {"users/SVCALICE"}


async def test_no_name_gets_rights_before_its_time(store):
    """What is attached to users and groups that are not there is left out, and so are members who are not."""
    done = await put(
        store, Attachment("nobody", ("readwrite",)), Attachment("nothing", ("readwrite",), group=True), Group("team", ("nobody",)),
        ServiceAccount("SVCNOBODY", Secret("their-secret"), "nobody"),
    )  # fmt: skip
    assert set(told(done.skipped)) == {
        "attachments/user/nobody", "attachments/group/nothing", "service-accounts/SVCNOBODY"
    }  # fmt: skip
    assert {group.members for group in await stored(store)} == {()}
    assert "'nobody' is no user" in told(done.warnings)["groups/team"]


@pytest.mark.parametrize("kind", [Kind.USER, Kind.GROUP])
async def test_whose_subject_goes_meanwhile_is_not_attached(store, monkeypatch, kind):
    """A user or group that somebody removes between the look and the writing leaves nothing for the next of its name."""
    await put(store, User("alice", Secret("our-secret")), Group("alice"))
    swap, others = store.swap, [Write(kind, "alice", None)]

    async def late(writes, checks=()):
        while others:
            await swap([others.pop()])
        return await swap(writes, checks)

    monkeypatch.setattr(store, "swap", late)
    done = await put(store, Attachment("alice", ("readwrite",), group=kind is Kind.GROUP))
    assert (done.created, len(done.skipped)) == ((), 1)
    assert not any(isinstance(record, Attachment) for record in await stored(store))


@pytest.mark.parametrize(
    "given", [(), (Attachment("alice", ("readonly",)), Attachment("alice", ("writeonly",), group=True))]
)
async def test_who_is_made_has_nothing_of_a_former_one(store, given):
    """What was left attached to a name, and be it newer, is not the new user's or group's; what comes with them is."""
    left = [Attachment("alice", ("consoleAdmin",), group, updated_at=NOW) for group in (False, True)]
    await store.swap([Write(*record_key(one), CODEC.encode(one)) for one in left])
    done = await put(store, *given, User("alice", Secret("their-secret")), Group("alice"))
    assert (len(done.created), done.kept) == (2 + len(given), ())
    attached = {record for record in await stored(store) if isinstance(record, Attachment)}
    assert {replace(one, updated_at=0) for one in attached} == set(given)


async def test_hundreds_of_users_with_rights(store):
    """Users and what is attached to them are written together, each attachment over a user that this run has just made."""
    names = [f"user{i:03}" for i in range(150)]
    users = [User(name, Secret("long-enough")) for name in names]
    done = await put(store, *users, *(Attachment(name, ("readonly",)) for name in names))
    assert len(done.created) == len(await stored(store)) == 300


async def test_federated_subjects_need_nobody_here(store):
    """What is attached to names that identity providers give needs no user."""
    subjects = ("uid=alice,dc=x", "openid:corp:s1", "tls:client", "custom:u")
    done = await put(store, *(Attachment(subject, ("readonly",)) for subject in subjects))
    assert len(done.created) == 4


async def test_an_attachment_to_a_policy_that_is_not_there_is_told(store):
    """A name without a policy stays attached, gives nothing, and is told."""
    done = await put(
        store, User("alice", Secret("their-secret")), Attachment("alice", ("lost", "readonly", "filed", "photos")),
        *(record for record in WHOLE if isinstance(record, PolicyDocument)), known_policies=["filed"],
    )  # fmt: skip
    assert told(done.warnings) == {"attachments/user/alice": "there is no policy 'lost': it gives nothing"}


async def test_a_policy_that_the_gateway_gives_is_not_stored(store):
    """A canned policy, or one of a file, cannot be replaced by a stored one; that is told."""
    text = next(record.text for record in WHOLE if isinstance(record, PolicyDocument))
    done = await put(store, PolicyDocument("readonly", text), PolicyDocument("filed", text), known_policies=["filed"])
    assert set(told(done.skipped)) == {"policies/readonly", "policies/filed"}
    assert not await stored(store)


async def test_the_same_record_twice_counts_once(store):
    """Of two records of one name the first counts, and the other is told."""
    one, two = (Attachment("uid=a,dc=x", (name,)) for name in ("readonly", "readwrite"))
    done = await put(store, one, two)
    assert "given twice" in told(done.skipped)["attachments/user/uid=a,dc=x"]
    assert {attachment.policies for attachment in await stored(store)} == {("readonly",)}


async def test_a_change_in_between_is_decided_upon_anew(store, monkeypatch):
    """When somebody writes the same record meanwhile, the run looks again and keeps his."""
    snapshot, others = store.snapshot, [User("alice", Secret("his-secret"), updated_at=NOW)]

    async def late():
        found = await snapshot()
        while others:
            user = others.pop()
            await store.swap([Write(Kind.USER, user.name, CODEC.encode(user))])
        return found

    monkeypatch.setattr(store, "snapshot", late)
    assert set(told((await put(store, User("alice", Secret("their-secret")))).kept)) == {"users/alice"}
    assert {user.secret.reveal() for user in await stored(store)} == {"his-secret"}


async def test_a_run_that_begins_anew_tells_all_that_it_did(store, monkeypatch):
    """When a conflict comes after some batches, what these wrote is told as written, and once."""
    swap, calls = store.swap, []

    async def second_fails(*words):
        calls.append(words)
        if len(calls) == 2:
            raise Conflict("once")
        return await swap(*words)

    monkeypatch.setattr(store, "swap", second_fails)
    users = [User(f"user{i:03}", Secret("long-enough")) for i in range(90)]
    done = await put(store, *users)
    assert (sorted(done.created), done.unchanged) == ([f"users/{user.name}" for user in users], ())


async def test_conflicts_without_end_are_told(store, monkeypatch):
    """A run gives up, loudly, when the same records change all the time."""

    async def conflict(*_):
        raise Conflict("always")

    monkeypatch.setattr(store, "swap", conflict)
    with pytest.raises(StoreUnavailable, match="change all the time"):
        await put(store, User("alice", Secret("their-secret")))


async def test_the_outcome_in_jsons_words(store):
    """The document of an outcome is what the admin API answers; no secret is in it."""
    done = (await put(store, *WHOLE, Attachment("nobody", ("lost",)))).document()
    assert sorted(done) == ["created", "dryRun", "kept", "replaced", "skipped", "unchanged", "warnings"]
    assert done["skipped"] == [{"about": "attachments/user/nobody", "text": "there is no such user"}]
    assert "secret" not in str(done)


def test_a_plan_takes_no_longer_than_its_records_are_many():
    """Tens of thousands of records, and members that are nobody, are each looked at once."""
    strangers = tuple(f"nobody{number}" for number in range(20_000))
    users = [User(f"user{number:05}", Secret("long-enough")) for number in range(20_000)]
    began = time.thread_time()
    plan = bulk.Plan(bulk.There(), root_access_key="rootkey", now=NOW).made([*users, Group("team", strangers)])
    done = plan.outcome({f"users/user{number:05}": "created" for number in range(20_000)})
    assert (len(done.created), len(done.warnings)) == (20_001, 20_000)
    assert time.thread_time() - began < 2.5


async def test_requests_are_served_while_an_import_is_planned(store, monkeypatch):
    """What is there is read and compared on another thread than the one that serves."""
    seen, made = [], bulk.Plan.made

    def noted(plan, records):
        seen.append(threading.current_thread() is threading.main_thread())
        return made(plan, records)

    monkeypatch.setattr(bulk.Plan, "made", noted)
    await put(store, User("alice", Secret("long-enough")))
    assert seen == [False]
