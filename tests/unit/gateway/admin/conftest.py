"""A gateway whose administration API is called as clients call it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from gateway.admin.call import Body
from gateway.admin.office import Office
from gateway.admin.router import MINIO, OURS, ROUTES
from iam import madmin
from iam.authorize import IamPolicies
from iam.model import Credentials, Secret
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.front import Front, serve
from tests.unit.gateway.office import Iam, an_iam
from tests.unit.gateway.signers import ROOT

SECRET = "a-secret-of-"


def key(name: str) -> Credentials:
    """Return the credentials that `Administrated.user` gives."""
    return Credentials(name, Secret(SECRET + name))


@dataclass
class Told:
    """What a call was answered: its document is opened."""

    status: int
    document: Any
    sealed: bool

    @property
    def code(self) -> str:
        return self.document["Code"]


@dataclass
class Administrated:
    """A gateway, its identities, and a client of its administration API."""

    front: Front
    iam: Iam

    @property
    def office(self) -> Office:
        """What its handlers work with."""
        return self.front.office

    async def call(self, method: str, path: str, document=None, who: Credentials = ROOT, **query: Any) -> Told:
        """Make one call as madmin does; the route says whether its bodies are encrypted."""
        where = path if path.startswith("/minio") else MINIO + path
        names = [(name.replace("_", "-"), value) for name, value in query.items()]
        pairs = [(n, v) for n, given in names for v in (given if isinstance(given, list | tuple) else [given])]
        route = ROUTES.get((where, method))
        body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
        if route is not None and route.body is Body.SEALED and body:
            body = madmin.encrypt(who.secret.reveal(), body, random=os.urandom, scheme=madmin.Scheme.PBKDF2_AES)
        target = f"{where}?{urlencode(pairs, quote_via=quote)}" if pairs else where
        answer = await self.front.call(method, target, None, body, who=who, payload=sha256(body).hexdigest())
        sealed = answer.headers.get("Content-Type") == "application/octet-stream"
        plain = madmin.decrypt(who.secret.reveal(), answer.body, limit=None) if sealed else answer.body
        return Told(answer.status, json.loads(plain) if plain else None, sealed)

    async def ours(self, method: str, path: str, document=None, who: Credentials = ROOT, **query: Any) -> Told:
        """Make one call of our own API."""
        return await self.call(method, OURS + path, document, who, **query)

    async def user(self, name: str, *actions: str, deny: str = "") -> Credentials:
        """Make a user who may do these actions, and must not do `deny`."""
        await self.iam.changes.put_user(name, secret=Secret(SECRET + name))
        statements = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}] if actions else []
        statements += [{"Effect": "Deny", "Action": deny}] if deny else []
        if statements:
            text = json.dumps({"Version": "2012-10-17", "Statement": statements})
            await self.iam.changes.put_policy(f"{name}-policy", text)
            await self.iam.changes.attach(name, [f"{name}-policy"])
        return key(name)

    async def lines(self) -> list[dict]:
        """Return the access log."""
        return await self.front.lines()


@pytest.fixture
async def gateway():
    """A gateway with an empty store of identities."""
    backend = RecordingBackend()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(backend.close)
        iam = await an_iam(stack)
        front = await serve(
            stack, backend.endpoint, IamPolicies(iam.policies), iam.lookup, iam=iam, metrics_public=False
        )
        yield Administrated(front, iam)
        assert not backend.signed, "administration asks the store for readiness only"
