"""What only a look at the machine can tell about a configuration, before the listener opens.

An identity provider, a policy service or a backend that is away is no problem here: the gateway serves, and says that it
is not ready.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.config import Config, Problem
from iam.store import StoreError


async def check(config: Config) -> list[Problem]:
    """Return every problem."""
    return [
        *_listener(config),
        *_certificates(config),
        *_own_endpoint(config),
        *_data_dir(config),
        *await _etcd(config),
    ]


def _listener(config: Config) -> list[Problem]:
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except (OSError, UnicodeError) as error:
            return [
                Problem(
                    "--address",
                    f"cannot listen on {config.host or '*'}:{config.port}: {error}",
                    "choose a free address",
                )
            ]
    return []


def _certificates(config: Config) -> list[Problem]:
    present = [name for name in ("public.crt", "private.key") if (config.certs_dir / name).exists()]
    if len(present) == 1:
        return [
            Problem(
                "--certs-dir",
                f"{config.certs_dir} has {present[0]} without the other half",
                "put public.crt and private.key there, or neither",
            )
        ]
    problems = [Problem("--certs-dir", f"{name} cannot be read", "let this user read it") for name in present
                if not os.access(config.certs_dir / name, os.R_OK)]  # fmt: skip
    etcd = config.etcd
    for name, path in (("MINIO_ETCD_CLIENT_CERT", etcd and etcd.client_cert), ("MINIO_ETCD_CLIENT_CERT_KEY", etcd and etcd.client_cert_key),
                       ("MINIO_GW_ETCD_CA", etcd and etcd.ca_file), ("MINIO_GW_BACKEND_CA", config.backend.ca_file)):  # fmt: skip
        if path and not os.access(path, os.R_OK):
            problems.append(Problem(name, f"{path} cannot be read", "name a file this user may read"))
    return problems


def _own_endpoint(config: Config) -> list[Problem]:
    """Refuse an endpoint that is the gateway itself: every request would come back for ever."""
    parts = urlsplit(config.backend.endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if port != config.port or config.command != "gateway":
        return []
    try:
        theirs = {info[4][0] for info in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)}
        ours = {
            info[4][0]
            for info in socket.getaddrinfo(config.host or socket.gethostname(), port, type=socket.SOCK_STREAM)
        }
    except OSError:
        return []
    if not config.host or config.host in {"0.0.0.0", "::"}:
        ours |= {"127.0.0.1", "::1", "0.0.0.0"}
    if theirs & ours:
        return [
            Problem(
                "ENDPOINT",
                f"{config.backend.endpoint} is this gateway itself",
                "name the S3 store's endpoint, or another --address",
            )
        ]
    return []


def _data_dir(config: Config) -> list[Problem]:
    if config.data_dir is None:
        return []
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return [Problem("MINIO_GW_DATA_DIR", f"cannot be made: {error.strerror}", "name a folder this user may write")]
    if not os.access(config.data_dir, os.W_OK):
        return [
            Problem("MINIO_GW_DATA_DIR", f"{config.data_dir} cannot be written", "name a folder this user may write")
        ]
    return []


async def _etcd(config: Config) -> list[Problem]:
    if config.etcd is None:
        return []
    from iam.etcd import EtcdStore  # noqa: PLC0415 - gRPC costs memory; only who has etcd pays

    try:
        store = EtcdStore(replace(config.etcd, timeout=min(config.etcd.timeout, 3.0)))
        await store.open()
        try:
            await store.ping()
        finally:
            await store.close()
    except (StoreError, OSError) as error:
        return [Problem("MINIO_ETCD_ENDPOINTS", str(error), "start etcd, or correct the endpoints")]
    return []
