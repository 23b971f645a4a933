"""What the story decides: one of these plans, carried out by the shell without a question of its own.

    Forward          send it to the backend; with `then` the story goes on with the answer, else the answer is streamed
    Reply            answer it here
    NeedsBody        read the request's body first
    NeedsForm        read a POST form first, up to its file
    NeedsTags        read the tags of these objects first
    NeedsDecisions   have these questions answered first

The five that need something carry the rest of the story in `then`, so that a story is one straight function wherever
it must wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.s3.authenticate import Caller
from gateway.s3.context import Tags
from gateway.s3.multipart import Form
from gateway.s3.operations import Operation
from gateway.s3.request import S3Request
from iam.model import AccessRequest, Decision

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answer:
    """The backend's answer, read whole: `headers` are those that a client may see, as long as the document is the same."""

    status: int
    headers: Headers
    body: bytes


class Forward(NamedTuple):
    """Send `request` to the backend.

    `body` replaces the client's. `edit` translates the document of a successful answer (status 200); `then`, which sees
    it after `edit`, goes on with the story when the answer is successful. `mend` translates the document of an error (its
    status is 400 or more); any other answer is streamed to the client.
    """

    request: S3Request
    operation: Operation
    caller: Caller
    body: bytes | None = None
    edit: Callable[[bytes], bytes] | None = None
    then: Callable[[Answer], Plan] | None = None
    mend: Callable[[int, bytes], bytes] | None = None


@dataclass(frozen=True)
class Reply:
    """Answer with this document; `headers` without those that the shell gives every answer."""

    operation: Operation
    caller: Caller
    body: bytes
    status: int = 200
    headers: Headers = ()


@dataclass(frozen=True)
class NeedsBody:
    """The body must be read first, `limit` bytes at most."""

    operation: Operation
    caller: Caller
    limit: int
    then: Callable[[bytes], Plan]


@dataclass(frozen=True)
class NeedsForm:
    """A POST form must be read up to its file; `then` takes it and the epoch second of that, and returns what goes on with the file's length."""

    operation: Operation
    caller: Caller
    boundary: bytes
    then: Callable[[Form, int], Callable[[int], Plan]]


@dataclass(frozen=True)
class NeedsDecisions:
    """These questions must be answered first, in their order."""

    operation: Operation
    caller: Caller
    questions: tuple[AccessRequest, ...]
    then: Callable[[Sequence[Decision]], Plan]


@dataclass(frozen=True)
class NeedsTags:
    """The tags of these objects (bucket, key, version id or "") must be read first; None for one that cannot be."""

    operation: Operation
    caller: Caller
    objects: tuple[tuple[str, str, str], ...]
    then: Callable[[Sequence[Tags | None]], Plan]


Plan = Forward | Reply | NeedsBody | NeedsForm | NeedsTags | NeedsDecisions


def names_of(plan: Plan) -> tuple[str, str, str]:
    """Return what is done, with which access key and on whose behalf, as the log names them."""
    principal = plan.caller.principal
    return plan.operation.name, principal.access_key_id or "-", principal.parent or "-"
