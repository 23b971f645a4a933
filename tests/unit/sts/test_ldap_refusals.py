"""Trap 43, before a real slapd: no answer tells which names there are, nobody tries for ever, no text is a filter."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.model import Secret
from sts import ldap
from sts.ldap import Ldap, _name, _source
from sts.ldap_settings import LdapSettings, Transport
from sts.wire import (
    IDPCommunicationError,
    InvalidParameterValue,
    MissingParameter,
    StsCall,
    Throttling,
)
from tests.servers.processes import free_port
from tests.servers.slapd import (
    LOOKUP_PASSWORD,
    PASSWORD,
    PEOPLE,
)
from tests.unit.sts.by_ldap import STEP, WRONG, call, refused, way_in
from tests.unit.sts.directory import Directory


async def test_trap_43_several_entries_are_nobody(slapd):
    """A name that two entries have is nobody's, though another base has it once."""
    for bases in ((PEOPLE, f"uid=twin,{PEOPLE}"), (f"uid=twin,{PEOPLE}", PEOPLE)):
        assert (await refused(way_in(slapd, user_base_dns=bases), "twin")).reason == "several entries have the name"
    assert await way_in(slapd, user_base_dns=(f"uid=twin,{PEOPLE}",)).prove(call("twin"))


@pytest.mark.parametrize(
    ("username", "password"),
    [("alice", WRONG), ("alice", PASSWORD.upper()), ("ghost", WRONG), ("ghost", PASSWORD), ("guest", PASSWORD), ("twin", PASSWORD),
     ("nopass", PASSWORD), ("alice", "\0"), ("alice", LOOKUP_PASSWORD), ("lookup", LOOKUP_PASSWORD), (f"uid=alice,{PEOPLE}", PASSWORD)],
)  # fmt: skip
async def test_trap_43_one_refusal_for_all(slapd, username, password):
    """A wrong password, an unknown name, two entries of one name and an entry outside the bases are told the same."""
    error = await refused(way_in(slapd), username, password)
    assert (type(error), error.text) == (InvalidParameterValue, "The LDAP user name or password is wrong.")


@pytest.mark.parametrize(
    "username", ["*", "*)(uid=*", "a*", "alice)(objectClass=*", "*)(|(uid=*", "\\61lice", "alice\0", "%d", "alice*"]
)
async def test_trap_43_no_name_is_a_filter(slapd, username):
    """With the right password of every user, text that is filter syntax finds nobody."""
    error = await refused(way_in(slapd), username, PASSWORD)
    assert error.reason == "no entry has the name"


@pytest.mark.parametrize(("username", "password"), [("alice", ""), ("", PASSWORD), ("", "")])
async def test_trap_43_an_empty_password_proves_nothing(slapd, username, password):
    """An empty password would be an anonymous bind, which directories take: MissingParameter, and the directory hears nothing."""
    assert type(await refused(way_in(slapd, port=1), username, password)) is MissingParameter
    nothing = StsCall("AssumeRoleWithLDAPIdentity", {}, None, "192.0.2.1")
    with pytest.raises(MissingParameter):
        await way_in(slapd, port=1).prove(nothing)


async def test_trap_43_refusals_take_one_time(slapd):
    """An unknown name, a wrong password, and a wrong one that takes long to check (argon2) are told after the same time."""
    way, taken = way_in(slapd, step=0.25), {}
    for username in ("ghost", "alice", "slow"):
        times = []
        for number in range(3):
            began = time.monotonic()
            await refused(way, username, WRONG, source=f"192.0.2.{number}")
            times.append(time.monotonic() - began)
        taken[username] = times
    assert min(min(times) for times in taken.values()) >= 0.25
    middle = [median(times) for times in taken.values()]
    assert max(middle) - min(middle) < 0.1, taken


async def test_trap_43_an_unknown_name_is_bound_too():
    """The directory has the same work for every refusal: lookup, search, and a bind with the password that was given."""
    async with Directory() as directory:
        settings = LdapSettings(
            "127.0.0.1", directory.port, Transport.PLAIN, "cn=lookup", Secret("l"), ("dc=x",), "(uid=%s)"
        )
        await refused(Ldap(settings, step=STEP), "ghost", WRONG)
        binds = [(m.name, m.authentication.password) for m in directory.came if hasattr(m, "authentication")]
    assert binds[0] == ("cn=lookup", "l")
    assert binds[1][1] == WRONG
    assert binds[1][0].startswith("cn=")
    assert binds[1][0].endswith(",dc=x")  # a name that nobody has, and that no lockout can hurt


async def test_trap_43_failures_are_bounded(slapd):
    """A source, and a name from any source, may fail so often; then it is told to wait, known name or not, right password or not."""
    way = way_in(slapd, clock=lambda: 1000.0, step=0.01)
    for _ in range(ldap.NAME_BURST):
        assert isinstance(await refused(way, "alice", WRONG), InvalidParameterValue)
    error = await refused(way, " ALICE ", PASSWORD, source="198.51.100.7")
    assert (type(error), error.status) == (Throttling, 400)
    assert "again in 6 seconds" in error.text
    for number in range(ldap.SOURCE_BURST - ldap.NAME_BURST):
        assert isinstance(await refused(way, f"ghost{number}", WRONG), InvalidParameterValue)
    assert isinstance(await refused(way, "Bob", PASSWORD), Throttling)
    assert (await way.prove(call("Bob", source="198.51.100.7"))).parent


async def test_trap_43_tries_together_count_together(slapd):
    """A hundred tries at once are no more than the bound."""
    way = way_in(slapd, clock=lambda: 1000.0, step=0.01)
    errors = await asyncio.gather(*(refused(way, "alice", WRONG) for _ in range(100)))
    assert sum(isinstance(error, InvalidParameterValue) for error in errors) == ldap.NAME_BURST
    assert sum(isinstance(error, Throttling) for error in errors) == 100 - ldap.NAME_BURST


async def test_successes_do_not_count(slapd):
    """Only failures are bounded; neither a success nor a directory that is away uses the bound up."""
    way = way_in(slapd, clock=lambda: 1000.0)
    for _ in range(2 * ldap.SOURCE_BURST):
        assert await way.prove(call("Bob"))
    away = way_in(slapd, clock=lambda: 1000.0, port=free_port())
    errors = [await refused(away) for _ in range(2 * ldap.SOURCE_BURST)]
    assert {type(error) for error in errors} == {IDPCommunicationError}


async def test_time_gives_tries_back(slapd):
    """After the interval of a name there is one more try."""
    now = [1000.0]
    way = way_in(slapd, clock=lambda: now[0], step=0.01)
    for _ in range(ldap.NAME_BURST):
        await refused(way, "alice", WRONG)
    now[0] += ldap.NAME_INTERVAL
    assert (await way.prove(call("alice"))).parent


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [("192.0.2.1", "192.0.2.2", False), ("2001:db8::1", "2001:db8::ffff:1", True), ("2001:db8::1", "2001:db8:0:1::1", False),
     ("", "", True), ("nonsense", "nonsense", True)],
)  # fmt: skip
def test_trap_43_whose_tries_count_together(one, other, together):
    """An IPv4 address is a source; of IPv6 a whole /64 is, which one customer has."""
    assert (_source(one) == _source(other)) == together


@given(
    st.sampled_from(["alice", "jürgen", "Ⅷ"]),
    st.sampled_from([str.upper, str.title, lambda n: f" {n}  ", "\u200b".join]),
)
def test_trap_43_no_spelling_has_tries_of_its_own(name, spelling):
    """Spellings that a directory may take for one name share one bound."""
    assert _name(spelling(name)) == _name(name)
