"""A connection as turns see it: its other end, and for whom that may speak (traps 18 and 19)."""

from __future__ import annotations

from gateway.peer import Networks, is_listed, is_secure, source_ip


class Guest:
    """One connection. `peer` is its address, `secure` whether it is our TLS; `proxies` are those that may speak for others."""

    __slots__ = ("_proxies", "_said", "_secure", "peer")

    def __init__(self, peer: str, *, secure: bool, proxies: Networks = ()) -> None:
        self.peer = peer
        self._secure = secure
        self._proxies = proxies if is_listed(peer, proxies) else ()  # of anybody else nothing is believed
        self._said = ("", secure)  # by a proxy about its own connection, mostly the same each time

    def source_ip(self, forwarded_for: str) -> str:
        """Return the address that a request with this X-Forwarded-For is from."""
        return source_ip(self.peer, forwarded_for, self._proxies) if self._proxies else self.peer

    def is_secure(self, forwarded_proto: str) -> bool:
        """Return whether the client of a request with this X-Forwarded-Proto has an encrypted connection."""
        if not self._proxies:
            return self._secure
        if self._said[0] != forwarded_proto:
            self._said = forwarded_proto, is_secure(self.peer, forwarded_proto, self._proxies, tls=self._secure)
        return self._said[1]
