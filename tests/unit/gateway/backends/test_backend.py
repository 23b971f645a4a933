"""backend: what was signed is what the store receives, over real sockets; credentials from their source or none."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from gateway.backends.backend import Backend
from gateway.errors import ServiceUnavailable
from gateway.settings.config import BackendSettings
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.forward import Target, UpstreamRequest
from gateway.wire.pool import Pool
from iam.model import Credentials, Secret
from tests.servers.processes import free_port

ROOT = Credentials("ROOTKEY", Secret("root-secret"))
STATIC = Credentials("STATICKEY", Secret("static-secret"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def make():
    """Make backends; their connections, in one pool, are closed at the end of the test."""
    pool = Pool(asyncio.get_running_loop())

    def one(endpoint: str, credentials: str = "root", addressing: str = "path", **how) -> Backend:
        settings = BackendSettings(endpoint, "us-east-1", addressing, credentials, **how)
        return Backend(settings, ROOT, pool, SigningKeys())

    one.pool = pool
    yield one
    pool.close()


def request(
    store, method: str = "GET", target: str = "/bkt/k", length: int | None = None, host="127.0.0.1", **how
) -> UpstreamRequest:
    url = store.endpoint.replace("127.0.0.1", host) + target
    headers = {"host": url.split("/")[2], "authorization": "AWS4-HMAC-SHA256 x"} | how.pop("headers", {})
    return UpstreamRequest(method, url, headers, length, **how)


async def pieces(*parts: bytes):
    for part in parts:
        yield part


async def sent(backend: Backend, what: UpstreamRequest, body=None) -> tuple[int, bytes]:
    """Send a request; return the answer's status and its bytes as they came."""
    answer = await backend.fetch(what, body)
    try:
        return answer.status, b"".join([piece async for piece in answer.pieces()])
    finally:
        answer.close()


@pytest.mark.parametrize(
    ("endpoint", "addressing", "target"),
    [
        ("http://127.0.0.1:9", "path", Target("127.0.0.1:9", "us-east-1", secure=False)),
        ("https://s3.amazonaws.com", "virtual", Target("s3.amazonaws.com", "us-east-1", secure=True, virtual_host=True)),
        ("https://[::1]:9000", "path", Target("[::1]:9000", "us-east-1", secure=True)),
    ],
)  # fmt: skip
async def test_where_it_is(make, endpoint, addressing, target):
    """Authority, region, scheme and addressing are the settings' own."""
    assert make(endpoint, addressing=addressing).target == target


@pytest.mark.parametrize(
    "target", ["/bkt/a//b/../c", "/bkt/%2F%7e%2e", "/bkt/k?prefix=a%20b%2B&acl=", "/bkt/a'(b)!*;,"]
)
async def test_path_and_query_reach_the_store_byte_for_byte(make, store, target):
    """Nothing decodes, encodes again or normalizes what was signed."""
    await sent(make(store.endpoint), request(store, target=target))
    assert store.requests[0].line == f"GET {target} HTTP/1.1"


async def test_the_signed_headers_are_all_that_is_sent(make, store):
    """Nothing is added on the way to what was signed."""
    await sent(make(store.endpoint), request(store, headers={"range": "bytes=0-1"}))
    assert store.requests[0].headers == {
        "host": store.endpoint.removeprefix("http://"),
        "authorization": "AWS4-HMAC-SHA256 x",
        "range": "bytes=0-1",
    }


@pytest.mark.parametrize(
    ("method", "length", "announced"),
    [("GET", None, None), ("GET", 0, None), ("HEAD", 0, None), ("PUT", 0, "0"), ("PUT", None, "0"), ("POST", 0, "0")],
)
async def test_a_body_of_no_bytes_is_announced_where_one_may_be(make, store, method, length, announced):
    """PUT and POST say Content-Length: 0, as some stores demand; a GET says nothing."""
    await sent(make(store.endpoint), request(store, method, length=length))
    assert store.requests[0].headers.get("content-length") == announced


