"""The store's words: what a record may hold, which errors mean what, and that every store speaks the whole contract."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from iam.embedded import EmbeddedStore
from iam.etcd import EtcdStore
from iam.model import Secret
from iam.records import Kind
from iam.store import (
    Batch,
    Check,
    Conflict,
    EtcdSettings,
    IamStore,
    Row,
    SessionRecord,
    Snapshot,
    StoreError,
    StoreUnavailable,
    WatchLost,
    Write,
)

RECORDS = [
    SessionRecord("AAA", "sub", "https://idp", "AssumeRole", 1, 2),
    Row(Kind.USER, "AAA", b"", 2),
    Write(Kind.USER, "AAA", b""),
    Check(Kind.USER, "AAA", 0),
    Snapshot(7, (Row(Kind.USER, "AAA", b"", 2),)),
    Batch(7, (Row(Kind.USER, "AAA", None, 2),)),
    EtcdSettings(("http://127.0.0.1:2379",)),
]
METHODS = sorted(name for name in vars(IamStore) if inspect.isfunction(vars(IamStore)[name]) and name[0] != "_")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_never_change(record):
    """What was read from a store, or handed to it, cannot be changed behind anybody's back."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(record)[0].name, None)


def test_a_session_record_has_no_place_for_a_secret():
    """Neither the secret key nor the token of a session has a member: a store that leaks gives nobody away (trap 54)."""
    members = {field.name for field in dataclasses.fields(SessionRecord)}
    assert members == {
        "access_key_id",
        "parent",
        "issuer",
        "provider",
        "issued_at",
        "expires_at",
        "claims",
        "kid",
        "revoke_type",
    }


def test_claims_are_not_shared():
    """Two records without claims have two empty mappings."""
    one, two = (SessionRecord("AAA", "", "", "", 1, 2) for _ in range(2))
    assert one.claims == {}
    assert one.claims is not two.claims


def test_trap_54_etcds_password_is_not_shown():
    """Printing how etcd is reached does not print its password."""
    settings = EtcdSettings(("http://127.0.0.1:2379",), username="u", password=Secret("hunter2"))
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("error", [StoreUnavailable, Conflict, WatchLost])
def test_one_base_for_all_errors(error):
    """Who catches StoreError catches all that a store raises, and the kinds stay apart."""
    assert issubclass(error, StoreError)
    assert not any(issubclass(error, other) for other in {StoreUnavailable, Conflict, WatchLost} - {error})


@pytest.mark.parametrize("store", [EmbeddedStore, EtcdStore])
@pytest.mark.parametrize("name", METHODS)
def test_every_store_speaks_the_whole_contract(store, name):
    """Each method is there with the parameters of the contract, and is awaited, or iterated, as there."""
    wanted, found = getattr(IamStore, name), getattr(store, name)
    assert list(inspect.signature(found).parameters) == list(inspect.signature(wanted).parameters)
    assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(wanted)
    assert inspect.isasyncgenfunction(found) == (name in {"watch", "session_pages"})
