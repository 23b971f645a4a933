"""Whole gateway processes: workers that share what is revoked, certificates that change, descriptors that run out, both loops, memory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.conftest import credentials_for, s3_client
from tests.servers.certificates import certificate, common_name
from tests.servers.processes import ROOT, GatewayProcess, until
from tests.traps.raw import Wire, signed, written

ASK = b"GET /bucket/key HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def started(tmp_path, weed, issuer):
    """Make gateways in front of the store; they are stopped at the end, and must end well."""
    made: list[GatewayProcess] = []

    def start(*words: str, **env: str) -> GatewayProcess:
        settings = {"MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.urls["config"], "MINIO_GW_DRAIN": "2", **env}
        made.append(GatewayProcess(tmp_path / f"gateway{len(made)}", weed.endpoint, *words, **settings))
        return made[-1]

    yield start
    assert [one.close() for one in made] == [0] * len(made)


def test_a_session_revoked_is_refused_by_every_worker(started, issuer, tmp_path):
    """Two workers share one embedded store: a session issued by one works at both, and revoked it works at none after a second."""
    data = {"MINIO_GW_DATA_DIR": str(tmp_path / "data")}
    gateway = started("--workers", "2", **data).start()
    credentials = credentials_for(gateway, issuer)

    def codes(times: int) -> set[str]:
        """Return what as many requests say, each on a connection of its own: the kernel spreads them over both."""
        found = set()
        for _ in range(times):
            s3 = s3_client(gateway.endpoint, credentials)
            try:
                s3.list_buckets()
                found.add("200")
            except ClientError as error:
                found.add(error.response["Error"]["Code"])
            finally:
                s3.close()
        return found

    assert codes(12) == {"200"}
    words = ["admin", "sessions", "revoke", credentials["accessKey"]]
    env = {**os.environ, **gateway.process.env, **data, "MINIO_GW_ADMIN_URL": gateway.endpoint}
    subprocess.run([sys.executable, "-m", "gateway.cli", *words], check=True, cwd=ROOT, env=env, capture_output=True)
    deadline = time.monotonic() + 1
    until(lambda: time.monotonic() >= deadline, "the second that it may take")
    assert codes(24) == {"InvalidAccessKeyId"}


def test_a_transfer_outlives_the_reload(started, direct):
    """An upload that was half sent when its worker was replaced ends whole; so does a download that was half read."""
    gateway = started("--workers", "2", MINIO_GW_DRAIN="60").start()
    bucket, body = f"reload-{uuid.uuid4().hex[:10]}", os.urandom(16 * 2**20)
    direct.create_bucket(Bucket=bucket)
    direct.put_object(Bucket=bucket, Key="down", Body=body)
    put = signed(gateway, "PUT", f"/{bucket}/up") | {"Content-Length": str(len(body))}
    with Wire(gateway.port, 60) as up, Wire(gateway.port, 60) as down:
        up.send(written("PUT", f"/{bucket}/up", put) + body[:1000])
        down.send(written("GET", f"/{bucket}/down", signed(gateway, "GET", f"/{bucket}/down")))
        assert down.socket.recv(1000).startswith(b"HTTP/1.1 200")
        gateway.process.popen.send_signal(signal.SIGHUP)
        until(lambda: "the reload is done" in gateway.process.text, "every worker is new")
        assert up.send(body[1000:]).answer().status == 200
        taken = 0
        while piece := down.socket.recv(2**20):
            taken += len(piece)
        assert taken > len(body) - 1000
    assert direct.get_object(Bucket=bucket, Key="up")["Body"].read() == body
    for key in ("up", "down"):
        direct.delete_object(Bucket=bucket, Key=key)
    direct.delete_bucket(Bucket=bucket)


def test_workers_end_with_their_parent(tmp_path, weed):
    """A parent that is killed leaves no worker behind: a transfer under way is finished, and the port is free for the next parent."""
    gateway = GatewayProcess(tmp_path / "gateway", weed.endpoint, "--workers", "2", MINIO_GW_DRAIN="60").start()
    workers = children(gateway.process.popen.pid)
    assert len(workers) == 2
    with half_an_upload(gateway) as up:
        gateway.process.popen.kill()
        gateway.process.popen.wait()
        until(lambda: "the parent is gone" in gateway.process.text, "they notice")
        assert up.send(b"cd").answer().status == 404
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "both have ended")
    assert gateway.start().close() == 0


def test_who_comes_while_workers_drain_is_refused(started):
    """After SIGTERM a transfer goes on to its end, and a new client is refused at once, not kept waiting for the drain's end."""
    gateway = started("--workers", "2", MINIO_GW_DRAIN="60").start()
    with half_an_upload(gateway) as up:
        gateway.process.popen.send_signal(signal.SIGTERM)
        until(lambda: is_refused(gateway.port), "nobody waits in a socket that nobody accepts from")
        assert gateway.process.popen.poll() is None
        assert up.send(b"cd").answer().status == 404


def half_an_upload(gateway: GatewayProcess) -> Wire:
    """Return a connection whose upload is under way: the gateway has asked for the body, and two of its four bytes are still to come."""
    put = signed(gateway, "PUT", "/nowhere/up") | {"Content-Length": "4", "Expect": "100-continue"}
    wire = Wire(gateway.port, 60).send(written("PUT", "/nowhere/up", put))
    assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return wire.send(b"ab")


