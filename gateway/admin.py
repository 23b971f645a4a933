"""`minio-gw admin …`: people's view of the store that the same settings name."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

from gateway.app import make_store
from gateway.config import Config
from iam.store import SessionRecord, StoreError, UnknownSession


async def run(config: Config, words: tuple[str, ...], *, as_json: bool) -> int:
    """Carry out an admin command; return the exit status."""
    if config.etcd is None and config.data_dir is None:
        print(
            "minio-gw admin: the store is in the memory of the gateway; set MINIO_GW_DATA_DIR or MINIO_ETCD_ENDPOINTS",
            file=sys.stderr,
        )
        return 2
    store = make_store(config)
    try:
        await store.open()
        if words[:2] == ("sessions", "list"):
            _list(await store.sessions(), as_json=as_json)
        else:
            revocation = await store.revoke(words[2], now=int(time.time()))
            print(json.dumps(asdict(revocation)) if as_json else f"revoked {revocation.access_key_id}")
    except UnknownSession:
        print(f"minio-gw admin: no session {words[2]}", file=sys.stderr)
        return 1
    except StoreError as error:
        print(f"minio-gw admin: the store does not answer: {error}", file=sys.stderr)
        return 1
    finally:
        await store.close()
    return 0


def _list(records: list[SessionRecord], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{**asdict(record), "claims": dict(record.claims)} for record in records], default=str))
        return
    print(f"{'ACCESS KEY':<22}{'PARENT':<26}{'ISSUED (UTC)':<22}{'EXPIRES (UTC)':<22}ISSUED BY")
    for r in records:
        print(
            f"{r.access_key_id:<22}{(r.parent or '-')[:24]:<26}{_utc(r.issued_at):<22}{_utc(r.expires_at):<22}{r.provider}"
        )


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
