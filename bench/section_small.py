"""Small requests, as many as a contender answers: CPU per request, requests per second, who was the limit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import boto3
from botocore.config import Config
from botocore.credentials import Credentials

from bench import contenders
from bench.contenders import Contender, Lab
from bench.cpu import LOAD_CPU, anywhere, metered, pinned, processes, tree_of
from bench.goals import CPU, MIDDLE_GET, RATE, SHARED, SMALL_GET, SMALL_PUT, WORKERS
from bench.load_small import WrongAnswer, fire, refuse, verify, verify_put
from bench.plan import Plan, in_turn
from bench.signing import BUCKET, Shot, Signer, key
from tests.servers.processes import BACKEND, Weed, until

KIB = 1 << 10
KEYS = 256  # requests that differ: a server that remembers one of them gains nothing
STORE = "(store)"
Shots = Callable[[Contender], list[Shot]]


@dataclass(frozen=True)
class Load:
    """One load: its name, the requests for a contender, and how the digests of its answers are looked at."""

    name: str
    shots: Shots
    check: Callable[[Contender], None]


def gets(name: str, content: bytes, size: int) -> Load:
    """Return the load of GETs of `size` bytes of `content`."""

    def shots(contender: Contender) -> list[Shot]:
        signer = Signer(contender.credentials, contender.host)
        return [signer.get(size, number) for number in range(KEYS)]

    return Load(name, shots, lambda contender: verify(contender.port, shots(contender), content))


def puts(name: str, body: bytes) -> Load:
    """Return the load of PUTs of a body in boto3's default mode."""

    def shots(contender: Contender, suffix: str = "") -> list[Shot]:
        signer = Signer(contender.credentials, contender.host)
        return [signer.put(body, f"{number}{suffix}") for number in range(KEYS)]

    digest = hashlib.sha256(body).hexdigest()
    return Load(name, shots, lambda contender: verify_put(contender.port, shots(contender, "-digest"), digest))


def small(lab: Lab, plan: Plan) -> None:
    """Measure GET and PUT of 1 KiB and GET of 64 KiB at everybody, and one worker against two."""
    content = plan.content.read_bytes()[: 64 * KIB]
    with lab.section():
        store = contenders.source(lab, plan.root)
        backend, keys = store[0], Credentials(BACKEND.access_key_id, BACKEND.secret.reveal())
        everybody = [
            gateway := contenders.gateway(lab, backend),
            nginx := contenders.nginx(lab, backend), haproxy := contenders.haproxy(lab, backend),
            go := contenders.reverse_proxy(lab, backend), contenders.caddy(lab, backend),
            contenders.object_storage_proxy(lab, backend), weed(lab, keys, content[:KIB]),
            interpreted := contenders.interpreted(lab, backend), contenders.gateway_with_opa(lab, backend),
            contenders.gateway_asking(lab, backend),
        ]  # fmt: skip
        for one in everybody:
            if one and one.verifies:
                with lab.told("a wrong signature", one):
                    refuse(one.port, Signer(replace_secret(one.credentials), one.host).get(KIB, 0))
        compare(lab, plan, gets(SMALL_GET, content, KIB), everybody, store)
        compare(lab, plan, gets(MIDDLE_GET, content, 64 * KIB), [gateway, nginx, haproxy, go, interpreted], store)
        workers(lab, plan, gets(WORKERS, content, KIB), gateway, store)
    with lab.section(), anywhere():
        store = contenders.source(lab, plan.root)
        workers(lab, plan, gets(SHARED, content, KIB), contenders.gateway(lab, store[0]), store)
    with lab.section():
        store = contenders.sink(lab, plan.content)
        starts = (
            contenders.gateway, contenders.nginx, contenders.reverse_proxy, contenders.interpreted,
            contenders.gateway_with_opa, contenders.gateway_asking,
        )  # fmt: skip
        compare(lab, plan, puts(SMALL_PUT, content[:KIB]), [start(lab, store[0]) for start in starts], store)