async def test_a_body_streams_with_its_announced_length(make, store):
    """The pieces arrive as one body under the length that was signed, without another framing."""
    assert await sent(make(store.endpoint), request(store, "PUT", length=6), pieces(b"abc", b"def")) == (200, b"")
    assert (store.requests[0].body, store.requests[0].complete) == (b"abcdef", True)
    assert "transfer-encoding" not in store.requests[0].headers


async def test_a_rebuilt_body_is_sent_whole(make, store):
    """The body that the story rebuilt goes in place of the client's."""
    await sent(make(store.endpoint), request(store, "POST", length=9, body=b"<Delete/>"))
    assert store.requests[0].body == b"<Delete/>"


async def test_a_body_that_fails_never_becomes_whole(make, store):
    """An upload cut by its verification reaches the store short of its length, and is not tried again."""

    class Corrupt(Exception):
        pass

    async def failing():
        yield b"half"
        raise Corrupt

    with pytest.raises(Corrupt):
        await sent(make(store.endpoint), request(store, "PUT", length=8), failing())
    assert [r.complete for r in store.requests] in ([], [False])


async def test_answers_come_back_as_they_are(make, store):
    """A compressed object is not unpacked, a redirect is not followed, a cookie is not kept."""
    packed = gzip.compress(b"hello", mtime=0)
    store.answer = (
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nSet-Cookie: a=1\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    ) + packed
    backend = make(store.endpoint.replace("127.0.0.1", "localhost"))  # a name: cookies of bare addresses are rare
    for _ in range(2):
        assert await sent(backend, request(store, host="localhost")) == (307, packed)
    assert len(store.requests) == 2
    assert "cookie" not in store.requests[1].headers


async def test_the_environments_proxy_is_not_ours(make, store, monkeypatch):
    """A proxy variable meant for others does not lead signed requests elsewhere."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await sent(make(store.endpoint), request(store)))[0] == 200


def dies_once(store) -> None:
    """Let the store answer its first request, then hang up on the next one that comes over the kept connection."""
    store.answer = lambda _: b"" if len(store.requests) == 2 else OK


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_dead_kept_connection_is_not_the_clients_trouble(make, store, method):
    """A request without a body is repeated once when the kept-alive connection had died."""
    dies_once(store)
    backend = make(store.endpoint)
    await sent(backend, request(store))
    assert (await sent(backend, request(store, method)))[0] == 200
    assert [r.line.split()[0] for r in store.requests] == ["GET", method, method]


async def test_a_body_is_never_sent_twice(make, store):
    """An upload over a connection that had died fails: what is left of its body must not become an object."""
    dies_once(store)
    backend = make(store.endpoint)
    await sent(backend, request(store))
    with pytest.raises(ServiceUnavailable):
        await sent(backend, request(store, "PUT", length=4), pieces(b"body"))
    assert len(store.requests) == 2


async def test_a_post_is_never_sent_twice(make, store):
    """A POST may have been done before its answer was lost."""
    dies_once(store)
    backend = make(store.endpoint)
    await sent(backend, request(store))
    with pytest.raises(ServiceUnavailable):
        await sent(backend, request(store, "POST", length=2, body=b"ab"))
    assert len(store.requests) == 2


async def test_a_store_that_always_hangs_up_is_asked_once_more_at_most(make, store):
    """Over a kept connection a request is repeated once, then its error is told; over a new one it is not repeated."""
    store.answer = lambda _: OK if len(store.requests) == 1 else b""
    backend = make(store.endpoint)
    await sent(backend, request(store))
    for count in (3, 4):
        with pytest.raises(ServiceUnavailable):
            await sent(backend, request(store))
        assert len(store.requests) == count


async def test_the_root_pair_signs_unless_there_is_one_for_the_store(make):
    """`root` means the root pair; a pair of its own goes before everything."""
    assert await make("http://127.0.0.1:9").credentials() == ROOT
    assert await make("http://127.0.0.1:9", static=STATIC).credentials() == STATIC
    assert await make("http://127.0.0.1:9", "chain", static=STATIC).credentials() == STATIC


@pytest.fixture
def bare_environment(monkeypatch, tmp_path):
    """An environment in which AWS's chain finds nothing and asks no network."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                 "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


