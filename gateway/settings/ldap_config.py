"""The directory's settings: MinIO's names, read into LdapSettings; every half-made configuration is a problem. Pure."""

from __future__ import annotations

import re

from gateway.backends.endpoints import shown
from gateway.settings.table import Reader
from iam.model import Secret
from sts.dn import NotADn, normalize, split
from sts.ldap_settings import LdapSettings, Transport

_PREFIX = "MINIO_IDENTITY_LDAP_"
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/\s]+))(?::([0-9]{1,5}))?")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
#: Without the server's address these would be for nothing.
_FOR_A_SERVER = ("LOOKUP_BIND_DN", "LOOKUP_BIND_PASSWORD", "USER_DN_SEARCH_BASE_DN", "USER_DN_SEARCH_FILTER",
                 "GROUP_SEARCH_BASE_DN", "GROUP_SEARCH_FILTER")  # fmt: skip


def read(reader: Reader) -> LdapSettings | None:
    """Return the directory, None when none is configured."""
    transport, verify = _transport(reader), not reader.switch(f"{_PREFIX}TLS_SKIP_VERIFY")
    _no_srv(reader)
    host, port = _address(reader, transport)
    attributes, ca_file = _attributes(reader), reader.path("MINIO_GW_LDAP_CA")
    if not host:
        return None
    group_bases, group_filter = _groups(reader)
    return LdapSettings(
        host, port, transport, _needed(reader, "LOOKUP_BIND_DN", "the DN of an account that may search"),
        Secret(_needed(reader, "LOOKUP_BIND_PASSWORD", "its password; without one nothing is proved")),
        _bases(reader, "USER_DN_SEARCH_BASE_DN"), _filter(reader, "USER_DN_SEARCH_FILTER", "s"), attributes,
        group_bases, group_filter, ca_file, verify,
    )  # fmt: skip


def _transport(reader: Reader) -> Transport:
    """Return LDAPS unless another is asked for; StartTLS before plain TCP, as in MinIO."""
    start_tls, plain = (reader.switch(f"{_PREFIX}{name}") for name in ("SERVER_STARTTLS", "SERVER_INSECURE"))
    return Transport.STARTTLS if start_tls else Transport.PLAIN if plain else Transport.LDAPS


def _no_srv(reader: Reader) -> None:
    if reader.get(f"{_PREFIX}SRV_RECORD_NAME"):
        remedy = f"name the server in {_PREFIX}SERVER_ADDR; all addresses of its name are tried"
        reader.bad(f"{_PREFIX}SRV_RECORD_NAME", "is not supported: no SRV record is looked up", remedy)


def _address(reader: Reader, transport: Transport) -> tuple[str, int]:
    text = reader.get(f"{_PREFIX}SERVER_ADDR")
    if not text:
        for name in _FOR_A_SERVER:
            if reader.is_set(_PREFIX + name):
                reader.bad(_PREFIX + name, f"is set without {_PREFIX}SERVER_ADDR", "name the server, or take this away")
        return "", 0
    match = _ADDRESS.fullmatch(text)
    port = int(match[3]) if match and match[3] else 636 if transport is Transport.LDAPS else 389
    if match is None or not 0 < port < 65536:
        reader.bad(
            f"{_PREFIX}SERVER_ADDR",
            f"{shown(text)[:100]!r} is not HOST or HOST:PORT",
            "give an address as ldap.example.org:636",
        )
        return "", 0
    return match[1] or match[2], port


def _needed(reader: Reader, name: str, remedy: str) -> str:
    text = reader.get(_PREFIX + name)
    if not text:
        reader.bad(_PREFIX + name, "is missing", f"give {remedy}")
    return text


def _bases(reader: Reader, name: str) -> tuple[str, ...]:
    """Return the DNs of a list with semicolons."""
    text = _needed(reader, name, "the DN beneath which to search; several with semicolons")
    try:
        found = tuple(dn.strip() for dn in split(text, ";") if dn.strip())
        for dn in found:
            normalize(dn)
    except NotADn as error:
        reader.bad(_PREFIX + name, f"is no DN: {error}", "give a DN as ou=people,dc=example,dc=org")
        return ()
    return found


def _filter(reader: Reader, name: str, letters: str) -> str:
    from sts.ldap_filter import problem_of  # noqa: PLC0415 - only who has a directory pays for its protocol

    text = _needed(reader, name, "a filter as (uid=%s)")
    if text and (problem := problem_of(text, letters)):
        reader.bad(_PREFIX + name, problem, f"give a filter as (attribute=%{letters[-1]})")
    return text


def _groups(reader: Reader) -> tuple[tuple[str, ...], str]:
    """Return where groups are and how they are found; nothing when neither is set, and half of it is a problem."""
    if not any(reader.is_set(_PREFIX + name) for name in ("GROUP_SEARCH_BASE_DN", "GROUP_SEARCH_FILTER")):
        return (), ""
    return _bases(reader, "GROUP_SEARCH_BASE_DN"), _filter(reader, "GROUP_SEARCH_FILTER", "sd")


def _attributes(reader: Reader) -> tuple[str, ...]:
    found = reader.items(f"{_PREFIX}USER_DN_ATTRIBUTES")
    for name in found:
        if not _ATTRIBUTE.fullmatch(name):
            reader.bad(f"{_PREFIX}USER_DN_ATTRIBUTES", f"{name[:100]!r} is no attribute", "give names as mail,uid")
    return found
