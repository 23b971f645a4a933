"""The composition root: the only place where objects are wired together, and are let go of."""

from __future__ import annotations

import asyncio
import secrets
import string
import sys
import time
from collections.abc import Callable
from ipaddress import ip_network

from gateway.backend import Backend
from gateway.case import World
from gateway.config import Config
from gateway.control import Control
from gateway.desk import Desk
from gateway.errors import ExpiredToken, InvalidAccessKeyId, InvalidTokenId
from gateway.exchange import Exchange
from gateway.observe import AccessLog, RequestIds
from gateway.places import Places
from gateway.policy_service import PolicyService
from gateway.regions import is_amazon
from gateway.seal import Seal
from gateway.sigv4 import SigningKeys
from gateway.stores import Stores
from gateway.wire.group import Limits
from gateway.wire.plane import Plane, Times
from gateway.wire.pool import Pool
from iam.authorize import AllOf, Authorizer, IamPolicies
from iam.embedded import EmbeddedStore
from iam.model import Credentials, Principal, PrincipalType
from iam.opa import OpaAuthorizer, OpaSettings
from iam.store import IamStore
from iam.watch import Watcher
from sts.assume_role import SignedCaller
from sts.oidc import OidcVerifier
from sts.one_provider import OneProvider
from sts.principal import needs_a_policy_claim, policies_of, principal_of
from sts.proof import Proof, WayIn
from sts.service import StsService
from sts.sessions import ExpiredSession, InvalidSession, Keyring, derive_keyring, open_session

SESSIONS_KEPT = 16_384
STORE_FILE = "iam.sqlite"


class Identities:
    """Access key and token -> credentials and principal. Opened sessions are kept; revocation is asked every time."""

    def __init__(self, config: Config, keyring: Keyring, watcher: Watcher, now: Callable[[], int]) -> None:
        self._root = config.root
        self._root_principal = Principal(PrincipalType.ACCOUNT, config.root.access_key_id, owner=True)
        self._claim = (config.claim_name, config.claim_prefix)
        self._keyring = keyring
        self._watcher = watcher
        self._now = now
        self._opened: dict[str, tuple[Credentials, Principal]] = {}

    def lookup(self, access_key_id: str, token: str) -> tuple[Credentials, Principal]:
        """Return who an access key and a token are. Raises InvalidAccessKeyId, InvalidTokenId, ExpiredToken."""
        if access_key_id == self._root.access_key_id:
            if token:
                raise InvalidTokenId(reason="a session token with permanent credentials")
            return self._root, self._root_principal
        if not token:
            raise InvalidAccessKeyId(reason="unknown access key, no session token")
        found = self._opened.get(token) or self._open(token)
        if found[0].access_key_id != access_key_id:
            raise InvalidTokenId(reason="the token of another session")
        if (found[0].expires_at or 0) <= self._now():
            raise ExpiredToken(reason="session expired")
        if self._watcher.view.is_revoked(access_key_id):
            raise InvalidAccessKeyId(reason="session revoked")
        return found

    def _open(self, token: str) -> tuple[Credentials, Principal]:
        try:
            session = open_session(self._keyring, token, now=self._now())
        except ExpiredSession:
            raise ExpiredToken(reason="session expired") from None
        except InvalidSession as error:
            raise InvalidTokenId(reason=f"session token: {error}") from None
        policies = policies_of(session.claims, *self._claim)
        principal = principal_of(session, root_access_key=self._root.access_key_id, policies=policies)
        if len(self._opened) >= SESSIONS_KEPT:
            self._opened.clear()
        self._opened[token] = session.credentials, principal
        return self._opened[token]


def new_access_key() -> str:
    """Return a fresh access key id: twenty characters of 0-9 A-Z."""
    return "".join(secrets.choice(string.digits + string.ascii_uppercase) for _ in range(20))


def make_store(config: Config) -> IamStore:
    """Return the store that the configuration names."""
    if config.etcd is not None:
        from iam.etcd import EtcdStore  # noqa: PLC0415 - gRPC costs memory; only who has etcd pays

        return EtcdStore(config.etcd)
    return EmbeddedStore(config.data_dir / STORE_FILE if config.data_dir else None)


