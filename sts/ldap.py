"""AssumeRoleWithLDAPIdentity: the caller is proved by a name and a password that a directory takes.

A lookup account finds the one entry of the name; the entry's own name and the password are bound; the lookup account then finds the
groups. Nobody learns from an answer which names there are (trap 43; MinIO's CVE-2026-33419): a bind is made in any case, a refusal has
one text, and it leaves at the end of a fixed step of time, however long the directory took. Failed tries are bounded for each
source and each name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import secrets
import time
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from iam.model import Secret
from iam.records import is_subject
from sts.dn import NotADn, normalize
from sts.ldap_connection import Connection, DirectoryTrouble, Entry, TooManyEntries, connected, tls_context
from sts.ldap_filter import fill
from sts.ldap_settings import LdapSettings
from sts.proof import Proof
from sts.tries import Tries
from sts.wire import IDPCommunicationError, InvalidParameterValue, MissingParameter, StsCall, StsError, Throttling

DEADLINE = 10.0  # seconds for the whole conversation
STEP = 1.0  # seconds: refusals leave at a multiple of it
AT_ONCE = 16  # conversations
MAX_GROUPS = 1000
MAX_USERNAME, MAX_PASSWORD = 256, 1024  # characters
SOURCE_BURST, NAME_BURST = 20, 10  # failed tries at once
SOURCE_INTERVAL, NAME_INTERVAL = 3.0, 6.0  # seconds for one more
LOOK = 5.0  # seconds that an answer of `ready` is good
_REFUSED = "The LDAP user name or password is wrong."


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Found:
    entry: Entry
    groups: tuple[str, ...]


class Ldap:
    """The way in by LDAP. `clock` gives seconds that never run backwards; `step` and `deadline` are in seconds.

    Raises OSError when the CA file cannot be used.
    """

    def __init__(
        self, settings: LdapSettings, *, clock: Callable[[], float] = time.monotonic, step: float = STEP,
        deadline: float = DEADLINE,
    ) -> None:  # fmt: skip
        self._settings, self._clock, self._step, self._deadline = settings, clock, step, deadline
        self._context = tls_context(settings)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._by_source = Tries(SOURCE_BURST, SOURCE_INTERVAL)
        self._by_name = Tries(NAME_BURST, NAME_INTERVAL)
        self._trouble: str | None = "the LDAP server has not been asked yet"
        self._looked_at = -math.inf

    async def prove(self, call: StsCall) -> Proof:
        """Return the proof of LDAPUsername and LDAPPassword.

        Raises MissingParameter, InvalidParameterValue, Throttling, IDPCommunicationError.
        """
        username, password = _credentials(call)
        source, name = _source(call.source_ip), _name(username)
        self._admit(source, name)
        began = self._clock()
        try:
            found = await self._asked(lambda connection: self._found(connection, username, password))
        except StsError:  # nobody failed to prove anything
            self._give_back(source, name)
            raise
        if isinstance(found, str):
            await asyncio.sleep(self._step - (self._clock() - began) % self._step)
            raise InvalidParameterValue(_REFUSED, reason=found)
        self._give_back(source, name)
        return self._proof(username, found)

    async def ready(self) -> str | None:
        """Return None when the lookup account can be bound, else why not."""
        if self._clock() - self._looked_at >= LOOK:
            self._looked_at = self._clock()
            try:
                await self._asked(self._look)
                self._trouble = None
            except IDPCommunicationError as error:
                self._trouble = f"LDAP: {error.reason}"
        return self._trouble

    async def close(self) -> None:
        """Nothing is held between calls."""

    def _admit(self, source: str, name: str) -> None:
        """Take a token of each bound. Who fails often is told so before the directory is asked, known or not."""
        now = self._clock()
        wait = self._by_source.take(source, now)
        if not wait and (wait := self._by_name.take(name, now)):
            self._by_source.give_back(source)
        if wait:
            text = f"Too many failed tries: try again in {math.ceil(wait)} seconds."
            raise Throttling(text, reason="too many failed tries of one source or for one name")

    def _give_back(self, source: str, name: str) -> None:
        self._by_source.give_back(source)
        self._by_name.give_back(name)

    async def _asked(self, talk: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Return what a conversation gives. Raises IDPCommunicationError when the directory does not do its part in time."""
        try:
            async with asyncio.timeout(self._deadline), self._slots, connected(self._settings, self._context) as one:
                return await talk(one)
        except (DirectoryTrouble, OSError, UnicodeError) as error:  # TimeoutError is an OSError
            why = f"{type(error).__name__}: {error}"[:300]
            raise IDPCommunicationError("The LDAP server could not be asked; please try again.", reason=why) from None

    async def _found(self, one: Connection, username: str, password: Secret) -> _Found | str:
        """Return who it is, or why nobody."""
        entry, why = await self._entry(one, username)
        # A name that nobody has, as long as a real one: the directory answers it like a wrong password.
        dn = entry.dn if entry else f"cn={secrets.token_hex(8)},{self._settings.user_base_dns[0]}"
        if not await one.bind(dn, password) or entry is None:
            return why or "the directory does not take the password, or not of this entry"
        return _Found(entry, await self._groups(one, username, entry.dn))

    async def _entry(self, one: Connection, username: str) -> tuple[Entry | None, str]:
        """Return the one entry of a name, else None and why."""
        await self._look(one)
        wanted = fill(self._settings.user_filter, {"s": username})
        found, several = dict[str, Entry](), False
        for base in self._settings.user_base_dns:
            try:
                entries = await one.search(base, wanted, self._settings.user_attributes, 1)
            except TooManyEntries:
                several = True  # the other bases are searched all the same
            else:
                found |= {_normal(entry.dn): entry for entry in entries}
        if several or len(found) > 1:
            return None, "several entries have the name"
        return (found.popitem()[1], "") if found else (None, "no entry has the name")

    async def _groups(self, one: Connection, username: str, dn: str) -> tuple[str, ...]:
        """Return the groups of an entry. Left out is none: a group that is not seen may be one whose policy denies."""
        settings = self._settings
        if not settings.group_filter:
            return ()
        await self._look(one)
        wanted, found = fill(settings.group_filter, {"s": username, "d": dn}), set[str]()
        try:
            for base in settings.group_base_dns:
                found |= {_normal(entry.dn) for entry in await one.search(base, wanted, (), MAX_GROUPS - len(found))}
        except TooManyEntries:
            raise InvalidParameterValue(f"The LDAP user is in more than {MAX_GROUPS} groups.") from None
        return tuple(sorted(found))

    async def _look(self, one: Connection) -> None:
        if not await one.bind(self._settings.lookup_bind_dn, self._settings.lookup_bind_password):
            raise DirectoryTrouble("the directory does not take the lookup account's password")

    def _proof(self, username: str, found: _Found) -> Proof:
        entry, parent = found.entry, _normal(found.entry.dn)
        claims = {"ldapUser": parent, "ldapActualUser": entry.dn, "ldapUsername": username}
        attributes = {
            f"ldapAttrib_{name}": list(values)
            for name in self._settings.user_attributes
            if (values := entry.attributes.get(name.lower()))
        }
        return Proof("ldap", parent, {**claims, **attributes}, found.groups, subject=username)


