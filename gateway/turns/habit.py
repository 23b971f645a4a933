"""A story that was told once, to be told again with other words in its holes (decision 0009).

    words ─▶ time ─▶ signature ─▶ session ─▶ policy ─▶ backend's keys and region ─▶ what is sent, signed

Everything that is asked about a request is asked again about each (trap 37); what is kept is how its texts are written. A habit can
only say yes: whatever is not as it was, or is refused, is None, and the head goes the whole way, which knows the words for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.backends.backend import Backend
from gateway.errors import S3Error
from gateway.s3.aliases import is_odd, is_odd_prefix
from gateway.s3.authenticate import MAX_DECODED_LENGTH, Caller, token_of
from gateway.s3.context import RequestContext
from gateway.s3.decoding import incoming, trailer_names
from gateway.s3.request import MAX_KEY_BYTES, S3Request, decoded_key
from gateway.signing import sigv4
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.chunked import SignedRelay, UnsignedRelay
from gateway.signing.digests import sha256_hex
from gateway.signing.sigv4 import ALGORITHM, age_ms, canonical_request, is_skewed, matches, uri_encode
from gateway.stories import forward
from gateway.stories.case import Case, World, another_asks
from gateway.stories.plans import Forward, names_of
from gateway.stories.story import needs_of
from gateway.turns.again import Again, Relay
from gateway.turns.guest import Guest
from gateway.turns.parameters import SIGNATURE, Parameters, date_of, in_order, is_value, named
from gateway.turns.questions import QuestionTemplate, stand_in
from gateway.wire.forms import Form, Template, mark
from gateway.wire.heads import RequestHead
from iam.model import AccessRequest, Credentials, Principal
from iam.opa_questions import question_of

PATH = ":path"  # the hole of the key
PREFIX = named("prefix")  # that of a listing's prefix
FORWARDED = "x-forwarded-for"
LENGTHS = ("content-length", "x-amz-decoded-content-length")
#: What stands for a length while a template is being written, since it is read as a number, and for a parameter, which is encoded:
#: nothing that a client can have written (`has_marks`). Longer than a length's hole may be (habits.py), and other digits in each process.
_NUMERAL = (10**11 + secrets.randbelow(9 * 10**11)) * 1000


def has_marks(raw: bytes) -> bool:
    """Return whether a head holds what stands for words: whoever wrote that knew what nobody can."""
    return str(_NUMERAL)[:12].encode() in raw


class Told(NamedTuple):
    """A story as it was told: `sent`, at `now` (epoch seconds), to `backend` with `credentials`."""

    head: RequestHead
    plan: Forward
    backend: Backend
    credentials: Credentials
    now: int
    streams: bool
    sent: bytes


class Habit:
    """One story. `form` recognizes heads like its own, `names` are those of the holes, in their order."""

    def __init__(self, form: Form, names: Sequence[str], told: Told, world: World) -> None:
        plan, caller, claim = told.plan, told.plan.caller, told.plan.caller.claim
        if claim is None or caller.signing_key is None:
            raise ValueError("a story without a signature")
        self.plan = plan
        self.backend = told.backend
        self.path, self.secure = plan.request.path, plan.request.secure
        self.names = names_of(plan)
        self._form, self.size, self.failed = form, len(told.head.raw), False
        self._holes = tuple(names)
        self._world = world
        self._second, self._moment = -1, b""
        self._chunked = caller.mode.chunked
        self._trailers = trailer_names(plan.request, caller.mode) if caller.mode.chunked else ()
        self._head = replace(told.head, target="", listed=[], named=None, names=(), raw=b"")
        self._prefix = "/" if self.path.virtual_host else f"/{self.path.bucket}/"
        self._claim, self._target_told = claim, caller.target
        self._target = told.backend.regions.target(self.path.bucket)
        self._backend_credentials = told.credentials
        self.origin = told.backend.origin(forward.place(plan.request, caller, self._target)[0])
        self._token = token_of(plan.request, claim)
        self._access_key_id = claim.access_key_id
        self._credentials, self._principal = self.still()
        needs = needs_of(plan.operation, plan.request, world)
        self._need, self._actions = needs[0], tuple([need.action for need in needs])
        self._key = caller.signing_key
        self._to_sign = f"{ALGORITHM}\n%b\n{claim.scope.text.replace('%', '%%')}\n%b".encode()
        self._day = claim.scope.date.encode()
        self._at = {name: place for place, name in enumerate(names)}
        self._date_at, self._signature_at = self._at[date_of(claim)], self._at[SIGNATURE]
        self._path_at, self._length_at, self._decoded_at = (self._at.get(name, -1) for name in (PATH, *LENGTHS))
        self._prefix_at = -1 if world.amazon else self._at.get(PREFIX, -1)
        self._forwarded_at, self._forwarded = self._at.get(FORWARDED, -1), plan.request.header(FORWARDED)
        self._proto = plan.request.header("x-forwarded-proto")
        self._parameters = Parameters(plan.request.query, self._at)
        self._write(told)
        self._question: QuestionTemplate | None = None
        asked = self.access_of(told)
        self._is_asked = len(needs) == 1 and world.authorizer.decide_now(asked) is None
        if self._is_asked and not plan.request.query:
            self._question = self._write_question(asked)

    def _write(self, told: Told) -> None:
        """Have the functions that told the story write its templates, about marks in place of words."""
        plan, caller, world = told.plan, told.plan.caller, self._world
        assert caller.claim is not None  # noqa: S101 - __init__ looked
        marks = {n: str(_NUMERAL + i) if n in LENGTHS or is_value(n) else mark(i) for n, i in self._at.items()}
        headers = self._headers(marks)
        payload = marks.get("x-amz-content-sha256", caller.payload_hash)
        target = self._target_with(marks)
        query = self._parameters.marked(marks)
        signed = caller.claim.signed_headers
        self._canonical = self._template(
            canonical_request(plan.request.method, target, sigv4.canonical_query(query), headers, signed, payload)
        )
        _, scope = forward.moment(told.now, self._target.region)
        self._scope = scope
        self._backend_key = world.keys.get(told.credentials.secret.reveal(), scope)
        self._backend_to_sign = f"{ALGORITHM}\n%b\n{scope.text.replace('%', '%%')}\n%b".encode()
        built = forward.build(
            S3Request(
                plan.request.method, target, self.path._replace(key=marks.get(PATH, "")), query, headers, "",
                plan.request.secure,
            ),
            plan.operation, caller._replace(target=target, payload_hash=payload),
            target=self._target, credentials=told.credentials, keys=world.keys, now=told.now,
        )  # fmt: skip
        sent = {**built.headers, "x-amz-date": mark(len(marks))}
        authorization = sent.pop("authorization")
        path, _, asked = built.url[built.url.index("/", 8) :].partition("?")
        self._backend_canonical = self._template(
            canonical_request(built.method, path, in_order(asked), sent, sorted(sent), payload)
        )
        sent["authorization"] = authorization[:-64] + mark(len(marks) + 1)
        self._sent = self._template(forward.wire_head(built._replace(headers=sent), streams=told.streams).decode())

    def _write_question(self, asked: AccessRequest) -> QuestionTemplate:
        """Have the question about the told story written about marks."""
        assert isinstance(asked.context, RequestContext)  # noqa: S101 - a case's facts are
        marks = {name: stand_in(place) for name, place in self._at.items()}
        return QuestionTemplate(asked, asked.context._replace(headers=self._headers(marks)), len(self._holes))

    def _template(self, text: str) -> Template:
        for name, place in self._at.items():
            if name in LENGTHS or is_value(name):
                text = text.replace(str(_NUMERAL + place), mark(place))
        return Template(text.encode())

    def _headers(self, words: dict[str, str]) -> dict[str, str]:
        """Return the request's headers with these words in their places."""
        told = self.plan.request.headers
        headers = {**told, **{n: w for n, w in words.items() if n in told}}
        if not self._claim.presigned:
            headers["authorization"] = headers["authorization"][:-64] + words[SIGNATURE]
        return headers

    def is_current(self, told: Told) -> bool:
        """Return whether what this habit depends on is what a story depended on that was told now."""
        return (
            self.is_asker_of(told)
            and self._backend_credentials is told.credentials
            and self._target is told.backend.regions.target(self.path.bucket)
            and self._scope == forward.moment(told.now, self._target.region)[1]
        )

    def is_asker_of(self, told: Told) -> bool:
        """Return whether who asks now is who asked in a story: while it waited, a secret or a group may have become another."""
        caller, claim = told.plan.caller, self._claim
        key = self._world.keys.get(self._credentials.secret.reveal(), claim.scope)
        return self._principal is caller.principal and key is self._key is caller.signing_key

    def recognizes(self, guest: Guest, raw: bytes) -> bool:
        """Return whether a head is like ours, and its client's connection too."""
        return self._is_connected_as(guest) and self._form.words(raw) is not None

    def _is_connected_as(self, guest: Guest) -> bool:
        """Return whether what we say of the client's connection is so for this guest."""
        return guest.is_secure(self._proto) is self.secure

    # ---- telling it again

    def again(self, guest: Guest, raw: bytes, now: int) -> Again | None:
        """Return the story of a head like ours, None when it must be told whole. `now` in epoch seconds."""
        words = self._form.words(raw) if self._is_connected_as(guest) else None
        if words is None or not self._parameters.fit(raw, words) or self._is_odd_listing(words):
            return None
        if not self._is_signed(words, now) or not self._is_session():
            return None
        key = self._key_of(words)
        again = Again(self, words, now, guest.source_ip(self._forwarded_for(words)))
        if key is None or not self._may(again, key, now):
            return None
        again.asked = head = self._head_of(words)
        if head.has_body and self.backend.asks_region(self.path.bucket):
            return None
        if self._chunked and not self._may_be_chunked(words, head):
            return None
        return again if again.question or self.send(again, now) else None

    def send(self, again: Again, now: int) -> bool:
        """Make it the step that sends it, signed at `now`; return whether that can be: the backend is as it was."""
        moment = self._moment_of(now)
        if not moment or not self._is_backend():
            return False
        words = (*again.words, moment)
        digest = sha256_hex(self._backend_canonical.fill(words)).encode()
        signature = self._backend_key.sign(self._backend_to_sign % (moment, digest))
        sent = self._sent.fill((*words, signature.encode()))
        again.send(sent, self._relay(again.words, moment, signature) if self._chunked else None)
        return True

    def _is_signed(self, words: tuple[bytes, ...], now: int) -> bool:
        """Return whether the signature is of now, and covers these words."""
        date = words[self._date_at]
        try:
            if date[:8] != self._day or not self._is_of_its_time(date.decode(), now):
                return False
        except S3Error:
            return False
        digest = sha256_hex(self._canonical.fill(words)).encode()
        return matches(self._key.sign(self._to_sign % (date, digest)), words[self._signature_at].decode())

    def _is_of_its_time(self, timestamp: str, now: int) -> bool:
        """Return whether what was signed then is good now. Raises S3Error when it is a URL that is not."""
        if self._claim.expires is None:
            return not is_skewed(timestamp, now)
        sigv4.check_time(self._claim._replace(timestamp=timestamp), now)
        return True

    def _forwarded_for(self, words: tuple[bytes, ...]) -> str:
        """Return what the head says whom it is for."""
        return words[self._forwarded_at].decode() if self._forwarded_at >= 0 else self._forwarded

    def still(self) -> tuple[Credentials, Principal]:
        """Return who asks, as long as he may. Raises S3Error when the session has ended."""
        return self._world.lookup(self._access_key_id, self._token)

    def must_still(self) -> None:
        """Hold that who asks is who asked, after a wait. Raises S3Error, as `Case.after`."""
        if self.still() != (self._credentials, self._principal):
            raise another_asks()

    def _is_session(self) -> bool:
        """Return whether the access key and its token are still good, and those that they were."""
        try:
            credentials, principal = self.still()
        except S3Error:
            return False
        return principal is self._principal and credentials is self._credentials

    def _is_odd_listing(self, words: tuple[bytes, ...]) -> bool:
        """Return whether the store might list by another prefix, of which only the whole way asks."""
        return self._prefix_at >= 0 and is_odd_prefix(unquote_to_bytes(words[self._prefix_at]).decode())

    def _key_of(self, words: tuple[bytes, ...]) -> str | None:
        """Return the key that a path names, "" for a bucket's, None when only the whole way can tell."""
        key = self._written_key(words) if self._path_at >= 0 else ""
        return None if key and not self._world.amazon and is_odd(key) else key

    def _written_key(self, words: tuple[bytes, ...]) -> str | None:
        text = words[self._path_at].decode("ascii")
        if self.path.virtual_host and text.startswith(("minio/", "minio-gw/")):  # ours, perhaps
            return None
        if "%" not in text:
            return text if len(text) <= MAX_KEY_BYTES else None
        if uri_encode(unquote_to_bytes(text), slash=False) != text:
            return None
        try:
            return decoded_key(text) or None
        except S3Error:
            return None

    def _may(self, again: Again, key: str, now: int) -> bool:
        """Return whether the policies allow it, or it can be asked elsewhere.

        Of an object's tags they learn nothing: what depends on them is not allowed here.
        """
        decide, principal, bucket = self._world.authorizer.decide_now, self._principal, self.path.bucket
        for action in self._actions:
            request = AccessRequest(principal, action, bucket, key, again)
            decision = decide(request)
            if decision is None and self._is_asked:
                return self._asks(request, again, now)
            if not decision:
                return False
        return True

    def _asks(self, request: AccessRequest, again: Again, now: int) -> bool:
        """Have it asked elsewhere, unless an object's tags belong to the question."""
        if request.key and self._world.authorizer.wants_existing_tags(request):
            return False
        if self._question is None:
            again.question = question_of(again.access())
            return True
        age = age_ms(again.words[self._date_at].decode(), now)
        again.question = self._question.about(again.words, request.key, again.source_ip, now, age)
        return True

    def _is_backend(self) -> bool:
        """Return whether the backend is asked where, and with what, it was asked."""
        backend = self.backend
        return (
            backend.known_credentials() is self._backend_credentials
            and backend.regions.target(self.path.bucket) is self._target
        )

    def _moment_of(self, now: int) -> bytes:
        """Return the time that a second's requests to the backend are signed with, b"" on another day than its key's."""
        if now != self._second:
            timestamp, scope = forward.moment(now, self._target.region)
            self._second, self._moment = now, timestamp.encode() if scope.date == self._scope.date else b""
        return self._moment

    def _head_of(self, words: tuple[bytes, ...]) -> RequestHead:
        """Return the head as the plane needs it: how the message is framed."""
        told = self._head
        if self._length_at < 0:
            return told
        length = int(words[self._length_at])
        if length == told.length:
            return told
        return RequestHead(told.method, "", [], told.minor, told.keep_alive, length, told.chunked, told.expects)

    # ---- bodies in aws-chunked framing

    def _decoded_length(self, words: tuple[bytes, ...]) -> int:
        told = self.plan.caller.decoded_length or 0
        return int(words[self._decoded_at]) if self._decoded_at >= 0 else told

    def _may_be_chunked(self, words: tuple[bytes, ...], head: RequestHead) -> bool:
        return head.has_body and self._decoded_length(words) <= MAX_DECODED_LENGTH

    def _relay(self, words: tuple[bytes, ...], moment: bytes, signature: str) -> Relay:
        """Return what carries the body over, verifying it."""
        if not self.plan.caller.mode.chain:
            return UnsignedRelay(self._decoded_length(words), self._trailers)
        chain = incoming(self._caller(words))
        assert chain is not None  # noqa: S101 - the mode says that there is one
        outgoing = ChunkChain(self._backend_key, moment.decode(), self._scope, signature)
        return SignedRelay(self._decoded_length(words), chain, outgoing, self._trailers)

    # ---- the story in full, for who needs more of it

    def target_of(self, words: tuple[bytes, ...]) -> str:
        """Return the target of a request with these words."""
        return self._prefix + words[self._path_at].decode() if self._path_at >= 0 else self._target_told

    def _target_with(self, texts: dict[str, str]) -> str:
        return self._prefix + texts[PATH] if PATH in texts else self._target_told

    def _caller(self, words: tuple[bytes, ...]) -> Caller:
        caller, claim, texts = self.plan.caller, self._claim, self._texts(words)
        return caller._replace(
            payload_hash=texts.get("x-amz-content-sha256", caller.payload_hash),
            target=self._target_with(texts),
            claim=claim._replace(signature=texts[SIGNATURE], timestamp=words[self._date_at].decode()),
            decoded_length=self._decoded_length(words) if caller.mode.chunked else None,
        )

    def _texts(self, words: tuple[bytes, ...]) -> dict[str, str]:
        return {name: word.decode() for name, word in zip(self._holes, words, strict=True)}

    def forward(self, words: tuple[bytes, ...], source_ip: str) -> Forward:
        """Return the plan about these words."""
        texts, told = self._texts(words), self.plan.request
        request = S3Request(
            told.method, self._target_with(texts), self.path._replace(key=self._key_of(words) or ""),
            self._parameters.of(words), self._headers(texts), source_ip, told.secure,
        )  # fmt: skip
        return self.plan._replace(request=request, caller=self._caller(words))

    def access(self, words: tuple[bytes, ...], now: int, source_ip: str) -> AccessRequest:
        """Return the question about these words, with the facts that a policy may ask about."""
        return self._access(self.forward(words, source_ip), now)

    def access_of(self, told: Told) -> AccessRequest:
        """Return the question about a story as it was told."""
        return self._access(told.plan, told.now)

    def _access(self, plan: Forward, now: int) -> AccessRequest:
        need = self._need._replace(key=plan.request.path.key)
        return Case(plan.request, plan.operation, plan.caller, self._world, now).question(need)
