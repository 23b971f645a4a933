"""Client certificates at the listener: real handshakes, the whole way to a session. What is not the operator's is refused there."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.processes.certificates import Certificates, client_authorities
from sts.certificate import ClientCertificate
from sts.sessions import open_session
from tests.servers.certificates import Authority, certificate
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.front import KEYRING, serve
from tests.unit.gateway.wire.bench import LOOPS

CA, OTHER = Authority(), Authority("CA of somebody else")
CALL = b"POST /?Action=AssumeRoleWithCertificate&Version=2011-06-15&DurationSeconds=900 HTTP/1.1\r\nHost: h\r\n"
ENDS = b"Content-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def folder(tmp_path):
    """A certs folder with a pair, and the CAs of clients in it."""
    certificate(tmp_path / "certs")
    (tmp_path / "certs" / "CAs").mkdir()
    (tmp_path / "certs" / "CAs" / "ours.pem").write_bytes(CA.pem)
    return tmp_path / "certs"


@pytest.fixture
def store():
    """A store nobody asks."""
    server = RecordingBackend()
    yield server
    server.close()


def trusting(pair=None, version=ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Return a client's context: with a certificate, when there is a file with one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if pair is not None:
        context.load_cert_chain(pair)
    return context


async def listen(stack: AsyncExitStack, folder, store) -> tuple[int, Certificates]:
    """Serve with client certificates on a loopback port; return the port and the certificates."""
    front = await serve(stack, store.endpoint)
    front.sts.ways["AssumeRoleWithCertificate"] = ClientCertificate(time.time)
    held = Certificates(folder, folder / "CAs")
    listener = await front.plane.listen("127.0.0.1", 0, tls=held.context)
    stack.callback(listener.close)
    return listener.sockets[0].getsockname()[1], held


async def told(port: int, context: ssl.SSLContext, head: bytes = CALL, name: str = "") -> bytes:
    """Return the answer to a call, b"" when the handshake failed."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name or "127.0.0.1"
        )
        try:
            writer.write(head + ENDS)
            async with asyncio.timeout(20):
                return await reader.read()
        finally:
            writer.close()
    return b""


def code(answer: bytes) -> str:
    found = re.search(rb"<Code>(\w+)</Code>", answer)
    return found[1].decode() if found else ""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_ours_becomes_a_session(loop, version, folder, store, tmp_path):
    """On either loop and in either version of TLS the client that shows a certificate has a session in its name, until NotAfter at most."""
    pair = CA.pair(tmp_path / "ann.pem", ("ann",), ends=600)

    async def call() -> None:
        async with AsyncExitStack() as stack:
            port, _ = await listen(stack, folder, store)
            answer = await told(port, trusting(pair, version))
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
            found = open_session(KEYRING, re.search(rb"<SessionToken>(.*?)<", answer)[1].decode(), now=int(time.time()))
            assert (found.parent, found.provider) == ("tls:ann", "tls")
            assert found.credentials.expires_at <= datetime.now(UTC).timestamp() + 600

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(call())


