"""The composition root: the only place where objects are wired together, and are let go of."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from ipaddress import ip_network

from gateway.admin.office import Insight, Office
from gateway.admin.surface import Administration
from gateway.backends.backend import Backend
from gateway.backends.exchange import Exchange
from gateway.backends.places import Places
from gateway.backends.regions import is_amazon
from gateway.backends.seal import Seal as LocatorSeal
from gateway.backends.stores import Stores
from gateway.control import Control
from gateway.observe import AccessLog, RequestIds
from gateway.settings.config import KEY_MASTER, ROOT_MASTER, Config
from gateway.settings.sts_settings import SEALED
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.case import World
from gateway.turns.desk import Desk
from gateway.turns.identities import Identities, Rights, Source
from gateway.turns.policy_service import PolicyService
from gateway.wire.group import Limits
from gateway.wire.plane import Plane, Times
from gateway.wire.pool import Pool
from iam.authorize import AllOf, AnonymousApart, Authorizer, IamPolicies
from iam.changes import Changes
from iam.codec import Codec
from iam.embedded import EmbeddedStore
from iam.keeper import Keeper
from iam.model import AccessRequest, Allow, Decision
from iam.names import new_access_key
from iam.opa import OpaAuthorizer, OpaSettings
from iam.policy_book import PolicyBook
from iam.seal import Master, Seal, master_of
from iam.store import IamStore
from iam.watch import Watcher
from sts.assume_role import SignedCaller
from sts.certificate import ClientCertificate
from sts.custom_token import CustomToken
from sts.keyring import Keys
from sts.openid import OpenId
from sts.proof import Proof, WayIn
from sts.readiness import Readiness
from sts.service import StsService

STORE_FILE = "iam.sqlite"


def make_store(config: Config) -> IamStore:
    """Return the store that the configuration names."""
    if config.etcd is not None:
        from iam.etcd import EtcdStore  # noqa: PLC0415 - gRPC costs memory; only who has etcd pays

        return EtcdStore(config.etcd)
    return EmbeddedStore(config.data_dir / STORE_FILE if config.data_dir else None)


def make_masters(config: Config) -> tuple[Master, ...]:
    """Return the keys that wrap the store's data key: the one in force, then those being replaced."""
    root = f"{config.root.access_key_id}:{config.root.secret.reveal()}"
    key = config.master_key
    first = master_of(key.reveal(), KEY_MASTER) if key is not None else master_of(root, ROOT_MASTER)
    return (first, *(master_of(text.reveal(), kind) for kind, text in config.old_masters))


def make_authorizer(config: Config, pool: Pool, policies: PolicyBook) -> tuple[Authorizer, PolicyService | None]:
    """Return AllOf(session policy, OPA if configured else IAM policies), and what carries questions to OPA."""
    if config.opa is None:
        return AllOf(IamPolicies(policies)), None
    opa = config.opa
    settings = OpaSettings(opa.url, opa.auth_token, opa.timeout, opa.raw_headers, opa.ca_file, opa.existing_tags)
    service = PolicyService(settings, pool)
    asked: Authorizer = OpaAuthorizer(settings, service, service.tally)
    if config.anonymous_policies:
        asked = AnonymousApart(IamPolicies(policies), asked)
    return AllOf(asked), service


def make_backend(config: Config, keys: SigningKeys, pool: Pool) -> Backend | Stores:
    """Return the one backend, or the several of MINIO_GW_BACKENDS."""
    if config.backends is None:
        return Backend(config.backend, config.root, pool, keys)
    exchanges = {
        name: Exchange(Backend(one, config.root, pool, keys), keys) for name, one in config.backends.backends.items()
    }
    return Stores(Places(config.backends.rules), exchanges, LocatorSeal(config.root.secret), config.region)


class Federation:
    """The ways in that are configured, by the action that takes them, and what each gives its identities."""

    def __init__(self, config: Config) -> None:
        signed = SignedCaller()
        self.ways: dict[str, WayIn] = {"AssumeRole": signed, "GetSessionToken": signed}
        self.sources: dict[str, Source] = {}
        if config.openids:
            openid = OpenId(config.openids, time.time, region=config.region)
            self.ways |= {"AssumeRoleWithClientGrants": openid, "AssumeRoleWithWebIdentity": openid}
            self.sources["openid"] = openid.policies
        if config.tls_identity is not None:
            certificate = ClientCertificate(time.time)
            self.ways["AssumeRoleWithCertificate"] = certificate
            self.sources["tls"] = certificate.policies
        if config.plugin is not None:
            plugin = CustomToken(config.plugin, config.region)
            self.ways["AssumeRoleWithCustomToken"] = plugin
            self.sources["custom"] = plugin.policies
        if config.ldap is not None:
            from sts.ldap import Ldap  # noqa: PLC0415 - only who has a directory pays for its protocol

            self.ways["AssumeRoleWithLDAPIdentity"] = Ldap(config.ldap)

    async def close(self) -> None:
        """Let go of every way's connections."""
        for way in dict.fromkeys(self.ways.values()):
            await way.close()


def is_all_amazon(where: Backend | Stores) -> bool:
    """Return whether every backend is Amazon's own."""
    backends = [where] if isinstance(where, Backend) else [exchange.backend for exchange in where.exchanges.values()]
    return all(is_amazon(backend.target) for backend in backends)


