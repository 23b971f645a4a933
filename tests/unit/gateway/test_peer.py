"""peer: what a proxy says counts when the proxy is listed, and from nobody else."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.peer import is_listed, is_secure, lines, source_ip

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "6.6.6.6", "192.0.2.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6", "6.6.6.6"),
        ("10.0.0.1", "1.1.1.1, 6.6.6.6", "6.6.6.6"),
        ("10.0.0.1", "1.1.1.1, 6.6.6.6, 10.2.3.4", "6.6.6.6"),
        ("2001:db8::1", "2001:db9::1", "2001:db9::1"),
        ("", "6.6.6.6", ""),
    ],
)
def test_trap_19_forwarded_for_is_believed_from_listed_proxies_only(peer, forwarded, address):
    """The address is the last hop that no listed proxy vouches beyond."""
    assert source_ip(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "tls", "secure"),
    [
        ("192.0.2.1", "https", False, False),
        ("192.0.2.1", "http", True, True),
        ("10.0.0.1", "https", False, True),
        ("10.0.0.1", "HTTPS", False, True),
        ("10.0.0.1", "http", True, False),
        ("10.0.0.1", "https, http", False, False),
        ("10.0.0.1", "", True, True),
        ("10.0.0.1", "", False, False),
        ("", "https", False, False),
    ],
)
def test_trap_18_forwarded_proto_is_believed_from_listed_proxies_only(peer, forwarded, tls, secure):
    """A connection is encrypted when ours is, or when a listed proxy says that its own was; its last word counts."""
    assert is_secure(peer, forwarded, PROXIES, tls=tls) is secure


def test_what_is_no_address_is_not_listed():
    """Nothing but an address in one of the networks is a proxy of ours."""
    assert is_listed("10.1.2.3", PROXIES)
    for other in ("11.1.2.3", "", "10.0.0.0/8", "proxy", "::1"):
        assert not is_listed(other, PROXIES)
    assert not is_listed("10.1.2.3", ())


@given(
    st.lists(
        st.tuples(st.sampled_from(["X-Forwarded-For", "x-forwarded-for", "X-Forwarded-Proto"]), st.sampled_from("abc"))
    )
)
def test_trap_19_every_line_counts(fields):
    """A header sent in several lines is all of them, in their order: a stranger's own line hides none of a proxy's."""
    expected = [value for name, value in fields if name.lower() == "x-forwarded-for"]
    assert lines(fields, "x-forwarded-for") == ",".join(expected)
