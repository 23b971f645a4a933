"""What the handlers of the administration API work with; wired in `gateway.app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from iam.changes import Changes
from iam.policy import Policy
from iam.store import IamStore
from iam.view import IamView


@dataclass(frozen=True)
class Office:
    """Everything there is to administer.

    `policies` are those that can be named now (MinIO's, the folder's, the store's); `now` is in epoch seconds, as is `started`;
    `not_ready` says why the gateway is not ready; `endpoint` is the address that it listens on.
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