class Application:
    """What one gateway process consists of: made within its event loop. `connections` of clients are served at once."""

    def __init__(self, config: Config, connections: int = sys.maxsize) -> None:
        loop = asyncio.get_running_loop()
        masters = make_masters(config)
        self._config = config
        self.codec = Codec(Seal(masters, secrets.token_bytes, believes_older=config.unproved_records))
        self.store = make_store(config)
        self.watcher = Watcher(self.store, self.codec)
        self.changes = Changes(
            self.store, self.codec, lambda: self.watcher.view, self.watcher.reached, time.time,
            root=config.root.access_key_id, given=config.policies,
        )  # fmt: skip
        self.keeper = Keeper(
            self.store, self.codec, self.watcher, self.changes, lambda: Seal(masters, secrets.token_bytes)
        )
        self._policies = PolicyBook(config.policies, lambda: self.watcher.view)
        keys = SigningKeys()
        pool = Pool(loop, Limits(connections=config.backend_connections))
        self.authorizer, service = make_authorizer(config, pool, self._policies)
        self.backend = make_backend(config, keys, pool)
        self.federation = Federation(config)
        self.readiness = Readiness(self.federation.ways)
        self._rights = Rights(config.root.access_key_id, self.federation.sources)
        now = lambda: int(time.time())  # noqa: E731
        self.keyring = Keys(lambda: self.watcher.view, now)
        self.identities = Identities(config.root, self.watcher, self.keyring, self._rights, now, config.stale_limit)
        world = World(
            self.identities.lookup, self.authorizer, keys, config.region, config.anonymous_policies,
            raw_headers=config.opa is not None and config.opa.raw_headers, filter_listings=config.filter_listings,
            amazon=is_all_amazon(self.backend),
        )  # fmt: skip
        self.desk = Desk(
            world, self.backend, AccessLog(as_json=config.json, quiet=config.quiet, loop=loop), RequestIds(), config.domains,
            tuple(ip_network(text, strict=False) for text in config.trusted_proxies), config.max_inflight, service,
        )  # fmt: skip
        gauges = lambda: {**pool.gauges(), **self.gauges()}  # noqa: E731
        self.administration = Administration(self.desk, world, self._office(config))
        self.control = Control(
            self.desk, world, self._sts(), self.administration, self.not_ready, self.readiness, config.metrics_public, gauges,
        )  # fmt: skip
        self.server = self.control.server()
        self.plane = Plane(
            self.desk,
            loop,
            Times(head=config.head_timeout, body=config.body_timeout, backend=config.backend_timeout),
            pool,
            self.server,
            connections,
        )

    def _sts(self) -> StsService:
        return StsService(
            self.federation.ways, self.keyring, self.store, lambda name: self._policies().get(name), time.time, new_access_key,
            may=self._may, rights=lambda proof: self._rights.of_proof(self.watcher.view, proof), shortcoming=self._shortcoming,
            revocations=lambda: self.watcher.view.not_before,
            sealed=self._config.session_tokens == SEALED, audited=tuple(dict.fromkeys(one.claim for one in self._config.openids)),
        )  # fmt: skip

    def _office(self, config: Config) -> Office:
        host = f"[{config.host}]" if ":" in config.host else config.host
        insight = Insight(self.desk.denials, self.identities.token_of, self.identities.recorded, self.desk.tags_of)
        return Office(
            self.changes, lambda: self.watcher.view, self.store, self._policies, config.root.access_key_id, time.time,
            self.not_ready, region=config.region, domains=config.domains, endpoint=f"{host}:{config.port}", started=time.time(),
            insight=insight, process=os.getpid(),
        )  # fmt: skip

    async def _may(self, request: AccessRequest) -> Decision:
        """Answer what a session's making may depend on: tags must be allowed, the session itself must only not be denied.

        As in MinIO, a policy denies sessions or says nothing of them; a policy service is asked about S3 and administration only.
        """
        if request.action == "sts:TagSession":
            return await self.authorizer.decide(request)
        if self._config.opa is not None or request.principal.owner:
            return Allow("nobody denies it")
        return IamPolicies(self._policies).decide_now(request._replace(deny_only=True))

    def _shortcoming(self, proof: Proof) -> str:
        """Say why an identity could never do anything; with a policy service nobody knows before it is asked."""
        if self._config.opa is not None:
            return ""
        named, known = self._rights.of_proof(self.watcher.view, proof), self._policies()
        if any(name in known for name in named):
            return ""
        settings = next((one for one in self._config.openids if one.provider == proof.provider), None)
        claim = f"the claim '{settings.claim}' of the token" if settings else "the identity"
        if not named:
            return f"No policy is attached to {proof.parent[:128]}, and none is named by {claim}."
        return f"None of the policies named by {claim} exists."

    def gauges(self) -> dict[str, float]:
        """Return what the view says of itself: its age (seconds), how many records it has and cannot read."""
        view, watcher = self.watcher.view, self.watcher
        return {
            "iam_view_age_seconds": 0.0 if watcher.current else watcher.age if watcher.is_loaded else -1.0,
            "iam_view_stale": float(self.identities.is_stale),
            "iam_users": float(len(view.users)),
            "iam_policies": float(len(view.policies)),
            "iam_unreadable_records": float(len(watcher.unreadable)),
        }

    async def not_ready(self) -> list[str]:
        """Return why this gateway is not ready; empty when it is."""
        reasons = ["draining"] if self.plane.draining else []
        if not self.watcher.is_loaded:
            reasons.append("the IAM view is not loaded")
        elif self.identities.is_stale:
            reasons.append("the IAM view is older than MINIO_GW_STALE_LIMIT: only root is let in")
        elif self.codec.seal.trouble or not self.keyring().current:
            reasons.append(self.codec.seal.trouble or "there is no session key yet")
        policy = await self.authorizer.ready()
        return [*reasons, *await self.backend.not_ready(), *([policy] if policy else [])]

    async def close(self) -> None:
        """Let go of everything, in the opposite order."""
        await self.plane.close()
        await self.server.shutdown(1.0)
        self.desk.log.flush()
        self.administration.close()
        await self.readiness.close()
        await self.federation.close()
        await self.authorizer.close()
        await self.store.close()
