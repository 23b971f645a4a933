"""What only a look at the machine can tell about a configuration, before the listener opens.

An identity provider, a policy service or a backend that is away is no problem here: the gateway serves, and says that it
is not ready.
"""

from __future__ import annotations

import errno
import socket
import ssl
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.backends.endpoints import BackendSettings, Problem
from gateway.processes.certificates import client_authorities
from gateway.settings import backends_file
from gateway.settings.config import Config
from iam.store import StoreError

ETCD_WITHIN = 3.0  # seconds


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
    """Bind as the server will, without SO_REUSEPORT: another gateway on the port is a mistake, too."""
    try:
        found = socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )  # fmt: skip
        for family, kind, protocol, _, address in found:
            _bind(family, kind, protocol, address)
    except (OSError, UnicodeError) as error:
        where = f"{config.host or '*'}:{config.port}"
        return [
            Problem("--address", f"cannot listen on {where}: {_why(error)}", "choose a free address of this machine")
        ]
    return []


def _bind(family: int, kind: int, protocol: int, address: Any) -> None:
    """Raise OSError when the address cannot be had. A family that this machine lacks is not needed."""
    try:
        probe = socket.socket(family, kind, protocol)
    except OSError:
        return
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)


def _certificates(config: Config) -> list[Problem]:
    etcd = config.etcd
    bundles = [
        (f"{name}.ca" if backend.name else "MINIO_GW_BACKEND_CA", backend.ca_file)
        for name, backend in _backends(config)
    ]
    bundles.append(("MINIO_GW_ETCD_CA", etcd.ca_file if etcd else None))
    bundles += [(f"MINIO_GW_OPENID_CA ({one.provider})", one.ca_file) for one in config.openids]
    bundles.append(("MINIO_GW_LDAP_CA", config.ldap.ca_file if config.ldap else None))
    problems = [problem for name, path in bundles if path for problem in _bundle(name, path)]
    if config.tls_identity is not None:
        problems += _client_authorities(config.tls_identity.ca)
    if etcd and etcd.client_cert and etcd.client_cert_key:
        problems += _key_pair("MINIO_ETCD_CLIENT_CERT", etcd.client_cert, etcd.client_cert_key)
    certificate, key = config.certs_dir / "public.crt", config.certs_dir / "private.key"
    try:
        present = [path.name for path in (certificate, key) if path.exists()]
        if config.certs_dir.exists() and not config.certs_dir.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
    except OSError as error:  # a folder that may not be looked into: nobody knows whether TLS is wanted
        text = f"{config.certs_dir} cannot be read: {_why(error)}"
        return [*problems, Problem("--certs-dir", text, "name a folder this user may read")]
    if len(present) == 2:
        return [*_key_pair("--certs-dir", certificate, key), *problems]
    if present:
        text = f"{config.certs_dir} has {present[0]} without the other half"
        problems.append(Problem("--certs-dir", text, "put public.crt and private.key there, or neither"))
    return problems


def _key_pair(name: str, certificate: Path, key: Path) -> list[Problem]:
    try:
        # A password, so that OpenSSL does not ask the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        text = f"{certificate} and {key} cannot be used: {_why(error)}"
        return [Problem(name, text, "give a readable PEM certificate and its key, without a passphrase")]
    return []


def _bundle(name: str, path: Path) -> list[Problem]:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        return [Problem(name, f"{path} cannot be used: {_why(error)}", "name a readable file of PEM certificates")]
    return []


def _client_authorities(path: Path) -> list[Problem]:
    try:
        client_authorities(path)
    except OSError as error:
        return [Problem("MINIO_GW_CLIENT_CA", str(error), "name a readable file, or a folder, of PEM certificates")]
    return []


def _backends(config: Config) -> list[tuple[str, BackendSettings]]:
    """Return every backend and where it is set."""
    if config.backends is None:
        return [("ENDPOINT", config.backend)]
    return [(f"{backends_file.SETTING}: backends.{name}", one) for name, one in config.backends.backends.items()]


def _own_endpoint(config: Config) -> list[Problem]:
    """Refuse an endpoint that is the gateway itself: every request would come back for ever."""
    if config.command != "gateway":
        return []
    remedy = "name the S3 store's endpoint, or another --address"
    return [
        Problem(f"{name}.endpoint" if backend.name else name, f"{backend.endpoint} is this gateway itself", remedy)
        for name, backend in _backends(config)
        if _is_own(backend.endpoint, config)
    ]


def _is_own(endpoint: str, config: Config) -> bool:
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if port != config.port:
        return False
    everywhere = config.host in {"", "0.0.0.0", "::"}
    ours = set() if everywhere else _addresses(config.host)
    theirs = _addresses(parts.hostname or "")
    return any(_is_local(address) if everywhere else address in ours for address in theirs)


def _addresses(host: str) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()  # a backend that cannot be found is not at our address


def _is_local(address: str) -> bool:
    """Return whether an address is one of this machine's: only those can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _data_dir(config: Config) -> list[Problem]:
    if config.data_dir is None:
        return []
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=config.data_dir):
            return []
    except OSError as error:
        text = f"{config.data_dir} cannot be written: {_why(error)}"
        return [Problem("MINIO_GW_DATA_DIR", text, "name a folder this user may write")]


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def _etcd(config: Config) -> list[Problem]:
    if config.etcd is None:
        return []
    from iam.etcd import EtcdStore  # noqa: PLC0415 - gRPC costs memory; only who has etcd pays

    try:
        store = EtcdStore(replace(config.etcd, timeout=min(config.etcd.timeout, ETCD_WITHIN)))
        await store.open()
        try:
            await store.ping()
        finally:
            await store.close()
    except (StoreError, OSError) as error:
        return [Problem("MINIO_ETCD_ENDPOINTS", str(error), "start etcd, or correct the endpoints")]
    return []
