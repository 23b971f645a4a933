"""AssumeRoleWithLDAPIdentity's proof, before a real slapd (and, where a directory must misbehave, a scripted one)."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from iam.model import Secret
from sts import ldap
from sts.ldap import Ldap
from sts.ldap_settings import LdapSettings, Transport
from sts.wire import (
    IDPCommunicationError,
    InvalidParameterValue,
    parse_call,
    render_error,
)
from tests.servers.certificates import certificate
from tests.servers.processes import free_port
from tests.servers.slapd import (
    GROUP_FILTER,
    GROUPS,
    LONG_PASSWORD,
    LOOKUP_PASSWORD,
    MEMBERS,
    PASSWORD,
    PEOPLE,
    SUFFIX,
    USERS,
    Slapd,
    entry,
)
from tests.unit.sts.by_ldap import WRONG, call, refused, way_in
from tests.unit.sts.directory import Directory


async def test_the_proof_of_a_user(slapd):
    """The right password proves the entry's name in its one form, its groups, and claims that say so."""
    proof = await way_in(slapd, user_attributes=("mail", "JpegPhoto", "employeeNumber", "CN")).prove(call("ALICE"))
    alice = f"uid=alice,{PEOPLE}"
    assert (proof.provider, proof.parent, proof.subject) == ("ldap", alice, "ALICE")
    assert proof.claims == {
        "ldapUser": alice, "ldapActualUser": alice, "ldapUsername": "ALICE",
        "ldapAttrib_mail": ["alice@example.org", "a@example.org"], "ldapAttrib_CN": ["alice"],
    }  # fmt: skip
    assert proof.groups == (f"cn=größe\\, (all) *,{GROUPS}", f"cn=readers,{GROUPS}", f"cn=writers,{GROUPS}")
    assert (proof.expires_at, proof.max_duration, proof.role_arn) == (None, None, "")


@pytest.mark.parametrize("username", [u for u in USERS if u not in {"guest", "twin", "nopass"}])
async def test_odd_names(slapd, username):
    """Commas, Unicode, stars, parentheses, backslashes, several parts, great length: a name finds its entry and its groups."""
    password = LONG_PASSWORD if username.startswith("long") else PASSWORD
    proof = await way_in(slapd).prove(call(username, password))
    actual = {USERS[username].replace("\\,", "\\2C").replace("\\2A", "*").replace("\\\\", "\\5C"), USERS[username]}
    assert {proof.claims["ldapActualUser"].lower()} <= {name.lower() for name in actual}
    groups = {name.lower().replace(",", "\\,") for name, members in MEMBERS.items() if username in members}
    assert set(proof.groups) == {f"cn={name},{GROUPS}" for name in groups}


async def test_the_form_of_a_name(slapd):
    """Policies are attached to the name in lower case, escaped as RFC 4514 does; the directory's own spelling is a claim."""
    proof = await way_in(slapd).prove(call("comma"))
    assert proof.parent == f"cn=lister\\, david,{PEOPLE}" == proof.claims["ldapUser"]
    assert proof.claims["ldapActualUser"] == f"cn=Lister\\2C David,{PEOPLE}"


async def test_several_bases_and_no_groups(slapd):
    """Users may be in several places; without a filter there are no groups; a base within another is not a second user."""
    way = way_in(slapd, user_base_dns=(PEOPLE, f"ou=guests,{SUFFIX}", SUFFIX), group_base_dns=(), group_filter="")
    assert (await way.prove(call("guest"))).groups == ()
    assert (await way.prove(call("alice"))).parent == f"uid=alice,{PEOPLE}"


async def test_groups_by_name_and_several_bases(slapd):
    """A group filter may name the user by what he typed; a group found twice is one."""
    filters = "(&(objectClass=groupOfNames)(|(cn=%s)(member=%d)))"
    proof = await way_in(slapd, group_base_dns=(GROUPS, SUFFIX), group_filter=filters).prove(call("Bob"))
    assert proof.groups == (f"cn=readers,{GROUPS}",)


