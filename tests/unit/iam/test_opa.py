"""What counts as a yes from a policy service, and what is sent to it: against a real small HTTP server."""

import asyncio
import contextlib
import contextvars
import dataclasses
import json

import pytest

from gateway.turns.policy_service import PolicyService
from gateway.wire.pool import Pool
from gateway.wire.question import Question
from iam.model import AccessRequest, Allow, Principal, PrincipalType, Secret
from iam.opa import HttpxService, OpaAuthorizer, OpaSettings
from iam.opa_questions import MAX_ANSWER, Tally, opa_input

PRINCIPAL = Principal(PrincipalType.ASSUMED_ROLE, "AK", claims={"sub": "alice"}, groups=("staff",))
QUESTION = AccessRequest(PRINCIPAL, "s3:GetObject", "b", "a/k")


class Scripted:
    """A server that answers every request with the same bytes and keeps what it was sent."""

    def __init__(self, answer, hang, closes):
        self._answer, self._hang, self._closes = answer, hang, closes
        self.seen, self.handlers, self.over = [], [], asyncio.Event()

    async def serve(self, reader, writer):
        self.handlers.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                self.seen.append((head, await reader.readexactly(length)))
                writer.write(self._answer)
                await writer.drain()
                if self._closes:
                    return
                if self._hang:
                    await self.over.wait()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class OverThePlane:
    """The data plane's service, with a pool of its own."""

    def __init__(self, settings):
        self._pool = Pool(asyncio.get_running_loop())
        self._service = PolicyService(settings, self._pool)

    async def post(self, content):
        return await self._service.post(content)

    async def close(self):
        self._pool.close()


class AsAStep(OverThePlane):
    """The same as a step of a turn, which nobody awaits but this test."""

    async def post(self, content):
        told = asyncio.get_running_loop().create_future()
        step = dataclasses.replace(
            self._service.ask(content, None), then=lambda *answer: told.set_result(answer), failed=told.set_exception
        )
        Question(step, self._pool, lambda then, *what: then(*what)).begin()
        return await told


SERVICE = contextvars.ContextVar("SERVICE")


@pytest.fixture(autouse=True, params=[HttpxService, OverThePlane, AsAStep])
def service(request):
    """Every test holds over each way to the service."""
    token = SERVICE.set(request.param)
    yield
    SERVICE.reset(token)


def asking(settings):
    """Return an authorizer over the way of this test."""
    return OpaAuthorizer(settings, SERVICE.get()(settings))


@contextlib.asynccontextmanager
async def scripted(answer, *, hang=False, closes=False, path="/v1/data/authz", **settings):
    """Yield a server, and an authorizer that asks it."""
    script = Scripted(answer, hang, closes)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    authorizer = asking(OpaSettings(f"http://127.0.0.1:{port}{path}", **({"timeout": 10.0} | settings)))
    try:
        yield script, authorizer
    finally:
        script.over.set()
        await authorizer.close()
        server.close()
        await asyncio.gather(*script.handlers)
        await server.wait_closed()


def answer(body, status="200 OK", headers=""):
    """Return the bytes of an HTTP answer."""
    content = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(content)}\r\n\r\n".encode() + content


@pytest.mark.parametrize(
    "body",
    [
        '{"result": true}',
        '{"result": {"allow": true}}',
        '{"result": {"allow": true, "reason": "x"}}',
        '{"decision_id": "1", "result": true}',
    ],
)
async def test_a_clear_yes_allows(body):
    """`true`, or an object whose `allow` is `true`, is a yes whatever stands beside it."""
    async with scripted(answer(body)) as (_, authorizer):
        assert isinstance(await authorizer.decide(QUESTION), Allow)


async def test_questions_are_counted_by_their_answers():
    """A yes, a no, and a question that nothing decides."""
    tally = Tally()
    for body in ('{"result": true}', '{"result": false}', "{}"):
        async with scripted(answer(body)) as (_, authorizer):
            authorizer._tally = tally
            await authorizer.decide(QUESTION)
    assert (tally.yes, tally.no, tally.undecided) == (1, 1, 1)
    assert tally.seconds > 0


YES = '{"result": true}'
NO_ANSWERS = {
    "500": answer(YES, "500 Internal Server Error"),
    "404": answer(YES, "404 Not Found"),
    "201": answer(YES, "201 Created"),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "redirect": answer(YES, "307 Temporary Redirect", "Location: /v1/data/authz\r\n"),
    "undefined": answer("{}"),
    "empty object": answer('{"result": {}}'),
    "null": answer('{"result": null}'),
    "false": answer('{"result": false}'),
    "allow false": answer('{"result": {"allow": false}}'),
    "text": answer('{"result": "true"}'),
    "allow text": answer('{"result": {"allow": "true"}}'),
    "number": answer('{"result": 1}'),
    "allow number": answer('{"result": {"allow": 1}}'),
    "list": answer('{"result": [true]}'),
    "nested": answer('{"result": {"result": true}}'),
    "bare true": answer("true"),
    "bare allow": answer('{"allow": true}'),
    "twice": answer('{"result": false, "result": true}'),
    "html": answer("<html>true</html>"),
    "empty": answer(""),
    "not utf-8": answer(b'{"result": true, "x": "\xff"}'),
    "nan": answer('{"result": true, "x": NaN}'),
    "deep": answer('{"result": true, "x": ' + "[" * 30_000 + "]" * 30_000 + "}"),
    "large": answer('{"result": true, "x": "' + "x" * MAX_ANSWER + '"}'),
    "compressed": answer(b"\x1f\x8b", headers="Content-Encoding: gzip\r\n"),
    "not http": b"yes\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_trap_31_anything_but_a_clear_yes_denies(name):
    """Errors, other statuses, undefined, other types, other documents: no, with a reason."""
    async with scripted(NO_ANSWERS[name]) as (script, authorizer):
        decision = await authorizer.decide(QUESTION)
        assert not decision
        assert decision.reason
        assert len(script.seen) == 1


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\n", answer(YES)[:-1]], ids=["nothing", "half a head", "half a body"]
)
async def test_trap_31_a_slow_answer_denies(sent):
    """Silence before, within or just before the end of an answer ends in a Deny at the time-out."""
    async with scripted(sent, hang=True, timeout=0.1) as (script, authorizer):
        assert not await authorizer.decide(QUESTION)
        assert await authorizer.ready() is not None
        assert len(script.seen) == 2


