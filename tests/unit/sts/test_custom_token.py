"""The identity plugin: what it is asked, what it may answer, and what proves nothing. The webhook is a real server."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from iam.model import Secret
from sts.custom_token import MAX_ANSWER, CustomToken, role_arn
from sts.proof import Proof
from sts.settings import PluginSettings
from sts.wire import StsCall, StsError

OPAQUE = "opaque+/= token&x=y"
GOOD = {"user": "ann", "maxValiditySeconds": 3600, "claims": {"team": "red"}}


class Hook(ThreadingHTTPServer):
    """A webhook that answers what a test tells it, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook?site=x"
        self.status, self.body, self.headers = 200, json.dumps(GOOD).encode(), {}
        self.asked: list[tuple[str, dict, dict, bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        self.server.asked.append((parts.path, parse_qs(parts.query), dict(self.headers), body))
        self.server.gate.wait(20)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hook():
    """A webhook."""
    server = Hook()
    yield server
    server.close()


@pytest.fixture
async def way(hook):
    """The way in over the webhook."""
    one = CustomToken(PluginSettings(hook.url, ("readonly",), Secret("Bearer of the hook"), "r1"), "eu")
    yield one
    await one.close()


async def prove(way, token=OPAQUE, arn="") -> Proof:
    parameters = {"Token": token, "RoleArn": arn or way.role_arn}
    return await way.prove(StsCall("AssumeRoleWithCustomToken", parameters, None, ""))


async def refusal(way, **how) -> StsError:
    with pytest.raises(StsError) as refused:
        await prove(way, **how)
    return refused.value


async def test_the_plugin_is_asked_as_minio_asks_it(hook, way):
    """One POST without a body; the token is added to the query, whole; the plugin's own token is the Authorization, verbatim."""
    await prove(way)
    ((path, query, headers, body),) = hook.asked
    assert (path, query, body) == ("/hook", {"site": ["x"], "token": [OPAQUE]}, b"")
    assert headers["Authorization"] == "Bearer of the hook"


async def test_what_it_vouches_for(way):
    """The user is `custom:` and its name; the plugin bounds the session; its claims are the token's."""
    assert await prove(way) == Proof(
        "custom", "custom:ann", {"team": "red", "sub": "ann"}, max_duration=3600,
        role_arn="arn:minio:iam:eu::role/idmp-r1", subject="ann",
    )  # fmt: skip
    assert await way.ready() is None


def test_the_role_is_minios():
    """The role's ARN has the configured id, or the SHA-1 of the URL in base64url without padding."""
    assert role_arn(PluginSettings("http://x", (), role_id="r"), "us-east-1") == "arn:minio:iam:us-east-1::role/idmp-r"
    # printf %s http://x | openssl sha1 -binary | base64 | tr +/ -_ | tr -d =
    assert role_arn(PluginSettings("http://x", ()), "") == "arn:minio:iam:::role/idmp-FYtIEF5QqN_l7VQNA00FXvSK46g"


async def test_its_policies_are_the_roles(way):
    """Everybody whom the plugin vouches for has the policies that the operator gave it, whatever the claims say."""
    assert way.policies("custom", {"policy": "consoleAdmin", "sub": "ann"}) == ("readonly",)


async def test_another_role_is_not_asked_for(hook, way):
    """A RoleArn that is not the plugin's is refused, and no token leaves."""
    for arn in ("arn:minio:iam:::role/idmp-r1", way.role_arn + "x", "arn:aws:iam::1:role/admin"):
        assert (await refusal(way, arn=arn)).code == "InvalidParameterValue"
    assert (await refusal(way, token="t" * 16_385)).code == "InvalidParameterValue"
    assert hook.asked == []


@pytest.mark.parametrize("token", ["é" * 16_000, "\U0001f600" * 16_000, "\ud800"], ids=["long", "longer", "no text"])
async def test_a_token_that_no_url_can_have_is_refused(hook, way, token):
    """A token that is too long once it is encoded, or cannot be, is the caller's mistake, of which the plugin hears nothing."""
    assert (await refusal(way, token=token)).code == "InvalidParameterValue"
    assert hook.asked == []


async def test_trap_47_the_plugin_cannot_say_what_only_we_say(hook, way):
    """Claims of ours and a subject of its own choice are left out of what it vouches for."""
    hostile = {
        "parent": "root",
        "exp": 1,
        "sub": "root",
        "accessKey": "root",
        "minio-gw": {"provider": "user"},
        "ok": 1,
    }
    hook.body = json.dumps(GOOD | {"user": "root", "claims": hostile}).encode()
    found = await prove(way)
    assert (found.parent, found.claims) == ("custom:root", {"ok": 1, "sub": "root"})


async def test_a_refusal_is_the_clients_to_know_and_its_reason_the_logs(hook, way):
    """403 is AccessDenied, which no client tries again; what the plugin gave as reason is for the log."""
    hook.status, hook.body = 403, b'{"reason": "account locked"}'
    error = await refusal(way)
    assert (error.code, error.status) == ("AccessDenied", 403)
    assert "locked" not in error.text
    assert "locked" in error.reason


BAD = {
    "no JSON": {"body": b"<html>"},
    "no object": {"body": b"[]"},
    "deep": {"body": b"[" * 50_000},
    "empty": {"body": b"{}"},
    "user": {"body": json.dumps(GOOD | {"user": 1}).encode()},
    "nobody": {"body": json.dumps(GOOD | {"user": ""}).encode()},
    "control": {"body": json.dumps(GOOD | {"user": "a\nb"}).encode()},
    "long": {"body": json.dumps(GOOD | {"user": "a" * 513}).encode()},
    "no bound": {"body": json.dumps({"user": "ann"}).encode()},
    "text bound": {"body": json.dumps(GOOD | {"maxValiditySeconds": "3600"}).encode()},
    "true bound": {"body": json.dumps(GOOD | {"maxValiditySeconds": True}).encode()},
    "short": {"body": json.dumps(GOOD | {"maxValiditySeconds": 899}).encode()},
    "for ever": {"body": json.dumps(GOOD | {"maxValiditySeconds": 31_536_001}).encode()},
    "claims": {"body": json.dumps(GOOD | {"claims": ["a"]}).encode()},
    "issuer": {"body": json.dumps(GOOD | {"claims": {"iss": 1}}).encode()},
    "huge": {"body": json.dumps(GOOD | {"pad": "x" * MAX_ANSWER}).encode()},
    "redirect": {"status": 307, "headers": {"Location": "/other"}},
    "found": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}, "body": b""},
    "server error": {"status": 500},
    "unauthorized": {"status": 401},
    "packed": {"headers": {"Content-Encoding": "gzip"}, "body": b"\x1f\x8b"},
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
async def test_any_other_answer_proves_nobody(hook, way, answer):
    """What is not exactly an answer of the plugin's is 503, names no content of it, and is asked once only."""
    vars(hook).update(answer)
    error = await refusal(way, token="the-token")
    assert (error.code, error.status) == ("IDPCommunicationError", 503)
    assert len(hook.asked) == 1
    assert "the-token" not in error.text + error.reason


async def test_a_plugin_that_is_away_or_hangs(hook):
    """No listener and no answer are 503 within the deadline, and neither shows the token that its URL would hold."""
    settings = PluginSettings(hook.url, ("readonly",))
    hook.gate.clear()
    slow = CustomToken(settings, deadline=0.2)
    began = time.monotonic()
    errors = [await refusal(slow, token="the-token")]
    assert time.monotonic() - began < 5
    hook.close()
    errors.append(await refusal(slow, token="the-token"))
    await slow.close()
    assert {(e.code, e.status) for e in errors} == {("IDPCommunicationError", 503)}
    assert not any("the-token" in e.text + e.reason + repr(e.__cause__) for e in errors)
