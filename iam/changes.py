"""The only writer of users, groups, policies, accounts, attachments, keys and epochs: read, decide, compare-and-swap, again.

Every change is one transaction that fails when anybody changed what it was decided upon; it is then decided again, on what is
there now. It returns once this gateway's own view has it, so that an administrator reads what he wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from iam import bulk
from iam.belongings import AT_ONCE, Belongings
from iam.draft import Draft
from iam.model import Secret
from iam.names import new_access_key, new_secret
from iam.policy import PolicyError, parse
from iam.records import (
    Attachment,
    Group,
    Kind,
    PolicyDocument,
    Record,
    ServiceAccount,
    User,
    attachment_name,
    is_name,
    is_policy_name,
    is_subject,
    is_text,
)
from iam.refusals import (
    AlreadyExists,
    GroupNotEmpty,
    InvalidName,
    InvalidPolicy,
    InvalidSecret,
    NoSuchAccount,
    NoSuchGroup,
    NoSuchPolicy,
    NoSuchUser,
    NothingChanged,
    PolicyInUse,
)


class Changes(Belongings):
    """Changes of one store. Every method may raise StoreUnavailable, StoreRefused and, below, what `iam.refusals` names."""

    # Users

    async def put_user(
        self, name: str, *, secret: Secret | None = None, enabled: bool | None = None, new: bool = True
    ) -> User:
        """Create a user, which needs a secret, or change one. Raises InvalidName, InvalidSecret, AlreadyExists, NoSuchUser.

        `new`: whether it may be created; nobody who is removed makes himself again.
        """
        self._check_name(name)
        _check_secret(secret)
        if new and name not in self._view().users and len(self._pieces(name)) > 1:
            await self._sweep(name)

        async def decide(draft: Draft) -> User:
            known = cast("User | None", await draft.get(Kind.USER, name))
            if known is None:
                if secret is None or not new:
                    raise NoSuchUser(f"There is no user {name}.")
                await self._free(draft, name, Kind.ACCOUNT)
                await self._drop_dependants(draft, name)
                draft.remove(Kind.ATTACHMENT, attachment_name(name, group=False))
                known = User(name, secret)
            user = replace(
                known, secret=secret or known.secret, enabled=known.enabled if enabled is None else enabled,
                updated_at=self._time(),
            )  # fmt: skip
            draft.put(user)
            return user

        return await self._do(decide)

    async def remove_user(self, name: str) -> None:
        """Remove a user with its accounts, attachments and memberships, and end its sessions. Raises NoSuchUser."""
        if len(self._pieces(name)) > 1:
            await self.put_user(name, enabled=False)
            await self._drop_most(name)

        async def decide(draft: Draft) -> None:
            if await draft.get(Kind.USER, name) is None:
                raise NoSuchUser(f"There is no user {name}.")
            draft.remove(Kind.USER, name)
            draft.remove(Kind.ATTACHMENT, attachment_name(name, group=False))
            await self._drop_dependants(draft, name)
            await self._end_sessions(draft, name, "")

        await self._do(decide)
        await self._sweep(name)

    # Groups

    async def add_members(self, group: str, members: Sequence[str]) -> Group:
        """Put users into a group, which is made when it is not there. Raises InvalidName, NoSuchUser, Unfinished.

        More than one transaction holds are put in by several: whoever is in by then is one who shall be, and the same again goes on.
        That all of them are users is looked at before the first.
        """
        self._check_name(group)
        names = _sorted(*members)
        pieces = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)] or [()]
        if len(pieces) > 1:
            await self._must_be_users(names)
        steps = [partial(self._with, group=group, members=piece, new=not at) for at, piece in enumerate(pieces)]
        told = f"of {len(names)} users were put into the group; the same call again goes on."
        return (await self._do_each(steps, lambda done: f"{done * AT_ONCE} {told}"))[-1]

    async def _with(self, draft: Draft, group: str, members: Sequence[str], *, new: bool) -> Group:
        """Put some users into a group, which `new` may make: what another removed meanwhile is not made again."""
        known = cast("Group | None", await draft.get(Kind.GROUP, group))
        if known is None and not new:
            raise NoSuchGroup(f"There is no group {group}.")
        if known is None:
            draft.remove(Kind.ATTACHMENT, attachment_name(group, group=True))
            known = Group(group)
        for member in members:
            await self._must_be_user(draft, member)
        changed = replace(known, members=_sorted(*known.members, *members), updated_at=self._time())
        draft.put(changed)
        return changed

    async def _must_be_users(self, names: Sequence[str]) -> None:
        """Return if all of these are users; this gateway may not have heard of all yet. Raises NoSuchUser."""
        heard, draft = self._view().users, Draft(self._store, self._codec)
        for name in names:
            if name not in heard:
                await self._must_be_user(draft, name)

    async def _must_be_user(self, draft: Draft, name: str) -> None:
        if not is_name(name) or await draft.get(Kind.USER, name) is None:
            raise NoSuchUser(f"There is no user {name[:128]}.")

    async def remove_members(self, group: str, members: Sequence[str]) -> Group:
        """Take users out of a group. Raises NoSuchGroup."""

        async def decide(draft: Draft) -> Group:
            return await self._without(draft, group, members)

        return await self._do(decide)

    async def remove_group(self, group: str) -> None:
        """Remove an empty group and its attachment. Raises NoSuchGroup, GroupNotEmpty."""

        async def decide(draft: Draft) -> None:
            known = await self._group(draft, group)
            if known.members:
                raise GroupNotEmpty(f"The group {group} still has members.")
            draft.remove(Kind.GROUP, group)
            draft.remove(Kind.ATTACHMENT, attachment_name(group, group=True))

        await self._do(decide)

    async def set_group_status(self, group: str, *, enabled: bool) -> Group:
        """Enable or disable a group. Raises NoSuchGroup."""

        async def decide(draft: Draft) -> Group:
            changed = replace(await self._group(draft, group), enabled=enabled, updated_at=self._time())
            draft.put(changed)
            return changed

        return await self._do(decide)

    # Policies

    async def put_policy(self, name: str, text: str) -> PolicyDocument:
        """Create or replace a named policy. Raises InvalidName, InvalidPolicy; AlreadyExists for a canned one or a file's."""
        if not is_policy_name(name):
            raise InvalidName(f"{name[:64]!r} is no name of a policy.")
        if name in self._given:
            raise AlreadyExists(f"The policy {name} is not in the store and cannot be changed.")
        _check_policy(text)

        async def decide(draft: Draft) -> PolicyDocument:
            now = self._time()
            known = cast("PolicyDocument | None", await draft.get(Kind.POLICY, name))
            document = PolicyDocument(name, text, known.created_at if known else now, now)
            draft.put(document)
            return document

        return await self._do(decide)

    async def remove_policy(self, name: str) -> None:
        """Remove a policy that is attached to nobody. Raises NoSuchPolicy, PolicyInUse, AlreadyExists for a given one."""
        if name in self._given:
            raise AlreadyExists(f"The policy {name} is not in the store and cannot be removed.")

        async def decide(draft: Draft) -> PolicyDocument:
            known = cast("PolicyDocument | None", await draft.get(Kind.POLICY, name))
            if known is None:
                raise NoSuchPolicy(f"There is no policy {name}.")
            self._check_unused(name)
            draft.remove(Kind.POLICY, name)
            return known

        known = await self._do(decide)
        try:
            self._check_unused(name)  # of what another gateway attached just before, this one has heard by now
        except PolicyInUse:
            await self._do(partial(self._put_back, known=known))
            raise

    def _check_unused(self, name: str) -> None:
        if any(name in attachment.policies for attachment in self._view().attachments.values()):
            raise PolicyInUse(f"The policy {name} is attached to somebody.")

    async def _put_back(self, draft: Draft, known: PolicyDocument) -> None:
        if await draft.get(Kind.POLICY, known.name) is None:
            draft.put(known)

    # Attachments

    async def attach(self, subject: str, policies: Sequence[str], *, group: bool = False) -> tuple[str, ...]:
        """Attach policies to a subject; return those that are new. Raises NoSuchPolicy, NoSuchUser, NoSuchGroup, NothingChanged."""

        async def decide(draft: Draft) -> tuple[str, ...]:
            known = await self._attachment(draft, subject, group=group)
            fresh = tuple(name for name in dict.fromkeys(policies) if name not in known.policies)
            await self._put_attachment(draft, known, (*known.policies, *fresh), changed=bool(fresh))
            return fresh

        return await self._do(decide)

    async def detach(self, subject: str, policies: Sequence[str], *, group: bool = False) -> tuple[str, ...]:
        """Detach policies from a subject; return those that were attached. Raises NothingChanged."""

        async def decide(draft: Draft) -> tuple[str, ...]:
            known = await self._attachment(draft, subject, group=group, must_be=False)
            gone = tuple(name for name in dict.fromkeys(policies) if name in known.policies)
            left = tuple(name for name in known.policies if name not in gone)
            await self._put_attachment(draft, known, left, changed=bool(gone))
            return gone

        return await self._do(decide)

    async def set_policies(self, subject: str, policies: Sequence[str], *, group: bool = False) -> Attachment | None:
        """Let a subject have exactly these policies; return what is attached now, None for nothing. Raises as `attach`."""

        async def decide(draft: Draft) -> Attachment | None:
            known = await self._attachment(draft, subject, group=group, must_be=bool(policies))
            wanted = tuple(dict.fromkeys(policies))
            return await self._put_attachment(draft, known, wanted, changed=True)

        return await self._do(decide)

    # Service accounts

    async def create_account(
        self, parent: str, *, access_key_id: str = "", secret: Secret | None = None, **members: Any
    ) -> ServiceAccount:
        """Make keys that act for a parent: root, a user, or a federated subject (then with `provider`).

        `members` are those of ServiceAccount. Raises InvalidName, InvalidSecret, InvalidPolicy, AlreadyExists, NoSuchUser.
        """
        name = access_key_id or new_access_key()
        self._check_name(name)
        _check_secret(secret)
        _check_policy(members.get("policy"))

        async def decide(draft: Draft) -> ServiceAccount:
            if parent != self._root and not members.get("provider") and await draft.get(Kind.USER, parent) is None:
                raise NoSuchUser(f"There is no user {parent}.")
            await self._free(draft, name, Kind.USER, Kind.ACCOUNT)
            account = ServiceAccount(name, secret or new_secret(), parent, updated_at=self._time(), **members)
            draft.put(account)
            return account

        return await self._do(decide)

    async def update_account(self, access_key_id: str, **members: Any) -> ServiceAccount:
        """Change policy, secret, enabled, name, description or expires_at. Raises NoSuchAccount, InvalidSecret, InvalidPolicy."""
        _check_secret(members.get("secret"))
        _check_policy(members.get("policy"))

        async def decide(draft: Draft) -> ServiceAccount:
            known = cast("ServiceAccount | None", await draft.get(Kind.ACCOUNT, access_key_id))
            if known is None:
                raise NoSuchAccount(f"There is no service account {access_key_id}.")
            account = replace(known, updated_at=self._time(), **members)
            draft.put(account)
            return account

        return await self._do(decide)

    async def remove_account(self, access_key_id: str) -> None:
        """Remove a service account. Raises NoSuchAccount."""

        async def decide(draft: Draft) -> None:
            if await draft.get(Kind.ACCOUNT, access_key_id) is None:
                raise NoSuchAccount(f"There is no service account {access_key_id}.")
            draft.remove(Kind.ACCOUNT, access_key_id)

        await self._do(decide)

    # Many at once

    async def put_all(
        self, records: Sequence[Record], *, overwrite: bool = False, dry_run: bool = False, by_root: bool = True
    ) -> bulk.Outcome:
        """Write records that come from elsewhere, unless `dry_run`; say what became of each (`iam.bulk.put`)."""
        outcome = await bulk.put(
            self._store, self._codec, records, root_access_key=self._root, now=self._time(), overwrite=overwrite, dry_run=dry_run,
            known_policies=self._given, by_root=by_root,
        )  # fmt: skip
        if outcome.revision:
            await self._seen(outcome.revision)
        return outcome

    # What they share

    def _check_name(self, name: str) -> None:
        if not is_name(name):
            raise InvalidName(f"{name[:64]!r} is no name: 3 to 128 letters, digits and any of _ . @ + -")
        if name == self._root:
            raise AlreadyExists(f"{name} is the root account.")

    async def _free(self, draft: Draft, name: str, *kinds: Kind) -> None:
        for kind in kinds:
            if await draft.get(kind, name) is not None:
                raise AlreadyExists(f"The name {name} is taken.")

    async def _group(self, draft: Draft, name: str) -> Group:
        known = cast("Group | None", await draft.get(Kind.GROUP, name))
        if known is None:
            raise NoSuchGroup(f"There is no group {name}.")
        return known

    async def _without(self, draft: Draft, group: str, members: Sequence[str]) -> Group:
        changed = self._left(await self._group(draft, group), members)
        draft.put(changed)
        return changed

    async def _attachment(self, draft: Draft, subject: str, *, group: bool, must_be: bool = True) -> Attachment:
        """Return what is attached; a subject that is one of our own must be there, others are whoever logs in."""
        if not is_subject(subject):
            raise InvalidName(f"{subject[:64]!r} is nobody's name.")
        if must_be and is_name(subject):
            kind, error = (Kind.GROUP, NoSuchGroup) if group else (Kind.USER, NoSuchUser)
            if await draft.get(kind, subject) is None:
                raise error(f"There is no {'group' if group else 'user'} {subject}.")
        known = await draft.get(Kind.ATTACHMENT, attachment_name(subject, group=group))
        return cast("Attachment | None", known) or Attachment(subject, (), group)

    async def _put_attachment(
        self, draft: Draft, known: Attachment, policies: tuple[str, ...], *, changed: bool
    ) -> Attachment | None:
        if not changed:
            raise NothingChanged("The policies are so already.")
        for name in policies:
            if name in known.policies or name in self._given:
                continue
            if not is_policy_name(name) or await draft.get(Kind.POLICY, name) is None:
                raise NoSuchPolicy(f"There is no policy {name[:64]}.")
        if not policies:
            draft.remove(Kind.ATTACHMENT, known.record_name)
            return None
        attachment = Attachment(known.subject, policies, known.group, self._time())
        draft.put(attachment)
        return attachment


def _sorted(*names: str) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _check_secret(secret: Secret | None) -> None:
    if secret is not None and not (8 <= len(secret.reveal()) <= 128 and is_text(secret.reveal())):
        raise InvalidSecret("A secret key has 8 to 128 characters of Unicode.")


def _check_policy(text: str | None) -> None:
    if text is None:
        return
    try:
        parse(text)
    except PolicyError as error:
        raise InvalidPolicy("; ".join(error.problems)) from None
