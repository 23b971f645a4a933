"""`minio-gw admin …`: people's view of the store that the same settings name. Times are UTC.

Exit status: 0 done, 1 the store does not know or does not answer, 2 no store to ask.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from gateway.app import STORE_FILE, make_store
from gateway.config import Config
from iam.changes import Changes
from iam.codec import Codec
from iam.refusals import NoSuchSession
from iam.seal import Seal
from iam.store import IamStore, SessionRecord, StoreError
from iam.view import IamView


async def run(config: Config, words: tuple[str, ...]) -> int:
    """Carry out `sessions list` or `sessions revoke ACCESS_KEY`; return the exit status."""
    if problem := _no_store(config):
        return _failed(problem, 2, as_json=config.json)
    store = make_store(config)
    try:
        await store.open()
        await _carry_out(store, words, as_json=config.json)
    except NoSuchSession:
        return _failed(f"no session {_plain(words[2])}", 1, as_json=config.json)
    except StoreError as error:
        return _failed(f"the store does not answer: {error}", 1, as_json=config.json)
    finally:
        await store.close()
    return 0


def _no_store(config: Config) -> str:
    """Say why there is no store to ask; a store that nobody opened is not made by a question."""
    if config.etcd is not None:
        return ""
    if config.data_dir is None:
        return "the store is in the memory of the gateway; set MINIO_GW_DATA_DIR or MINIO_ETCD_ENDPOINTS"
    if not (config.data_dir / STORE_FILE).exists():
        return f"MINIO_GW_DATA_DIR: no gateway has kept anything in {config.data_dir}"
    return ""


async def _carry_out(store: IamStore, words: tuple[str, ...], *, as_json: bool) -> None:
    if words[1] == "list":
        _list(await store.sessions(), as_json=as_json)
        return
    revocation = await _changes(store).revoke_session(words[2])
    if as_json:
        print(json.dumps({**asdict(revocation), "revoked": _utc(revocation.revoked_at)}))
    else:
        print(f"revoked {revocation.access_key_id}")


def _changes(store: IamStore) -> Changes:
    """Return the changes of a store without its keys: a revocation needs none."""

    async def nobody(_: int) -> None:
        """Wait for nobody's view."""

    return Changes(store, Codec(Seal((), secrets.token_bytes)), IamView, nobody, time.time, root="", given={})


def _list(records: Sequence[SessionRecord], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_document(record) for record in records], default=str))
        return
    print(f"{'ACCESS KEY':<22}{'PARENT':<26}{'ISSUED (UTC)':<22}{'EXPIRES (UTC)':<22}ISSUED BY")
    for r in records:
        parent = _plain(r.parent or "-")[:24]
        print(
            f"{r.access_key_id:<22}{parent:<26}{_utc(r.issued_at):<22}{_utc(r.expires_at):<22}{_plain(r.provider or r.issuer)}"
        )


def _document(record: SessionRecord) -> dict[str, object]:
    return {
        **asdict(record), "claims": dict(record.claims), "issued": _utc(record.issued_at), "expires": _utc(record.expires_at),
    }  # fmt: skip


def _failed(text: str, status: int, *, as_json: bool) -> int:
    print(json.dumps({"level": "error", "message": text}) if as_json else f"minio-gw admin: {text}", file=sys.stderr)
    return status


def _plain(text: str) -> str:
    """Keep what a provider wrote from speaking to the terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