def is_refused(port: int) -> bool:
    """Return whether nobody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 10).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("streams", [">&- 2>&- <&-", ">/dev/full", ">/dev/full 2>&1"])
def test_standard_streams_that_take_nothing(tmp_path, weed, streams, loop):
    """Closed, or on a full disk: it serves, no socket gets a stream's number, no line is a failure, and it ends as it should."""
    gateway = GatewayProcess(
        tmp_path / "gateway", weed.endpoint, MINIO_GW_LOOP=loop, MINIO_PROMETHEUS_AUTH_TYPE="public"
    )
    gateway.process.command = ["sh", "-c", f'exec "$0" "$@" {streams}', *gateway.process.command]
    gateway.start()
    with Wire(gateway.port) as wire:
        assert [wire.send(ASK).answer().status for _ in range(3)] == [403] * 3
    until(lambda: lost(gateway) == (3 if "full" in streams else 0), "lines that a full disk did not take are counted")
    opened = [str(Path(f"/proc/{gateway.process.popen.pid}/fd/{number}").readlink()) for number in range(3)]
    assert not [one for one in opened if one.startswith(("socket", "anon_inode"))]
    assert gateway.close() == 0
    assert "Traceback" not in gateway.process.text


def lost(gateway: GatewayProcess) -> int:
    """Return how many lines of the log could not be written."""
    with urllib.request.urlopen(f"{gateway.endpoint}/minio/v2/metrics/cluster", timeout=10) as answer:
        return int(re.search(rb"^minio_gw_log_lines_lost (\d+)", answer.read(), re.MULTILINE)[1])


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_hang_up_without_certificates_changes_nothing(started):
    """One process without TLS says on SIGHUP that there is nothing to reload, and goes on."""
    gateway = started().start()
    with Wire(gateway.port) as wire:
        assert wire.send(ASK).answer().status == 403
        gateway.process.popen.send_signal(signal.SIGHUP)
        until(lambda: "SIGHUP: nothing to reload" in gateway.process.text, "it is said")
        assert wire.send(ASK).answer().status == 403


def test_certificates_change_under_way(started, tmp_path):
    """SIGHUP puts a new pair in force; a connection from before goes on, and a pair that does not match changes nothing."""
    gateway = started()
    folder = tmp_path / "gateway0" / "certs"
    certificate(folder, "first")
    gateway.process.start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def connect() -> Wire:
        wire = Wire(gateway.port)
        wire.socket = context.wrap_socket(wire.socket)
        return wire

    def shown() -> str:
        """Return in whose name the certificate of a new connection is."""
        with connect() as wire:
            return common_name(wire.socket.getpeercert(binary_form=True))

    def serves() -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(
                f"https://127.0.0.1:{gateway.port}/minio/health/live", context=context, timeout=5
            ) as answer,
        ):
            return answer.status == 200
        return False

    until(serves, "it serves over TLS")
    assert shown() == "first"
    with connect() as before:
        assert before.send(ASK).answer().status == 403
        certificate(folder, "second")
        gateway.process.popen.send_signal(signal.SIGHUP)
        until(lambda: "SIGHUP: the TLS certificates on disk are in force" in gateway.process.text, "it is said")
        assert shown() == "second"
        (folder / "private.key").write_text("no key at all")
        gateway.process.popen.send_signal(signal.SIGHUP)
        until(lambda: "the one before it stays in force" in gateway.process.text, "it is said")
        assert shown() == "second"
        certificate(folder, "third")  # and no signal
        until(lambda: shown() == "third", "the files are looked at by themselves", 20)
        assert before.send(ASK).answer().status == 403


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_descriptors_that_run_out_are_503_and_come_back(started, loop):
    """With few descriptors, connections beyond what fits are told SlowDown at once; when others have gone all is well again."""
    gateway = started(MINIO_GW_LOOP=loop)
    limited = ["sh", "-c", 'ulimit -n 160; exec "$@"', "sh"]
    gateway.process.command = [*limited, *gateway.process.command]
    gateway.start()
    wires = [Wire(gateway.port) for _ in range(300)]  # more than there are descriptors at all
    answers = [wire.send(ASK).answer() for wire in wires[:20]]
    assert [answer.status for answer in answers] == [403] * 20
    refused = [wire.answer() for wire in wires[20:]]
    told = [answer for answer in refused if answer is not None]
    assert {(a.status, a.code, a.headers["retry-after"]) for a in told} == {(503, "SlowDown", "1")}
    assert len(told) >= 60  # the others found no descriptor, and were closed
    for wire in wires:
        wire.socket.close()

    def answered() -> bool:
        with contextlib.suppress(ConnectionError), Wire(gateway.port) as wire:
            answer = wire.send(ASK).answer()
            return answer is not None and answer.status == 403
        return False

    until(answered, "there is room again", 10)
    for _ in range(50):
        assert answered()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_whole_way_on_either_loop(started, issuer, loop):
    """Token, credentials, bucket, a large object both ways, a range, a list, a denial: the same on uvloop and on asyncio."""
    gateway = started(MINIO_GW_LOOP=loop).start()
    s3 = s3_client(gateway.endpoint, credentials_for(gateway, issuer))
    bucket, body = f"loop-{uuid.uuid4().hex[:10]}", os.urandom(5 * 2**20)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="large", Body=body)
    s3.put_object(Bucket=bucket, Key="small", Body=b"small")
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == body
    assert s3.get_object(Bucket=bucket, Key="large", Range="bytes=7-11")["Body"].read() == body[7:12]
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["large", "small"]
    reader = s3_client(gateway.endpoint, credentials_for(gateway, issuer, "reader"))
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_object(Bucket=bucket, Key="denied", Body=b"")
    for key in ("large", "small"):
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)


def test_an_idle_gateway_is_small(started):
    """A process that serves, and has nothing to do, holds at most 80 MiB."""
    gateway = started().start()
    lines = Path(f"/proc/{gateway.process.popen.pid}/smaps_rollup").read_text().splitlines()
    (kib,) = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    assert kib < 80 * 1024
