"""A connection as turns see it: its other end, and for whom that may speak (traps 18 and 19)."""

from __future__ import annotations

from gateway.peer import Networks, is_secure, source_ip


class Guest:
    """One connection. `peer` is its address, `secure` whether it is our TLS; `proxies` are those that may speak for others."""

    __slots__ = ("_proxies", "_secure", "peer")

    def __init__(self, peer: str, *, secure: bool, proxies: Networks = ()) -> None:
        self.peer = peer
        self._secure = secure
        self._proxies = proxies

    def source_ip(self, forwarded_for: str) -> str:
        """Return the address that a request with this X-Forwarded-For is from."""
        return source_ip(self.peer, forwarded_for, self._proxies) if self._proxies else self.peer

    def is_secure(self, forwarded_proto: str) -> bool:
        """Return whether the client of a request with this X-Forwarded-Proto has an encrypted connection."""
        if not self._proxies:
            return self._secure
        return is_secure(self.peer, forwarded_proto, self._proxies, tls=self._secure)