async def test_trap_31_no_server_denies():
    """A refused connection is a Deny, and the authorizer is not ready."""
    async with scripted(answer(YES)) as (_, gone):
        pass
    authorizer = asking(gone._settings)
    decision = await authorizer.decide(QUESTION)
    assert not decision
    assert decision.reason in {"policy service: ConnectError", "policy service: Unanswered"}
    assert await authorizer.ready() == decision.reason
    await authorizer.close()


async def test_the_url_is_asked_exactly_and_the_token_sent_verbatim():
    """Path and query stay as configured, no scheme word is added, no compressed answer is invited."""
    path = "/v1/data/a%2Fb/authz?pretty=true&x=%7E"
    async with scripted(answer(YES), path=path, auth_token=Secret("Bearer t0ken")) as (script, authorizer):
        assert await authorizer.decide(QUESTION)
        head = script.seen[0][0].decode().split("\r\n")
        assert head[0] == f"POST {path} HTTP/1.1"
        assert {"authorization: bearer t0ken", "content-type: application/json", "accept-encoding: identity"} <= {
            line.lower() for line in head
        }
        assert json.loads(script.seen[0][1]) == {"input": opa_input(QUESTION)}


async def test_connections_are_kept():
    """A policy question per request must not cost a connection per request."""
    async with scripted(answer(YES)) as (script, authorizer):
        for _ in range(3):
            assert await authorizer.decide(QUESTION)
        assert (len(script.seen), len(script.handlers)) == (3, 1)


async def test_environment_proxies_are_not_used(monkeypatch):
    """A proxy variable meant for other programs must not carry policy questions away."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    async with scripted(answer(YES)) as (_, authorizer):
        assert await authorizer.decide(QUESTION)


async def test_anonymous_is_never_asked_about():
    """As in MinIO, no policy service hears of requests without credentials."""
    question = QUESTION._replace(principal=Principal(PrincipalType.ANONYMOUS))
    async with scripted(answer(YES)) as (script, authorizer):
        assert not authorizer.decide_now(question)
        assert authorizer.decide_now(question) is not None
        assert not await authorizer.decide(question)
        assert script.seen == []
        assert authorizer.decide_now(QUESTION) is None


async def test_claims_that_no_json_can_carry_deny():
    """A question that cannot be written is not asked, and denied."""
    question = QUESTION._replace(principal=Principal(PrincipalType.USER, "AK", claims={"n": float("nan")}))
    async with scripted(answer(YES)) as (script, authorizer):
        assert not await authorizer.decide(question)
        assert script.seen == []


@pytest.mark.parametrize(
    ("reply", "ready"), [(answer("{}"), True), (answer("{}", "500 x"), False), (answer("ok"), False)]
)
async def test_ready_wants_json_with_status_200(reply, ready):
    """The probe asks with an empty input; an undefined document is an answer, an error page is none."""
    async with scripted(reply) as (script, authorizer):
        assert (await authorizer.ready() is None) is ready
        assert json.loads(script.seen[0][1]) == {"input": {}}


async def test_a_kept_connection_that_died_costs_no_denial():
    """A question may be asked again: the service's restart between two requests denies none of them."""
    async with scripted(answer(YES), closes=True) as (script, authorizer):
        for _ in range(3):
            assert await authorizer.decide(QUESTION)
        assert len(script.seen) == 3


@pytest.mark.parametrize("url", ["", "opa:8181", "ftp://opa/", "http://", "http://user:pw@opa/", "file:///etc/passwd"])
def test_a_url_that_cannot_be_asked_is_refused_without_repeating_it(url):
    """A wrong URL is found at start, and a password in it is not printed."""
    with pytest.raises(ValueError, match="policy service") as caught:
        OpaSettings(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("token", ["a\r\nX: y", "é", " padded"])
def test_a_token_that_no_header_carries_is_refused_without_repeating_it(token):
    """Line breaks and other letters are found at start; neither error nor repr shows the token."""
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        OpaSettings("http://opa/", Secret(token))
    assert token not in str(caught.value)
    assert "hidden" not in repr(OpaSettings("http://opa/", Secret("hidden")))


@pytest.mark.parametrize(
    ("setting", "kind", "key", "wanted"),
    [
        (True, PrincipalType.ASSUMED_ROLE, "k", True),
        (True, PrincipalType.ACCOUNT, "k", True),
        (True, PrincipalType.ASSUMED_ROLE, "", False),
        (True, PrincipalType.ANONYMOUS, "k", False),
        (False, PrincipalType.ASSUMED_ROLE, "k", False),
    ],
)
async def test_tags_are_wanted_where_the_settings_say_so(setting, kind, key, wanted):
    """Only the Rego knows whether it looks at tags, so the operator says; off unless wanted."""
    authorizer = asking(OpaSettings("http://127.0.0.1:9/", existing_tags=setting))
    assert authorizer.wants_existing_tags(AccessRequest(Principal(kind), "s3:GetObject", "b", key)) is wanted
    await authorizer.close()
