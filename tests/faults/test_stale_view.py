"""MINIO_GW_STALE_LIMIT over a real partition: a gateway that cannot hear etcd honours sessions for so long, and says what it does."""

from __future__ import annotations

import asyncio
import re

import pytest
from client_grants import get_token

from tests.servers.etcd import Etcd
from tests.servers.fleet import Fleet, Refusal, administrator
from tests.servers.processes import GatewayProcess
from tests.servers.proxy import Proxy

LIMIT = 9  # seconds; a watch counts as interrupted after five of silence
SLACK = 20.0  # seconds that a busy machine may take longer


class Site:
    """A gateway behind a line to etcd that can be made a black hole, and one that hears everything."""

    def __init__(self, fleet: Fleet, line: Proxy, cut: GatewayProcess, other: GatewayProcess) -> None:
        self.fleet, self.line, self.cut, self.other = fleet, line, cut, other

    async def gauge(self, name: str) -> float:
        _, text = await self.fleet.status(self.cut, "/minio/v2/metrics/cluster")
        return float(re.search(rf"^\S*{name}\S* (\S+)$", text, re.MULTILINE)[1])

    async def becomes(self, keys, code: str, seconds: float) -> float:
        """Return the seconds until the gateway that is cut off answers so ("": allows)."""
        return await self.until(lambda: self.fleet.listing(self.cut, keys), lambda found: found == code, seconds)

    @staticmethod
    async def until(ask, good, seconds: float) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not good(found := await ask()):
            assert loop.time() - began < seconds, found
            await asyncio.sleep(0.05)
        return loop.time() - began


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """One real member."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture
async def site(request, tmp_path, etcd, weed, issuer):
    """The two gateways; the parameter is the limit."""
    common = {
        "MINIO_ETCD_PATH_PREFIX": f"{tmp_path.name}/", "MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.urls["config"],
        "MINIO_PROMETHEUS_AUTH_TYPE": "public", "MINIO_GW_STALE_LIMIT": str(request.param),
    }  # fmt: skip
    async with Proxy(etcd.client_ports[0]) as line, Fleet() as fleet:
        cut = GatewayProcess(tmp_path / "cut", weed.endpoint, MINIO_ETCD_ENDPOINTS=line.endpoint, **common)
        other = GatewayProcess(tmp_path / "other", weed.endpoint, MINIO_ETCD_ENDPOINTS=etcd.endpoints[0], **common)
        try:
            await asyncio.to_thread(cut.start)
            await asyncio.to_thread(other.start)
            yield Site(fleet, line, cut, other)
        finally:
            line.swallowing = False
            await asyncio.to_thread(cut.close)
            await asyncio.to_thread(other.close)


async def credentials(site, issuer):
    """Return a user's keys and a session, which both gateways know."""
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    alice = await site.fleet.add_user(site.other, "alice", "alices-secret", "readwrite")
    session = await site.fleet.grant(site.other, token)
    for keys in (alice, session):
        await site.becomes(keys, "", 5)
    return alice, session, token


@pytest.mark.parametrize("site", [LIMIT], indirect=True)
async def test_a_gateway_that_is_cut_off_honours_sessions_until_its_limit(site, issuer):
    """Sessions and users as last heard; then 503 for all but root, not ready, and the metrics say it; healed, all is as it is now."""
    alice, session, token = await credentials(site, issuer)
    assert await site.gauge("iam_view_stale") == 0
    site.line.swallowing = True
    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(administrator(site.other).user_disable, "alice")
    assert await site.fleet.listing(site.other, alice) == "InvalidAccessKeyId"
    assert [await site.fleet.listing(site.cut, keys) for keys in (alice, session)] == ["", ""]
    assert await site.fleet.grant(site.cut, token) == Refusal(503, "ServiceUnavailable")
    await site.becomes(session, "ServiceUnavailable", LIMIT + SLACK)
    # The last sign of life was a second before the cut at most: etcd is asked for one every second.
    assert asyncio.get_running_loop().time() - began > LIMIT - 2
    assert await site.fleet.listing(site.cut, alice) == "ServiceUnavailable"
    assert isinstance(await site.fleet.admin(site.cut, "GET", "/keys"), dict)  # root is let in
    status, text = await site.fleet.status(site.cut, "/minio/health/ready")
    assert (status, "MINIO_GW_STALE_LIMIT" in text) == (503, True)
    assert (await site.fleet.status(site.cut, "/minio/health/live"))[0] == 200
    assert await site.gauge("iam_view_stale") == 1
    assert await site.gauge("iam_view_age_seconds") > LIMIT - 2
    site.line.cut()
    site.line.swallowing = False
    await site.becomes(session, "", SLACK)
    assert await site.fleet.listing(site.cut, alice) == "InvalidAccessKeyId"
    assert (await site.fleet.status(site.cut, "/minio/health/ready"))[0] == 200
    assert (await site.gauge("iam_view_stale"), await site.gauge("iam_view_age_seconds")) == (0, 0)


@pytest.mark.parametrize("site", [0], indirect=True)
async def test_trap_51_with_no_limit_nothing_is_honoured_once_the_watch_is_silent(site, issuer):
    """A session that is revoked behind a partition lives for the five seconds in which silence is noticed, and no longer."""
    _, session, _ = await credentials(site, issuer)
    site.line.swallowing = True
    await site.fleet.admin(site.other, "POST", "/sessions/revoke", {"accessKey": session.access_key})
    assert await site.becomes(session, "ServiceUnavailable", 5 + SLACK) < 5 + 3
    site.line.cut()
    site.line.swallowing = False
    await site.becomes(session, "InvalidAccessKeyId", SLACK)


@pytest.mark.parametrize("site", [900], indirect=True)
async def test_a_token_of_a_key_that_a_gateway_has_not_heard_of_is_no_forgery(site, issuer):
    """While cut off it answers 503 to it, which clients try again; healed, it lets the session in."""
    _, old, token = await credentials(site, issuer)
    site.line.swallowing = True
    await eventually_interrupted(site)
    for key in (await site.fleet.admin(site.other, "GET", "/keys"))["keys"]:
        await site.fleet.admin(site.other, "POST", "/keys/withdraw", {"keyId": key["keyId"]})
    session = await site.fleet.grant(site.other, token)
    assert await site.fleet.listing(site.other, session) == ""
    assert await site.fleet.listing(site.cut, session) == "ServiceUnavailable"
    assert await site.fleet.listing(site.cut, old) == ""
    site.line.cut()
    site.line.swallowing = False
    await site.becomes(session, "", SLACK)
    assert await site.fleet.listing(site.cut, old) == "InvalidTokenId"


async def eventually_interrupted(site) -> None:
    """Wait until the gateway has noticed the silence."""
    await site.until(lambda: site.gauge("iam_view_age_seconds"), lambda age: age > 0, SLACK)
