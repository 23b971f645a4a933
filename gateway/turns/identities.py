"""Access key and token -> credentials and principal, as this gateway's view of the store has it at this moment.

Root is known by the configuration; users and service accounts by the view; sessions by their token, which verifies without a
lookup. What was found is kept, and found again when the view is another one: rights that were taken away are away with it. While
the rights have not changed the objects are the same ones, so that others may know them by identity.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import ExpiredToken, InvalidAccessKeyId, InvalidTokenId, ServiceUnavailable
from iam.model import Credentials, Principal, PrincipalType, Secret
from iam.records import ServiceAccount, User
from iam.store import SessionRecord
from iam.view import IamView
from iam.watch import Watcher
from sts.principal import principal_of
from sts.proof import USER, Proof
from sts.sessions import ExpiredSession, InvalidSession, Keyring, Session, open_session

SESSIONS_KEPT = 16_384
_NEVER = 2**53

#: (provider of a session, its claims with `roleArn`) -> the policies that the provider gives it.
Source = Callable[[str, Mapping[str, Any]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Known:
    """What was found in a view; `expires_at` in epoch seconds."""

    view: IamView
    found: tuple[Credentials, Principal]
    expires_at: int
    session: Session | None = None


class Rights:
    """Which policies a principal has: its provider's, and those attached to it and to its groups.

    `sources` by the kind of provider (`openid`, `tls`); a kind without one gives nothing but attachments.
    """

    def __init__(self, root_access_key: str, sources: Mapping[str, Source]) -> None:
        self.root_access_key = root_access_key
        self._sources = sources

    def federated(
        self, view: IamView, provider: str, claims: Mapping[str, Any], parent: str, groups: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the policies of an identity of somebody else's; none at all when an attachment of it cannot be read."""
        attached = view.attached(parent, groups)
        if attached is None:
            return ()
        source = self._sources.get(provider.partition(":")[0])
        given = source(provider, claims) if source is not None else ()
        return tuple(dict.fromkeys((*given, *attached)))

    def of_user(self, view: IamView, name: str) -> tuple[str, ...]:
        """Return the policies of a user and of its groups."""
        return view.attached(name, view.groups_of(name)) or ()

    def of_proof(self, view: IamView, proof: Proof) -> tuple[str, ...]:
        """Return the policies that a proved identity would have in a session."""
        if proof.provider == USER:
            return self.of_user(view, proof.parent)
        claims = {**proof.claims, "roleArn": proof.role_arn}
        return self.federated(view, proof.provider, claims, proof.parent, proof.groups)


