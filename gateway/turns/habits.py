"""Which stories are told again, and to whom: the habits of all clients, and of each connection (decision 0009).

A story becomes a habit when its request could come again with nothing changed but the words of a closed list of fields, when it was
decided at once, and when what it sent is what the habit sends for the same head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gateway.s3.authenticate import Caller
from gateway.s3.request import S3Request
from gateway.s3.reserved import BUCKETS
from gateway.signing.sigv4 import TIMESTAMP, SignatureClaim
from gateway.stories import listings
from gateway.stories.case import World
from gateway.stories.story import is_plain, needs_of
from gateway.turns import parameters
from gateway.turns.habit import PATH, Again, Habit, Told
from gateway.turns.parameters import SIGNATURE, date_of
from gateway.turns.questions import has_stand_in
from gateway.wire.forms import Form, Hole
from gateway.wire.heads import RequestHead
from iam.model import AccessRequest
from iam.opa_questions import question_of

_KEPT = 1024  # habits of all clients, of about six kilobytes each
_SEEN = 4096  # clients that were seen
_TRIES = 32  # habits of one client: whose heads are never the same has none
_OF_A_GUEST = 6  # habits of one connection
_LONGEST = 8192  # bytes of a head

_WORD = rb"[!-~]{1,1024}"
_NUMBER = rb"(?:0|[1-9][0-9]{0,12})"
_BASE64 = rb"[A-Za-z0-9+/]{1,88}={0,2}"
_KEY = rb"[A-Za-z0-9\-._~/%]{1,3072}"
_HEX = rb"[0-9a-f]{64}"
#: Fields that may hold another word each time. None of them chooses an operation, an action, a caller or the message's framing,
#: but for the lengths, which are read again.
_ALPHABETS: dict[str, bytes] = {
    "x-amz-date": TIMESTAMP.encode(),
    "x-amz-content-sha256": _HEX,
    "content-length": _NUMBER,
    "x-amz-decoded-content-length": _NUMBER,
    "content-md5": _BASE64,
    "amz-sdk-invocation-id": rb"[0-9A-Za-z\-]{1,64}",
    "range": rb"bytes=[0-9]*-[0-9]*",
    "if-match": _WORD,
    "if-none-match": _WORD,
    **dict.fromkeys([f"x-amz-checksum-{n}" for n in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")], _BASE64),
}  # fmt: skip
_OF_A_SIGNATURE = frozenset({"authorization", "x-amz-content-sha256", "x-amz-date"})
_METADATA = "x-amz-meta-"
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})


class Known(NamedTuple):
    """A habit of one connection, and where its requests are from."""

    habit: Habit
    source_ip: str
    secure: bool


class Guest:
    """One connection: its other end, and its habits, the latest first."""

    __slots__ = ("known", "peer", "secure")

    def __init__(self, peer: str, *, secure: bool) -> None:
        self.peer = peer
        self.secure = secure
        self.known: list[Known] = []

    def learn(self, known: Known) -> None:
        """Know one habit more."""
        self.known = [known, *(other for other in self.known if other.habit is not known.habit)][:_OF_A_GUEST]


class Habits:
    """The habits of all clients. Many clients come once: a habit is made `after` as many stories like it."""

    def __init__(self, world: World, after: int = 1) -> None:
        self._world = world
        self._after = after
        self._seen: dict[tuple[object, ...], int] = {}
        self._kept: dict[tuple[object, ...], Habit] = {}

    def learn(self, guest: Guest, told: Told) -> None:
        """Learn from a story, for its connection and for those like it."""
        request, claim = told.plan.request, told.plan.caller.claim
        if claim is None or not _may_repeat(told):
            return
        like = (
            told.head.names, request.method, claim.access_key_id, claim.scope, request.path.bucket,
            tuple(request.parameters), bool(request.path.key),
        )  # fmt: skip
        times = self._seen.get(like, 0)
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen[like] = max(times, 1)
        if self._after <= times <= _TRIES:
            self._know(guest, told, claim, like)

    def _know(self, guest: Guest, told: Told, claim: SignatureClaim, like: tuple[object, ...]) -> None:
        request = told.plan.request
        holes = _holes(told)
        if not {SIGNATURE, date_of(claim)} <= {name for name, _ in holes}:
            return  # written in a way that nobody writes
        form = Form(told.head.raw, [hole for _, hole in holes])
        what = (*like, form.fixed, request.secure)
        habit = self._kept.get(what)
        if habit is None or not habit.is_current(told):
            self._seen[like] += 1
            habit = self._made(form, tuple(name for name, _ in holes), told)
            if habit is None:
                return
            if len(self._kept) >= _KEPT:
                self._forget()
            self._kept[what] = habit
        elif any(known.habit is habit for known in guest.known):
            self._seen[like] += 1  # it knew, and the head went the whole way all the same: not worth many tries
        guest.learn(Known(habit, request.source_ip, request.secure))

    def _made(self, form: Form, names: tuple[str, ...], told: Told) -> Habit | None:
        """Return a habit that has proved to send what the story sent."""
        request = told.plan.request
        needs = needs_of(told.plan.operation, request, self._world)
        if any((need.bucket, need.key, need.version) != (*request.path[:2], "") for need in needs):
            return None
        habit = Habit(form, names, told, self._world)
        again = habit.again(told.head.raw, told.now, request.source_ip)
        if again is None or (again.question and not habit.send(again, told.now)):
            return None
        return habit if again.head == told.sent and _asks(again, habit.access_of(told)) else None

    def _forget(self) -> None:
        """Empty everything, also what connections still hold."""
        for habit in self._kept.values():
            habit.forget()
        self._kept.clear()


def _asks(again: Again, access: AccessRequest) -> bool:
    """Return whether what is asked elsewhere, if anything is, is what would be asked about this."""
    return not again.question or (again.question == question_of(access) and not has_stand_in(again.question))


def _may_repeat(told: Told) -> bool:
    """Return whether a story could be told again: of one object or bucket, signed in its header or URL, sent as it came."""
    head, plan = told.head, told.plan
    request, caller = plan.request, plan.caller
    return (
        head.named is not None
        and head.keep_alive
        and len(head.raw) <= _LONGEST
        and head.target.partition("?")[0] == request.target == caller.target
        and _is_of_its_bucket(request)
        and _is_signed_so(request, caller)
        and (is_plain(plan.operation) or plan.operation.name in listings.OF_KEYS)
        and plan.body is None
        and not any((plan.edit, plan.then, plan.mend))
        and not request.names.customer_keys
        and (not caller.mode.chunked or told.backend.target.aws_chunked)
    )


def _is_of_its_bucket(request: S3Request) -> bool:
    """Return whether the target is nothing but a bucket's, or a key's behind its bucket, and no path of ours."""
    bucket, key, hosted = request.path
    if not bucket or bucket in BUCKETS:
        return False
    if key:
        return hosted or request.target.startswith(f"/{bucket}/")
    return request.target in ({"/"} if hosted else {f"/{bucket}", f"/{bucket}/"})


def _is_signed_so(request: S3Request, caller: Caller) -> bool:
    """Return whether a signature stands in the query, or at the end of the Authorization header, its time in x-amz-date."""
    claim = caller.claim
    if claim is None or claim.form:
        return False
    return claim.presigned or (
        request.header("authorization").endswith(f"Signature={claim.signature}")
        and request.header("x-amz-date") == claim.timestamp
    )


def _holes(told: Told) -> list[tuple[str, Hole]]:
    """Return the holes of a head by name, in their order; none when its query is not read as it stands there."""
    head, request = told.head, told.plan.request
    path, begin = request.path, len(head.method) + 1
    end = begin + len(request.target)
    query = parameters.holes(head.target[len(request.target) + 1 :], request.query, end + 1)
    if query is None:
        return []
    prefix = begin + (1 if path.virtual_host else len(path.bucket) + 2)
    found = [(PATH, Hole(prefix, end, _KEY))] if path.key else []
    return [*found, *query, *_of_fields(told)]


def _of_fields(told: Told) -> Iterator[tuple[str, Hole]]:
    """Yield the holes in a head's fields by name, in their order. What a URL signs is in its query."""
    head, claim, start = told.head, told.plan.caller.claim, 0
    for line in head.raw.split(b"\r\n"):
        name = line.partition(b":")[0].decode().lower()
        hole = _hole(head, name, line, start) if start else None
        if hole is not None and not (claim and claim.presigned and name in _OF_A_SIGNATURE):
            yield SIGNATURE if name == "authorization" else name, hole
        start += len(line) + 2


def _hole(head: RequestHead, name: str, line: bytes, start: int) -> Hole | None:
    """Return the hole in the line of a field that begins at `start`, None when it may hold its own value only."""
    end = start + len(line)
    if name == "authorization":
        return Hole(end - 64, end, _HEX)
    alphabet = _WORD if name.startswith(_METADATA) else _ALPHABETS.get(name)
    if alphabet is None or (name == "content-length" and head.method in _BODILESS):
        return None
    value = (head.named or {})[name].encode()
    if not re.fullmatch(alphabet, value) or not line.endswith(value):
        return None
    return Hole(end - len(value), end, alphabet)
