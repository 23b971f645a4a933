"""One conversation with a directory, and what directories (or whoever sits between) do wrong. Real sockets, a scripted other side."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sansldap import BindRequest, ExtendedRequest, LDAPClient, LDAPFilter, LDAPResultCode, PartialAttribute

from iam.model import Secret
from sts.ldap_connection import (
    MAX_BYTES,
    DirectoryTrouble,
    Entry,
    TooManyEntries,
    _messages,
    connected,
    tls_context,
)
from sts.ldap_settings import LdapSettings, Transport
from tests.servers.certificates import certificate
from tests.unit.sts.directory import Directory, takes_everybody

ANYBODY = LDAPFilter.from_string("(uid=x)")
PASSWORD = Secret("the password")


def settings(directory, transport=Transport.PLAIN, **more) -> LdapSettings:
    return LdapSettings("127.0.0.1", directory.port, transport, "cn=lookup", PASSWORD, ("dc=x",), "(uid=%s)", **more)


async def bound(script, dn="cn=a", password=PASSWORD, came=None):
    """Bind at a directory that follows a script."""
    async with Directory(script) as directory:
        try:
            async with asyncio.timeout(5), connected(settings(directory), None) as one:
                return await one.bind(dn, password)
        finally:
            if came is not None:
                came += directory.came


def answering(code: LDAPResultCode):
    """Answer every bind so."""

    async def script(visit, message):
        visit.session.bind_response(message.message_id, result_code=code, diagnostics_message="so")
        await visit.say()

    return script


@pytest.mark.parametrize("name", ["INVALID_CREDENTIALS", "NO_SUCH_OBJECT", "UNWILLING_TO_PERFORM", "CONSTRAINT_VIOLATION",
                                  "INAPPROPRIATE_AUTHENTICATION", "INSUFFICIENT_ACCESS_RIGHTS", "COMPARE_TRUE"])  # fmt: skip
async def test_only_success_is_success(name):
    """Every other result of a bind is a no, however it is called."""
    assert await bound(answering(LDAPResultCode.SUCCESS))
    assert not await bound(answering(LDAPResultCode[name]))


def result(operation: int, code: bytes) -> bytes:
    """Return the answer to the first request, with these bytes as its result code."""
    inner = b"\x0a" + bytes([len(code)]) + code + b"\x04\x00\x04\x00"
    return b"\x30" + bytes([len(inner) + 5]) + b"\x02\x01\x01" + bytes([operation, len(inner)]) + inner


@pytest.mark.parametrize("code", [b"\x12\x67", b"\xff", b"\x01\x00", b"\x63"], ids=bytes.hex)
async def test_an_unknown_result_is_a_no(code):
    """A code that no standard knows proves nothing, finds nothing and begins no TLS."""
    assert await bound(lambda visit, _: visit.say(result(0x61, b"\0")))
    assert not await bound(lambda visit, _: visit.say(result(0x61, code)))
    async with Directory(lambda visit, _: visit.say(result(0x65, code))) as directory:
        with pytest.raises(DirectoryTrouble):
            async with connected(settings(directory), None) as one:
                await one.search("dc=x", ANYBODY, (), 1)
    async with Directory(lambda visit, _: visit.say(result(0x78, code))) as directory:
        with pytest.raises(DirectoryTrouble, match="StartTLS was answered UNKNOWN"):
            async with connected(settings(directory, Transport.STARTTLS), None):
                pass


@pytest.mark.parametrize(
    "name", ["BUSY", "UNAVAILABLE", "REFERRAL", "CONFIDENTIALITY_REQUIRED", "OTHER", "STRONG_AUTH_REQUIRED"]
)
async def test_a_directory_that_cannot_is_no_wrong_password(name):
    """What says nothing of the caller is trouble, told with the directory's own words."""
    with pytest.raises(DirectoryTrouble, match=f"{name} 'so'"):
        await bound(answering(LDAPResultCode[name]))


@pytest.mark.parametrize(("dn", "password"), [("cn=a", ""), ("", "x"), ("", "")])
async def test_trap_43_no_anonymous_bind_is_ever_sent(dn, password):
    """A directory takes a bind without a password or without a name from anybody: it is refused here, and not sent."""
    came = []
    assert not await bound(takes_everybody, dn, Secret(password), came)
    assert not [message for message in came if isinstance(message, BindRequest)]


async def test_more_entries_than_wanted_are_told():
    """One entry too many is said, whoever counts: the directory by its limit, or we."""

    async def two(visit, message):
        for number in range(2):
            visit.session.search_result_entry(message.message_id, f"cn={number}", [])
        visit.session.search_result_done(message.message_id)
        await visit.say()

    async def limited(visit, message):
        visit.session.search_result_done(message.message_id, result_code=LDAPResultCode.SIZE_LIMIT_EXCEEDED)
        await visit.say()

    for script in (two, limited):
        async with Directory(script) as directory, connected(settings(directory), None) as one:
            with pytest.raises(TooManyEntries):
                await one.search("dc=x", ANYBODY, (), 1)
            assert directory.came[0].size_limit == 2
            assert directory.came[0].attributes == ["1.1"]
            directory.script = takes_everybody
            assert await one.bind("cn=a", PASSWORD)  # the conversation goes on