async def test_without_a_certificate_everything_else_is_as_before(folder, store):
    """A client that has none connects; only this one action misses it."""
    async with AsyncExitStack() as stack:
        port, _ = await listen(stack, folder, store)
        assert code(await told(port, trusting())) == "MissingParameter"
        answer = await told(port, trusting(), b"GET /minio/health/live HTTP/1.1\r\nHost: h\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def _self_signed(path):
    certificate(path.parent / "own", "ann")
    path.write_bytes(b"".join((path.parent / "own" / name).read_bytes() for name in ("public.crt", "private.key")))
    return path


def _under_a_client(path):
    """Write a certificate that a client of ours signed, as if it were a CA."""
    middle = Authority("middle")
    middle.certificate, middle.key = CA.client(("middle",))
    middle.name = middle.certificate.subject
    middle.pair(path, ("root",))
    path.write_bytes(path.read_bytes() + middle.certificate.public_bytes(Encoding.PEM))
    return path


BAD = {
    "another CA's": OTHER.pair,
    "self-signed": _self_signed,
    "for servers": lambda path: CA.pair(path, usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "expired": lambda path: CA.pair(path, begins=-900, ends=-60),
    "not yet valid": lambda path: CA.pair(path, begins=600),
    "under a client's": _under_a_client,
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_trap_44_a_certificate_of_others_does_not_connect(make, version, folder, store, tmp_path):
    """Another CA's, another use's or another time's certificate fails in the handshake: no request of it is read."""
    pair = make(tmp_path / "bad.pem")
    async with AsyncExitStack() as stack:
        port, _ = await listen(stack, folder, store)
        assert await told(port, trusting(pair, version)) == b""


@pytest.mark.parametrize(
    "how",
    [{"usages": None}, {"usages": (ExtendedKeyUsageOID.CLIENT_AUTH,), "names": ()}, {"names": ("ann", "root")}],
    ids=["for anything", "nobody's", "two people's"],
)
async def test_trap_44_what_tls_does_not_ask_is_asked(how, folder, store, tmp_path):
    """A certificate that TLS takes, and that is not one client's own, is refused by STS."""
    async with AsyncExitStack() as stack:
        port, _ = await listen(stack, folder, store)
        answer = await told(port, trusting(CA.pair(tmp_path / "odd.pem", **how)))
        assert code(answer) in {"InvalidClientCertificate", "MissingParameter"}


HEADERS = [
    "X-Forwarded-Client-Cert", "X-Client-Cert", "X-SSL-Client-Cert", "Ssl-Client-Cert", "X-Amzn-Mtls-Clientcert",
    "Client-Cert", "X-SSL-Client-S-DN-CN", "X-Forwarded-Tls-Client-Cert",
]  # fmt: skip


async def test_trap_44_a_header_is_no_certificate(folder, store):
    """What a proxy's header says of a certificate is never believed, over TLS or without it, whoever sends it."""
    text = CA.client(("root",))[0].public_bytes(Encoding.DER).hex()
    lines = "".join(f"{name}: {text}\r\n" for name in HEADERS).encode()
    async with AsyncExitStack() as stack:
        port, _ = await listen(stack, folder, store)
        assert code(await told(port, trusting(), CALL + lines)) == "MissingParameter"
        front = await serve(stack, store.endpoint)
        front.sts.ways["AssumeRoleWithCertificate"] = ClientCertificate(time.time)
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(CALL + lines + b"X-Forwarded-Proto: https\r\n" + ENDS)
        assert code(await reader.read()) == "InsecureConnection"
        writer.close()


async def test_trap_44_no_session_of_tls_is_resumed(folder, store, tmp_path):
    """A certificate is verified for each connection anew: what TLS would resume brings none."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(CA.pair(tmp_path / "ann.pem"), version)
        async with AsyncExitStack() as stack:
            port, _ = await listen(stack, folder, store)
            sessions = []
            for _ in range(2):
                answer, session, reused = await asyncio.to_thread(
                    _blocking, context, port, sessions[-1] if sessions else None
                )
                sessions.append(session)
                assert (b"<SessionToken>" in answer) is (not reused)


def _blocking(context: ssl.SSLContext, port: int, session) -> tuple[bytes, ssl.SSLSession | None, bool]:
    """Make a call over a blocking connection, which can ask to resume."""
    with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(raw, session=session) as tls:
        tls.sendall(CALL + ENDS)
        answer = b""
        with suppress(ssl.SSLError):
            while data := tls.recv(65_536):
                answer += data
        return answer, tls.session, bool(tls.session_reused)


async def test_cas_may_change(folder, store, tmp_path):
    """Another CA in the folder counts for the next connection, whatever server name it asks for; one taken away does not."""
    certificate(folder / "s3.example.org", "the domain's")
    ours, theirs = CA.pair(tmp_path / "ann.pem"), OTHER.pair(tmp_path / "bob.pem", ("bob",))
    async with AsyncExitStack() as stack:
        port, held = await listen(stack, folder, store)

        async def works(pair) -> list[bool]:
            return [b"<SessionToken>" in await told(port, trusting(pair), name=name) for name in ("", "s3.example.org")]

        assert (await works(ours), await works(theirs)) == ([True, True], [False, False])
        (folder / "CAs" / "theirs.crt").write_bytes(OTHER.pem)
        assert held.refresh()
        assert (await works(ours), await works(theirs)) == ([True, True], [True, True])
        (folder / "CAs" / "ours.pem").unlink()
        assert held.refresh()
        assert (await works(ours), await works(theirs)) == ([False, False], [True, True])
        (folder / "CAs" / "theirs.crt").write_text("junk")
        assert not held.refresh()
        assert await works(theirs) == [True, True]


def test_cas_that_cannot_be_used_are_told(folder, tmp_path):
    """No folder, an empty one, a file without certificates: the listener does not begin, and says which."""
    assert client_authorities(folder / "CAs" / "ours.pem") == CA.pem.decode()
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.pem").write_text("junk")
    (tmp_path / "binary.pem").write_bytes(b"\xff\xfe")
    for name in ("none", "empty", "junk.pem", "binary.pem"):
        with pytest.raises(OSError, match=f"the client CAs in .*{name} cannot be used"):
            Certificates(folder, tmp_path / name)


def test_nobody_is_asked_by_default(folder):
    """Without the setting no client is asked for a certificate, and sessions are resumed as ever."""
    context = Certificates(folder).context
    assert context.verify_mode is ssl.CERT_NONE
    assert context.num_tickets == 2
