"""A client of several gateways at once: signed requests, STS and administration calls over one asynchronous connection pool."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any, Self

import httpx
import jwt
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from minio import MinioAdmin
from minio.credentials import StaticProvider

from tests.servers.processes import ROOT_PASSWORD, ROOT_USER

ROOT_KEYS = Credentials(ROOT_USER, ROOT_PASSWORD)


@dataclass(frozen=True)
class Refusal:
    """An answer that is none of success."""

    status: int
    code: str


class Fleet:
    """`async with Fleet() as fleet`: every call names the gateway that it goes to."""

    def __init__(self) -> None:
        self.http = httpx.AsyncClient(timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def listing(self, gateway, keys: Credentials) -> str:
        """List the buckets; return the error's code, "" when it is allowed."""
        answer = await self._signed(gateway, "GET", "/", keys)
        return "" if answer.status_code == 200 else _code(answer)

    async def admin(
        self, gateway, method: str, path: str, document: Any = None, *, keys: Credentials = ROOT_KEYS
    ) -> Any:
        """Make a call of /minio-gw/admin/v1; return its document, or a Refusal."""
        body = b"" if document is None else json.dumps(document).encode()
        answer = await self._signed(gateway, method, f"/minio-gw/admin/v1{path}", keys, body)
        return answer.json() if answer.status_code == 200 else Refusal(answer.status_code, _code(answer))

    async def grant(self, gateway, token: str, **parameters: str) -> Credentials | Refusal:
        """Get a session for a token of the identity provider."""
        query = {"Action": "AssumeRoleWithClientGrants", "Token": token, **parameters}
        return _issued(await self.http.post(gateway.endpoint, params=query))

    async def assume(self, gateway, keys: Credentials, **parameters: str) -> Credentials | Refusal:
        """Get a session of one's own."""
        form = {"Action": "AssumeRole", "Version": "2011-06-15", **parameters}
        request = AWSRequest("POST", f"{gateway.endpoint}/", data=form)
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        SigV4Auth(keys, "sts", "us-east-1").add_auth(request)
        prepared = request.prepare()
        answer = await self.http.post(prepared.url, headers=dict(prepared.headers), content=prepared.body)
        return _issued(answer)

    async def status(self, gateway, path: str) -> tuple[int, str]:
        """Return status and text of an unsigned GET."""
        answer = await self.http.get(gateway.endpoint + path)
        return answer.status_code, answer.text

    async def add_user(self, gateway, name: str, secret: str, *policies: str) -> Credentials:
        """Add a user with policies attached, as MinIO's own client does; return its keys."""
        admin = administrator(gateway)
        await asyncio.to_thread(admin.user_add, name, secret)
        if policies:
            await asyncio.to_thread(admin.attach_policy, list(policies), name)
        return Credentials(name, secret)

    async def _signed(self, gateway, method: str, path: str, keys: Credentials, body: bytes = b"") -> httpx.Response:
        request = AWSRequest(method, gateway.endpoint + path, data=body)
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
        return await self.http.request(method, gateway.endpoint + path, headers=dict(request.headers), content=body)


def administrator(gateway, keys: Credentials = ROOT_KEYS) -> MinioAdmin:
    """Return MinIO's own client of the administration API."""
    provider = StaticProvider(keys.access_key, keys.secret_key, keys.token)
    return MinioAdmin(endpoint=gateway.endpoint.removeprefix("http://"), credentials=provider, secure=False)


def key_of(session: Credentials) -> str:
    """Return the id of the key that signed a session's token."""
    return jwt.get_unverified_header(session.token)["kid"]


def _issued(answer: httpx.Response) -> Credentials | Refusal:
    if answer.status_code != 200:
        return Refusal(answer.status_code, _code(answer))
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    return Credentials(*(re.search(f"<{name}>([^<]*)</{name}>", answer.text)[1] for name in names))


def _code(answer: httpx.Response) -> str:
    found = re.search(r"<Code>(.*?)</Code>", answer.text) or re.search(r'"Code": ?"(.*?)"', answer.text)
    return found[1] if found else str(answer.status_code)
