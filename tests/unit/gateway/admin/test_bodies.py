"""bodies: opened and sealed beside the event loop, a few at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.admin.bodies import AT_ONCE, WAITING, Sealer
from gateway.admin.errors import XMinioAdminConfigBadJSON
from gateway.errors import SlowDown
from iam import madmin
from iam.model import Secret
from tests.unit.gateway.front import until

SECRET = Secret("a-secret-key")


@pytest.fixture
def sealer():
    """A sealer, which lets go of its threads."""
    made = Sealer()
    yield made
    made.close()


async def test_what_is_sealed_opens_with_the_secret_only(sealer):
    """Minio's own client reads it; another secret is refused without saying more."""
    from minio.crypto import encrypt

    sealed = await sealer.seal(SECRET, b"a document")
    assert madmin.decrypt(SECRET.reveal(), sealed) == b"a document"
    assert await sealer.open(SECRET, encrypt(b"another", SECRET.reveal())) == b"another"
    with pytest.raises(XMinioAdminConfigBadJSON):
        await sealer.open(Secret("another-secret"), sealed)


async def test_few_work_at_once_and_few_wait(sealer, monkeypatch):
    """No more than AT_ONCE threads work, whoever goes away meanwhile; behind those that may wait the next is told to slow down."""
    go, working, most = threading.Event(), [], []

    def slow(password: str, data: bytes, **_: int) -> bytes:
        working.append(1)
        most.append(len(working))
        go.wait(20)
        working.pop()
        return data

    monkeypatch.setattr(madmin, "decrypt", slow)
    loop = asyncio.get_running_loop()
    gone = [asyncio.ensure_future(sealer.open(SECRET, b"x")) for _ in range(AT_ONCE)]  # noqa: TID251 - awaited below
    waiting = [asyncio.ensure_future(sealer.open(SECRET, b"x")) for _ in range(WAITING)]  # noqa: TID251 - as above
    await until(lambda: len(working) == AT_ONCE)
    with pytest.raises(SlowDown):
        await sealer.open(SECRET, b"x")
    for task in gone:
        task.cancel()
    again = [asyncio.ensure_future(sealer.open(SECRET, b"x")) for _ in range(AT_ONCE)]  # noqa: TID251 - as above
    await asyncio.gather(*gone, return_exceptions=True)
    loop.call_soon(go.set)
    assert await asyncio.gather(*waiting, *again) == [b"x"] * (WAITING + AT_ONCE)
    assert max(most) == AT_ONCE