async def test_too_many_groups_are_none(slapd, monkeypatch):
    """Who is in more groups than can be told gets no session: one that is left out might be the one whose policy denies."""
    monkeypatch.setattr(ldap, "MAX_GROUPS", 2)
    assert "more than 2 groups" in (await refused(way_in(slapd))).text
    assert len((await way_in(slapd).prove(call("jürgen"))).groups) == 1


async def test_a_locked_account(slapd):
    """An account that the directory has locked after wrong passwords is refused with the right one, in the same words."""
    way = way_in(slapd)
    assert await way.prove(call("locked"))
    for _ in range(3):
        await refused(way, "locked", WRONG)
    assert (await refused(way, "locked", PASSWORD)).text == "The LDAP user name or password is wrong."


async def test_a_changed_password_counts_at_once(slapd):
    """Nothing of a proof is remembered: the password of a moment ago proves nothing."""
    dn = f"uid=changing,{PEOPLE}"
    slapd.add(entry(dn, "inetOrgPerson", uid="changing", cn="c", sn="c", userPassword="first password"))
    way = way_in(slapd)
    assert await way.prove(call("changing", "first password"))
    slapd.run("ldappasswd", "-D", f"cn=admin,{SUFFIX}", "-w", "admin-secret-of-the-tests", "-s", "second password", dn)
    assert isinstance(await refused(way, "changing", "first password"), InvalidParameterValue)
    assert await way.prove(call("changing", "second password"))


@pytest.mark.parametrize("transport", list(Transport))
async def test_every_transport(slapd, transport):
    """LDAPS, StartTLS and plain TCP reach the same directory."""
    way = way_in(slapd, transport=transport, port=slapd.tls_port if transport is Transport.LDAPS else slapd.port)
    assert (await way.prove(call())).parent == f"uid=alice,{PEOPLE}"
    assert await way.ready() is None


@pytest.mark.parametrize("transport", [Transport.LDAPS, Transport.STARTTLS])
async def test_a_directory_that_is_not_proved_is_not_asked(slapd, tmp_path, transport):
    """A certificate that the CA does not sign, none of the system's CAs, or another host's, ends it before a password is sent."""
    certificate(tmp_path, "another authority")
    port = slapd.tls_port if transport is Transport.LDAPS else slapd.port
    for changes in ({"ca_file": tmp_path / "public.crt"}, {"ca_file": None}, {"host": "localhost"}):
        way = way_in(slapd, transport=transport, port=port, **changes)
        error = await refused(way)
        assert isinstance(error, IDPCommunicationError)
        assert "CERTIFICATE_VERIFY_FAILED" in error.reason
        assert "CERTIFICATE_VERIFY_FAILED" in await way.ready()
    assert (await way_in(slapd, transport=transport, port=port, ca_file=None, verify=False).prove(call())).parent


def test_a_ca_file_that_cannot_be_used(slapd, tmp_path):
    """It is said when the way in is made."""
    with pytest.raises(OSError, match="No such file"):
        way_in(slapd, ca_file=tmp_path / "gone.pem")


async def test_tls_is_not_spoken_to_a_plain_port(slapd):
    """LDAPS on the plain port, and plain TCP on the TLS one, are trouble within the deadline."""
    for changes in ({"port": slapd.port}, {"transport": Transport.PLAIN}):
        assert isinstance(await refused(way_in(slapd, deadline=3.0, **changes)), IDPCommunicationError)


async def test_a_lookup_account_that_cannot_look_up(slapd):
    """A wrong lookup password, a base that is not there and a filter that the directory will not search are told to the operator."""
    for changes, why in (
        ({"lookup_bind_password": Secret("wrong")}, "lookup account"),
        ({"user_base_dns": ("ou=nowhere,dc=example,dc=org",)}, "NO_SUCH_OBJECT"),
        ({"group_base_dns": ("ou=nowhere,dc=example,dc=org",)}, "NO_SUCH_OBJECT"),
    ):
        error = await refused(way_in(slapd, **changes))
        assert isinstance(error, IDPCommunicationError)
        assert (error.status, error.text) == (503, "The LDAP server could not be asked; please try again.")
        assert why in error.reason
    assert "lookup account" in await way_in(slapd, lookup_bind_password=Secret("wrong")).ready()


