"""One conversation with a directory (RFC 4511): bind and search over LDAPS, StartTLS or, where that was asked for, plain TCP.

sansldap speaks the protocol; sockets and TLS are asyncio's. Referrals are never followed: where the password goes is the operator's
word alone. What comes is bounded in bytes and entries; who calls bounds the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPError,
    LDAPFilter,
    LDAPMessage,
    LDAPResult,
    LDAPResultCode,
    SearchResultDone,
    SearchResultEntry,
    SearchScope,
)
from sansldap.asn1 import ASN1Reader

from iam.model import Secret
from sts.ldap_settings import LdapSettings, Transport

CONNECT = 5.0  # seconds for one address to accept, and for TLS
GOODBYE = 1.0  # seconds for a connection to end in good order
MAX_BYTES = 2**21  # of all answers on one connection
MAX_ANSWER = 4096  # bytes of the answer to StartTLS
SEARCH_TIME = 8  # seconds that the directory may search
#: Answers to a bind that say nothing of who asks, but that the directory cannot or will not do its part. Numbers, and results are
#: compared by theirs: a code that sansldap 0.1 does not know is, as the integer that it also is, 0, which is success.
_TROUBLE = frozenset(code.value for code in (
    LDAPResultCode.OPERATIONS_ERROR, LDAPResultCode.PROTOCOL_ERROR, LDAPResultCode.TIME_LIMIT_EXCEEDED,
    LDAPResultCode.AUTH_METHOD_NOT_SUPPORTED, LDAPResultCode.STRONG_AUTH_REQUIRED, LDAPResultCode.REFERRAL,
    LDAPResultCode.ADMIN_LIMIT_EXCEEDED, LDAPResultCode.CONFIDENTIALITY_REQUIRED, LDAPResultCode.BUSY,
    LDAPResultCode.UNAVAILABLE, LDAPResultCode.OTHER,
))  # fmt: skip
_SUCCESS, _TOO_MANY = LDAPResultCode.SUCCESS.value, LDAPResultCode.SIZE_LIMIT_EXCEEDED.value
#: What sansldap raises on bytes that are no LDAP.
_NOT_LDAP = (LDAPError, ValueError, LookupError, TypeError, OverflowError, NotImplementedError)


class DirectoryTrouble(Exception):
    """The directory did not do its part; the text is for the log and holds no secret."""


class TooManyEntries(Exception):
    """A search found more than was asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a search found: a name as the directory writes it, and the values (UTF-8 only) by attribute in lower case."""

    dn: str
    attributes: Mapping[str, tuple[str, ...]]


def tls_context(settings: LdapSettings) -> ssl.SSLContext | None:
    """Return what proves the directory, None for plain TCP. Raises OSError when the CA file cannot be used."""
    if settings.transport is Transport.PLAIN:
        return None
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.asynccontextmanager
async def connected(settings: LdapSettings, context: ssl.SSLContext | None) -> AsyncIterator[Connection]:
    """Give a connection, and end it: in good order after good work, at once after any other."""
    sock = await _socket(settings.host, settings.port)
    try:
        if settings.transport is Transport.STARTTLS:
            await _start_tls(sock)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=context, server_hostname=settings.host if context else None,
            ssl_handshake_timeout=CONNECT if context else None,
        )  # fmt: skip
    except BaseException:
        sock.close()
        raise
    connection = Connection(reader, writer)
    try:
        yield connection
        await connection.leave()
    finally:
        writer.transport.abort()


async def _socket(host: str, port: int) -> socket.socket:
    """Return a socket connected to the first address of a host that accepts. Raises OSError."""
    loop = asyncio.get_running_loop()
    trouble: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(CONNECT):
                await loop.sock_connect(sock, address)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):  # TimeoutError is one
                raise
            trouble = error
        else:
            return sock
    raise trouble


async def _start_tls(sock: socket.socket) -> None:
    """Ask for TLS (RFC 4511 section 4.14) on the bare socket.

    What was said before TLS is not believed after it: this session ends here, and bytes that come with the answer are an attack.
    """
    loop, session = asyncio.get_running_loop(), LDAPClient()
    session.extended_request(ExtendedOperations.LDAP_START_TLS.value)
    await loop.sock_sendall(sock, session.data_to_send())
    received, messages = b"", list[LDAPMessage]()
    while not messages and len(received) < MAX_ANSWER:
        data = await loop.sock_recv(sock, MAX_ANSWER)
        received += data
        messages = _messages(session, data)
    if (
        len(messages) != 1
        or not isinstance(answer := messages[0], ExtendedResponse)
        or _length(received) != len(received)
    ):
        raise DirectoryTrouble("StartTLS was answered by something else than one answer")
    if answer.result.result_code.value != _SUCCESS:
        raise DirectoryTrouble(f"StartTLS was answered {_named(answer.result)}")


def _length(received: bytes) -> int:
    """Return the length of the first message (X.690 section 8.1.3)."""
    header = ASN1Reader(received).peek_header()
    return header.tag_length + header.length


class Connection:
    """An open connection: one operation after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._session = LDAPClient()
        self._left = MAX_BYTES

    async def bind(self, dn: str, password: Secret) -> bool:
        """Return whether the directory takes the password for the name. Raises DirectoryTrouble, OSError.

        An empty name or password would be no proof but an anonymous bind (RFC 4513 section 5.1.2): never sent (trap 43).
        """
        if not dn or not password.reveal():
            return False
        self._session.bind_simple(dn, password.reveal())
        await self._send()
        while True:
            for answer in await self._receive():
                if isinstance(answer, BindResponse):
                    return _taken(answer.result)

    async def search(self, base: str, wanted: LDAPFilter, attributes: Sequence[str], limit: int) -> list[Entry]:
        """Return the entries beneath a base, `limit` at most.

        Raises TooManyEntries, DirectoryTrouble, OSError.
        """
        # 1.1 is no attribute: RFC 4511 section 4.5.1.8. One entry more, so that "more" is seen whoever counts.
        self._session.search_request(
            base, SearchScope.SUBTREE, size_limit=limit + 1, time_limit=SEARCH_TIME, filter=wanted,
            attributes=list(attributes) or ["1.1"],
        )  # fmt: skip
        await self._send()
        found: list[Entry] = []
        while True:
            for answer in await self._receive():
                if isinstance(answer, SearchResultEntry):
                    found.append(_entry(answer))
                elif isinstance(answer, SearchResultDone):
                    return _counted(found, limit, answer.result)

    async def leave(self) -> None:
        """Say goodbye (RFC 4511 section 4.3); whether it arrives does not matter."""
        self._session.unbind()
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(GOODBYE):
                self._writer.write(self._session.data_to_send())
                self._writer.close()
                await self._writer.wait_closed()

    async def _send(self) -> None:
        self._writer.write(self._session.data_to_send())
        await self._writer.drain()

    async def _receive(self) -> list[LDAPMessage]:
        """Return the messages that the next bytes complete."""
        data = await self._reader.read(2**16)
        self._left -= len(data)
        if self._left < 0:
            raise DirectoryTrouble(f"more than {MAX_BYTES} bytes of answers")
        return _messages(self._session, data)


