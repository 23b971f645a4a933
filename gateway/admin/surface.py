"""Administration on aiohttp: every step of every call, in one order, so that no handler can leave one out.

    route, head, signature, authorization, body and its hash, opening, handler, sealing; one line in the log whatever happens

Nobody's body is read before its caller may make the call, but where the body says whom the call is about.

Errors are JSON. A line says which action was asked for, by whom, and about whom; never a body, a parameter's value that is not
a name, or a secret.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web

from gateway import handed
from gateway.admin.access import identify
from gateway.admin.bodies import Sealer
from gateway.admin.call import AdminCall, Body, Reply
from gateway.admin.errors import XMinioAdminConfigTooLarge, as_admin, render
from gateway.admin.office import Office
from gateway.admin.router import Found, check_query, find
from gateway.observe import AccessLine
from gateway.stories.case import World
from gateway.turns.desk import Desk

_SHOWN = 256  # characters of what a call is about, in the log
_log = logging.getLogger("minio_gw.admin")


class Administration:
    """The administration API of one process. `now` is in epoch seconds."""

    def __init__(self, desk: Desk, world: World, office: Office, now: Callable[[], float] = time.time) -> None:
        self._desk = desk
        self._world = world
        self._office = office
        self._now = now
        self._sealer = Sealer()

    async def handle(self, http: web.BaseRequest) -> web.Response:
        """Answer one call."""
        with handed.served(http, self._desk, "admin") as line:
            try:
                response = await self._answer(http, line)
            except Exception as error:  # noqa: BLE001 - every error has its answer, and what nobody knows is logged once
                response = _refusal(error, line)
                self._desk.denials.note(line, error, self._now())
            return handed.answered(line, response)

    def close(self) -> None:
        """Let go of the threads."""
        self._sealer.close()

    async def _answer(self, http: web.BaseRequest, line: AccessLine) -> web.Response:
        found = find(http.method, line.path)
        line.operation = found.route.actions[0]
        call = self._signed(http, found, line)
        await self._authorized(call, line, when=not found.route.by_body)
        call = await self._opened(await self._with_body(http, call, line))
        call = replace(call, asker=call.asker.still())  # a body may take its time
        line.about = _about(call)
        await self._authorized(call, line, when=True)
        reply = await found.route.handle(call, self._office)
        return await self._written(call, reply, line)

    def _signed(self, http: web.BaseRequest, found: Found, line: AccessLine) -> AdminCall:
        """Return the call without its body, which nobody has read yet."""
        request = handed.head(http, line, self._desk, found.route.repeatable)
        check_query(found.route, request)
        asker = identify(request, self._world, now=int(self._now()))
        line.named(line.operation, asker.principal.access_key_id, asker.principal.parent or "-")
        call = AdminCall(found.route, request, asker, found.word)
        line.about = _about(call)
        return call

    async def _with_body(self, http: web.BaseRequest, call: AdminCall, line: AccessLine) -> AdminCall:
        """Return the call with its body as it came: whoever signed the head has signed the body."""
        route = call.route
        body = await handed.body(http, 0 if route.body is Body.NONE else route.limit, XMinioAdminConfigTooLarge)
        line.bytes_in = len(body)
        call.asker.check_body(body)
        return replace(call, body=body)

    async def _authorized(self, call: AdminCall, line: AccessLine, *, when: bool) -> None:
        """Return if the call may be made. Raises AccessDenied."""
        if not when:
            return
        route = call.route
        actions = (route.choose(call),) if route.choose else route.actions
        line.operation = actions[0]
        await call.asker.must(actions, own=route.own is not None and route.own(call, self._office))

    async def _opened(self, call: AdminCall) -> AdminCall:
        if call.route.body is not Body.SEALED:
            return call
        return replace(call, body=await self._sealer.open(call.asker.secret, call.body))

    async def _written(self, call: AdminCall, reply: Reply, line: AccessLine) -> web.Response:
        if reply.document is None:
            return _response(line, reply.status, b"")
        document = json.dumps(reply.document).encode()
        if call.route.answer is Body.SEALED:
            sealed = await self._sealer.seal(call.asker.secret, document)
            return _response(line, reply.status, sealed, "application/octet-stream")
        return _response(line, reply.status, document)


def _about(call: AdminCall) -> str:
    """Return whom a call is about, by the names that its route says it is about."""
    names = call.route.about
    found = [f"{name}={value}" for name in names for value in call.many(name)]
    if call.word:
        found.append(call.word)
    return ",".join([*found, *_in_body(call, names)])[:_SHOWN]


def _in_body(call: AdminCall, names: tuple[str, ...]) -> list[str]:
    """Return the same of a body that is open; what is no JSON object is refused later."""
    if call.route.body is Body.NONE or call.body[:1] != b"{":
        return []
    try:
        members = json.loads(call.body)
    except (ValueError, RecursionError):
        return []
    texts = {name: members[name] for name in names if isinstance(members.get(name), str | list) and members[name]}
    return [f"{name}={value if isinstance(value, str) else '+'.join(map(str, value))}" for name, value in texts.items()]


def _refusal(error: Exception, line: AccessLine) -> web.Response:
    shown = as_admin(error)
    if shown is None:
        _log.error("request %s failed", line.request_id, exc_info=error)
    line.error, line.reason = (shown.code, shown.reason or shown.text) if shown else ("InternalError", "")
    document = render(shown, resource=line.path, request_id=line.request_id)
    return _response(line, shown.status if shown else 500, document)


def _response(line: AccessLine, status: int, body: bytes, kind: str = "application/json") -> web.Response:
    response = web.Response(status=status, body=body, content_type=kind if body else None)
    response.headers["x-amz-request-id"] = line.request_id
    return response
