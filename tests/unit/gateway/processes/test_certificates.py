"""Certificates that change: real handshakes on both loops' TLS, with files that are whole, halves, and gone."""

from __future__ import annotations

import asyncio
import errno
import shutil
import ssl
from contextlib import asynccontextmanager

import pytest

from gateway.processes import certificates
from gateway.processes.certificates import Certificates, listener_certificates
from tests.servers.certificates import certificate, common_name
from tests.unit.gateway.wire.bench import LOOPS


@pytest.fixture
def folder(tmp_path):
    """A certs folder with a pair."""
    certificate(tmp_path / "certs", "first")
    return tmp_path / "certs"


@asynccontextmanager
async def listening(held: Certificates):
    """Serve an echo over TLS; yields how to connect: a server name (or none) to a stream."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(99):
            writer.write(data)
        writer.close()

    opened: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=held.context)

    async def connect(name: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=trust, server_hostname=name or "127.0.0.1"
        )
        opened.append(writer)
        return reader, writer

    try:
        yield connect
    finally:
        for writer in opened:
            writer.close()
        server.close()


def shown(stream) -> str:
    """Return in whose name the certificate is that the server has shown."""
    return common_name(stream[1].get_extra_info("ssl_object").getpeercert(binary_form=True))


async def works(stream) -> bool:
    """Return whether a connection still carries bytes both ways."""
    stream[1].write(b"still here")
    return await stream[0].readexactly(10) == b"still here"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_new_pair_is_for_new_connections(folder, loop):
    """A connection from before the change goes on with what it has; the next one sees the new certificate."""

    async def told() -> None:
        held = Certificates(folder)
        async with listening(held) as connect:
            before = await connect()
            assert shown(before) == "first"
            certificate(folder, "second")
            assert held.refresh()
            assert shown(await connect()) == "second"
            assert await works(before)
            assert shown(before) == "first"

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(told())


def _half_written(folder) -> None:
    pem = folder / "public.crt"
    pem.write_bytes(pem.read_bytes()[:200])


def _other_key(folder) -> None:
    key = (folder / "private.key").read_bytes()
    certificate(folder, "second")
    (folder / "private.key").write_bytes(key)


def _locked_key(folder) -> None:
    (folder / "private.key").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )


def _gone(folder) -> None:
    (folder / "private.key").unlink()


@pytest.mark.parametrize("harm", [_half_written, _other_key, _locked_key, _gone])
async def test_a_pair_that_cannot_be_used_changes_nothing(folder, harm, caplog):
    """Half a file, another pair's key, a locked key, a missing one: the pair before stays, it is said once, and healed by a whole one."""
    held = Certificates(folder)
    async with listening(held) as connect:
        harm(folder)
        held.refresh()
        assert shown(await connect()) == "first"
        (said,) = caplog.records
        assert str(folder) in said.getMessage() or "gone" in said.getMessage()
        held.refresh()
        assert len(caplog.records) == 1
        certificate(folder, "third")
        assert held.refresh()
        assert shown(await connect()) == "third"


async def test_a_pair_that_could_not_be_read_is_tried_again(folder, monkeypatch, caplog):
    """No descriptor, or no right to the key for a moment: the files do not change any more, and are in force at the next look."""
    held, read, fails = Certificates(folder), certificates._read, True

    def reading(*given):
        if fails:
            raise OSError(errno.EMFILE, "Too many open files")
        return read(*given)

    monkeypatch.setattr(certificates, "_read", reading)
    async with listening(held) as connect:
        certificate(folder, "second")
        assert not held.refresh()
        assert not held.refresh()
        assert len(caplog.records) == 1
        assert shown(await connect()) == "first"
        fails = False
        assert held.refresh()
        assert shown(await connect()) == "second"


async def test_each_domain_may_have_its_own_pair(folder):
    """The server name chooses the folder: its own, else the nearest parent's, else the certs folder's; one may come later."""
    certificate(folder / "s3.example.org", "the domain's")
    held = Certificates(folder)
    async with listening(held) as connect:
        for name, owner in {"": "first", "localhost": "first", "org": "first", "S3.Example.org": "the domain's",
                            "bucket.s3.example.org": "the domain's", "xs3.example.org": "first"}.items():  # fmt: skip
            assert shown(await connect(name)) == owner, name
        certificate(folder / "localhost", "localhost's")
        assert held.refresh()
        assert shown(await connect("localhost")) == "localhost's"
        shutil.rmtree(folder / "s3.example.org")
        held.refresh()
        assert shown(await connect("s3.example.org")) == "the domain's"


async def test_the_files_are_looked_at_by_itself(folder, monkeypatch):
    """Without any signal a changed pair is in force within seconds."""
    assert certificates.LOOK <= 5
    monkeypatch.setattr(certificates, "LOOK", 0.01)
    held = Certificates(folder)
    watching = asyncio.get_running_loop().create_task(held.watch())
    async with listening(held) as connect, asyncio.timeout(20):
        certificate(folder, "second")
        while shown(await connect()) != "second":
            pass
    watching.cancel()


def test_a_volume_of_kubernetes_is_followed(tmp_path, caplog):
    """A volume changes by a link to another folder: its pair is in force then, and its hidden folders are no domains."""
    for version in ("1", "2"):
        certificate(tmp_path / f"..{version}", version)
    (tmp_path / "..data").symlink_to("..1")
    for name in ("public.crt", "private.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    held = Certificates(tmp_path)
    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    shutil.rmtree(tmp_path / "..1")
    caplog.set_level("INFO")
    assert held.refresh()
    assert [record.getMessage() for record in caplog.records] == [f"the certificate in {tmp_path} is in force"]


def test_without_a_pair_there_is_no_tls(tmp_path, folder):
    """A folder without both files means plain HTTP; one with a pair that cannot be used is an error."""
    assert listener_certificates(tmp_path / "none") is None
    assert listener_certificates(folder) is not None
    _half_written(folder)
    with pytest.raises(OSError, match=r"the certificate in .*certs cannot be used: .*PEM"):
        listener_certificates(folder)
    (folder / "private.key").unlink()
    assert listener_certificates(folder) is None
