"""Sessions issued from identity tokens: CPU of the gateway for each, how many a second, and what each costs etcd.

AssumeRoleWithWebIdentity with a real provider's RS256 token, policy claim checked, the session recorded before the answer leaves: in
the embedded store's file, and in one etcd member. The load is eight threads of plain HTTP, a connection for each call, as clients
of STS make them. Every answer is checked: it holds three credentials, and no access key comes twice.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

from client_grants import get_token

from bench import contenders
from bench.contenders import Contender, Lab
from bench.cpu import LOAD_CPU, metered, pinned
from bench.goals import CPU, OVER_ETCD, RATE, STS, STS_PER_CPU, STS_WRITES
from bench.load_small import WrongAnswer
from bench.plan import Plan, in_turn
from tests.servers.etcd import Etcd

THREADS = 8
_CREDENTIALS = re.compile(
    rb"<AccessKeyId>([0-9A-Z]{20})</AccessKeyId><SecretAccessKey>.{40}</SecretAccessKey><SessionToken>"
)


def sts(lab: Lab, plan: Plan) -> None:
    """Measure both stores, and count etcd's writes."""
    with lab.section():
        store = contenders.source(lab, plan.root)
        with pinned(LOAD_CPU):
            etcd = lab.stack.enter_context(Etcd(lab.place("etcd")))
        embedded = contenders.gateway(lab, store[0])
        over_etcd = contenders.gateway(lab, store[0], name=OVER_ETCD, MINIO_ETCD_ENDPOINTS=",".join(etcd.endpoints))
        for number, one in enumerate(in_turn([embedded, over_etcd], plan.rounds)):
            lab.say(f"{STS}: {one.name}")
            before = etcd.revision()
            count = measure(lab, one, plan, warm=number < 2)
            if one is over_etcd:
                lab.results.add(STS, one.name, STS_WRITES, (etcd.revision() - before) / count)


def measure(lab: Lab, contender: Contender, plan: Plan, *, warm: bool) -> int:
    """Issue sessions for some seconds and keep the numbers; return how many were issued."""
    body = urlencode({"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": token(lab)})
    warmed = issue(contender.port, body, 0.5) if warm else []
    with metered(contender.pids) as meter:
        keys = issue(contender.port, body, float(plan.seconds))
    if len(set(keys)) != len(keys):
        raise WrongAnswer("two sessions have one access key")
    spent = meter.cpu[contender.name]
    keep = lambda column, value: lab.results.add(STS, contender.name, column, value)  # noqa: E731
    keep(CPU, 1e6 * spent / len(keys))
    keep(STS_PER_CPU, len(keys) / spent)
    keep(RATE, len(keys) / meter.seconds)
    return len(keys) + len(warmed)


def token(lab: Lab) -> str:
    """Return a token of the lab's provider."""
    with urllib.request.urlopen(lab.issuer) as found:
        address = json.load(found)["token_endpoint"]
    return str(get_token(address, "app", "app-secret")["access_token"])


def issue(port: int, body: str, seconds: float) -> list[bytes]:
    """Ask for sessions from eight threads until the time is over; return their access keys. Raises WrongAnswer."""
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(THREADS) as pool:
        return [key for keys in pool.map(lambda _: _asked(port, body, until), range(THREADS)) for key in keys]


def _asked(port: int, body: str, until: float) -> list[bytes]:
    keys = []
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        found = _CREDENTIALS.search(text)
        if answer.status != 200 or found is None:
            raise WrongAnswer(f"{answer.status}: {text[:300]!r}")
        keys.append(found[1])
    return keys
