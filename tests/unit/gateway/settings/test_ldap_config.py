"""The directory's settings: each has its place, and half a configuration is a problem under the name that the operator wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings.config import ConfigErrors, load
from iam.model import Secret
from sts.ldap_settings import LdapSettings, Transport

PREFIX = "MINIO_IDENTITY_LDAP_"
ROOT = {"MINIO_ROOT_USER": "rootaccess", "MINIO_ROOT_PASSWORD": "root-secret", "HOME": "/home/somebody"}
LEAST = {
    "SERVER_ADDR": "ldap.example.org", "LOOKUP_BIND_DN": "cn=lookup,dc=x", "LOOKUP_BIND_PASSWORD": "lookup-secret",
    "USER_DN_SEARCH_BASE_DN": "ou=people,dc=x", "USER_DN_SEARCH_FILTER": "(uid=%s)",
}  # fmt: skip


def read(files=None, **settings: str) -> LdapSettings | None:
    """Read these settings beside the root pair."""
    environ = ROOT | {name if name.startswith("MINIO_") else PREFIX + name: value for name, value in settings.items()}
    return load("gateway", {}, "http://store.test", environ, lambda path: (files or {})[str(path)], lambda _: []).ldap


def problems(**settings: str) -> dict[str, str]:
    """Return what is wrong, by setting without its prefix."""
    with pytest.raises(ConfigErrors) as errors:
        read(**settings)
    assert all(problem.text and problem.remedy for problem in errors.value.problems)
    assert "lookup-secret" not in str(errors.value)
    return {problem.setting.removeprefix(PREFIX): problem.text for problem in errors.value.problems}


def test_without_a_server_there_is_no_directory():
    """Nobody who says nothing of LDAP has it, and switches alone do not ask for it."""
    assert read() is None
    assert read(TLS_SKIP_VERIFY="off", SERVER_INSECURE="on") is None


def test_the_least():
    """What must be said; the rest is LDAPS on its port, verified, without groups."""
    assert read(**LEAST) == LdapSettings(
        "ldap.example.org",
        636,
        Transport.LDAPS,
        "cn=lookup,dc=x",
        Secret("lookup-secret"),
        ("ou=people,dc=x",),
        "(uid=%s)",
    )


def test_every_setting_has_its_place():
    """Every variable arrives where it belongs; the password may be in a file."""
    found = read(
        {"/run/secret": "file-secret\n"}, SERVER_ADDR="[2001:db8::1]:10389", SERVER_STARTTLS="on", TLS_SKIP_VERIFY="on",
        LOOKUP_BIND_DN="svc@corp.example", LOOKUP_BIND_PASSWORD_FILE="/run/secret",
        USER_DN_SEARCH_BASE_DN="ou=a\\;b,dc=x ; ou=c,dc=x;", USER_DN_SEARCH_FILTER="(|(uid=%s)(mail=%s))",
        USER_DN_ATTRIBUTES="mail, memberOf", GROUP_SEARCH_BASE_DN="ou=groups,dc=x", GROUP_SEARCH_FILTER="(member=%d)",
        MINIO_GW_LDAP_CA="~/ca.pem",
    )  # fmt: skip
    assert found == LdapSettings(
        "2001:db8::1", 10389, Transport.STARTTLS, "svc@corp.example", Secret("file-secret"), ("ou=a\\;b,dc=x", "ou=c,dc=x"),
        "(|(uid=%s)(mail=%s))", ("mail", "memberOf"), ("ou=groups,dc=x",), "(member=%d)", Path("/home/somebody/ca.pem"), False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("start_tls", "insecure", "transport", "port"),
    [("off", "off", Transport.LDAPS, 636), ("on", "off", Transport.STARTTLS, 389), ("off", "on", Transport.PLAIN, 389),
     ("on", "on", Transport.STARTTLS, 389)],
)  # fmt: skip
def test_plain_tcp_is_asked_for(start_tls, insecure, transport, port):
    """Passwords go without TLS only where the operator says so, and not where he says StartTLS too."""
    found = read(**LEAST, SERVER_STARTTLS=start_tls, SERVER_INSECURE=insecure)
    assert (found.transport, found.port) == (transport, port)


@pytest.mark.parametrize("missing", [name for name in LEAST if name != "SERVER_ADDR"])
def test_what_is_missing_is_told(missing):
    """Without the lookup account, its password, a base or a filter nothing would be proved."""
    assert problems(**LEAST | {missing: ""}) == {missing: "is missing"}


def test_everything_is_told_at_once():
    """A server alone lacks four things; settings without a server are for nothing."""
    assert set(problems(SERVER_ADDR="ldap")) == set(LEAST) - {"SERVER_ADDR"}
    assert set(problems(**LEAST | {"SERVER_ADDR": ""})) == set(LEAST) - {"SERVER_ADDR"}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("SERVER_ADDR", ["ldaps://ldap", "ldap:0", "ldap:65536", "::1", "ldap:x", "a b", "ldap:", ":636", "ldap/"]),
        ("SRV_RECORD_NAME", ["ldap", "on"]),
        ("USER_DN_SEARCH_BASE_DN", ["people", "ou=a;people", "ou=a\\"]),
        ("USER_DN_SEARCH_FILTER", ["(uid=alice)", "(uid=%s", "(uid=%d)", "(%s=uid)", "uid"]),
        ("USER_DN_ATTRIBUTES", ["mail;binary", "*", "ma il", "+"]),
        ("TLS_SKIP_VERIFY", ["yes"]), ("SERVER_INSECURE", ["plain"]), ("SERVER_STARTTLS", ["2"]),
    ],
)  # fmt: skip
def test_values_have_their_bounds(name, bad):
    """What cannot be used is a problem of that setting alone."""
    for value in bad:
        assert set(problems(**LEAST | {name: value})) == {name}, value


def test_groups_are_whole_or_not_there():
    """A base without a filter, or a filter without a base, finds no groups where the operator expects some."""
    assert set(problems(**LEAST, GROUP_SEARCH_BASE_DN="ou=g")) == {"GROUP_SEARCH_FILTER"}
    assert set(problems(**LEAST, GROUP_SEARCH_FILTER="(member=%d)")) == {"GROUP_SEARCH_BASE_DN"}
    both = {"GROUP_SEARCH_BASE_DN": "ou=g", "GROUP_SEARCH_FILTER": "(objectClass=group)"}
    assert set(problems(**LEAST, **both)) == {"GROUP_SEARCH_FILTER"}


@pytest.mark.parametrize("name", ["SRV_RECORD_NAME", "USER_DN_ATTRIBUTES", "SERVER_STARTTLS"])
def test_a_wrong_value_is_told_though_nobody_uses_it(name):
    """A setting is checked without a server too: the day there is one, nobody looks here."""
    assert set(problems(**{name: "no*"})) == {name}
