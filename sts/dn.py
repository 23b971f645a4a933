"""Distinguished names as text (RFC 4514): one form for every way to write the same name. Pure.

Names of users and groups are compared as text (attachments, revocations), so the form must be the same however a directory or an
operator writes it. It is made no coarser than directories compare: two entries of one directory must not fall together. Hence lower
case and NFC, not the case folding and NFKC of RFC 4518, which some directories leave out.
"""

from __future__ import annotations

import re
import unicodedata

#: RFC 4514 section 3: the attribute types whose short names every directory knows.
_SHORT = {
    "2.5.4.3": "cn", "2.5.4.7": "l", "2.5.4.8": "st", "2.5.4.10": "o", "2.5.4.11": "ou", "2.5.4.6": "c",
    "2.5.4.9": "street", "0.9.2342.19200300.100.1.25": "dc", "0.9.2342.19200300.100.1.1": "uid",
    "commonname": "cn", "localityname": "l", "stateorprovincename": "st", "organizationname": "o",
    "organizationalunitname": "ou", "countryname": "c", "streetaddress": "street", "domaincomponent": "dc", "userid": "uid",
}  # fmt: skip
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")
_VALUE = re.compile(r"""(?:[^\\,+;"<>\0]|\\(?:[0-9A-Fa-f]{2}|[\\,+;"<>=# ]))*""")
_ESCAPE = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_SPECIAL = re.compile(r'[\\,+;"<>=]|^[#]')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SPACES = re.compile(" +")
#: A piece ends at a separator that no backslash hides.
_PIECES = r"(?:\\.|[^\\{0}])*"
MAX_LENGTH = 4096  # characters of a name that is looked at


class NotADn(ValueError):
    """A text is no distinguished name."""


def normalize(text: str) -> str:
    """Return the one form of a name: types in lower case, values in lower case and NFC, spaces that do not count left out.

    Raises NotADn; the empty name, the root of every directory, is none here.
    """
    if len(text) > MAX_LENGTH:
        raise NotADn(f"longer than {MAX_LENGTH} characters")
    return ",".join(_rdn(rdn) for rdn in split(text, ",;"))


def split(text: str, separators: str) -> list[str]:
    """Return the pieces between separators that are not escaped. Raises NotADn when a backslash hides nothing."""
    pieces = re.compile(_PIECES.format(re.escape(separators)), re.DOTALL)
    found, at = [], 0
    while at <= len(text):
        match = pieces.match(text, at)
        if match is None or (match.end() < len(text) and text[match.end()] not in separators):
            raise NotADn("a backslash at the end")
        found.append(match[0])
        at = match.end() + 1
    return found


def _rdn(text: str) -> str:
    """Return a relative name; the order of its parts does not count (X.501)."""
    return "+".join(sorted(_part(part) for part in split(text, "+")))


def _part(text: str) -> str:
    kind, equals, value = text.partition("=")
    kind = kind.strip(" ")
    # RFC 2253 wrote OIDs so; RFC 4514 section 2.3 lets them be read.
    kind = kind[4:] if kind[:4].lower() == "oid." else kind
    if not equals or not _TYPE.fullmatch(kind):
        raise NotADn("a part is not TYPE=VALUE")
    return f"{_SHORT.get(kind.lower(), kind.lower())}={_value(value)}"


def _value(text: str) -> str:
    text = text.lstrip(" ")
    if text.startswith("#"):
        return _hex(text.rstrip(" "))
    if not _VALUE.fullmatch(text):
        raise NotADn("a value has a character that must be escaped")
    try:
        plain = _ESCAPE.sub(_unescaped, text.encode()).decode()
    except UnicodeError:
        raise NotADn("a value is not UTF-8") from None
    value = _prepared(plain)
    if not value:
        raise NotADn("a value is empty")
    return _escaped(value)


def _hex(text: str) -> str:
    """Return the BER of a value of a type that nobody knows, as it is (RFC 4514 section 2.4)."""
    if not re.fullmatch(r"#(?:[0-9A-Fa-f]{2})+", text):
        raise NotADn("a value after # is not hexadecimal")
    return text.lower()


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else match[2]


def _prepared(value: str) -> str:
    """Return a value in lower case, without the spaces that do not count (RFC 4518 section 2.6.1)."""
    lower = unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).lower())
    return _SPACES.sub(" ", lower).strip(" ")


def _escaped(value: str) -> str:
    """Return a value as RFC 4514 section 2.4 writes it; control characters in hexadecimal, so that a name is one line."""
    text = _SPECIAL.sub(lambda match: f"\\{match[0]}", value)
    return _CONTROL.sub(lambda match: "".join(f"\\{byte:02x}" for byte in match[0].encode()), text)
