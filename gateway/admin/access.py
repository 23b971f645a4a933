"""Who makes an administration call, and may they?

Authentication is the S3 requests' own (`gateway.s3.authenticate`), but narrower: the signature stands in the Authorization header,
and covers the hash of the body, which is checked. No presigned URLs, nobody anonymous, no body that nobody signed.
Authorization asks the same authorizer as S3 requests do, for an admin: action on no bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest

from gateway.errors import AccessDenied, SignatureDoesNotMatch, XAmzContentSHA256Mismatch
from gateway.s3.authenticate import Caller, PayloadMode, authenticate
from gateway.s3.context import RequestContext
from gateway.s3.request import S3Request
from gateway.signing.sigv4 import signature_age_ms
from gateway.stories.case import World
from iam.model import AccessRequest, Decision, Principal, PrincipalType, Secret


@dataclass(frozen=True)
class Asker:
    """Who makes a call, as its signature proved; `secret` is what its bodies are encrypted with."""

    principal: Principal
    secret: Secret
    caller: Caller
    request: S3Request
    world: World
    now: int

    @property
    def identity(self) -> str:
        """Return whose call it is: the parent of a session or a service account, else the access key."""
        return self.principal.parent or self.principal.access_key_id

    @property
    def is_derived(self) -> bool:
        """Return whether it is a session or a service account, which acts for somebody."""
        principal = self.principal
        return principal.type is PrincipalType.ASSUMED_ROLE or self.identity != principal.access_key_id

    def check_body(self, body: bytes) -> None:
        """Return if the body is the one that was signed. Raises XAmzContentSHA256Mismatch."""
        if not compare_digest(sha256(body).hexdigest(), self.caller.payload_hash):
            raise XAmzContentSHA256Mismatch

    def still(self) -> Asker:
        """Return who asks now, after a wait. Raises as the lookup what has ended meanwhile, SignatureDoesNotMatch for another secret."""
        claim = self.caller.claim
        if claim is None:
            raise AccessDenied(reason="no signature")
        token = self.request.header("x-amz-security-token")
        credentials, principal = self.world.lookup(claim.access_key_id, token)
        if credentials.secret != self.secret:
            raise SignatureDoesNotMatch(reason=f"the secret of {claim.access_key_id} has become another")
        return replace(self, principal=principal)

    async def must(self, actions: Sequence[str], *, own: bool = False) -> None:
        """Return if one of the actions is allowed, or is not denied where it is about one's own. Raises AccessDenied."""
        reasons = []
        questions = [AccessRequest(self.principal, action, "", "", self._facts(action), own) for action in actions]
        for question in questions:
            decision = await self._decide(question)
            if decision:
                return
            reasons.append(decision.reason)
        raise AccessDenied(reason="; ".join(reasons), asked=questions[0])

    async def _decide(self, question: AccessRequest) -> Decision:
        decision = self.world.authorizer.decide_now(question)
        return await self.world.authorizer.decide(question) if decision is None else decision

    def _facts(self, action: str) -> RequestContext:
        request, claim = self.request, self.caller.claim
        return RequestContext(
            request.headers, request.query, self.principal, request.source_ip, request.secure, self.now, "AWS4-HMAC-SHA256",
            self.caller.auth_type, signature_age_ms(claim, self.now) if claim else None, self.world.raw_headers, operation=action,
        )  # fmt: skip


def identify(request: S3Request, world: World, *, now: int) -> Asker:
    """Return who signed a request. Raises AccessDenied, SignatureDoesNotMatch and what else an S3 request's signature may."""
    if not request.header("authorization"):
        raise AccessDenied(reason="no Authorization header")
    if not request.header("x-amz-content-sha256"):
        raise AccessDenied(reason="no x-amz-content-sha256")
    caller = authenticate(request, world.lookup, world.keys, now=now)  # any region: MinIO's clients sign for none
    if caller.claim is None or caller.mode is not PayloadMode.HEX:
        raise AccessDenied(
            "An administration call signs the hash of its body.", reason=f"payload mode {caller.mode.value}"
        )
    token = request.header("x-amz-security-token")
    credentials, principal = world.lookup(caller.claim.access_key_id, token)
    return Asker(principal, credentials.secret, caller, request, world, now)
