"""Keys of a fleet that runs: session keys rotated and withdrawn under load, the root pair rotated gateway by gateway."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter

import pytest
from botocore.credentials import Credentials
from client_grants import get_token

from tests.servers.etcd import Etcd
from tests.servers.fleet import Fleet, Refusal, administrator, key_of
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess
from tests.servers.proxy import eventually

WORKERS = 6
NEW_ROOT = Credentials("newroot", "another-secret-of-root")


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """One real member."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def token(issuer):
    """A token of the identity provider, whose bearer may read and write."""
    return get_token(issuer.urls["token"], "app", "app-secret")["access_token"]


@pytest.fixture
def start(tmp_path, etcd, weed, issuer):
    """Start gateways on one etcd; they end with the test."""
    number, running = itertools.count(), []

    def started(*, ready: bool = True, **settings: str) -> GatewayProcess:
        settings = {
            "MINIO_ETCD_ENDPOINTS": ",".join(etcd.endpoints), "MINIO_ETCD_PATH_PREFIX": f"{tmp_path.name}/",
            "MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.urls["config"],
        } | settings  # fmt: skip
        running.append(GatewayProcess(tmp_path / str(next(number)), weed.endpoint, **settings))
        return running[-1].start(ready=ready)

    yield started
    for gateway in running:
        gateway.close()