class Identities:
    """Finds who signs. `stale_limit` (seconds): how old the view may be for anybody but root; 0: not even a moment."""

    def __init__(
        self, root: Credentials, watcher: Watcher, keyring: Callable[[], Keyring], rights: Rights,
        now: Callable[[], int], stale_limit: float,
    ) -> None:  # fmt: skip
        self._root = root, Principal(PrincipalType.ACCOUNT, root.access_key_id, owner=True)
        self._root_key = root.access_key_id
        self._watcher, self._keyring, self._rights, self._now = watcher, keyring, rights, now
        self._stale_limit = stale_limit
        self._sessions: dict[str, Known] = {}
        self._keys: dict[str, Known] = {}

    def lookup(self, access_key_id: str, token: str) -> tuple[Credentials, Principal]:
        """Return who an access key and a token are.

        Raises InvalidAccessKeyId, InvalidTokenId, ExpiredToken, ServiceUnavailable.
        """
        if access_key_id == self._root_key:
            if token:
                raise InvalidTokenId(reason="a session token with permanent credentials")
            return self._root
        view = self._watcher.view
        known = self._sessions.get(token) if token else self._keys.get(access_key_id)
        if known is None or known.view is not view:
            self._fresh()
            known = self._find(view, access_key_id, token, known)
        elif time.monotonic() - self._watcher.last_seen > 1:
            self._fresh()
        if known.found[0].access_key_id != access_key_id:
            raise InvalidTokenId(reason="the token of another session")
        if known.expires_at <= self._now():
            raise ExpiredToken(reason="session expired") if token else InvalidAccessKeyId(reason="account expired")
        return known.found

    def token_of(self, access_key_id: str) -> str:
        """Return the token of a session that this process has seen lately, "" of any other: for the operator's question why."""
        tokens = (token for token, known in self._sessions.items() if known.found[0].access_key_id == access_key_id)
        return next(tokens, "")

    def recorded(self, record: SessionRecord) -> Principal:
        """Return who a session is as far as its record says: without what is only in its token. Raises as `lookup`."""
        view = self._watcher.view
        if view.is_revoked(record.access_key_id, record.parent, record.issued_at * 1000, record.revoke_type):
            raise InvalidAccessKeyId(reason="session revoked")
        if record.kid and record.kid not in self._keyring().keys:
            raise InvalidTokenId(reason="session token: its key was withdrawn")
        credentials = Credentials(record.access_key_id, Secret(""), expires_at=record.expires_at)
        session = Session(credentials, record.claims, record.parent, None, record.provider, record.issued_at * 1000)
        return self._principal(view, session)

    @property
    def is_stale(self) -> bool:
        """Whether the view is too old for anybody but root to be let in by it."""
        watcher = self._watcher
        return not watcher.is_loaded or (not watcher.current and watcher.age > self._stale_limit)

    def _fresh(self) -> None:
        if self.is_stale:
            raise ServiceUnavailable(reason="the IAM view is not loaded, or older than MINIO_GW_STALE_LIMIT")

    def _find(self, view: IamView, access_key_id: str, token: str, before: Known | None) -> Known:
        if token:
            return self._keep(self._sessions, token, before, self._session(view, access_key_id, token, before))
        account = view.accounts.get(access_key_id)
        if account is not None:
            return self._keep(self._keys, access_key_id, before, self._account(view, account))
        user = view.users.get(access_key_id)
        if user is None:
            raise InvalidAccessKeyId(reason="unknown access key, no session token")
        return self._keep(self._keys, access_key_id, before, self._user(view, user))

    def _keep(self, table: dict[str, Known], name: str, before: Known | None, known: Known) -> Known:
        """Keep what was found; where it is the same as before the objects stay the same."""
        if before is not None and before.found == known.found:
            known = Known(known.view, before.found, known.expires_at, known.session)
        if name not in table and len(table) >= SESSIONS_KEPT:
            table.clear()
        table[name] = known
        return known

    def _user(self, view: IamView, user: User) -> Known:
        _enabled(user.enabled, "user")
        principal = Principal(
            PrincipalType.USER, user.name, groups=view.groups_of(user.name),
            policies=self._rights.of_user(view, user.name),
        )  # fmt: skip
        return Known(view, (Credentials(user.name, user.secret), principal), _NEVER)

    def _account(self, view: IamView, account: ServiceAccount) -> Known:
        """Return a service account: what its parent is now, narrowed by its own policy (trap 29)."""
        _enabled(account.enabled, "service account")
        owner, groups, policies = self._parent(view, account)
        principal = Principal(
            PrincipalType.USER, account.access_key_id, owner=owner, claims=account.claims, groups=groups,
            policies=policies, session_policy=account.policy, parent=account.parent, provider=account.provider,
        )  # fmt: skip
        return Known(
            view, (Credentials(account.access_key_id, account.secret), principal), account.expires_at or _NEVER
        )

    def _parent(self, view: IamView, account: ServiceAccount) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        parent = account.parent
        if account.provider not in {"", USER}:
            policies = self._rights.federated(view, account.provider, account.claims, parent, account.groups)
            return False, account.groups, policies
        if parent == self._root_key:
            return True, (), ()
        self._alive(view, parent)
        return False, view.groups_of(parent), self._rights.of_user(view, parent)

    def _session(self, view: IamView, access_key_id: str, token: str, before: Known | None) -> Known:
        session = self._opened(view, token, before)
        if session.credentials.access_key_id != access_key_id:
            raise InvalidTokenId(reason="the token of another session")
        if view.is_revoked(access_key_id, session.parent, session.issued_at, session.revoke_type):
            raise InvalidAccessKeyId(reason="session revoked")
        principal = self._principal(view, session)
        return Known(view, (session.credentials, principal), session.credentials.expires_at or 0, session)

    def _opened(self, view: IamView, token: str, before: Known | None) -> Session:
        """Return the session of a token; verified once for as long as the keys are the same."""
        if before is not None and before.session is not None and before.view.keys is view.keys:
            return before.session
        try:
            return open_session(self._keyring(), token, now=self._now())
        except ExpiredSession:
            raise ExpiredToken(reason="session expired") from None
        except InvalidSession as error:
            if not self._watcher.current:
                # It may be signed by a key that we have not heard of yet.
                raise ServiceUnavailable(reason=f"session token: {error}; the IAM view is not current") from None
            raise InvalidTokenId(reason=f"session token: {error}") from None

    def _principal(self, view: IamView, session: Session) -> Principal:
        groups, policies = self._has(view, session)
        return principal_of(replace(session, groups=groups), root_access_key=self._root_key, policies=policies)

    def _has(self, view: IamView, session: Session) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return a session's groups and policies: a user's are those of this moment, whatever its token says (trap 30)."""
        if session.provider != USER:
            policies = self._rights.federated(view, session.provider, session.claims, session.parent, session.groups)
            return session.groups, policies
        if session.parent == self._root_key:
            return (), ()
        self._alive(view, session.parent)
        return view.groups_of(session.parent), self._rights.of_user(view, session.parent)

    def _alive(self, view: IamView, parent: str) -> None:
        """Refuse what acts for a user who is gone or disabled."""
        user = view.users.get(parent)
        _enabled(user is not None and user.enabled, "parent")


def _enabled(enabled: bool, what: str) -> None:  # noqa: FBT001 - the one question
    if not enabled:
        raise InvalidAccessKeyId(reason=f"{what} disabled or gone")
