"""Where the gateway is, and who calls: from flags, the environment, and the gateway's own settings where they are set.

A secret key is never an argument: arguments are seen by everybody on a machine, and kept by shells.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.backends.endpoints import shown, split_url
from gateway.settings.table import ROOT_PAIRS, Reader
from iam.model import Credentials, Secret

REGION = "us-east-1"
_EVERYWHERE = frozenset({"", "0.0.0.0", "[::]", "::"})


class Unusable(Exception):
    """The command cannot be carried out as it stands: the text says what is missing or wrong."""


@dataclass(frozen=True)
class Endpoint:
    """A gateway's origin (`https://host:port`), who calls it, the region of the signature, and how long to wait (seconds)."""

    origin: str
    credentials: Credentials
    region: str = REGION
    ca_file: Path | None = None
    timeout: float = 30.0


def endpoint(options: Namespace, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Return where to call and as whom. Raises Unusable."""
    flags = {f"--{name}": getattr(options, name.replace("-", "_"), "") for name in ("address", "certs-dir")}
    reader = Reader({flag: str(given) for flag, given in flags.items() if given}, environ, _text)
    before = len(reader.problems)  # other settings' problems are the gateway's
    found = Endpoint(
        _origin(getattr(options, "url", "") or reader.get("MINIO_GW_ADMIN_URL"), reader),
        _credentials(options, environ, reader),
        getattr(options, "region", "") or reader.get("MINIO_REGION_NAME") or REGION,
        getattr(options, "ca", None) or reader.path("MINIO_GW_ADMIN_CA"),
        getattr(options, "timeout", 30.0),
    )
    for problem in reader.problems[before:]:
        raise Unusable(f"{problem.setting} {problem.text}. Remedy: {problem.remedy}.")
    return found


def _origin(url: str, reader: Reader) -> str:
    if not url:
        return _of_settings(reader)
    parts = split_url(url)
    if parts is None or parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise Unusable(f"{shown(url)!r} is no gateway's URL. Remedy: give http(s)://host:port.")
    return f"{parts.scheme}://{parts.netloc}"


def _of_settings(reader: Reader) -> str:
    """Return the gateway that the same settings would make on this machine."""
    host, _, port = reader.get("MINIO_ADDRESS").rpartition(":")
    certificates = reader.path("MINIO_CERTS_DIR") or Path()
    try:
        tls = all((certificates / name).exists() for name in ("public.crt", "private.key"))
    except OSError as error:
        why = f"MINIO_CERTS_DIR {certificates} cannot be read: {error.strerror}, so nobody knows whether to speak TLS."
        raise Unusable(f"{why} Remedy: name the gateway with --url.") from error
    return f"{'https' if tls else 'http'}://{'127.0.0.1' if host in _EVERYWHERE else host}:{port}"


def _credentials(options: Namespace, environ: Mapping[str, str], reader: Reader) -> Credentials:
    """Return the keys of --access-key, else root's, else AWS's. The environment of a gateway has its backend's as AWS's."""
    key = getattr(options, "access_key", "")
    if key:
        return _named(key, options, environ)
    user, password = reader.pair(ROOT_PAIRS)
    if reader.variable(user) and reader.variable(password):
        return Credentials(reader.variable(user), Secret(reader.variable(password)))
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return _of_aws(environ["AWS_ACCESS_KEY_ID"], environ)
    raise Unusable(
        "nobody says who calls. Remedy: set MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or give --access-key and --secret-key-file."
    )


def _named(key: str, options: Namespace, environ: Mapping[str, str]) -> Credentials:
    secret, token = getattr(options, "secret_key_file", None), getattr(options, "session_token_file", None)
    if secret is not None:
        given = token and Secret(read_secret(token))
        return Credentials(key, Secret(read_secret(secret)), given or None)
    if environ.get("AWS_SECRET_ACCESS_KEY") and environ.get("AWS_ACCESS_KEY_ID", key) == key:
        return _of_aws(key, environ)
    raise Unusable(f"the secret key of {key} is not given. Remedy: --secret-key-file FILE, or AWS_SECRET_ACCESS_KEY.")


def _of_aws(key: str, environ: Mapping[str, str]) -> Credentials:
    token = environ.get("AWS_SESSION_TOKEN", "")
    return Credentials(key, Secret(environ["AWS_SECRET_ACCESS_KEY"]), Secret(token) if token else None)


def read_secret(path: Path, stdin: Callable[[], str] = input) -> str:
    """Return the one line of a file, or of the standard input for `-`. Raises Unusable."""
    try:
        text = stdin() if str(path) == "-" else _text(path)
    except EOFError:
        raise Unusable("the standard input ends before the secret") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {getattr(error, 'strerror', '') or 'it is not UTF-8'}") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or not secret.isprintable():
        raise Unusable(f"{path} holds no secret: one line of printable characters is expected")
    return secret


def read_text(path: Path) -> str:
    """Return a file's text, or the standard input's for `-`. Raises Unusable."""
    try:
        return sys.stdin.read() if str(path) == "-" else _text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {getattr(error, 'strerror', '') or 'it is not UTF-8'}") from None


def _text(path: Path) -> str:
    return path.read_text("utf-8")
