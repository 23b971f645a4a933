"""Which stories are told again, and to whom: the habits of all clients, and of each connection (decision 0009).

A story becomes a habit when its request could come again with nothing changed but the words of a closed list of fields, when it was
decided at once, and when what it sent is what the habit sends for the same head.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from gateway.errors import S3Error
from gateway.s3.aliases import is_odd_prefix
from gateway.s3.authenticate import Caller
from gateway.s3.operations import is_beyond
from gateway.s3.request import S3Request
from gateway.s3.reserved import BUCKETS
from gateway.signing.sigv4 import TIMESTAMP, SignatureClaim, uri_encode
from gateway.stories import listings
from gateway.stories.case import World
from gateway.stories.story import is_plain, needs_of
from gateway.turns import parameters
from gateway.turns.again import Again
from gateway.turns.guest import Guest
from gateway.turns.habit import FORWARDED, PATH, Habit, Told, has_marks
from gateway.turns.parameters import SIGNATURE, date_of
from gateway.turns.questions import has_stand_in
from gateway.wire.forms import Form, Hole
from gateway.wire.heads import RequestHead
from iam.model import AccessRequest
from iam.opa_questions import question_of

_KEPT = 2048  # habits, of seven kilobytes and twice their head each
_OF_A_PLACE = 8  # habits at one place: heads that begin alike
_SEEN = 4096  # clients that were seen
_TRIES = 32  # habits of one client: whose heads are never the same has none
_NAME = 40  # characters of an access key and its scope: twice as many as a session's key has
_HOLES = 32  # of one head: each costs a fraction of a millisecond to learn
_BYTES = 4 * 2**20  # of all heads that habits were made of
_LONGEST = 8192  # bytes of a head

_WORD = rb"[!-~]{1,1024}"
_CONDITION = rb"[!-)+-~][!-~]{0,1023}"  # not `*`, behind which a write needs other rights
_NUMBER = rb"(?:0|[1-9][0-9]{0,12})"
_BASE64 = rb"[A-Za-z0-9+/]{1,88}={0,2}"
_KEY = rb"[A-Za-z0-9\-._~/%]{1,3072}"
_HEX = rb"[0-9a-f]{64}"
_HTTP_DATE = rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
_MEDIA_TYPE = rb"[!-~]{1,256}(?: [!-~]{1,256}){0,3}"
#: Fields that may hold another word each time. None of these words chooses an operation, an action, a caller or the message's framing,
#: but for the lengths, which are read again.
_ALPHABETS: dict[str, bytes] = {
    "x-amz-date": TIMESTAMP.encode(),
    "x-amz-content-sha256": _HEX,
    "content-length": _NUMBER,
    "x-amz-decoded-content-length": _NUMBER,
    "content-md5": _BASE64,
    "amz-sdk-invocation-id": rb"[0-9A-Za-z\-]{1,64}",
    "range": rb"bytes=[0-9]{0,19}-[0-9]{0,19}",
    FORWARDED: rb"[0-9A-Za-z.:\[\]]{1,64}(?:, ?[0-9A-Za-z.:\[\]]{1,64}){0,16}",
    **dict.fromkeys(("if-modified-since", "if-unmodified-since"), _HTTP_DATE),
    "if-match": _CONDITION,
    "if-none-match": _CONDITION,
    **dict.fromkeys((
        "b3", "cf-ray", "forwarded", "traceparent", "tracestate", "uber-trace-id", "x-amzn-trace-id", "x-b3-parentspanid",
        "x-b3-spanid", "x-b3-traceid", "x-cloud-trace-context", "x-correlation-id", "x-datadog-parent-id", "x-datadog-trace-id",
        "x-real-ip", "x-request-id",
    ), _WORD),
    **dict.fromkeys([f"x-amz-checksum-{n}" for n in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")], _BASE64),
}  # fmt: skip
_METHOD, _METHOD_AND_BUCKET = re.compile(rb"[A-Z]+ "), re.compile(rb"[A-Z]+ /[^/? ]*")
_Place = tuple[bytes, bytes, int, int]
_NONE: list[Habit] = []
_log = logging.getLogger("minio_gw.habits")
_OF_A_SIGNATURE = frozenset({"authorization", "x-amz-content-sha256", "x-amz-date"})
_METADATA = "x-amz-meta-"
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})


class Habits:
    """The habits of all clients. Many clients come once: a habit is made `after` as many stories like it.

    `hosted`: a bucket may be in the host, so that a path need not begin with one. Who is used is kept: what was not used since half
    of the room was filled anew goes.
    """

    def __init__(self, world: World, after: int = 1, *, hosted: bool = False) -> None:
        self._world = world
        self._after = after
        self._begin = _METHOD if hosted else _METHOD_AND_BUCKET
        self._seen: dict[int, int] = {}
        self._kept: dict[_Place, list[Habit]] = {}  # the last used first
        self._older: dict[_Place, list[Habit]] = {}
        self._number = self._bytes = 0  # of those in `_kept`

    def all(self) -> list[Habit]:
        """Return the habits of everybody, the older first."""
        return [habit for kept in (*self._older.values(), *self._kept.values()) for habit in kept]

    def again(self, guest: Guest, raw: bytes, now: int) -> Again | None:
        """Return the story of a head like one that was told before, None when there is none. `now` in epoch seconds."""
        place = self._place(raw)
        kept = self._kept.get(place)
        if kept is None:
            kept = self._older.pop(place, None)
            if kept is None:
                return None
            self._put(place, kept)
        for number, habit in enumerate(kept):
            try:
                again = habit.again(guest, raw, now) if not habit.failed else None
            except Exception:  # noqa: BLE001 - a mistake of ours: the whole way is there
                _log.exception("a habit failed")
                habit.failed = True  # kept, so that it is not made anew
                return None
            if again is not None:
                if number:
                    kept.insert(0, kept.pop(number))
                return again
        return None

    def _place(self, raw: bytes) -> _Place:
        """Return where the habits of heads like this one are kept: an index, of what anybody may write."""
        begin, name = self._begin.match(raw), raw.find(b"Credential=") + 11
        fields, parameters = raw.count(b"\r\n"), raw.count(b"&", 0, raw.find(b"\r\n"))
        return begin[0] if begin else b"", raw[name : name + _NAME], fields, parameters

    def _put(self, place: _Place, kept: list[Habit]) -> None:
        self._kept[place] = kept
        self._number += len(kept)
        self._bytes += sum([habit.size for habit in kept])
        if 2 * self._number > _KEPT or 2 * self._bytes > _BYTES:
            self._older, self._kept = self._kept, {}
            self._number = self._bytes = 0

    def learn(self, guest: Guest, told: Told) -> None:
        """Learn from a story, for all that are like it."""
        request, claim = told.plan.request, told.plan.caller.claim
        if claim is None or not _may_repeat(told):
            return
        like = hash((
            told.head.names, request.method, claim.access_key_id, claim.scope, request.path.bucket,
            tuple(request.parameters), bool(request.path.key),
        ))  # fmt: skip
        times = self._seen.get(like, 0)
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen[like] = max(times, 1)
        if not self._after <= times <= _TRIES:
            return
        place = self._place(told.head.raw)
        kept = self._kept.get(place) or self._older.get(place, _NONE)
        if any(habit.is_current(told) and habit.recognizes(guest, told.head.raw) for habit in kept):
            return
        habit = self._made(guest, told, claim) if _is_place_of(claim, place) else None
        if habit is None or len(kept) >= _OF_A_PLACE:
            self._seen[like] += 1  # not worth many tries
        if habit is not None:
            self._keep(place, habit)

    def _keep(self, place: _Place, habit: Habit) -> None:
        others = self._kept.pop(place, _NONE)
        self._number -= len(others)
        self._bytes -= sum([other.size for other in others])
        others = others or self._older.pop(place, _NONE)
        self._put(place, [habit, *others][:_OF_A_PLACE])

    def _made(self, guest: Guest, told: Told, claim: SignatureClaim) -> Habit | None:
        """Return a habit that has proved to send what the story sent."""
        request, holes = told.plan.request, _holes(told)
        names = tuple([name for name, _ in holes])
        if len(holes) > _HOLES or not {SIGNATURE, date_of(claim)} <= set(names) or has_marks(told.head.raw):
            return None
        needs = needs_of(told.plan.operation, request, self._world)
        odd = not self._world.amazon and is_odd_prefix(request.parameters.get("prefix", ""))
        if odd or any((need.bucket, need.key, need.version) != (*request.path[:2], "") for need in needs):
            return None
        try:
            habit = Habit(Form(told.head.raw, [hole for _, hole in holes]), names, told, self._world)
        except S3Error:  # the session has ended: what was waited for took long
            return None
        if not habit.is_asker_of(told):
            return None
        again = habit.again(guest, told.head.raw, told.now)
        if again is None or (again.question and not habit.send(again, told.now)):
            return None
        return habit if again.head == told.sent and _asks(again, habit.access_of(told)) else None


def _is_place_of(claim: SignatureClaim, place: _Place) -> bool:
    """Return whether a place is the claim's own. What a head says before its signature may name somebody else's."""
    text = f"{claim.access_key_id}/{claim.scope.text}"
    name = (uri_encode(text, slash=True) if claim.presigned else text).encode()
    return name.startswith(place[1]) or place[1].startswith(name)


def _asks(again: Again, access: AccessRequest) -> bool:
    """Return whether what is asked elsewhere, if anything is, is what would be asked about this."""
    return not again.question or (again.question == question_of(access) and not has_stand_in(again.question))


def _may_repeat(told: Told) -> bool:
    """Return whether a story could be told again: of one object or bucket, signed in its header or URL, sent as it came."""
    head, plan = told.head, told.plan
    request, caller = plan.request, plan.caller
    return (
        head.named is not None
        and len(head.raw) <= _LONGEST
        and head.target.partition("?")[0] == request.target == caller.target
        and _is_of_its_bucket(request)
        and _is_signed_so(request, caller)
        and (is_plain(plan.operation) or plan.operation.name in listings.OF_KEYS)
        and plan.body is None
        and not any((plan.edit, plan.then, plan.mend))
        and not request.names.customer_keys
        and not plan.operation.needs_headers
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
    alphabet = _WORD if name.startswith(_METADATA) and not is_beyond(name) else _ALPHABETS.get(name)
    if name == "content-type" and head.method == "PUT":  # behind a POST it may choose
        alphabet = _MEDIA_TYPE
    if alphabet is None or (name == "content-length" and head.method in _BODILESS):
        return None
    value = (head.named or {})[name].encode()
    if not re.fullmatch(alphabet, value) or not line.endswith(value):
        return None
    return Hole(end - len(value), end, alphabet)