async def test_referrals_are_not_followed():
    """Where the directory points is not where a password or a question goes; what else it found counts."""

    async def points(visit, message):
        visit.session.search_result_reference(message.message_id, [f"ldap://127.0.0.1:{other.port}/dc=y"])
        visit.session.search_result_entry(message.message_id, "cn=b", [PartialAttribute("Mail", [b"b@x", b"\xff"])])
        visit.session.search_result_done(message.message_id)
        await visit.say()

    async with Directory() as other, Directory(points) as directory, connected(settings(directory), None) as one:
        assert await one.search("dc=x", ANYBODY, ("mail",), 1) == [Entry("cn=b", {"mail": ("b@x",)})]
        assert other.visits == 0


async def test_a_search_that_fails_is_trouble():
    """A base that is not there must not look like a user that is not."""

    async def missing(visit, message):
        visit.session.search_result_done(message.message_id, result_code=LDAPResultCode.NO_SUCH_OBJECT)
        await visit.say()

    async with Directory(missing) as directory, connected(settings(directory), None) as one:
        with pytest.raises(DirectoryTrouble, match="NO_SUCH_OBJECT"):
            await one.search("dc=x", ANYBODY, (), 1)


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
                                  b"\x30\x80\x00\x00", b"\0" * 50], ids=["http", "another id", "no length", "zeroes"])  # fmt: skip
async def test_what_is_no_answer_is_trouble(data):
    """Bytes of another protocol, and an answer to what was not asked, prove nothing."""
    with pytest.raises(DirectoryTrouble):
        await bound(lambda visit, _: visit.say(data))


async def test_an_end_is_trouble():
    """A directory that hangs up, or gives notice, has not answered."""

    async def ends(visit, _):
        visit.writer.close()

    async def notice(visit, _):
        visit.session.extended_response(0, "1.3.6.1.4.1.1466.20036", result_code=LDAPResultCode.UNAVAILABLE)

    with pytest.raises((DirectoryTrouble, OSError)):
        await bound(ends)
    with pytest.raises((DirectoryTrouble, OSError)):
        await bound(notice)


async def test_answers_are_bounded():
    """A directory that never stops talking is left after so many bytes."""
    with pytest.raises(DirectoryTrouble, match="bytes of answers"):
        await bound(lambda visit, _: visit.say(b"\x30\x84\x7f\xff\xff\xff" + bytes(MAX_BYTES)))


@given(
    st.binary(max_size=80),
    st.sampled_from([b"", b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00", b"\x30\x20\x02\x01\x01\x64\x1b\x04"]),
)
def test_any_bytes_are_answers_or_trouble(data, before):
    """Nothing that a directory sends raises anything else."""
    session = LDAPClient()
    session.bind_simple("cn=a", "x")
    if before + data:
        with contextlib.suppress(DirectoryTrouble):
            _messages(session, before + data)


@pytest.fixture
def tls(tmp_path):
    """A certificate for loopback: the server's context, and the file that trusts it."""
    certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "public.crt", tmp_path / "private.key")
    return context, tmp_path / "public.crt"


async def start_tls(script, tls, came=None):
    """Bind after StartTLS at a directory that follows a script."""
    async with Directory(script) as directory:
        wanted = settings(directory, Transport.STARTTLS, ca_file=tls[1])
        try:
            async with asyncio.timeout(5), connected(wanted, tls_context(wanted)) as one:
                return await one.bind("cn=a", PASSWORD)
        finally:
            if came is not None:
                came += directory.came


async def test_start_tls(tls):
    """After the answer both sides speak TLS, in new sessions."""

    async def agrees(visit, message):
        if isinstance(message, ExtendedRequest):
            visit.session.extended_response(message.message_id)
            await visit.say()
            await visit.writer.start_tls(tls[0])
            visit.session = type(visit.session)()
        else:
            await takes_everybody(visit, message)

    assert await start_tls(agrees, tls)


async def test_without_tls_nothing_is_said(tls):
    """A directory that will not speak TLS gets no password: there is no falling back."""

    async def will_not(visit, message):
        visit.session.extended_response(message.message_id, result_code=LDAPResultCode.UNAVAILABLE)
        await visit.say()

    came = []
    with pytest.raises(DirectoryTrouble, match="StartTLS was answered UNAVAILABLE"):
        await start_tls(will_not, tls, came)
    assert [type(message) for message in came] == [ExtendedRequest]


@pytest.mark.parametrize("together", [True, False])
async def test_what_is_said_before_tls_is_not_believed_after_it(tls, together):
    """An answer to the bind, slipped in before TLS by whoever sits between, with StartTLS's answer or after it, is no answer."""
    taken = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"

    async def slips_in(visit, message):
        visit.session.extended_response(message.message_id)
        await visit.say(taken if together else b"")
        if not together:
            visit.writer.write(taken)
            await visit.writer.start_tls(tls[0])

    with pytest.raises((DirectoryTrouble, OSError)):
        await start_tls(slips_in, tls)


async def test_start_tls_ends_with_its_answer(tls):
    """Half a message behind the answer is more than an answer, though TLS would work after it."""

    async def and_more(visit, message):
        visit.session.extended_response(message.message_id)
        await visit.say(b"\x30\x0c\x02")
        await visit.writer.start_tls(tls[0])

    with pytest.raises(DirectoryTrouble, match="something else"):
        await start_tls(and_more, tls)


async def test_start_tls_is_answered_by_its_answer_only(tls):
    """A bind's answer, garbage, or an endless one is none."""
    for data in (
        b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
        b"nonsense",
        b"\x30\x84\x7f\xff\xff\xff" + bytes(9000),
        b"",
    ):
        with pytest.raises((DirectoryTrouble, OSError)):
            await start_tls(
                lambda visit, _, data=data: visit.say(data) if data else visit.writer.transport.abort(), tls
            )
