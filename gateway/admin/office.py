"""What the handlers of the administration API work with; wired in `gateway.app`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import InvalidAccessKeyId
from gateway.s3.context import Tags
from gateway.turns.denials import Denials
from iam.changes import Changes
from iam.model import Principal
from iam.policy import Policy
from iam.store import IamStore, SessionRecord
from iam.view import IamView

LOOKING = 2  # users at once


def _nobody(_: SessionRecord) -> Principal:
    raise InvalidAccessKeyId(reason="sessions are not known here")


async def _no_tags(objects: Sequence[tuple[str, str, str]]) -> Sequence[Tags | None]:
    return [None for _ in objects]


@dataclass(frozen=True)
class Insight:
    """What only the question why needs.

    `token_of` returns the token of a session that this process has seen, else ""; `recorded` who a session is as far as its record
    says, or raises an S3Error; `tags_of` the tags of objects, None where they cannot be had.
    """

    denials: Denials = field(default_factory=Denials)
    token_of: Callable[[str], str] = lambda _: ""
    recorded: Callable[[SessionRecord], Principal] = _nobody
    tags_of: Callable[[Sequence[tuple[str, str, str]]], Awaitable[Sequence[Tags | None]]] = _no_tags


@dataclass(frozen=True)
class Office:
    """Everything there is to administer.

    `policies` are those that can be named now (MinIO's, the folder's, the store's); `now` is in epoch seconds, as is `started`;
    `not_ready` says why the gateway is not ready; `endpoint` is the address that it listens on;
    `process` is this one's number; `looking` is had by who looks for the own sessions among all.
    """

    changes: Changes
    view: Callable[[], IamView]
    store: IamStore
    policies: Callable[[], Mapping[str, Policy]]
    root_access_key: str
    now: Callable[[], float]
    not_ready: Callable[[], Awaitable[list[str]]]
    region: str = ""
    domains: tuple[str, ...] = ()
    endpoint: str = ""
    started: float = 0.0
    insight: Insight = field(default_factory=Insight)
    process: int = 0
    looking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOKING))
