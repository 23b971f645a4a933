"""The goals of the data plane, each as a ratio in one run, or a value."""

from __future__ import annotations

from bench.contenders import CADDY, GO, HAPROXY, NAME, NGINX, NGINX_LARGE, OSP, TWO, TWO_EACH, WEED
from bench.report import Goal

CPU, RATE, PER_GIB = "µs CPU", "requests/s", "CPU s/GiB"
SMALL_GET, SMALL_PUT, MIDDLE_GET = "GET 1 KiB", "PUT 1 KiB", "GET 64 KiB"
LISTING, URL, PART, CLOSING = "a listing", "GET 1 KiB by a URL", "a part of 1 KiB", "GET 1 KiB, a connection each"
WORKERS, STEADY, MEMORY = "GET 1 KiB, one and two workers", "GET 1 KiB at half load", "memory"
SHARED = f"{WORKERS}, on both CPUs with load and store"
BIG_GET, BIG_PUT, TLS_GET, TLS_PUT = "GET 64 MiB", "PUT 64 MiB", "GET 64 MiB, TLS", "PUT 64 MiB, TLS"
CHUNKED, HASH = "PUT 64 MiB, signed chunks", "one SHA-256 pass"
IDLE, PER_CONNECTION, GROWTH = "MiB, idle", "KiB per idle connection", "MiB more for {gibibytes} GiB, {way}"
STS, STS_PER_CPU, STS_WRITES = "sessions from identity tokens", "sessions per CPU second", "etcd writes per session"
OVER_ETCD = f"{NAME}, in etcd"
EACH = "MiB each, {count:,} {way} of 64 MiB at once"


def _cpu(what: str, load: str, peer: str, limit: float, unit: str = CPU) -> Goal:
    return Goal(f"{what} / {peer}", (load, NAME, unit), limit, (load, peer, unit))


def _rate(peer: str, limit: float) -> Goal:
    ours, theirs = ((SMALL_GET, name, RATE) for name in (NAME, peer))
    return Goal(f"1 KiB GET, requests/s on one core / {peer}", ours, limit, theirs, least=True)


def _over_nginx(share: str, limit: float) -> Goal:
    ours, theirs = ((STEADY, name, f"{share}, ms") for name in (NAME, NGINX))
    return Goal(f"latency at half load, {share} over nginx, ms", ours, limit, theirs, "more")


def _value(what: str, column: str, limit: float) -> Goal:
    return Goal(what, (MEMORY, NAME, column), limit, kind="value")


GOALS = (
    _cpu("1 KiB GET, µs CPU", SMALL_GET, NGINX, 2.0),
    _cpu("1 KiB GET, µs CPU", SMALL_GET, GO, 0.85),
    _cpu("1 KiB GET, µs CPU", SMALL_GET, CADDY, 0.45),
    _rate(WEED, 3.0), _rate(OSP, 1.0),
    _cpu("1 KiB PUT (SDK default), µs CPU", SMALL_PUT, NGINX, 3.0),
    *(_cpu(f"{load}, µs CPU", load, GO, 1.0) for load in (LISTING, URL, PART, CLOSING)),
    _cpu("64 MiB GET, CPU s/GiB", BIG_GET, NGINX_LARGE, 0.9, PER_GIB),
    _cpu("64 MiB PUT, CPU s/GiB", BIG_PUT, NGINX_LARGE, 0.9, PER_GIB),
    _cpu("64 MiB GET, CPU s/GiB", BIG_GET, HAPROXY, 1.05, PER_GIB),
    _cpu("64 MiB PUT, CPU s/GiB", BIG_PUT, HAPROXY, 1.05, PER_GIB),
    _cpu("64 MiB GET over TLS, CPU s/GiB", TLS_GET, NGINX_LARGE, 1.1, PER_GIB),
    _cpu("64 MiB PUT over TLS, CPU s/GiB", TLS_PUT, NGINX_LARGE, 1.1, PER_GIB),
    _cpu("64 KiB GET, µs CPU", MIDDLE_GET, NGINX, 1.4),
    _cpu("aws-chunked signed PUT, CPU s/GiB", CHUNKED, HASH, 1.3, PER_GIB),
    *(Goal(f"two workers / one {where}, as many connections {how}, µs CPU", (load, two, CPU), 1.05, (load, NAME, CPU))
      for load, where in ((SHARED, "on both CPUs"), (WORKERS, "on one CPU"))
      for two, how in ((TWO_EACH, "each"), (TWO, "in all"))),
    _over_nginx("p50", 0.3), _over_nginx("p99", 1.5),
    Goal("sessions per CPU second, embedded store", (STS, NAME, STS_PER_CPU), 1000, kind="value", least=True),
    Goal("etcd transactions per session", (STS, OVER_ETCD, STS_WRITES), 1.05, kind="value"),
    _value("one worker idle, MiB", IDLE, 80),
    _value("an idle kept connection, KiB", PER_CONNECTION, 8),
    *(_value(f"{count:,} {way} of 64 MiB at once, MiB each", EACH.format(count=count, way=way), 1.0)
      for count in (200, 1000) for way in ("GET", "PUT")),
    _value("5 GiB GET, MiB of growth", GROWTH.format(gibibytes=5, way="GET"), 16),
    _value("5 GiB PUT, MiB of growth", GROWTH.format(gibibytes=5, way="PUT"), 16),
)  # fmt: skip