def make_authorizer(config: Config, pool: Pool) -> Authorizer:
    """Return AllOf(session policy, OPA if configured else IAM policies)."""
    if config.opa is None:
        return AllOf(IamPolicies(lambda: config.policies))
    opa = config.opa
    settings = OpaSettings(opa.url, opa.auth_token, opa.timeout, opa.raw_headers, opa.ca_file, opa.existing_tags)
    return AllOf(OpaAuthorizer(settings, PolicyService(settings, pool)))


def make_backend(config: Config, keys: SigningKeys, pool: Pool) -> Backend | Stores:
    """Return the one backend, or the several of MINIO_GW_BACKENDS."""
    if config.backends is None:
        return Backend(config.backend, config.root, pool, keys)
    exchanges = {
        name: Exchange(Backend(one, config.root, pool, keys), keys) for name, one in config.backends.backends.items()
    }
    return Stores(Places(config.backends.rules), exchanges, Seal(config.root.secret), config.region)


def make_ways(config: Config) -> dict[str, WayIn]:
    """Return the ways in that are configured, by the action that takes them."""
    signed = SignedCaller()
    ways: dict[str, WayIn] = {"AssumeRole": signed, "GetSessionToken": signed}
    if config.openid is not None:
        provider = OneProvider(OidcVerifier(config.openid, time.time))
        ways |= {"AssumeRoleWithClientGrants": provider, "AssumeRoleWithWebIdentity": provider}
    return ways


def make_shortcoming(config: Config) -> Callable[[Proof], str]:
    """Return what says why an identity could never do anything: with a policy service nobody knows before it is asked."""
    if config.opa is not None:
        return lambda _: ""
    return needs_a_policy_claim(config.policies.__contains__, config.claim_name, config.claim_prefix)


def is_all_amazon(where: Backend | Stores) -> bool:
    """Return whether every backend is Amazon's own."""
    backends = [where] if isinstance(where, Backend) else [exchange.backend for exchange in where.exchanges.values()]
    return all(is_amazon(backend.target) for backend in backends)


class Application:
    """What one gateway process consists of: made within its event loop. `connections` of clients are served at once."""

    def __init__(self, config: Config, connections: int = sys.maxsize) -> None:
        self.store = make_store(config)
        self.watcher = Watcher(self.store)
        keys = SigningKeys()
        pool = Pool(asyncio.get_running_loop(), Limits(connections=config.backend_connections))
        self.authorizer = make_authorizer(config, pool)
        self.backend = make_backend(config, keys, pool)
        now = lambda: int(time.time())  # noqa: E731
        keyring = derive_keyring(config.root.secret)
        identities = Identities(config, keyring, self.watcher, now)
        self.ways = make_ways(config)
        world = World(
            identities.lookup, self.authorizer, keys, config.region, config.anonymous_policies,
            raw_headers=config.opa is not None and config.opa.raw_headers, filter_listings=config.filter_listings,
            amazon=is_all_amazon(self.backend),
        )  # fmt: skip
        service = StsService(
            self.ways, lambda: keyring, self.store, config.policies.get, time.time, new_access_key,
            shortcoming=make_shortcoming(config), audited=(config.claim_prefix + config.claim_name,),
        )  # fmt: skip
        self.desk = Desk(
            world, self.backend, AccessLog(as_json=config.json, quiet=config.quiet, soon=asyncio.get_running_loop().call_soon), RequestIds(), config.domains,
            tuple(ip_network(text, strict=False) for text in config.trusted_proxies), config.max_inflight,
        )  # fmt: skip
        self.control = Control(self.desk, world, service, self.not_ready, config.metrics_public, pool.gauges)
        self.server = self.control.server()
        self.plane = Plane(
            self.desk,
            asyncio.get_running_loop(),
            Times(head=config.head_timeout, body=config.body_timeout, backend=config.backend_timeout),
            pool,
            self.server,
            connections,
        )

    async def not_ready(self) -> list[str]:
        """Return why this gateway is not ready; empty when it is."""
        reasons = ["draining"] if self.plane.draining else []
        if not self.watcher.is_loaded:
            reasons.append("the IAM view is not loaded")
        policy = await self.authorizer.ready()
        return [*reasons, *await self.backend.not_ready(), *([policy] if policy else [])]

    async def close(self) -> None:
        """Let go of everything, in the opposite order."""
        await self.plane.close()
        self.desk.log.flush()
        await self.server.shutdown(1.0)
        for way in dict.fromkeys(self.ways.values()):
            await way.close()
        await self.authorizer.close()
        await self.store.close()