async def test_the_chain_reads_the_environment(make, bare_environment, monkeypatch):
    """Keys and token of the environment sign toward the store, not the root pair."""
    for name, value in (
        ("ACCESS_KEY_ID", "ENVKEY"),
        ("SECRET_ACCESS_KEY", "env-secret"),
        ("SESSION_TOKEN", "env-token"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    found = await make("http://127.0.0.1:9", "chain").credentials()
    assert found == Credentials("ENVKEY", Secret("env-secret"), Secret("env-token"))


async def test_credentials_that_are_known_need_no_waiting(make, bare_environment, monkeypatch):
    """A fixed pair is known at once; what the chain finds is known when it has been asked, and not before."""
    assert make("http://127.0.0.1:9").known_credentials() == ROOT
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    backend = make("http://127.0.0.1:9", "chain", static=None)
    assert backend.known_credentials() is None
    assert await backend.credentials() == backend.known_credentials() == Credentials("ENVKEY", Secret("env-secret"))


async def test_credentials_that_expire_are_asked_for_again(make, bare_environment):
    """What a program of the profile gave for a short time is not known any more when it is due, and then renewed."""
    expiry = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()  # within the fifteen in which they are renewed
    given = {"Version": 1, "AccessKeyId": "TEMP", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": expiry}
    document = bare_environment / "given.json"
    document.write_text(json.dumps(given))
    (bare_environment / "config").write_text(f"[default]\ncredential_process = cat {document}\n")
    backend = make("http://127.0.0.1:9", "chain")
    assert (await backend.credentials()).access_key_id == "TEMP"
    assert backend.known_credentials() is None
    document.write_text(json.dumps(given | {"AccessKeyId": "RENEWED", "Expiration": "2099-01-01T00:00:00Z"}))
    assert (await backend.credentials()).access_key_id == "RENEWED"
    assert backend.known_credentials() == await backend.credentials()


async def test_the_chain_reads_the_shared_file(make, bare_environment):
    """Permanent keys of the credentials file have no token."""
    text = "[default]\naws_access_key_id = FILEKEY\naws_secret_access_key = file-secret\n"
    (bare_environment / "credentials").write_text(text)
    assert await make("http://127.0.0.1:9", "chain").credentials() == Credentials("FILEKEY", Secret("file-secret"))


async def test_a_profile_is_the_one_that_was_named(make, bare_environment, monkeypatch):
    """Two backends with two profiles have two pairs; the variables of the environment are neither's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    profiles = "".join(
        f"[{name}]\naws_access_key_id = {name}KEY\naws_secret_access_key = {name}-secret\n" for name in ("one", "two")
    )
    (bare_environment / "credentials").write_text(profiles)
    for name in ("one", "two"):
        found = await make("http://127.0.0.1:9", "chain", profile=name).credentials()
        assert found == Credentials(f"{name}KEY", Secret(f"{name}-secret"))
    with pytest.raises(ServiceUnavailable):
        await make("http://127.0.0.1:9", "chain", profile="three").credentials()


async def test_a_chain_without_credentials_never_falls_back_to_root(make, bare_environment):
    """Nothing found is ServiceUnavailable, now and later, until something is found."""
    backend = make("http://127.0.0.1:9", "chain")
    for _ in range(2):
        with pytest.raises(ServiceUnavailable) as refused:
            await backend.credentials()
        assert "ROOTKEY" not in str(refused.value)
    (bare_environment / "credentials").write_text("[default]\naws_access_key_id = L\naws_secret_access_key = s\n")
    assert (await backend.credentials()).access_key_id == "L"


async def test_a_store_that_answers_anything_is_there(make, store):
    """Readiness asks for an answer, not for a success, follows no redirect, and carries no credentials."""
    store.answer = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    assert await make(store.endpoint).probe() is None
    assert "authorization" not in store.requests[0].headers


async def test_a_store_that_answers_at_length_is_there(make, store):
    """Readiness does not read what is answered: a long page is an answer too, and its connection is let go."""
    store.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    assert await make(store.endpoint).probe() is None


async def test_probes_are_rare(make, store):
    """However often readiness is asked for, the store is asked once in two seconds."""
    backend = make(store.endpoint)
    assert [await backend.probe() for _ in range(20)] == [None] * 20
    assert len(store.requests) == 1
    make.pool.sweep(make.pool.now + 3, silence=300)
    assert [await backend.probe() for _ in range(20)] == [None] * 20
    assert len(store.requests) == 2


async def test_a_store_that_is_away_is_named(make):
    """A refused connection is the reason why the gateway is not ready."""
    assert await make(f"http://127.0.0.1:{free_port()}").probe() == "backend: ConnectionRefusedError"


def refusal(code: str) -> bytes:
    document = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    return b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(document), document)


@pytest.mark.parametrize(
    "code",
    [
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "InvalidTokenId",
        "RequestTimeTooSkewed",
    ],
)
async def test_keys_that_the_store_does_not_take_are_told(make, store, code):
    """The gateway is not ready with keys of no use: its clients would be told that theirs are wrong. It is when the store takes them."""
    store.answer = refusal(code)
    backend = make(store.endpoint)
    assert await backend.not_ready() == [f"backend: it does not take the gateway's own keys ({code})"]
    store.answer = OK
    make.pool.sweep(make.pool.now + 3, silence=300)
    assert await backend.not_ready() == []


@pytest.mark.parametrize(
    "answer",
    [refusal("AccessDenied"), refusal("NotImplemented"), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"],
)
async def test_rights_are_not_asked_for(make, store, answer):
    """Keys that may not list buckets are keys that are taken, and a store may know no such call."""
    store.answer = answer
    assert await make(store.endpoint).not_ready() == []


async def test_keys_that_are_taken_are_rarely_shown_again(make, store):
    """However often readiness is asked for, the store sees one signed request in five minutes."""
    backend = make(store.endpoint)
    for seconds in (0, 3, 3, 290):
        make.pool.sweep(make.pool.now + seconds, silence=300)
        assert await backend.not_ready() == []
    assert [r.is_probe for r in store.requests if "authorization" in r.headers] == [True]
    make.pool.sweep(make.pool.now + 10, silence=300)
    assert await backend.not_ready() == []
    assert len([r for r in store.requests if r.is_probe]) == 2


async def test_a_chain_without_credentials_is_not_ready(make, store, monkeypatch):
    """Where nothing gives credentials every request would be 503: readiness says so, and why."""

    class Nothing:
        async def get_credentials(self):
            return None

    backend = make(store.endpoint, "chain")
    monkeypatch.setattr(backend, "_session", lambda **_: Nothing())
    (reason,) = await backend.not_ready()
    assert reason.startswith("backend: no backend credentials from AWS's chain")


async def test_a_chain_that_does_not_answer_is_not_ready_in_time(make, store, monkeypatch):
    """Who asks for readiness is not made to wait for as long as AWS's metadata service may be silent."""

    class Silent:
        async def get_credentials(self):
            await asyncio.Event().wait()

    backend = make(store.endpoint, "chain")
    monkeypatch.setattr(backend, "_session", lambda **_: Silent())
    monkeypatch.setattr("gateway.backends.backend._PROBE_WITHIN", 0.2)
    assert await backend.not_ready() == ["backend: whoever gives the gateway its keys does not answer"]