class Load:
    """Requests through all gateways for as long as the block lasts: fresh sessions, old ones, a user's permanent keys."""

    def __init__(self, fleet: Fleet, gateways, token: str, *kept: Credentials) -> None:
        self._fleet, self._gateways, self._token, self._kept = fleet, gateways, token, kept
        self.failures: list[str] = []
        self.sessions: list[Credentials] = []
        self.requests = 0
        self.minted: Counter[str] = Counter()

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.get_running_loop().create_task(self._work(number)) for number in range(WORKERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for done in await asyncio.gather(*self._tasks, return_exceptions=True):
            if not isinstance(done, asyncio.CancelledError):
                raise done

    async def _work(self, number: int) -> None:
        turns = itertools.cycle(itertools.permutations(self._gateways))
        for here, there in itertools.islice(turns, number, None):
            session = await self._fleet.grant(here, self._token)
            self.requests += 1
            if isinstance(session, Refusal):
                self.failures.append(f"STS {session}")
                continue
            self.minted[key_of(session)] += 1
            self.sessions.append(session)
            # The very next request, at the other gateway; then somebody's whose session is older, at both.
            for gateway, keys in (
                (there, session),
                (here, self.sessions[0]),
                (there, self.sessions[0]),
                *self._old(here),
            ):
                refused = await self._fleet.listing(gateway, keys)
                self.requests += 1
                if refused:
                    self.failures.append(
                        f"{keys.access_key} signed by {key_of(keys) if keys.token else 'itself'}: {refused}"
                    )

    def _old(self, gateway):
        return [(gateway, keys) for keys in self._kept]


async def test_a_session_key_is_rotated_under_load_without_one_failed_request(start, token):
    """Rotated twice under load at either gateway: no request fails, and sessions of the old key go on at both."""
    pair = [start(), start()]
    async with Fleet() as fleet:
        alice = await fleet.add_user(pair[0], "alice", "alices-secret", "readwrite")
        async with Load(fleet, pair, token, alice) as load:
            await eventually(lambda: load.minted, "requests run", 30)
            old = next(iter(load.minted))
            for gateway in pair:
                made = await fleet.admin(gateway, "POST", "/keys/rotate")
                await eventually(lambda kid=made["keyId"]: load.minted[kid] >= 10, "the new key mints", 60)
            listed = [key["keyId"] for key in (await fleet.admin(pair[1], "GET", "/keys"))["keys"]]
        assert load.failures == []
        assert load.requests > 100
        assert listed == list(load.minted) == list(dict.fromkeys([old, *listed]))
        assert await fleet.admin(pair[0], "POST", "/keys/prune") == {"pruned": []}
        first = load.sessions[0]
        assert key_of(first) == old
        assert [await fleet.listing(gateway, first) for gateway in pair] == ["", ""]


async def test_trap_51_a_withdrawn_key_ends_its_sessions_everywhere_within_a_second(start, token):
    """A compromised key is withdrawn: its sessions are refused at both gateways within a second, others and new ones go on."""
    pair = [start(), start()]
    async with Fleet() as fleet:
        stolen = await fleet.grant(pair[1], token)
        made = await fleet.admin(pair[0], "POST", "/keys/rotate")
        fresh = stolen
        async with asyncio.timeout(60):
            while key_of(fresh) != made["keyId"]:
                fresh = await fleet.grant(pair[1], token)
        assert [await fleet.listing(g, s) for g in pair for s in (stolen, fresh)] == [""] * 4
        assert (await fleet.admin(pair[0], "POST", "/keys/withdraw", {"keyId": key_of(stolen)}))["withdrawn"]
        assert await _refused(fleet, pair, stolen, "InvalidTokenId") < 1
        assert [await fleet.listing(gateway, fresh) for gateway in pair] == ["", ""]
        # The last key too: another takes its place at once.
        assert (await fleet.admin(pair[1], "POST", "/keys/withdraw", {"keyId": key_of(fresh)}))["withdrawn"]
        assert await _refused(fleet, pair, fresh, "InvalidTokenId") < 1
        for here, there in itertools.permutations(pair):
            assert await fleet.listing(there, await fleet.grant(here, token)) == ""


async def test_trap_51_whatever_ends_at_one_gateway_has_ended_at_the_other_within_a_second(start, token):
    """A session revoked, a principal's sessions, a user disabled or removed, a policy detached: the other knows in a second."""
    one, other = start(), start()
    async with Fleet() as fleet:
        alice = await fleet.add_user(one, "alice", "alices-secret", "readwrite")
        sessions = [await fleet.assume(one, alice) for _ in range(3)]
        granted = await fleet.grant(one, token)
        for keys in (alice, granted, *sessions):
            assert await fleet.listing(other, keys) == ""
        parents = {s["accessKey"]: s["parent"] for s in (await fleet.admin(one, "GET", "/sessions"))["sessions"]}
        await fleet.admin(one, "POST", "/sessions/revoke", {"accessKey": sessions[0].access_key})
        assert await _refused(fleet, [one, other], sessions[0], "InvalidAccessKeyId") < 1
        await fleet.admin(other, "POST", "/sessions/revoke", {"parent": parents[granted.access_key]})
        assert await _refused(fleet, [one, other], granted, "InvalidAccessKeyId") < 1
        assert await fleet.listing(other, await fleet.grant(one, token)) == ""
        assert await fleet.listing(other, sessions[1]) == ""
        admin = administrator(other)
        await asyncio.to_thread(admin.user_disable, "alice")
        for keys in (alice, *sessions[1:]):
            assert await _refused(fleet, [one, other], keys, "InvalidAccessKeyId") < 1
        await asyncio.to_thread(admin.user_enable, "alice")
        assert await _refused(fleet, [one, other], sessions[1], "") < 1
        await asyncio.to_thread(admin.detach_policy, ["readwrite"], "alice")
        assert await _refused(fleet, [one, other], alice, "AccessDenied") < 1
        await asyncio.to_thread(admin.user_remove, "alice")
        assert await _refused(fleet, [one, other], sessions[2], "InvalidAccessKeyId") < 1


async def test_the_root_pair_is_rotated_gateway_by_gateway(start, token):
    """With the old pair beside the new one, users and sessions go on through a rolling restart; afterwards the old pair opens nothing."""
    pair = [start(), start()]
    new = {"MINIO_ROOT_USER": NEW_ROOT.access_key, "MINIO_ROOT_PASSWORD": NEW_ROOT.secret_key}
    both = new | {"MINIO_ROOT_USER_OLD": ROOT_USER, "MINIO_ROOT_PASSWORD_OLD": ROOT_PASSWORD}
    async with Fleet() as fleet:
        alice = await fleet.add_user(pair[0], "alice", "alices-secret", "readwrite")
        kept = [alice, await fleet.assume(pair[0], alice), await fleet.grant(pair[1], token)]

        async def all_is_well() -> None:
            kept.append(await fleet.grant(pair[0], token))
            kept.append(await fleet.assume(pair[1], alice))
            assert [await fleet.listing(gateway, keys) for keys in kept for gateway in pair] == [""] * (2 * len(kept))

        for settings in (both, new):
            for place in (0, 1):
                await asyncio.to_thread(pair[place].close)
                pair[place] = await asyncio.to_thread(lambda given=settings: start(**given))
                await all_is_well()
        assert await fleet.listing(pair[0], Credentials(ROOT_USER, ROOT_PASSWORD)) == "InvalidAccessKeyId"
        assert await fleet.listing(pair[0], NEW_ROOT) == ""
        stranger = await asyncio.to_thread(lambda: start(ready=False))  # with the old pair alone
        status, text = await fleet.status(stranger, "/minio/health/ready")
        assert (status, "sealed with another master key or root pair" in text) == (503, True)
        assert await fleet.listing(stranger, alice) in {"InvalidAccessKeyId", "ServiceUnavailable"}


async def _refused(fleet: Fleet, gateways, keys: Credentials, code: str) -> float:
    """Return the seconds until every gateway answers with this code ("": allows)."""
    began = time.monotonic()
    while [await fleet.listing(gateway, keys) for gateway in gateways] != [code] * len(gateways):
        assert time.monotonic() - began < 10, f"{keys.access_key} is not {code or 'allowed'}"
    return time.monotonic() - began
