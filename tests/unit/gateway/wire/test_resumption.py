"""TLS towards a backend: verified always; resumed with the same host, and with no other, on both loops."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.wire import resumption
from gateway.wire.fetch import Unanswered, ask
from gateway.wire.pool import Pool
from gateway.wire.resumption import SELDOM, VERIFIED, client_context
from gateway.wire.steps import Origin
from tests.unit.gateway.wire.bench import LOOPS, SECONDS, until
from tests.unit.gateway.wire.hosts import HEAD, A, Server

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for one.test and two.test with its key, to be trusted itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "backend of the tests")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("one.test"), x509.DNSName("two.test")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1)).add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "backend.pem"
    path.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


@pytest.fixture(autouse=True, params=[True, False], ids=["sessions are paid for", "sessions are free"])
def pays(request, monkeypatch) -> bool:
    """Whether each session that is taken costs memory for ever, as in many a CPython."""
    monkeypatch.setattr(resumption, "_PAYS", request.param)
    return request.param


class Backend:
    """A TLS server, and a pool that finds every name at its address."""

    def __init__(self, certificate, version: ssl.TLSVersion) -> None:
        self.server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server_side.load_cert_chain(certificate)
        self.server_side.maximum_version = version
        self.certificate = certificate
        self.now = 0.0
        self.context = client_context(certificate, lambda: self.now)

    async def start(self) -> None:
        """Listen."""
        self.server = Server(A).start(0, self.server_side)
        self.port = self.server.port

        async def resolve(host: str, port: int) -> list[str]:
            return [A]

        self.pool = Pool(asyncio.get_running_loop(), resolve=resolve)

    async def ask(self, host: str = "one.test", context: ssl.SSLContext | None = None) -> None:
        """Send a request over a connection of its own."""
        origin = Origin(host, self.port, context or self.context)
        _, body = await ask(self.pool, origin, "GET", HEAD, limit=100, seconds=10)
        assert body == A.encode()
        self.pool.take(origin).abandon()

    @property
    def handshakes(self) -> tuple[int, int]:
        """Return how many handshakes there were, and how many of them went on with a session, as the server counts."""
        stats = self.server_side.session_stats()
        return stats["accept_good"], stats["hits"]

    async def close(self) -> None:
        """Stop."""
        self.pool.close()
        self.server.die()
        await until(lambda: not self.server.open)


def told(story: Callable[[Backend], Awaitable[None]]):
    """Make a test of a story: on both loops, in both versions of TLS."""

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("loop", LOOPS)
    def test(loop: str, version: str, certificate) -> None:
        async def run() -> None:
            backend = Backend(certificate, VERSIONS[version])
            await backend.start()
            async with asyncio.timeout(SECONDS):
                await story(backend)
                await backend.close()

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(run())

    test.__doc__ = story.__doc__
    test.__name__ = story.__name__
    return test


@told
async def test_a_new_connection_goes_on_with_the_session_of_the_last(backend: Backend):
    """Of four connections to one host three are resumed, as the server itself counts."""
    for _ in range(4):
        await backend.ask()
    assert backend.handshakes == (4, 3)


@told
async def test_sessions_are_of_one_host_and_one_context(backend: Backend):
    """Another host of the same server, and another backend's context at the same host, are verified for themselves."""
    await backend.ask()
    await backend.ask("two.test")
    context = client_context(backend.certificate)
    await backend.ask("one.test", context)
    assert backend.handshakes == (3, 0)
    await backend.ask("two.test")
    await backend.ask("one.test")
    await backend.ask("one.test", context)
    assert backend.handshakes == (6, 3)


@told
async def test_a_certificate_is_seen_again_in_time(backend: Backend):
    """However often a session was resumed, an hour after its certificate was shown it must be shown again."""
    for _ in range(4):
        await backend.ask()
        backend.now += VERIFIED * 0.3
    assert backend.handshakes == (4, 3)
    await backend.ask()
    assert backend.handshakes == (5, 3)
    await backend.ask()
    assert backend.handshakes == (6, 4)


@told
async def test_few_sessions_are_kept(backend: Backend):
    """The number of hosts whose sessions are kept is bounded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumption, "HOSTS", 1)
        await backend.ask("one.test")
        await backend.ask("two.test")
        await backend.ask("one.test")
    assert backend.handshakes == (3, 0)


@told
async def test_what_cannot_be_verified_is_not_connected(backend: Backend):
    """A name that the certificate does not have, and a certificate that nobody signed whom we trust, fail; also after a success."""
    await backend.ask()
    for host, context in (("three.test", None), ("one.test", client_context(None))):
        with pytest.raises(Unanswered, match="SSLCertVerificationError"):
            await backend.ask(host, context)


class Shaken:
    """A connection of which it is counted how often its session is taken."""

    server_hostname = "one.test"

    def __init__(self, *, reused: bool) -> None:
        self.session_reused = reused
        self.taken = 0

    @property
    def session(self) -> object:
        """The session."""
        self.taken += 1
        return object()


def test_sessions_that_are_paid_for_are_taken_seldom(certificate, pays: bool):
    """Where CPython loses memory with each (python/cpython#116810) none is taken of a resumed connection, and few of who never resumes."""
    now = 0.0
    context = client_context(certificate, lambda: now)
    context.remember(Shaken(reused=False))
    for reused, part in ((True, 2), (False, 0.1)):
        shaken = [Shaken(reused=reused) for _ in range(100)]
        for one in shaken:
            now += SELDOM * part
            context.remember(one)
        assert sum(one.taken for one in shaken) == (100 if not pays else 0 if reused else 10)


@pytest.mark.parametrize("pays", [True], indirect=True)
def test_a_thousand_connections_leave_nothing(certificate):
    """Memory of this process does not grow with the connections that were resumed."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    context = client_context(certificate)
    for _ in range(300):  # what OpenSSL and malloc keep anyhow
        shake_hands(context, server_side)
    before = resident()
    for _ in range(1000):
        shake_hands(context, server_side)
    assert server_side.session_stats()["hits"] == 1299
    assert resident() - before < 2 << 20  # 5.6 MB where each is paid for


def shake_hands(context: ssl.SSLContext, server_side: ssl.SSLContext) -> None:
    """Connect in memory, hear a byte, and remember the session."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, there, server_hostname="one.test")
    server = server_side.wrap_bio(there, back, server_side=True)
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    server.write(b"x")
    assert client.read(1) == b"x"
    context.remember(client)


def resident() -> int:
    """Return the bytes of memory that this process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_context_verifies_as_pythons_own(certificate):
    """Certificates are required, names are checked, and no older protocol is spoken than Python's default allows."""
    default = ssl.create_default_context()
    for made in (client_context(None), client_context(certificate)):
        assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert (made.verify_flags, made.options) == (default.verify_flags, default.options)
        assert made.minimum_version == default.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert client_context(None).get_ca_certs() == default.get_ca_certs()
    assert len(client_context(certificate).get_ca_certs()) == 1
