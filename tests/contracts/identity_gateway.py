"""One gateway's identity, whole, in this process and without sockets; and the line to its store, which can be late or cut."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any

from gateway.errors import ExpiredToken, InvalidAccessKeyId, InvalidTokenId, ServiceUnavailable
from gateway.turns.identities import Identities, Rights
from iam.authorize import AllOf, IamPolicies
from iam.changes import Changes
from iam.codec import Codec
from iam.keeper import Keeper
from iam.model import AccessRequest, Credentials, Decision, Secret
from iam.names import new_access_key
from iam.policy import CANNED
from iam.policy_book import PolicyBook
from iam.seal import Seal
from iam.store import Batch, IamStore, StoreUnavailable
from iam.watch import Watcher
from sts.assume_role import SignedCaller
from sts.keyring import Keys
from sts.principal import policies_of
from sts.proof import Proof
from sts.service import StsService
from sts.wire import StsCall
from tests.contracts.identity_model import QUESTIONS, ROOT
from tests.servers.iam import MASTER
from tests.servers.proxy import eventually

ROOT_CREDENTIALS = Credentials(ROOT, Secret("the-secret-of-root"))
PROVIDER = "openid:corp"
PATIENCE = 30.0  # seconds to wait for a revision: a busy machine is not a lost change


class Line:
    """An IamStore as one gateway reaches it: whole, `late` (the watch is held back), or `cut` (nothing works)."""

    def __init__(self, store: IamStore) -> None:
        self.store = store
        self.cut = False
        self._through = asyncio.Event()
        self._through.set()

    @property
    def late(self) -> bool:
        return not self._through.is_set()

    @late.setter
    def late(self, value: bool) -> None:
        (self._through.clear if value else self._through.set)()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            self._check()
            return await getattr(self.store, name)(*arguments, **named)

        return call

    async def session_pages(self) -> AsyncGenerator[Any, None]:
        self._check()
        async for page in self.store.session_pages():
            yield page

    async def watch(self, after: int, **how: Any) -> AsyncGenerator[Batch, None]:
        self._check()
        async with aclosing(self.store.watch(after, **how)) as batches:
            async for batch in batches:
                await self._through.wait()
                self._check()
                yield batch

    def _check(self) -> None:
        if self.cut:
            raise StoreUnavailable("the line is cut")


class Provider:
    """A way in that believes its token, which is a Proof's members in JSON: what an identity provider would have proved."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    async def prove(self, call: StsCall) -> Proof:
        said = json.loads(call.parameters["Token"])
        # What only we may say is said by the provider too, and must count for nothing (trap 47).
        claims = {"sub": said["sub"], "policy": said["policy"], "parent": ROOT, "accessKey": ROOT, "roleArn": "x"}
        return Proof(
            PROVIDER, f"{PROVIDER}:{said['sub']}", claims, tuple(said["groups"]),
            expires_at=int(self._now()) + said["life"], subject=said["sub"],
        )  # fmt: skip

    async def ready(self) -> None:
        return None

    async def close(self) -> None:
        pass


class Gateway:
    """Store, codec, watcher, changes, identities, rights, policies and STS, as `gateway.app` wires them; `now` is its clock."""

    def __init__(self, store: IamStore, now: Callable[[], float]) -> None:
        self.line, self.now = Line(store), now
        self.changed = 0  # the revision of the last change that was made here
        self.codec = Codec(Seal((MASTER,), os.urandom))
        self.watcher = Watcher(self.line, self.codec)
        view = lambda: self.watcher.view  # noqa: E731
        self.changes = Changes(self.line, self.codec, view, self.seen, now, root=ROOT, given=CANNED)
        self.keeper = Keeper(self.line, self.codec, self.watcher, self.changes, lambda: Seal((MASTER,), os.urandom))
        self.book = PolicyBook(CANNED, view)
        self.authorizer = AllOf(IamPolicies(self.book))
        rights = Rights(ROOT, {"openid": lambda _, claims: policies_of(claims, "policy")})
        seconds = lambda: int(now())  # noqa: E731
        self.keyring = Keys(view, seconds)
        self.identities = Identities(ROOT_CREDENTIALS, self.watcher, self.keyring, rights, seconds, 900)
        self.sts = StsService(
            {"AssumeRole": SignedCaller(), "AssumeRoleWithWebIdentity": Provider(now)}, self.keyring, self.line,
            lambda name: self.book().get(name), now, new_access_key, may=self._may,
            rights=lambda proof: rights.of_proof(view(), proof),
            revocations=lambda: view().not_before,
        )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the view, and see to it that there are keys."""
        await self.line.store.open()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.watcher.run()), loop.create_task(self.keeper.run())]
        await asyncio.wait_for(self.keeper.founded(), PATIENCE)

    async def close(self) -> None:
        """Stop, and let go of the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.line.store.close()

    async def seen(self, revision: int) -> None:
        """Return when the view is at a revision; a change through a late line ends its lateness, as it does in life."""
        self.line.late = False
        self.changed = max(self.changed, revision)
        await self.watcher.reached(revision, PATIENCE)
        assert self.watcher.view.revision >= revision

    async def caught_up(self, revision: int) -> None:
        """Return when the view is at a revision and the watch is alive."""
        await self.watcher.reached(revision, PATIENCE)
        await eventually(lambda: self.watcher.view.revision >= revision and self.watcher.current, "caught up", PATIENCE)

    def verdict(self, key: str, secret: str, token: str, question: str) -> str:
        """Return what this gateway says to a request that is signed so: `allow`, `deny`, `refused` or `unavailable`."""
        try:
            credentials, principal = self.identities.lookup(key, token)
        except (InvalidAccessKeyId, InvalidTokenId, ExpiredToken):
            return "refused"
        except ServiceUnavailable:
            return "unavailable"
        if credentials.secret.reveal() != secret:
            return "refused"
        return "allow" if self.authorizer.decide_now(AccessRequest(principal, *QUESTIONS[question])) else "deny"

    async def call(self, action: str, signer: tuple[str, str, str] | None, **parameters: str) -> Credentials:
        """Make an STS call, signed by (access key, secret, token) or by nobody; return the credentials. Raises StsError."""
        who = None
        if signer is not None:
            credentials, who = self.identities.lookup(signer[0], signer[2])
            if credentials.secret.reveal() != signer[1]:
                raise InvalidAccessKeyId(reason="the signature does not match")
        answer = await self.sts.call(StsCall(action, {"Action": action, **parameters}, who, ""), request_id="1")
        key, secret, token, ends = (
            re.search(f"<{name}>([^<]*)</{name}>", answer.decode())[1]
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        )
        return Credentials(key, Secret(secret), Secret(token), int(datetime.fromisoformat(ends).timestamp()))

    async def _may(self, request: AccessRequest) -> Decision:
        if request.principal.owner:
            return await self.authorizer.decide(request)
        return IamPolicies(self.book).decide_now(request._replace(deny_only=True))
