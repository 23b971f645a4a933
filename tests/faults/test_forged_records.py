"""Who can write in etcd, and is nobody, gives himself nothing at the gateways that watch it (decision 0018)."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.servers.etcd import Etcd
from tests.servers.fleet import Fleet, administrator
from tests.servers.processes import GatewayProcess, http_status, until

ROOT = b"minio-gw/v1/iam/"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """One real member, in which anybody may write."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, weed, etcd):
    """A gateway over it, whose metrics anybody may read."""
    settings = {"MINIO_ETCD_ENDPOINTS": ",".join(etcd.endpoints), "MINIO_PROMETHEUS_AUTH_TYPE": "public"}
    server = GatewayProcess(tmp_path_factory.mktemp("forged"), weed.endpoint, **settings).start()
    yield server
    server.close()


async def test_rights_that_were_put_in_by_hand_are_none(gateway, etcd):
    """Eve, who may list nothing, attaches a policy to herself, copies Ann's, and rewrites that of her own: she may list nothing."""
    async with Fleet() as fleet:
        ann = await fleet.add_user(gateway, "ann-the-admin", "anns-secret-key", "consoleAdmin")
        eve = await fleet.add_user(gateway, "eve-is-nobody", "eves-secret-key", "writeonly")
        assert await fleet.listing(gateway, ann) == ""
        assert await fleet.listing(gateway, eve) == "AccessDenied"
        place = ROOT + b"attachments/user%2Feve-is-nobody"
        anns = value_of(etcd, ROOT + b"attachments/user%2Fann-the-admin")
        hers = value_of(etcd, place)
        forgeries = [
            b'{"version":1,"subject":"eve-is-nobody","policies":["consoleAdmin"],"group":false}', anns,
            anns.replace(b"ann-the-admin", b"eve-is-nobody"), hers.replace(b"writeonly", b"readwrite"),
        ]  # fmt: skip
        for forged in forgeries:
            etcd.put(place, forged)
            await asyncio.to_thread(until, lambda: unreadable(gateway) == 1, "told")
            assert await fleet.listing(gateway, eve) == "AccessDenied"
            etcd.put(place, hers)
            await asyncio.to_thread(until, lambda: unreadable(gateway) == 0, "as before")
        etcd.put(ROOT + b"groups/admins", b'{"version":1,"name":"admins","members":["eve-is-nobody"]}')
        etcd.put(ROOT + b"attachments/group%2Fadmins", anns)
        await asyncio.to_thread(until, lambda: unreadable(gateway) == 2, "told")
        assert await fleet.listing(gateway, eve) == "AccessDenied"
        assert await fleet.listing(gateway, ann) == ""
        administrator(gateway).policy_set("readwrite", user="eve-is-nobody")
        assert await fleet.listing(gateway, eve) == ""
    assert "no gateway of this store wrote it so" in gateway.process.text
    assert http_status(f"{gateway.endpoint}/minio/health/ready") == 200


async def test_a_data_key_that_was_put_in_by_hand_opens_nothing(gateway, etcd):
    """One that pretends that no proof is needed is not bound to its wraps; it is told, and the rights of before stay in force."""
    place = ROOT + b"seals/data"
    own = value_of(etcd, place)
    async with Fleet() as fleet:
        dave = await fleet.add_user(gateway, "dave-is-nobody", "daves-secret-key", "writeonly")
        etcd.put(place, own.replace(b'"p1-', b'"'))
        etcd.put(
            ROOT + b"attachments/user%2Fdave-is-nobody",
            b'{"version":1,"subject":"dave-is-nobody","policies":["consoleAdmin"],"group":false}',
        )
        ready = f"{gateway.endpoint}/minio/health/ready"
        await asyncio.to_thread(until, lambda: http_status(ready) == 503, "not ready")
        assert await fleet.listing(gateway, dave) == "AccessDenied"
        etcd.put(place, own)
        await asyncio.to_thread(until, lambda: http_status(ready) == 200, "ready")
        assert await fleet.listing(gateway, dave) == "AccessDenied"


def value_of(etcd: Etcd, key: bytes) -> bytes:
    """Return a record's bytes."""
    return etcd.get(key)[0].value


def unreadable(gateway: GatewayProcess) -> int:
    """Return how many records cannot be read, as the metrics say."""
    text = httpx.get(f"{gateway.endpoint}/minio/v2/metrics/cluster").text
    return int(float(text.partition("\nminio_gw_iam_unreadable_records ")[2].split()[0]))