def workers(lab: Lab, plan: Plan, load: Load, one: Contender, store: tuple[int, int]) -> None:
    """Measure two workers beside one, with as many connections in all and with as many each; and nginx's in all."""
    two = contenders.gateway(lab, store[0], "--workers", "2", name=contenders.TWO)
    each = replace(two, name=contenders.TWO_EACH, pids={contenders.TWO_EACH: two.pids[contenders.TWO]},
                   connections=2 * two.connections)  # fmt: skip
    peers = [contenders.nginx(lab, store[0]), contenders.nginx(lab, store[0], workers=2)]
    compare(lab, plan, load, [one, two, each, *peers], store)
    lab.results.add(load.name, contenders.TWO, "the idler worker's part, %", 100 * idler(two.pids[contenders.TWO]))


def compare(lab: Lab, plan: Plan, load: Load, everybody: Sequence[Contender | None], store: tuple[int, int]) -> None:
    """Measure a load at all contenders, in turn, and look at the digests of its answers before and after."""
    present = [one for one in everybody if one]
    signed = {one: load.shots(one) for one in present}
    for one in present:
        with lab.told(load.name, one):
            load.check(one)
            fire(one.port, signed[one], 1, lab.folder)  # warmed up, forgotten
    for one in in_turn(present, plan.rounds):
        if lab.alive(load.name, one):
            lab.say(f"{load.name}: {one.name}")
            with lab.told(load.name, one):
                measure(lab, plan, load.name, one, signed[one], store[1])
    for one in present:
        if lab.alive(load.name, one):
            with lab.told(load.name, one):
                load.check(one)
                logged(lab, one)


def measure(lab: Lab, plan: Plan, load: str, contender: Contender, shots: list[Shot], store: int) -> None:
    """Run one load at one contender and keep its numbers."""
    with metered(contender.pids | {STORE: contender.store or store}) as meter:
        fired = fire(contender.port, shots, plan.seconds, lab.folder, contender.connections)
    lab.answers[contender.port] += fired.count
    for row in contender.pids:
        lab.results.add(load, row, CPU, 1e6 * meter.cpu[row] / fired.count)
    keep = lambda column, value: lab.results.add(load, contender.name, column, value)  # noqa: E731
    keep(RATE, fired.count / fired.seconds)
    keep("its CPU, %", 100 * meter.cpu[contender.name] / meter.seconds)
    keep("wrk's CPU, %", 100 * fired.cpu / meter.seconds)
    keep("the store's CPU, %", 100 * meter.cpu[STORE] / meter.seconds)


def logged(lab: Lab, contender: Contender) -> None:
    """Hold that a gateway told every request in its access log: without it the row would be another one's.

    Raises WrongAnswer.
    """
    if contender.log:
        wanted, log = lab.answers[contender.port], contender.log
        try:
            until(lambda: log.read_bytes().count(b"\n") >= wanted, "the log", 5)
        except TimeoutError:
            raise WrongAnswer(f"{wanted} answers, {log.read_bytes().count(10)} lines in {log.name}") from None


def replace_secret(credentials: Credentials) -> Credentials:
    """Return credentials with another secret: what they sign is wrong."""
    return Credentials(credentials.access_key, "not-the-secret", credentials.token)


def idler(root: int) -> float:
    """Return the part of the CPU time of two workers that the idler one had."""
    everyone = processes()
    *_, less, most = sorted(everyone[pid].ticks for pid in tree_of(root, everyone))
    return less / (less + most)


def weed(lab: Lab, keys: Credentials, body: bytes) -> Contender:
    """Start a SeaweedFS on the store's CPU with the objects, and its S3 front on the contenders'."""
    folder = lab.place("weed")
    with pinned(LOAD_CPU):
        store = Weed(folder)
    lab.stack.callback(store.close)
    command = store.process.command
    filer = next(word for word in command if word.startswith("-filer.port=")).partition("=")[2]
    upload(store.endpoint, keys, body)
    return contenders.weed_s3(
        lab, {"binary": command[0], "filer": filer, "pid": store.process.popen.pid}, keys, folder / "s3.json"
    )


def upload(endpoint: str, keys: Credentials, body: bytes) -> None:
    """Put the small objects into a store."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=keys.access_key, aws_secret_access_key=keys.secret_key,
        region_name="us-east-1", config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    for number in range(KEYS):
        client.put_object(Bucket=BUCKET, Key=key(len(body), number), Body=body)
