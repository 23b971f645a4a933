"""Why the pool has no connection for a request, where no address was at fault."""

from __future__ import annotations


class Busy(OSError):
    """No connection became free in time, or too many wait for one."""


class Unresolved(OSError):
    """The name has no address."""
