"""TLS towards a backend: verified always, and resumed (RFC 8446 section 2.2, RFC 5077).

Neither loop lets anybody give a session to a connection that it makes; both ask the context for the object that speaks TLS
(`wrap_bio`). So the context adds the session: the last one of this context and this host name, of no other. A resumed
handshake shows no certificate; one that was seen too long ago is therefore asked for again.

Many a CPython loses some six kilobytes each time that it is asked for a connection's session (python/cpython#116810: all before 3.12.8
and 3.13.1, and 3.11 for ever). There one is taken only where a handshake brought no resumption, and of a host that never resumes seldom.
A session that serves several connections lets who watches them tell that they belong together (RFC 8446 appendix C.4), which they do.
"""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

VERIFIED = 3600.0  # seconds for which a certificate that was verified need not be shown again
HOSTS = 256  # sessions of one context
SELDOM = 300.0  # seconds between two sessions that are taken of a host, where each is paid for
_PAYS = sys.version_info < (3, 12, 8) or (3, 13) <= sys.version_info < (3, 13, 1)


class ResumingContext(ssl.SSLContext):
    """A client's context that goes on with the last session of each host."""

    def __init__(self, protocol: int, clock: Callable[[], float]) -> None:  # noqa: ARG002 - `protocol` is __new__'s
        super().__init__()
        self._sessions: dict[str, tuple[ssl.SSLSession, float]] = {}  # with the time when the certificate was seen
        self._taken: dict[str, float] = {}  # when the last of a host was
        self._clock = clock

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as its base's
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return the object that speaks TLS, with the session that its host gave last."""
        if session is None and isinstance(server_hostname, str):
            session = self._session(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _session(self, host: str) -> ssl.SSLSession | None:
        session, verified = self._sessions.get(host, (None, 0.0))
        if session is not None and self._clock() - verified > VERIFIED:
            del self._sessions[host]
            return None
        return session

    def remember(self, connection: ssl.SSLObject) -> None:
        """Keep a connection's session; to be called once it has brought an answer, since TLS 1.3 gives sessions late."""
        host, now = connection.server_hostname, self._clock()
        if not isinstance(host, str) or (_PAYS and not self._is_worth_it(host, now, resumed=connection.session_reused)):
            return
        session, verified = connection.session, now
        if session is None:
            return
        if connection.session_reused:  # its certificate was seen when the first session of the row began
            if host not in self._sessions:
                return
            verified = self._sessions[host][1]
        self._keep(host, session, verified, now)

    def _is_worth_it(self, host: str, now: float, *, resumed: bool | None) -> bool:
        return not resumed and now - self._taken.get(host, -SELDOM) >= SELDOM

    def _keep(self, host: str, session: ssl.SSLSession, verified: float, now: float) -> None:
        if host not in self._taken and len(self._taken) >= HOSTS:
            self._sessions.clear()
            self._taken.clear()
        self._sessions[host], self._taken[host] = (session, verified), now


def client_context(ca_file: Path | None, clock: Callable[[], float] = time.monotonic) -> ResumingContext:
    """Return a context that verifies as Python's default one does; `ca_file` in place of the system's certificates."""
    default = ssl.create_default_context(cafile=ca_file)
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT, clock)
    context.options, context.verify_flags = default.options, default.verify_flags
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    return context
