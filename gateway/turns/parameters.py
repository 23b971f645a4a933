"""The parameters of a story told again: which of their values may be other words, and what they are this time (decision 0009).

    prefix=a%2Fb&list-type=2      names and their order are the form's; `list-type` keeps its value, `prefix` may have another

A value is a word only where it is written as a canonical query writes it: what was sent is then what is signed, in both
directions, and is read in one way only.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from gateway.s3.request import MAX_TARGET
from gateway.signing.sigv4 import TIMESTAMP, SignatureClaim, uri_encode
from gateway.wire.forms import Hole

SIGNATURE = ":signature"  # the hole of the signature, wherever it stands

_TEXT = rb"[A-Za-z0-9\-._~%]{0,1024}"
_ID = rb"[A-Za-z0-9\-._~%]{1,1024}"
#: Parameters that may hold another word each time. None of them chooses an operation, an action or a caller. An Expires is not
#: among them: who makes URLs makes them for one time.
_ALPHABETS: dict[str, bytes] = {
    **dict.fromkeys((
        "continuation-token", "delimiter", "key-marker", "marker", "prefix", "start-after", "upload-id-marker",
        "version-id-marker",
    ), _TEXT),
    **dict.fromkeys([f"response-{n}" for n in (
        "cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
    )], _TEXT),
    **dict.fromkeys(("max-keys", "max-parts", "max-uploads", "part-number-marker", "partNumber"), rb"[0-9]{1,10}"),
    "uploadId": _ID,
    "X-Amz-Date": TIMESTAMP.encode(),
    "X-Amz-Signature": rb"[0-9a-f]{64}",
}  # fmt: skip


def named(name: str) -> str:
    """Return the name of the hole in a parameter's value: no header's, since no header may have it."""
    return SIGNATURE if name == "X-Amz-Signature" else f"?{name}"


def date_of(claim: SignatureClaim) -> str:
    """Return the name of the hole in the time of a signature."""
    return named("X-Amz-Date") if claim.presigned else "x-amz-date"


def is_value(hole: str) -> bool:
    """Return whether a hole is that of a parameter's value which is signed."""
    return hole.startswith("?")


def holes(raw: str, query: Sequence[tuple[str, str]], start: int) -> list[tuple[str, Hole]] | None:
    """Return the holes of a query that begins at `start` of a head, by name, None when it is not read as it stands there."""
    pieces = raw.split("&") if raw else []
    if len(pieces) != len(query):
        return None
    found = []
    for piece, (name, value) in zip(pieces, query, strict=True):
        written, equals, word = piece.partition("=")
        if written != name:
            return None
        end = start + len(piece)
        alphabet = _ALPHABETS.get(name) if equals else None  # a word without `=` would go on with the name
        if alphabet and re.fullmatch(alphabet, word.encode()) and word == uri_encode(value, slash=True):
            found.append((named(name), Hole(end - len(word), end, alphabet)))
        start = end + 1
    return found


def _is_canonical(word: bytes) -> bool:
    """Return whether a word with escapes is written as in a canonical query, and UTF-8."""
    value = unquote_to_bytes(word)
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return uri_encode(value, slash=True).encode() == word


def in_order(query: str) -> str:
    """Return an encoded query in the order of a canonical one."""
    return "&".join(["=".join(pair) for pair in sorted([piece.split("=") for piece in query.split("&")])])


class Parameters:
    """The query of one story. `at` says where the word of a hole stands among those of a head."""

    def __init__(self, query: Sequence[tuple[str, str]], at: Mapping[str, int]) -> None:
        self._pairs = [(name, value, at.get(named(name), -1)) for name, value in query]
        self._texts = [place for name, _, place in self._pairs if place >= 0 and _ALPHABETS[name] in {_TEXT, _ID}]

    def fit(self, raw: bytes, words: Sequence[bytes]) -> bool:
        """Return whether everybody reads these words of a head as they stand there. Of their alphabets they are: the form said so."""
        if not self._pairs:
            return True
        if len(raw) > MAX_TARGET:
            return False
        return all(b"%" not in words[place] or _is_canonical(words[place]) for place in self._texts)

    def marked(self, marks: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the query with marks in place of words."""
        return tuple([(name, marks.get(named(name), value)) for name, value, _ in self._pairs])

    def of(self, words: Sequence[bytes]) -> tuple[tuple[str, str], ...]:
        """Return the query, decoded, with these words."""
        return tuple([(n, v if place < 0 else unquote_to_bytes(words[place]).decode()) for n, v, place in self._pairs])