async def test_a_directory_that_is_down_and_comes_back(tmp_path):
    """Down is IDPCommunicationError and not ready; a restart of the directory needs none of ours."""
    server, now = Slapd(tmp_path / "two"), [0.0]
    try:
        way = way_in(server, clock=lambda: now[0])
        assert await way.ready() is None
        server.close()
        assert isinstance(await refused(way), IDPCommunicationError)
        assert await way.ready() is None  # what was found is good for a moment
        now[0] += ldap.LOOK
        assert "refused" in (await way.ready()).lower()
        server.start()
        now[0] += ldap.LOOK
        assert await way.ready() is None
        assert await way.prove(call())
    finally:
        server.close()


async def test_a_directory_that_hangs(slapd):
    """A directory that accepts and never answers is left at the deadline, by those who wait for a place, too."""
    slapd.freeze()
    try:
        for transport, port in ((Transport.LDAPS, slapd.tls_port), (Transport.PLAIN, slapd.port)):
            way = way_in(slapd, transport=transport, port=port, deadline=0.3)
            began = time.monotonic()
            callers = [refused(way, f"user{n}", source=f"192.0.2.{n}") for n in range(2 * ldap.AT_ONCE)]
            errors = await asyncio.gather(*callers)
            assert {type(error) for error in errors} == {IDPCommunicationError}
            assert time.monotonic() - began < 5
    finally:
        slapd.thaw()
    assert await way_in(slapd).prove(call())


async def test_a_directory_that_drips():
    """One byte now and then keeps nobody longer than the deadline."""

    async def drips(visit, _):
        for byte in b"\x30\x84\x00\x00\xff\xff" + bytes(1000):
            await visit.say(bytes([byte]))
            await asyncio.sleep(0.01)

    async with Directory(drips) as directory:
        settings = LdapSettings(
            "127.0.0.1", directory.port, Transport.PLAIN, "cn=l", Secret("l"), ("dc=x",), "(uid=%s)"
        )
        error = await refused(Ldap(settings, deadline=0.2))
    assert isinstance(error, IDPCommunicationError)


async def test_a_caller_who_leaves(slapd):
    """A caller who goes away ends his conversation, and the way in goes on; his try has been made."""
    way = way_in(slapd)
    for _ in range(3):
        task = asyncio.get_running_loop().create_task(way.prove(call()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await way.prove(call())


async def test_long_words_are_refused(slapd):
    """A name or a password longer than any is refused before the directory is asked."""
    for words in (("x" * 257, PASSWORD), ("alice", "x" * 1025)):
        assert "longer than" in (await refused(way_in(slapd, port=1), *words)).text


async def test_no_secret_is_told(slapd, caplog):
    """Neither the caller's password nor the lookup account's is in an error, its reason, its cause, a repr or the log."""
    caplog.set_level(logging.DEBUG)
    told = []
    for changes in ({}, {"port": free_port()}, {"port": slapd.port, "deadline": 2.0}, {"lookup_bind_dn": "no dn"}):
        way = way_in(slapd, **changes)
        for username in ("alice", "ghost"):
            error = await refused(way, username, WRONG)
            told += [
                str(error),
                repr(error),
                error.reason,
                repr(error.__cause__),
                render_error(error.code, error.text, "1").decode(),
            ]
        told += [repr(way), repr(slapd.settings()), repr(vars(way))]
    proof = await way_in(slapd).prove(call())
    told += [repr(proof), repr(call("alice", WRONG)), str(call("alice", WRONG)), caplog.text]
    text = "\n".join(told)
    assert not [word for word in (WRONG, PASSWORD, LOOKUP_PASSWORD) if word in text]
    form = b"Action=AssumeRoleWithLDAPIdentity&LDAPUsername=alice&LDAPPassword=the-password&Version=2011-06-15"
    parsed = parse_call("", form, "application/x-www-form-urlencoded", signer=None, source_ip="::1")
    assert "the-password" not in repr(parsed)


async def test_close_has_nothing_to_do(slapd):
    """It may be called at any time."""
    way = way_in(slapd, group_filter=GROUP_FILTER)
    await way.close()
    assert await way.prove(call())
