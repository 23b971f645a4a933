"""The phases every STS call shares, in order: validate, prove, authorize, clamp, mint, record.

An action module only proves its caller; it cannot forget a shared step. The session is in the store before the answer
leaves.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iam.model import Credentials
from iam.policy import PolicyError, parse
from iam.store import IamStore, SessionRecord, StoreError
from sts import assume_role
from sts.openid import OpenId
from sts.sessions import OUR_CLAIMS, Keyring, mint
from sts.wire import (
    ExpiredToken,
    InvalidParameterValue,
    MalformedPolicyDocument,
    PackedPolicyTooLarge,
    ServiceUnavailable,
    StsCall,
    render_result,
)

ACTIONS = frozenset({"AssumeRole", "AssumeRoleWithClientGrants", "AssumeRoleWithWebIdentity"})
MIN_DURATION, MAX_DURATION, DEFAULT_DURATION = 900, 31_536_000, 3600  # seconds
MAX_POLICY = 2048  # characters of compact JSON
MAX_TOKEN = 12_288  # characters of a session token: it must fit into one header and into a presigned URL
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_AUDITED = ("sub", "azp", "iss", "preferred_username", "policy", "groups", "jti")


@dataclass(frozen=True)
class StsService:
    """Issues sessions. `require_policy`: without an external policy service a token must name a known policy."""

    keyring: Keyring
    store: IamStore
    openid: OpenId
    policy_exists: Callable[[str], bool]
    require_policy: bool
    now: Callable[[], int]
    new_access_key: Callable[[], str]
    claim_name: str = "policy"
    claim_prefix: str = ""

    async def call(self, call: StsCall, *, request_id: str) -> bytes:
        """Carry a call out and return its XML. Raises StsError."""
        duration, policy = _duration(call), _policy(call)
        claims, expiry = await self._prove(call)
        expires_at = self._clamp(duration, expiry)
        if policy is not None:
            claims["sessionPolicy"] = base64.b64encode(policy.encode()).decode()
        credentials = mint(self.keyring, claims, access_key_id=self.new_access_key(), expires_at=expires_at)
        if credentials.session_token is None or len(credentials.session_token.reveal()) > MAX_TOKEN:
            raise PackedPolicyTooLarge
        await self._record(call, claims, credentials)
        return render_result(call, credentials, subject=str(claims.get("sub", "")), request_id=request_id)

    async def _prove(self, call: StsCall) -> tuple[dict[str, Any], int | None]:
        """Return the claims for the token and when the proof itself ends."""
        match call.action:
            case "AssumeRole":
                return dict(assume_role.prove(call)), None
            case "AssumeRoleWithClientGrants" | "AssumeRoleWithWebIdentity":
                proof = await self.openid.prove(call)
            case action:
                raise InvalidParameterValue(f"The action {action[:64]} is not supported.")
        claims = {n: v for n, v in proof.claims.items() if n not in OUR_CLAIMS}
        if proof.role_arn:
            claims["roleArn"] = proof.role_arn
        self._authorize(self.openid.policies(proof.provider, claims))
        return claims, proof.expires_at

    def _authorize(self, named: Sequence[str]) -> None:
        """Refuse a token that could never do anything (minio.md 1.3): better said now than at every request."""
        if not self.require_policy:
            return
        claim = self.claim_prefix + self.claim_name
        if not named:
            raise InvalidParameterValue(f"The token has no claim '{claim}' that names a policy.")
        if not any(self.policy_exists(name) for name in named):
            raise InvalidParameterValue(f"None of the policies named by the claim '{claim}' exists.")

    def _clamp(self, duration: int | None, expiry: int | None) -> int:
        """Return the expiry: never past the proof's own (trap 46)."""
        now = self.now()
        if expiry is None:
            return now + (duration or DEFAULT_DURATION)
        if expiry <= now:
            raise ExpiredToken
        return min(expiry, now + (duration or MAX_DURATION))

    async def _record(self, call: StsCall, claims: Mapping[str, Any], credentials: Credentials) -> None:
        record = SessionRecord(
            credentials.access_key_id,
            parent=str(claims.get("parent") or claims.get("sub") or claims.get("azp") or ""),
            issuer=str(claims.get("iss", "")),
            provider=call.action,
            issued_at=self.now(),
            expires_at=credentials.expires_at or 0,
            claims={n: claims[n] for n in (*_AUDITED, self.claim_prefix + self.claim_name) if n in claims},
        )
        try:
            await self.store.record_session(record)
        except StoreError as error:
            raise ServiceUnavailable(reason=str(error)) from error


def _duration(call: StsCall) -> int | None:
    text = call.parameters.get("DurationSeconds", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and MIN_DURATION <= int(text) <= MAX_DURATION):
        raise InvalidParameterValue(f"DurationSeconds must be between {MIN_DURATION} and {MAX_DURATION}.")
    return int(text)


def _policy(call: StsCall) -> str | None:
    """Return the session policy as compact JSON: its length counts, since it travels in every request."""
    text = call.parameters.get("Policy", "")
    if not text:
        return None
    try:
        parse(text)
    except PolicyError as error:
        raise MalformedPolicyDocument("; ".join(error.problems)[:1000]) from None
    compact = json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    if len(compact) > MAX_POLICY:
        raise MalformedPolicyDocument(f"The policy is longer than {MAX_POLICY} characters.")
    if _NOT_TEXT.search(compact):
        raise MalformedPolicyDocument("The policy holds half a character.")
    return compact
