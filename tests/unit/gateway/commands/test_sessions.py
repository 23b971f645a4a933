"""`minio-gw admin`: what people see of a real store, what programs read, and what is refused."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import STORE_FILE
from gateway.commands import sessions as admin
from gateway.config import load
from iam.embedded import EmbeddedStore
from iam.store import EtcdSettings, SessionRecord
from tests.servers.iam import revocations

NOW = int(time.time())
LIST = ("sessions", "list")


def config(directory: Path | None, *, as_json: bool = False):
    """The configuration of the command; it needs no root pair."""
    environ = {
        "MINIO_GW_DATA_DIR": str(directory or ""),
        "MINIO_GW_JSON": "on" if as_json else "off",
        "HOME": "/nowhere",
    }
    return load("admin", {}, "", environ, Path.read_text, lambda _: [])


def revoke(key: str) -> tuple[str, ...]:
    return ("sessions", "revoke", key)


@pytest.fixture
async def directory(tmp_path):
    """The folder of a gateway's store with two sessions and an expired one."""
    store = EmbeddedStore(tmp_path / STORE_FILE)
    await store.open()
    for name, parent, life in [("BBB", "someone", 3600), ("AAA", "\x1b[2Jhostile", 3000), ("OLD", "gone", -10)]:
        made = SessionRecord(name, parent, "https://idp", "AssumeRole\nX", NOW, NOW + life, {"sub": parent})
        await store.record_session(made)
    await store.close()
    return tmp_path


async def test_the_list_is_for_people(directory, capsys):
    """One line for each session that has not expired, by access key; no provider's text speaks to the terminal."""
    assert await admin.run(config(directory), LIST) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["ACCESS", "KEY", "PARENT", "ISSUED", "(UTC)", "EXPIRES", "(UTC)", "ISSUED", "BY"]
    assert [line.split()[0] for line in lines] == ["AAA", "BBB"]
    assert all(line.isprintable() for line in lines)
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW + 3600)) in lines[1]


async def test_the_list_is_for_programs(directory, capsys):
    """With JSON the whole records come as one document, times both as seconds and as text, and nothing secret."""
    assert await admin.run(config(directory, as_json=True), LIST) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["access_key_id"], second["access_key_id"]) == ("AAA", "BBB")
    assert (second["expires_at"], second["claims"]) == (NOW + 3600, {"sub": "someone"})
    assert second["expires"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW + 3600))
    assert not {name for name in second if "secret" in name or "token" in name}


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_revocation_is_in_the_store(directory, capsys, as_json):
    """When the command has ended with 0 the revocation is there for every gateway to see."""
    assert await admin.run(config(directory, as_json=as_json), revoke("BBB")) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["access_key_id"] == "BBB" if as_json else out == "revoked BBB\n"
    store = EmbeddedStore(directory / STORE_FILE)
    await store.open()
    assert [(r.access_key_id, r.expires_at) for r in revocations(await store.snapshot())] == [("BBB", NOW + 3600)]
    await store.close()


@pytest.mark.parametrize("key", ["CCC", "../AAA", "\x1b[2J"])
async def test_an_unknown_session_is_told(directory, capsys, key):
    """Nothing is revoked under a key that nobody issued: status 1, and the key is shown without its control characters."""
    assert await admin.run(config(directory), revoke(key)) == 1
    told = capsys.readouterr().err
    assert told.startswith("minio-gw admin: no session ")
    assert told.rstrip("\n").isprintable()


async def test_without_a_store_nothing_is_asked(tmp_path, capsys):
    """A gateway's memory cannot be asked, and a question makes no store where none is: status 2, with the setting's name."""
    assert await admin.run(config(None), LIST) == 2
    assert "MINIO_GW_DATA_DIR or MINIO_ETCD_ENDPOINTS" in capsys.readouterr().err
    assert await admin.run(config(tmp_path / "typo"), LIST) == 2
    assert "MINIO_GW_DATA_DIR" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


async def test_a_store_that_cannot_be_read_is_told(tmp_path, capsys):
    """A file that is no database is an answer in one line of JSON, when JSON is wanted, and status 1."""
    (tmp_path / STORE_FILE).write_bytes(b"no database, only a long enough text" * 100)
    assert await admin.run(config(tmp_path, as_json=True), LIST) == 1
    told = json.loads(capsys.readouterr().err)
    assert told["level"] == "error"
    assert "the store does not answer" in told["message"]


async def test_an_etcd_that_is_away_is_told(capsys):
    """With etcd as the store, one that does not answer ends the command within its time: status 1."""
    etcd = EtcdSettings(("http://127.0.0.1:9",), timeout=0.2)
    assert await admin.run(replace(config(None), etcd=etcd), LIST) == 1
    assert "the store does not answer" in capsys.readouterr().err
