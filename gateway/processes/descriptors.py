"""File descriptors: how many there may be, and how many connections that makes.

A request in flight may need four: its client's connection, the backend's, and a pipe between them; a connection that waits for
its next request needs one. What is kept back is for the process itself, the control surface, and refusals on their way.
"""

from __future__ import annotations

import logging
import resource

IN_FLIGHT = 3  # beyond the client's own
RESERVE = 128
_UNKNOWN = 1024  # what a system gives that does not say
_MOST = 1 << 20
_log = logging.getLogger("minio_gw.descriptors")


def raise_limit() -> int:
    """Raise the soft limit to the hard one; return the limit in force. A sandbox may forbid to raise it, or even to ask."""
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError as error:
        _log.warning("the limit of descriptors is not known (%s): %s are assumed", error, _UNKNOWN)
        return _UNKNOWN
    wanted = _MOST if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return min(soft, _MOST) if soft != resource.RLIM_INFINITY else _MOST
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        _log.warning("the limit of descriptors stays at %s: %s", soft, error)
        return soft
    return wanted


def connections_within(limit: int, inflight: int) -> int:
    """Return how many client connections fit under a limit when `inflight` of them may be answered at once."""
    left = limit - min(RESERVE, limit // 2)
    return max(left - IN_FLIGHT * inflight, left // (1 + IN_FLIGHT), 1)
