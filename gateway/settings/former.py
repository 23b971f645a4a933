"""MinIO's settings and flags that are not here: what would be silently left undone is refused, the rest is told at the start.

Who changes one program for the other keeps its environment. A variable that asks for encryption must not be a variable
that nobody reads. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from gateway.backends.endpoints import Problem

#: Flags of `minio gateway s3` that change nothing here, and whether a value follows.
FLAGS: dict[str, bool] = {
    "--console-address": True, "--config-dir": True, "--listeners": True, "--shutdown-timeout": True, "--idle-timeout": True,
    "--read-header-timeout": True, "--anonymous": False, "--compat": False, "--no-compat": False,
}  # fmt: skip

_ENCRYPTION = "let the store encrypt, or clients with their own keys (SSE-C), and take the variable away"
#: Asks for encryption of every object; on its own it would be stored in the clear, and nobody would know.
_REFUSED = ("MINIO_GATEWAY_SSE", "MINIO_KMS_AUTO_ENCRYPTION", "MINIO_SSE_AUTO_ENCRYPTION")
_OFF = frozenset({"", "off", "false", "0"})


class _Topic(NamedTuple):
    """Patterns of names and what is so here."""

    patterns: tuple[str, ...]
    text: str


_TOPICS = (
    _Topic(("--console-address", "MINIO_BROWSER*", "MINIO_CONSOLE_*"), "there is no console; `minio-gw admin` and mc administrate"),
    _Topic(("MINIO_AUDIT_*", "MINIO_LOGGER_*"), "nothing is sent anywhere: requests are lines on the standard output"),
    _Topic(("MINIO_CACHE_*",), "nothing is cached"),
    _Topic(("MINIO_PUBLIC_IPS", "MINIO_ETCD_COREDNS_PATH", "MINIO_DNS_WEBHOOK_*"), "no bucket has a record in DNS; MINIO_GW_BACKENDS maps buckets to stores"),
    _Topic(("MINIO_STS_DURATION", "MINIO_IDENTITY_LDAP_STS_EXPIRY"), "a session lasts as long as its call asks for, and no longer than its proof"),
    _Topic(("MINIO_API_CORS_ALLOW_ORIGIN",), "the bucket's own CORS configuration counts"),
    _Topic(("MINIO_API_REQUESTS_*",), "MINIO_GW_MAX_INFLIGHT bounds requests"),
    _Topic(("MINIO_GATEWAY_S3_STS_ENDPOINT",), "AWS_ENDPOINT_URL_STS is where AWS's credential chain asks"),
    _Topic(("MINIO_KMS_*", "MINIO_SSE_*"), "nothing is encrypted here, and what a KMS has sealed is not read"),
    _Topic(("*",), "nobody reads it here"),
)  # fmt: skip

#: What Kubernetes sets for a Service called minio or minio-NAME: no settings (kubernetes.io, "Environment variables").
_LINKS = re.compile(
    r"MINIO(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def is_link(name: str) -> bool:
    """Return whether Kubernetes sets a variable of this name."""
    return _LINKS.fullmatch(name) is not None


def refused(values: Iterable[tuple[str, str]]) -> list[Problem]:
    """Return a problem for each variable whose wish must not be left undone in silence."""
    asked = [name for name, value in values if name in _REFUSED and value.lower() not in _OFF]
    return [Problem(name, "asks for encryption at the gateway, which is not here", _ENCRYPTION) for name in asked]


def told(names: Iterable[str]) -> tuple[str, ...]:
    """Return a line for each topic of which somebody set something; `names` are variables and flags that no setting has."""
    left = [name for name in sorted(set(names)) if name.startswith(("MINIO_", "--")) and not is_link(name)]
    lines = []
    for topic in _TOPICS:
        of_it = [name for name in left if any(fnmatchcase(name, pattern) for pattern in topic.patterns)]
        left = [name for name in left if name not in of_it]
        if of_it:
            lines.append(f"{', '.join(of_it)}: {topic.text}")
    return tuple(lines)
