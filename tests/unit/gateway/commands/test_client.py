"""Calls to a real gateway, and to what is none."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from gateway.commands import client as module
from gateway.commands.client import AdminClient, Refused
from gateway.commands.endpoint import Endpoint, Unusable
from iam.model import Credentials, Secret
from tests.servers.certificates import certificate
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess, until
from tests.servers.recording import RecordingBackend

ROOT = Credentials(ROOT_USER, Secret(ROOT_PASSWORD))


@pytest.fixture
def client():
    """Return clients, which are closed at the end."""
    made: list[AdminClient] = []

    def make(origin: str, credentials: Credentials = ROOT, clock=time.time, **how) -> AdminClient:
        made.append(AdminClient(Endpoint(origin, credentials, **how), clock))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answered(text: str, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}".encode()


@pytest.fixture
def other():
    """A server that is no gateway."""
    server = RecordingBackend()
    yield server
    server.close()


def test_both_kinds_of_bodies(gateway, client):
    """What is encrypted comes back opened, what is not as it is, and a call without an answer is None."""
    one = client(gateway.endpoint)
    assert one.minio("PUT", "/add-user", {"secretKey": "a-long-secret"}, sealed=True, accessKey="client-user") is None
    assert "client-user" in one.minio("GET", "/list-users")
    assert one.ours("GET", "/keys")["keys"]
    assert one.minio("DELETE", "/remove-user", accessKey="client-user") is None


def test_every_parameter_is_signed_as_it_is_sent(gateway, client):
    """Names with anything in them reach the gateway as they are; a list is a parameter given more than once."""
    one, names = client(gateway.endpoint), ["a b", "ü+&=/?#%20", "~*'()"]
    found = one.minio("GET", "/idp/builtin/policy-entities", user=names)
    assert sorted(mapping["user"] for mapping in found["userMappings"]) == sorted(names)


@pytest.mark.parametrize(
    ("who", "code", "status"),
    [(Credentials(ROOT_USER, Secret("another-secret")), "SignatureDoesNotMatch", 403), (Credentials("nobody", Secret("x" * 8)), "InvalidAccessKeyId", 403)],
)  # fmt: skip
def test_wrong_credentials(gateway, client, who, code, status):
    """The gateway's code, its words and its request id are in the error."""
    with pytest.raises(Refused) as refused:
        client(gateway.endpoint, who).ours("GET", "/keys")
    assert (refused.value.code, refused.value.status) == (code, status)
    assert len(refused.value.request_id) == 16


def test_a_clock_that_is_wrong(gateway, client):
    """A signature of another hour is refused as such."""
    one = client(gateway.endpoint, clock=lambda: 1e9)
    with pytest.raises(Refused) as refused:
        one.ours("GET", "/keys")
    assert refused.value.code == "RequestTimeTooSkewed"


def test_nobody_there(client):
    """A gateway that does not answer is named."""
    with pytest.raises(Refused, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        client("http://127.0.0.1:9").ours("GET", "/keys")


@pytest.mark.parametrize(
    "answer",
    [answered("<html>hello</html>", "text/html"), answered("{", status="500 Oops"), answered('{"Code": 1}', status="404 No"),
     answered("[" * 100_000), answered("moved", status="301 Moved")],
)  # fmt: skip
def test_who_is_no_gateway(other, client, answer):
    """An answer that the API cannot give is said to be none; nothing of it is taken, no redirect followed."""
    other.answer = answer
    with pytest.raises(Refused, match="no answer of the administration API"):
        client(other.endpoint).ours("GET", "/keys")
    assert len(other.requests) == 1


def test_an_answer_that_is_sealed_by_somebody_else(other, client):
    """Who does not know the secret key cannot make an encrypted answer."""
    other.answer = answered("x" * 200, "application/octet-stream")
    with pytest.raises(Refused, match="not encrypted with the caller's secret key"):
        client(other.endpoint).minio("GET", "/list-users")


def test_answers_are_bounded(other, client, monkeypatch):
    """An answer without end is given up."""
    monkeypatch.setattr(module, "MAX_ANSWER", 1000)
    other.answer = answered("x" * 2000)
    with pytest.raises(Refused, match="larger than 1000 bytes"):
        client(other.endpoint).ours("GET", "/keys")


def test_an_answer_that_never_ends(other, client):
    """Who sends a little again and again does not keep the command for ever."""
    other.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1\r\nx\r\n"
    with pytest.raises(Refused, match=r"does not end|cannot be reached"):
        client(other.endpoint, timeout=0.2).ours("GET", "/keys")


def test_a_proxy_of_the_environment_gets_nothing(gateway, other, client, monkeypatch):
    """Credentials go to the gateway that was named, whatever the environment says of proxies."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other.endpoint)
    assert client(gateway.endpoint).ours("GET", "/keys")["keys"]
    assert other.requests == []


def test_tls_is_verified(tmp_path, client):
    """With the CA the gateway is spoken to; without it, or with another's, not a byte of the call is sent."""
    certificate(tmp_path / "tls" / "certs")
    certificate(tmp_path / "other")
    backend = RecordingBackend()
    server = GatewayProcess(tmp_path / "tls", backend.endpoint)
    server.process.start()
    origin, ca = f"https://127.0.0.1:{server.port}", tmp_path / "tls" / "certs" / "public.crt"
    try:
        assert _patient(client(origin, ca_file=ca))["keys"] is not None
        for wrong in (None, tmp_path / "other" / "public.crt"):
            with pytest.raises(Refused, match=r"cannot be reached: .*certificate verify failed"):
                client(origin, ca_file=wrong).ours("GET", "/keys")
    finally:
        server.close()
        backend.close()


def _patient(one: AdminClient):
    """Call until the gateway listens."""
    found: list = []

    def called() -> bool:
        with contextlib.suppress(Refused):
            found.append(one.ours("GET", "/keys"))
        return bool(found)

    until(called, "the gateway answers over TLS")
    return found[0]


def test_a_ca_that_is_none(tmp_path, client):
    """A file that holds no certificate is told before anything is sent."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", Path("/nowhere/ca.pem")):
        with pytest.raises(Unusable, match="holds no CA certificate"):
            client("https://127.0.0.1:9", ca_file=path)
