"""What a request costs: CPU of the gateway, of nginx and of the store itself, measured in one run on one machine.

    make bench                        the numbers of README.md
    make bench ARGS="--small 20000"   longer, steadier

CPU time is what we compare: on a shared machine it is far steadier than seconds, and it is what an operator pays for.
It is utime + stime (with those of reaped children) of a contender's whole process tree in /proc/PID/stat, read before
and after a load; the kernel counts it in ticks of 10 ms, so 2,000 requests resolve 5 µs. The store's CPU is not in the
rows of those before it. Contenders take turns in every round, so a busy minute of the machine does not hit only one.

Contenders: the gateway with IAM policies in process; the gateway asking OPA over HTTP (where tests.servers.opa finds
an engine; OPA's own CPU is a row of its own); nginx passing everything on (where `nginx` is on PATH; requests are signed
for the store, whose Host it keeps); the store. nginx runs one worker, as the gateway is one process.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from botocore.credentials import Credentials  # noqa: E402
from client_grants import assume_role_with_client_grants, get_token  # noqa: E402

from bench.load import Shot, fire, signed  # noqa: E402
from tests.servers.opa import opa_kind, start_opa  # noqa: E402
from tests.servers.processes import BACKEND, DevIssuer, GatewayProcess, Process, Weed, free_port, until  # noqa: E402

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BUCKET = "bench"
TICK = os.sysconf("SC_CLK_TCK")
CPU_FIELDS = slice(11, 15)  # utime, stime, cutime, cstime after the command's name: proc_pid_stat(5)
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 64k; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream store {{ server {store}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://store; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_request_buffering off; proxy_max_temp_file_size 0;
      proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Contender:
    """A server to measure: requests go to `port`, signed with `credentials` for `url`; `pids` are its trees by row."""

    port: int
    url: str
    credentials: Credentials
    pids: dict[str, int]


@dataclass(frozen=True)
class Load:
    """One kind of request: `count` of them with `size` bytes; below a MiB cost is per request, above it per GiB."""

    name: str
    method: str
    size: int
    count: int

    @property
    def cpu_per(self) -> float:
        """What a CPU second of this load is multiplied by: to µs per request, or to seconds per GiB."""
        return 1e6 / self.count if self.size < MIB else GIB / (self.size * self.count)


@dataclass
class Results:
    """Every measured number by row and column."""

    numbers: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, column: str, number: float) -> None:
        """Keep one number of one round."""
        self.numbers.setdefault(row, {}).setdefault(column, []).append(number)

    def table(self) -> Iterator[str]:
        """Yield the lines of a Markdown table: median [min-max]."""
        columns = list(dict.fromkeys(name for row in self.numbers.values() for name in row))
        yield "| | " + " | ".join(columns) + " |"
        yield "|---|" + "---:|" * len(columns)
        for row, found in self.numbers.items():
            yield f"| {row} | " + " | ".join(spread(found.get(name, [])) for name in columns) + " |"


def spread(numbers: list[float]) -> str:
    """Return "median [min-max]"; a dash where nothing was measured."""
    if not numbers:
        return "-"
    digits = 0 if max(numbers) >= 20 else 2
    middle, low, high = (f"{n:,.{digits}f}" for n in (statistics.median(numbers), min(numbers), max(numbers)))
    return f"{middle} [{low}-{high}]"


def processes() -> dict[int, tuple[int, int]]:
    """Return parent and CPU ticks of every process of the machine."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        found[int(stat.parent.name)] = int(words[1]), sum(map(int, words[CPU_FIELDS]))
    return found


def tree_cpu(root: int) -> float:
    """Return the CPU seconds of a process and all below it; KeyError when it is gone."""
    everyone = processes()
    tree, fresh = {root}, {root}
    while fresh := {pid for pid, (parent, _) in everyone.items() if parent in fresh} - tree:
        tree |= fresh
    return sum(everyone[pid][1] for pid in tree) / TICK


def machine_cpu() -> float:
    """Return the busy CPU seconds of the whole machine since it started: user, nice, system, irq, softirq."""
    words = list(map(int, Path("/proc/stat").read_text().split(maxsplit=10)[1:8]))
    return (sum(words) - words[3] - words[4]) / TICK


def begin(stack: ExitStack, folder: Path) -> dict[str, Contender]:
    """Start every contender there is and return them by name."""
    weed = Weed(folder / "weed")
    stack.callback(weed.close)
    issuer = DevIssuer(folder / "issuer", "app:app-secret:readwrite")
    stack.callback(issuer.close)
    backend = Credentials(BACKEND.access_key_id, BACKEND.secret.reveal())
    store = Contender(urlsplit(weed.endpoint).port, weed.endpoint, backend, {"the store": weed.process.popen.pid})
    fire(store.port, [signed("PUT", f"{store.url}/{BUCKET}", backend)], 1, 1)
    found = {"the gateway, IAM policies": gateway(stack, folder / "gateway", weed, issuer, "the gateway, IAM policies")}
    if opa_kind() != "none":
        found["the gateway, OPA"] = gateway_with_opa(stack, folder, weed, issuer)
    if shutil.which("nginx"):
        found["nginx"] = nginx(stack, folder / "nginx", store)
    return found | {"the store": store}