def _messages(session: LDAPClient, data: bytes) -> list[LDAPMessage]:
    if not data:
        raise DirectoryTrouble("the directory closed the connection")
    try:
        return session.receive(data)
    except _NOT_LDAP as error:
        raise DirectoryTrouble(f"no LDAP, or the end of it: {error}"[:200]) from None


def _taken(result: LDAPResult) -> bool:
    if result.result_code.value in _TROUBLE:
        raise DirectoryTrouble(f"a bind was answered {_named(result)}")
    return result.result_code.value == _SUCCESS


def _counted(found: list[Entry], limit: int, result: LDAPResult) -> list[Entry]:
    if len(found) > limit or result.result_code.value == _TOO_MANY:
        raise TooManyEntries
    if result.result_code.value != _SUCCESS:
        raise DirectoryTrouble(f"a search was answered {_named(result)}")
    return found


def _entry(answer: SearchResultEntry) -> Entry:
    attributes: dict[str, tuple[str, ...]] = {}
    for attribute in answer.attributes:
        values = []
        for value in attribute.values:
            with contextlib.suppress(UnicodeDecodeError):
                values.append(value.decode())
        attributes[attribute.name.lower()] = tuple(values)
    return Entry(answer.object_name, attributes)


def _named(result: LDAPResult) -> str:
    """Return a result's name and the directory's own words, for the log."""
    return f"{result.result_code.name} {result.diagnostics_message!r}"[:200]
