"""AssumeRoleWithCustomToken: a webhook of the operator's says whose an opaque token is.

The webhook is asked as MinIO asks it: POST to its URL with `token=` added to the query, its own token as Authorization, no
body. 200 with {"user", "maxValiditySeconds", "claims"} proves, 403 with {"reason"} refuses; anything else proves nothing.
https://github.com/minio/minio/blob/master/docs/iam/identity-management-plugin.md
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import httpx

from iam.records import is_subject
from sts.parameters import MAX_DURATION, MIN_DURATION
from sts.proof import Proof
from sts.sessions import OUR_CLAIMS
from sts.settings import PluginSettings
from sts.wire import AccessDenied, IDPCommunicationError, InvalidParameterValue, StsCall

PROVIDER = "custom"
DEADLINE = 5.0  # seconds for one answer
MAX_ANSWER = 65_536  # bytes
MAX_TOKEN = 16_384  # characters
MAX_NAME = 512  # characters of a user's name
_REASON = 300  # characters of the webhook's reason that the log keeps


class CustomToken:
    """A `WayIn` over one webhook."""

    def __init__(self, settings: PluginSettings, region: str = "", deadline: float = DEADLINE) -> None:
        self.role_arn = role_arn(settings, region)
        self._settings = settings
        self._deadline = deadline
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if settings.auth_token is not None:
            headers["Authorization"] = settings.auth_token.reveal()
        self._client = httpx.AsyncClient(timeout=deadline, follow_redirects=False, trust_env=False, headers=headers)

    async def prove(self, call: StsCall) -> Proof:
        """Return whose the token is. Raises StsError."""
        if call.parameters["RoleArn"] != self.role_arn:
            raise InvalidParameterValue("RoleArn is not the role of the identity plugin.")
        if len(call.parameters["Token"]) > MAX_TOKEN:
            raise InvalidParameterValue(f"Token may have {MAX_TOKEN} characters at most.")
        status, body = await self._ask(self._url(call.parameters["Token"]))
        answer = _read(body)
        if status == 403:
            reason = str(answer.get("reason", ""))[:_REASON]
            raise AccessDenied("The identity plugin refused the token.", reason=f"identity plugin: {reason!r}")
        if status != 200:
            raise _failed(f"status {status}")
        return self._proof(answer)

    async def ready(self) -> str | None:
        """Return None: a webhook that is away fails its own calls, and makes no gateway unready for the others."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def policies(self, _provider: str, _claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the policies of everybody whom the plugin vouches for."""
        return self._settings.role_policies

    def _url(self, token: str) -> httpx.URL:
        try:
            return httpx.URL(self._settings.url).copy_add_param("token", token)
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise InvalidParameterValue("Token is too long for a URL, or no text.") from None

    async def _ask(self, url: httpx.URL) -> tuple[int, bytes]:
        """Return status and body of the webhook's answer, bounded in time and size; a redirect is an answer as any other."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._deadline), self._client.stream("POST", url) as response:
                # Raw: a small answer must not unpack into a huge one.
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise _failed("answer too large")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            # The error's text may hold the URL, and so the token.
            raise _failed(type(error).__name__) from None
        return response.status_code, bytes(body)

    def _proof(self, answer: Mapping[str, Any]) -> Proof:
        user, longest, claims = answer.get("user"), answer.get("maxValiditySeconds"), answer.get("claims") or {}
        if not isinstance(user, str) or len(user) > MAX_NAME or not is_subject(user):
            raise _failed("user is not a name")
        if type(longest) is not int or not MIN_DURATION <= longest <= MAX_DURATION:
            raise _failed(f"maxValiditySeconds is not between {MIN_DURATION} and {MAX_DURATION}")
        if not isinstance(claims, dict) or not isinstance(claims.get("iss", ""), str):
            raise _failed("claims is not an object, or its iss not a text")
        told = {name: value for name, value in claims.items() if name not in OUR_CLAIMS}
        return Proof(
            PROVIDER, f"{PROVIDER}:{user}", {**told, "sub": user},
            max_duration=longest, role_arn=self.role_arn, subject=user,
        )  # fmt: skip


def _read(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _failed("the answer is not a JSON object")
    return answer


def _failed(trouble: str) -> IDPCommunicationError:
    return IDPCommunicationError(
        "The identity plugin does not answer as it should.", reason=f"identity plugin: {trouble}"
    )


def role_arn(settings: PluginSettings, region: str) -> str:
    """Return the role of the plugin, as MinIO names it: `arn:minio:iam:<region>::role/idmp-<id>`."""
    digest = hashlib.sha1(settings.url.encode(), usedforsecurity=False).digest()
    plugin = settings.role_id or base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return f"arn:minio:iam:{region}::role/idmp-{plugin}"
