"""A store behind a name with three addresses: while one answers, no request fails. A real gateway, a real store, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from urllib.parse import urlsplit

import pytest

from tests.servers.proxy import Proxy, eventually
from tests.unit.gateway.front import Answer, Front, serve

STORE, OTHER, DEAD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Store:
    """A gateway in front of a name; every address leads to the one store, where anything answers."""

    def __init__(self, front: Front, other: Proxy, bucket: str) -> None:
        self.front, self.other, self.bucket = front, other, bucket

    async def many(self, method: str, count: int, body: bytes = b"") -> list[Answer]:
        """Make so many requests, sixteen at a time."""
        limit = asyncio.Semaphore(16)

        async def one(number: int) -> Answer:
            async with limit:
                return await self.front.call(method, f"/{self.bucket}/{number % 20}", body=body)

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def gauge(self, name: str) -> int:
        """Return a number of the metrics page."""
        page = await self.front.call("GET", "/minio/v2/metrics/cluster", who=None)
        return int(re.search(rf"^minio_gw_{name} (\d+)$", page.body.decode(), re.MULTILINE)[1])


@pytest.fixture
async def store(weed):
    """The store on its own address, a relay to it on the second, and nobody on the third."""
    port = urlsplit(weed.endpoint).port

    async def resolve(host: str, _: int) -> list[str]:
        assert host == "s3.test"
        return [DEAD, OTHER, STORE]

    async with contextlib.AsyncExitStack() as stack, Proxy(port, OTHER, port) as other:
        front = await serve(stack, f"http://s3.test:{port}", resolve=resolve)
        bucket = f"ways-{uuid.uuid4().hex[:10]}"
        assert (await front.call("PUT", f"/{bucket}")).status == 200
        yield Store(front, other, bucket)
        await Store(front, other, bucket).many("DELETE", 20)
        await front.call("DELETE", f"/{bucket}")


async def test_a_dead_address_fails_no_request(store):
    """With one of three addresses dead from the beginning, every upload and download succeeds, over both of the others."""
    assert {answer.status for answer in await store.many("PUT", 60, b"x" * 3000)} == {200}
    got = await store.many("GET", 200)
    assert {(answer.status, len(answer.body)) for answer in got} == {(200, 3000)}
    assert store.other.accepted > 1
    assert await store.gauge("backend_addresses_down") == 1
    assert await store.gauge("backend_connections_in_use") == 0
    assert await store.gauge("backend_connections_idle") > 1


async def test_an_address_that_dies_and_one_that_comes(store):
    """Kept connections that die fail no request; an address that answers again gets its share without anybody's waiting."""
    assert {answer.status for answer in await store.many("PUT", 20, b"x")} == {200}
    store.other._server.close()
    store.other.cut()
    await eventually(lambda: not store.other.connections, "the relay is gone")
    assert {answer.status for answer in await store.many("GET", 60)} == {200}
    assert {answer.status for answer in await store.many("PUT", 20, b"x")} == {200}
    async with Proxy(store.other._target, DEAD, store.other._target) as back:
        await eventually(lambda: back.connections, "the address is probed")
        assert {answer.status for answer in await store.many("GET", 60)} == {200}
        async with asyncio.timeout(10):
            while await store.gauge("backend_addresses_down") > 1:  # noqa: ASYNC110 - another process's page
                await asyncio.sleep(0.05)
