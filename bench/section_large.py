"""Big bodies: CPU per GiB of 64 MiB each way, plain, with TLS, and in signed chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import contenders
from bench.contenders import Contender, Lab
from bench.cpu import SERVER_CPU, metered, pinned
from bench.goals import BIG_GET, BIG_PUT, CHUNKED, HASH, PER_GIB, TLS_GET, TLS_PUT
from bench.load_large import Big, digest_get, digest_put, fire, sha256_cost
from bench.plan import Plan, in_turn
from bench.section_small import logged
from bench.signing import CHUNK, Signer

CONNECTIONS = 4
GIB = 1 << 30
STORE = "(store)"
Make = Callable[[Contender, str], Big]
Check = Callable[..., None]


@dataclass(frozen=True)
class Load:
    """One load: its name, its request for a contender under a name, and what looks at the digest of one."""

    name: str
    big: Make
    digest: Check


def get(plan: Plan) -> Make:
    """Return what makes a download."""

    def make(contender: Contender, name: str) -> Big:  # noqa: ARG001 - there is one content
        shot = Signer(contender.credentials, contender.host).get(plan.size, 0)
        return Big(shot.data, shot.length)

    return make


def put(plan: Plan) -> Make:
    """Return what makes an upload that nobody hashes."""

    def make(contender: Contender, name: str) -> Big:
        return Big(Signer(contender.credentials, contender.host).put_head(plan.size, name), file=plan.content)

    return make


def put_chunked(plan: Plan) -> Make:
    """Return what makes an upload in signed chunks; its file holds the head too."""

    def make(contender: Contender, name: str) -> Big:
        file = plan.content.with_name(f"chunked-{name}")
        Signer(contender.credentials, contender.host).put_chunked(plan.content, file, name)
        return Big(b"", file=file)

    return make


def large(lab: Lab, plan: Plan) -> None:
    """Measure 64 MiB each way in the clear, and signed chunks against one pass of SHA-256."""
    peers = (lambda lab, port: contenders.nginx(lab, port, 512), contenders.haproxy,
             lambda lab, port: contenders.reverse_proxy(lab, port, 512))  # fmt: skip
    with lab.section():
        store = contenders.source(lab, plan.root)
        everybody = [contenders.gateway(lab, store[0]), *(peer(lab, store[0]) for peer in peers)]
        compare(lab, plan, Load(BIG_GET, get(plan), digest_get), everybody, store)
    with lab.section():
        store = contenders.sink(lab, plan.content)
        everybody = [contenders.gateway(lab, store[0]), *(peer(lab, store[0]) for peer in peers)]
        compare(lab, plan, Load(BIG_PUT, put(plan), digest_put), everybody, store)
        compare(lab, plan, Load(CHUNKED, put_chunked(plan), digest_put), everybody[:2], store, one_pass)


def tls(lab: Lab, plan: Plan) -> None:
    """Measure 64 MiB each way with TLS to the client."""
    for name, start, make, digest in (
        (TLS_GET, lambda: contenders.source(lab, plan.root), get(plan), digest_get),
        (TLS_PUT, lambda: contenders.sink(lab, plan.content), put(plan), digest_put),
    ):
        with lab.section():
            store = start()
            everybody = [contenders.gateway(lab, store[0], tls=True), contenders.nginx(lab, store[0], 512, tls=True)]
            compare(lab, plan, Load(name, make, digest), everybody, store)


def one_pass(lab: Lab, plan: Plan) -> None:
    """Keep what it costs to hash the bytes once, on the contenders' CPU."""
    with pinned(SERVER_CPU):
        seconds = [sha256_cost(plan.content, CHUNK) for _ in range(8)]
    lab.results.add(CHUNKED, HASH, PER_GIB, sum(seconds) / len(seconds) * GIB / plan.size)


def compare(
    lab: Lab, plan: Plan, load: Load, everybody: Sequence[Contender | None], store: tuple[int, int],
    beside: Callable[[Lab, Plan], None] | None = None,
) -> None:  # fmt: skip
    """Measure a load at all contenders, in turn, with something measured beside it in every round."""
    present = [one for one in everybody if one]
    expected = hashlib.sha256(plan.content.read_bytes()).hexdigest()
    for one in present:
        with lab.told(load.name, one):
            load.digest(one.port, load.big(one, "digest"), expected, one.tls)
            fire(one.port, load.big(one, "warm"), CONNECTIONS, CONNECTIONS, one.tls)
    for one in in_turn(present, plan.rounds):
        if lab.alive(load.name, one):
            lab.say(f"{load.name}: {one.name}")
            with lab.told(load.name, one):
                measure(lab, plan, load, one, store[1])
        if beside and one is present[0]:
            beside(lab, plan)
    for one in present:
        if lab.alive(load.name, one):
            with lab.told(load.name, one):
                load.digest(one.port, load.big(one, "digest"), expected, one.tls)
                logged(lab, one)


def measure(lab: Lab, plan: Plan, load: Load, contender: Contender, store: int) -> None:
    """Run one load at one contender and keep its numbers."""
    big = load.big(contender, "object")
    with metered(contender.pids | {STORE: store}) as meter:
        fired = fire(contender.port, big, plan.large, CONNECTIONS, contender.tls)
    lab.answers[contender.port] += fired.count
    gibibytes = plan.large * plan.size / GIB
    keep = lambda column, value: lab.results.add(load.name, contender.name, column, value)  # noqa: E731
    keep(PER_GIB, meter.cpu[contender.name] / gibibytes)
    keep("GiB/s", gibibytes / fired.seconds)
    keep("its CPU, %", 100 * meter.cpu[contender.name] / meter.seconds)
    keep("the load's CPU, %", 100 * fired.cpu / meter.seconds)
    keep("the store's CPU, %", 100 * meter.cpu[STORE] / meter.seconds)
