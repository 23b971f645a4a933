"""A connection as turns see it: a listed proxy may speak for others, nobody else."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.turns.guest import Guest

PROXIES = (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(("peer", "address"), [("10.0.0.1", "192.0.2.7"), ("192.0.2.1", "192.0.2.1")])
def test_trap_19_who_is_asking_is_whom_a_listed_proxy_names(peer, address):
    """A header that anybody can write says nothing."""
    assert Guest(peer, secure=False, proxies=PROXIES).source_ip("192.0.2.7") == address
    assert Guest(peer, secure=False).source_ip("192.0.2.7") == peer


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("peer", "word", "listed"),
    [("10.0.0.1", "https", True), ("10.0.0.1", "http", True), ("10.0.0.1", "", False), ("192.0.2.1", "https", False)],
)
def test_trap_18_a_connection_is_encrypted_by_us_or_by_a_listed_proxy(secure, peer, word, listed):
    """Where no proxy is listed, only our own TLS is any."""
    assert Guest(peer, secure=secure, proxies=PROXIES).is_secure(word) is (word == "https" if listed else secure)
    assert Guest(peer, secure=secure).is_secure(word) is secure


def test_a_proxys_word_is_heard_each_time():
    """One connection carries clients of both kinds."""
    guest = Guest("10.0.0.1", secure=False, proxies=PROXIES)
    words = ("", "https", "http", "https", "", "HTTPS", "https, http")
    assert [guest.is_secure(word) for word in words] == [False, True, False, True, False, True, False]
