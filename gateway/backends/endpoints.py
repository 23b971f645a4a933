"""Where a store is, as the settings say it, and what is wrong with a setting. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from iam.model import Credentials

_AMAZON_REGION = re.compile(r"s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-[0-9])\.amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a setting, and what to do."""

    setting: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """A store behind the gateway.

    `credentials` is root, chain or static; `static` is a pair of its own, `profile` the one of AWS's chain, "" for its default.
    `name` is the backend's in MINIO_GW_BACKENDS, "" when there is one only.
    """

    endpoint: str
    region: str
    addressing: str
    credentials: str
    ca_file: Path | None = None
    static: Credentials | None = None
    regions: str = "auto"
    aws_chunked: bool = True
    profile: str = ""
    name: str = ""


def shown(url: str) -> str:
    """Return a URL as people may see it: without user, password, query and fragment."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url)
    start = scheme[0] if scheme else ""
    head, *rest = re.split(r"[?#]", url[len(start) :], maxsplit=1)
    if any("@" in part for part in rest):  # a password with ? or #, or a query with @: nobody can tell
        return f"{start}..."
    return start + head.rpartition("@")[2]


def split_url(url: str) -> SplitResult | None:
    """Return the parts of an http or https URL with a host and a possible port, None when it is none."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if good and url.isascii() and url.isprintable() and " " not in url else None


def endpoint_parts(endpoint: str) -> SplitResult | None:
    """Return the parts of an endpoint (https unless it says otherwise), None when it is none or has more than a host."""
    parts = split_url(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts is None or parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts


def addressing_of(addressing: str, host: str) -> str:
    """Return how buckets are addressed at a host: `auto` is virtual hosts at Amazon, paths elsewhere."""
    if addressing != "auto":
        return addressing
    return "virtual" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else "path"


def region_of(host: str) -> str:
    """Return the region that an Amazon host names, "" for none."""
    named = _AMAZON_REGION.fullmatch(host)
    return named[1] if named else ""
