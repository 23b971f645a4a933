"""The phases every STS call shares, in order: validate, prove, clamp, authorize, mint, record.

A way in only proves its caller; it cannot forget a shared step. The session is in the store before the answer leaves.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from iam.model import AccessRequest, Allow, Credentials, Decision, Deny, Principal, PrincipalType
from iam.policy import Policy
from iam.store import IamStore, SessionRecord, StoreError
from sts.caller_identity import identity_of
from sts.narrowing import narrowed
from sts.parameters import ACTIONS, MAX_DURATION, Wanted, tags_of, wanted
from sts.proof import AWS_TAGS, USER, Proof, WayIn
from sts.questions import Question
from sts.sessions import OUR_CLAIMS, PRIVATE, Keyring, mint
from sts.wire import (
    AccessDenied,
    ExpiredTokenException,
    IDPRejectedClaim,
    InvalidParameterValue,
    Named,
    PackedPolicyTooLarge,
    ServiceUnavailable,
    StsCall,
    STSNotInitialized,
    render_identity,
    render_result,
)

__all__ = ["ACTIONS", "StsService"]

MAX_TOKEN = 4096  # characters of a session token: it travels in a header, or a URL, of every request
_AHEAD = 3_600_000  # milliseconds that a session may be stamped ahead of our clock: others' may be ahead, by far less
_NAMED_AT_MOST = 3  # claims in the message about a token that is too long
_AUDITED = ("sub", "azp", "iss", "preferred_username", "policy", "groups", "jti")


def _nothing(_: Proof) -> str:
    return ""


def _no_policies(_: Proof) -> tuple[str, ...]:
    return ()


def _never(_parent: str, _type: str) -> int:
    return 0


class _Before(NamedTuple):
    """What was known when a caller began to prove himself: the epoch millisecond, and which sessions were revoked."""

    at: int
    not_before: Callable[[str, str], int]


@dataclass(frozen=True)
class StsService:
    """Issues sessions.

    `ways` are the ways in by action; `keyring` returns the keys of this moment (`current` "" while there is none), `policy` a
    policy by its name (PolicyArns). `now` is in epoch seconds. `may` answers two questions (None: always yes, but nobody
    except root may give tags): `sts:<Action>`, to be allowed unless a policy denies it, and `sts:TagSession`, to be denied
    unless a policy allows it. `rights` are the policies that a proved identity has. `shortcoming` says why a federated
    identity could never do anything, "" when it could. `revocations` returns what is known of them at this moment, for good:
    (parent, TokenRevokeType) gives the epoch millisecond up to which sessions of that parent are revoked.
    """

    ways: Mapping[str, WayIn]
    keyring: Callable[[], Keyring]
    store: IamStore
    policy: Callable[[str], Policy | None]
    now: Callable[[], float]
    new_access_key: Callable[[], str]
    may: Callable[[AccessRequest], Awaitable[Decision]] | None = None
    rights: Callable[[Proof], tuple[str, ...]] = _no_policies
    shortcoming: Callable[[Proof], str] = _nothing
    revocations: Callable[[], Callable[[str, str], int]] = lambda: _never
    sealed: bool = False
    audited: tuple[str, ...] = ()

    async def call(self, call: StsCall, *, request_id: str) -> bytes:
        """Carry a call out and return its XML. Raises StsError."""
        asked = wanted(call)
        if call.action == "GetCallerIdentity":
            who = identity_of(call)
            return render_identity(arn=who.arn, user_id=who.user_id, account=who.account, request_id=request_id)
        before = _Before(int(self.now() * 1000), self.revocations())
        proof = await self._prove(call)
        policy = self._narrowed(asked)  # only who is proved learns which policies there are
        expires_at, vouched = self._clamp(asked, proof), _tags_of(proof)
        asker = self._asker(call, proof, vouched)
        await self._authorize(asked, Question(asker, call, *self._times(expires_at), asked.tags))
        tags = {**vouched, **asked.tags}
        claims, keyring = self._claims(asked, proof, tags, policy, before), self._keyring()
        credentials = self._mint(keyring, claims, expires_at)
        await self._record(asked, proof, claims, credentials, keyring.current)
        packed = len(policy or "") + sum(len(key) + len(value) for key, value in tags.items())
        named = Named(proof.subject, proof.audience, proof.issuer, -(-100 * packed // MAX_TOKEN) if packed else None)
        return render_result(call, credentials, named, request_id=request_id)

    def _narrowed(self, asked: Wanted) -> str | None:
        """Return the session policy of `Policy` and `PolicyArns`."""
        named = []
        for parameter, name in asked.policies:
            policy = self.policy(name)
            if policy is None:
                raise InvalidParameterValue(f"{parameter}: there is no policy {name}.")
            named.append(policy)
        return narrowed(asked.policy, named)

    async def _prove(self, call: StsCall) -> Proof:
        way = self.ways.get(call.action)
        if way is None:
            raise STSNotInitialized(f"{call.action} is not configured here.")
        proof = await way.prove(call)
        if proof.provider != USER and (missing := self.shortcoming(proof)):
            raise InvalidParameterValue(missing)
        return proof

    def _clamp(self, asked: Wanted, proof: Proof) -> int:
        """Return the expiry (epoch seconds): never past the proof's own, nor longer than its maximum (trap 46)."""
        now = int(self.now())
        if proof.expires_at is not None and proof.expires_at <= now:
            raise ExpiredTokenException
        length = min(asked.duration or MAX_DURATION, proof.max_duration or MAX_DURATION, MAX_DURATION)
        return now + length if proof.expires_at is None else min(proof.expires_at, now + length)

    def _times(self, expires_at: int) -> tuple[int, int]:
        """Return how long a session would last, and now, both in seconds."""
        now = int(self.now())
        return expires_at - now, now

    async def _authorize(self, asked: Wanted, about: Question) -> None:
        """Ask whether this session may be made, and whether its caller may give it tags of his own choice."""
        made = AccessRequest(about.principal, f"sts:{asked.action.name}", "", context=about, deny_only=True)
        decision = await self.may(made) if self.may else Allow()
        if not decision:
            raise AccessDenied(reason=f"{made.action}: {decision.reason}")
        if not asked.tags:
            return
        tagged = AccessRequest(about.principal, "sts:TagSession", "", context=about)
        decision = await self.may(tagged) if self.may else Allow() if about.principal.owner else Deny("nobody to ask")
        if not decision:
            raise AccessDenied(
                "The parameter Tags needs the right sts:TagSession.", reason=f"sts:TagSession: {decision.reason}"
            )

    def _asker(self, call: StsCall, proof: Proof, vouched: Mapping[str, str]) -> Principal:
        """Return who asks for the session: the signer, or whom the proof has made known.

        The tags are those that somebody vouches for: one whom a tag lets tag must not give himself that tag. The role is the
        session's, so that its name is the same before and after (aws:PrincipalArn).
        """
        if proof.provider == USER and call.signer is not None:
            return call.signer
        claims = {name: value for name, value in proof.claims.items() if name not in OUR_CLAIMS}
        if proof.role_arn:
            claims["roleArn"] = proof.role_arn
        return Principal(
            PrincipalType.ASSUMED_ROLE, claims=claims, groups=proof.groups, policies=self.rights(proof),
            parent=proof.parent, tags=vouched, provider=proof.provider,
        )  # fmt: skip

    def _claims(
        self, asked: Wanted, proof: Proof, tags: Mapping[str, str], policy: str | None, before: _Before
    ) -> dict[str, Any]:
        """Return what the token says: of the proof nothing that only we may say (trap 47)."""
        claims = {n: v for n, v in proof.claims.items() if n not in OUR_CLAIMS and n != AWS_TAGS}
        issued = self._issued(proof.parent, asked.revoke_type, before)
        private = {
            "provider": proof.provider, "issued": issued, "groups": list(proof.groups), "tags": dict(tags),
            "transitive": list(asked.transitive), "session": asked.session_name,
        }  # fmt: skip
        ours = {
            "parent": proof.parent, "roleArn": proof.role_arn, "tokenRevokeType": asked.revoke_type,
            "sessionPolicy": base64.b64encode(policy.encode()).decode() if policy is not None else "",
            PRIVATE: {name: value for name, value in private.items() if value},
        }  # fmt: skip
        return claims | {name: value for name, value in ours.items() if value or name == "parent"}

    def _issued(self, parent: str, revoke_type: str, before: _Before) -> int:
        """Return the session's moment: later than every revocation that was known before its caller proved himself.

        A directory may take seconds. A revocation of meanwhile is of whoever was proved before it, so it must not be
        stepped over; he is asked to prove himself again. A stamp far ahead would outlast every later revocation: where one cannot
        be read there is no session. Raises ServiceUnavailable.
        """
        issued = max(before.at, before.not_before(parent, revoke_type) + 1)
        if issued > before.at + _AHEAD:
            raise ServiceUnavailable(
                "This identity gets no sessions now.", reason="its revocation cannot be read, or is far ahead"
            )
        if issued <= self.revocations()(parent, revoke_type):
            raise ServiceUnavailable("Sessions of this identity were just revoked; please try again.", reason="revoked")
        return issued

    def _keyring(self) -> Keyring:
        keyring = self.keyring()
        if keyring.current not in keyring.keys:
            raise ServiceUnavailable("There is no key for session tokens yet; please try again.", reason="no key")
        return keyring

    def _mint(self, keyring: Keyring, claims: Mapping[str, Any], expires_at: int) -> Credentials:
        access_key = self.new_access_key()
        credentials = mint(keyring, claims, access_key_id=access_key, expires_at=expires_at, sealed=self.sealed)
        length = len(credentials.session_token.reveal()) if credentials.session_token else 0
        if length > MAX_TOKEN:
            raise PackedPolicyTooLarge(_too_large(claims, length))
        return credentials

    async def _record(
        self, asked: Wanted, proof: Proof, claims: Mapping[str, Any], credentials: Credentials, kid: str
    ) -> None:
        record = SessionRecord(
            credentials.access_key_id,
            parent=proof.parent,
            issuer=proof.issuer,
            provider=proof.provider,
            issued_at=claims[PRIVATE]["issued"] // 1000,
            expires_at=credentials.expires_at or 0,
            claims={name: claims[name] for name in (*_AUDITED, *self.audited) if name in claims},
            kid=kid,
            revoke_type=asked.revoke_type,
        )
        try:
            await self.store.record_session(record)
        except StoreError as error:
            raise ServiceUnavailable(reason=str(error)) from error


def _too_large(claims: Mapping[str, Any], length: int) -> str:
    """Name the largest claims, and nothing of what they say."""
    sizes = {name: len(json.dumps(value, separators=(",", ":"), default=str)) for name, value in claims.items()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_NAMED_AT_MOST]
    told = ", ".join(f"{name[:64]} ({size})" for name, size in largest)
    return f"The session token would have {length} characters and may have {MAX_TOKEN}; its largest claims: {told}."


def _tags_of(proof: Proof) -> dict[str, str]:
    """Return the session tags that an identity provider vouches for, each with one value.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp
    """
    given = proof.claims.get(AWS_TAGS)
    tags = given.get("principal_tags") if isinstance(given, dict) else None
    if given is None or not tags:
        return {}
    pairs = []
    for key, values in tags.items() if isinstance(tags, dict) else [("", None)]:
        value = values[0] if isinstance(values, list) and len(values) == 1 else values
        if not isinstance(value, str):
            raise IDPRejectedClaim(f"The claim {AWS_TAGS} does not name tags of one value each.")
        pairs.append((key, value))
    try:
        return tags_of(pairs)
    except InvalidParameterValue as error:
        raise IDPRejectedClaim(f"The claim {AWS_TAGS}: {error.text}") from None