def gateway(stack: ExitStack, folder: Path, weed: Weed, issuer: DevIssuer, row: str, **env: str) -> Contender:
    """Start a gateway and get temporary credentials from it as a client does."""
    server = GatewayProcess(
        folder, weed.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_GW_DATA_DIR=str(folder / "data"), **env,
    ).start()  # fmt: skip
    stack.callback(server.close)
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    keys = assume_role_with_client_grants(server.endpoint, token, 3600)
    credentials = Credentials(keys["accessKey"], keys["secretKey"], keys["sessionToken"])
    return Contender(server.port, server.endpoint, credentials, {row: server.process.popen.pid})


def gateway_with_opa(stack: ExitStack, folder: Path, weed: Weed, issuer: DevIssuer) -> Contender:
    """Start OPA with the policy of deploy/opa and a gateway that asks it."""
    opa = start_opa({"authz.rego": (ROOT / "deploy/opa/httpapi_authz.rego").read_text()}, folder)
    stack.callback(opa.close)
    url = f"{opa.url}/v1/data/httpapi/authz"
    found = gateway(stack, folder / "gateway-opa", weed, issuer, "the gateway, OPA", MINIO_IAM_OPA_URL=url)
    found.pids["(its OPA)"] = opa.process.pid
    return found


def nginx(stack: ExitStack, folder: Path, store: Contender) -> Contender:
    """Start nginx in front of the store, everything of it in `folder`."""
    folder.mkdir()
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, store=f"127.0.0.1:{store.port}"))
    server = Process(["nginx", "-c", str(config), "-e", str(folder / "error.log")], folder / "log").start()
    stack.callback(server.stop)
    until((folder / "pid").exists, "nginx runs")
    return Contender(port, store.url, store.credentials, {"nginx": server.popen.pid})


def shots(contender: Contender, load: Load, bodies: dict[int, bytes]) -> list[Shot]:
    """Return the signed requests of a load: 64 small keys, or a key for each large request."""
    keys = [f"{contender.url}/{BUCKET}/{load.size}/{number}" for number in range(min(load.count, 64))]
    if load.method == "PUT":
        return [signed("PUT", key, contender.credentials, body=bodies[load.size]) for key in keys]
    return [signed("GET", key, contender.credentials, length=load.size) for key in keys]


def measure(contender: Contender, name: str, load: Load, requests: list[Shot], connections: int, to: Results) -> None:
    """Run one load at one contender and keep its numbers."""
    before = {row: tree_cpu(pid) for row, pid in contender.pids.items()}
    seconds = fire(contender.port, requests, load.count, connections)
    for row, pid in contender.pids.items():
        unit = "µs CPU" if load.size < MIB else "CPU s/GiB"
        to.add(row, f"{load.name}, {unit}", (tree_cpu(pid) - before[row]) * load.cpu_per)
    if load.size < MIB:
        to.add(name, f"{load.name}, requests/s", load.count / seconds)


def compare(contenders: dict[str, Contender], loads: list[Load], rounds: int, connections: int) -> Results:
    """Run all loads at all contenders, in turn, `rounds` times."""
    results, bodies = Results(), {load.size: os.urandom(load.size) for load in loads}
    for name, contender in contenders.items():  # warmed up before the first round, those numbers forgotten
        for load in loads:
            few = replace(load, count=200 if load.size < MIB else 1)
            measure(contender, name, few, shots(contender, few, bodies), connections, Results())
    for _ in range(rounds):  # loads put before they get: what is read is there
        for load in loads:
            for name, contender in contenders.items():
                measure(contender, name, load, shots(contender, load, bodies), connections, results)
    return results


def main() -> int:
    """Measure and print a Markdown table with the machine and its noise."""
    parser = argparse.ArgumentParser(description="CPU per request and per GiB")
    for word, default in (("small", 2000), ("large", 8), ("rounds", 3), ("connections", 8)):
        parser.add_argument(f"--{word}", type=int, default=default)
    given = parser.parse_args()
    loads = [
        Load("PUT 1 KiB", "PUT", KIB, given.small), Load("GET 1 KiB", "GET", KIB, given.small),
        Load("PUT 64 MiB", "PUT", 64 * MIB, given.large), Load("GET 64 MiB", "GET", 64 * MIB, given.large),
    ]  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="minio-gw-bench-")))
        contenders = begin(stack, folder)
        all_before, ours_before = machine_cpu(), tree_cpu(os.getpid())
        results = compare(contenders, loads, given.rounds, given.connections)
        busy, ours = machine_cpu() - all_before, tree_cpu(os.getpid()) - ours_before
    print("\n".join(results.table()))
    engine = opa_kind().split()[0]
    print(f"\n{os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python {platform.python_version()}")
    print(f"policy engine: {engine}; load average at the end: {os.getloadavg()[0]:.1f}")
    print(f"other work on the machine took {100 * (busy - ours) / busy:.0f} % of the CPU time spent meanwhile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