def _credentials(call: StsCall) -> tuple[str, Secret]:
    """Return name and password. An empty password would be an anonymous bind, which proves nothing (trap 43)."""
    username, password = (call.parameters.get(name, "") for name in ("LDAPUsername", "LDAPPassword"))
    if not username or not password:
        raise MissingParameter("LDAPUsername and LDAPPassword must not be empty.")
    if len(username) > MAX_USERNAME or len(password) > MAX_PASSWORD:
        raise InvalidParameterValue(
            f"LDAPUsername is longer than {MAX_USERNAME} characters, or LDAPPassword than {MAX_PASSWORD}."
        )
    return username, Secret(password)


def _normal(dn: str) -> str:
    """Return a name of the directory in its one form. Raises DirectoryTrouble."""
    try:
        name = normalize(dn)
    except NotADn as error:
        raise DirectoryTrouble(f"the directory gave a name that is none: {error}") from None
    if not is_subject(name):
        raise DirectoryTrouble("the directory gave a name that is too long")
    return name


def _source(address: str) -> str:
    """Return whose tries are counted together: an IPv4 address, or an IPv6 network of one customer."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _name(username: str) -> str:
    """Return a name as coarsely as any directory compares, so that no spelling gets tries of its own (RFC 4518)."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())
    return "".join(c for c in text if unicodedata.category(c)[0] not in "CZ")
