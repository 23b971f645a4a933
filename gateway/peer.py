"""Who is at the other end of a connection: the peer, or what a listed proxy says of whom it speaks for (traps 18, 19).

A header that anybody can write counts only when the peer that sent it is one of the operator's own proxies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

Networks = Sequence[IPv4Network | IPv6Network]


def lines(fields: Iterable[tuple[str, str]], name: str) -> str:
    """Return a header's lines as one, in their order (RFC 9110 section 5.3); `name` in lower case.

    All of them: a client may send a line of its own before the one that the proxy adds.
    """
    return ",".join(value for given, value in fields if given.lower() == name)


def source_ip(peer: str, forwarded_for: str, proxies: Networks) -> str:
    """Return the address a request comes from: the last one that no listed proxy vouches beyond (X-Forwarded-For)."""
    address = peer
    for hop in reversed(forwarded_for.split(",")):
        if not is_listed(address, proxies) or not hop.strip():
            break
        address = hop.strip()
    return address


def is_secure(peer: str, forwarded_proto: str, proxies: Networks, *, tls: bool) -> bool:
    """Return whether the client's connection is encrypted: by our TLS, or by that of a listed proxy (X-Forwarded-Proto)."""
    if is_listed(peer, proxies) and forwarded_proto:
        return forwarded_proto.rpartition(",")[2].strip().lower() == "https"
    return tls


def is_listed(address: str, proxies: Networks) -> bool:
    """Return whether an address is in one of the networks."""
    try:
        return any(ip_address(address) in network for network in proxies)
    except ValueError:
        return False
