"""Latency while a contender has half of the work that the gateway can do, the same arrivals for everybody."""

from __future__ import annotations

from pathlib import Path

from bench import contenders
from bench.contenders import NAME, Contender, Lab
from bench.cpu import metered
from bench.goals import RATE, SMALL_GET, STEADY
from bench.load_small import fire as saturate
from bench.load_steady import arrivals, built, fire, percentile
from bench.plan import Plan, in_turn
from bench.report import LATE
from bench.section_small import KIB, STORE, gets
from bench.signing import Shot


def latency(lab: Lab, plan: Plan) -> None:
    """Measure p50 and p99 of the gateway and of nginx."""
    generator = built(lab.folder)
    if generator is None:
        lab.without(STEADY, "no C compiler for the generator")
        return
    load = gets(STEADY, plan.content.read_bytes()[:KIB], KIB)
    with lab.section():
        store = contenders.source(lab, plan.root)
        gateway = contenders.gateway(lab, store[0])
        present = [one for one in (gateway, contenders.nginx(lab, store[0])) if one]
        for one in present:
            load.check(one)
        signed = {one: load.shots(one) for one in present}
        saturated = saturate(gateway.port, signed[gateway], plan.seconds, lab.folder)
        rate = (lab.results.median((SMALL_GET, NAME, RATE)) or saturated.count / saturated.seconds) / 2
        for number, one in enumerate(in_turn(present, plan.rounds)):
            lab.say(f"{STEADY}: {one.name}")
            due = arrivals(rate, plan.steady, seed=number // len(present))
            measure(lab, generator, one, signed[one], due, store[1])
        for one in present:
            load.check(one)


def measure(lab: Lab, generator: Path, contender: Contender, shots: list[Shot], due: list[float], store: int) -> None:
    """Run one load at one contender and keep its numbers."""
    with metered(contender.pids | {STORE: store}) as meter:
        seen = fire(generator, contender.port, shots, due)
    keep = lambda column, value: lab.results.add(STEADY, contender.name, column, value)  # noqa: E731
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        keep(f"{name}, ms", 1000 * percentile(seen.latencies, share))
    keep(LATE, 1000 * percentile(seen.late, 0.99))
    keep("requests/s asked", len(due) / due[-1])
    keep("its CPU, %", 100 * meter.cpu[contender.name] / meter.seconds)
    keep("the load's CPU, %", 100 * seen.cpu / meter.seconds)
    keep("the store's CPU, %", 100 * meter.cpu[STORE] / meter.seconds)
