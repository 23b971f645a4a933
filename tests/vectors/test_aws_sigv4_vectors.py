"""AWS's published Signature Version 4 test suite, in its three stages, for both places of a signature.

Each signed request is read as a server would read it; canonical request, string to sign and signature must be the
published ones. The suite signs for a service that normalizes paths, which S3 does not: the test does that itself.
https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-test-suite.html
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from gateway.signing.sigv4 import (
    SignatureClaim,
    SigningKey,
    canonical_query,
    canonical_request,
    matches,
    parse_authorization,
    parse_presigned,
    sign_headers,
    signing_key,
    string_to_sign,
    uri_encode,
)

SUITE = Path(__file__).parents[3] / "shared/data/aws-signing-test-suite/v4"
VECTORS = sorted(path.name for path in SUITE.iterdir()) if SUITE.is_dir() else []

vectors = pytest.mark.parametrize("name", VECTORS)


@dataclass(frozen=True)
class Vector:
    """One folder of the suite, its signed request parsed; `place` is "header" or "query"."""

    folder: Path
    place: str

    def text(self, stage: str) -> str:
        """Return one published stage."""
        return (self.folder / f"{self.place}-{stage}.txt").read_text(encoding="utf-8")

    @cached_property
    def context(self) -> dict[str, Any]:
        """The signer's configuration."""
        return json.loads((self.folder / "context.json").read_text(encoding="utf-8"))

    @cached_property
    def parts(self) -> tuple[str, dict[str, str], bytes]:
        """The request line, the headers by lower-case name (repeated ones joined), the body."""
        head, _, body = self.text("signed-request").partition("\n\n")
        line, *fields = head.replace("\n ", " ").splitlines()
        headers: dict[str, str] = {}
        for field in fields:
            name, _, value = field.partition(":")
            name = name.lower()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        return line, headers, body.encode()

    @property
    def method(self) -> str:
        """The method."""
        return self.parts[0].partition(" ")[0]

    @property
    def target(self) -> str:
        """The target; the suite writes it raw, spaces and all."""
        return self.parts[0].partition(" ")[2].rpartition(" ")[0]

    @property
    def uri(self) -> str:
        """The canonical URI, normalized when the vector's signer does that."""
        path = self.target.partition("?")[0]
        if self.context["normalize"]:
            slash = "/" if path.endswith("/") else ""
            path = "/" + (posixpath.normpath(path).strip("/") + slash).lstrip("./")
        return uri_encode(path, slash=False)

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The decoded query, without the token where the vector's signer adds it after signing."""
        pairs = [pair.partition("=") for pair in self.target.partition("?")[2].split("&") if pair]
        decoded = [(unquote(name), unquote(value)) for name, _, value in pairs]
        left_out = "X-Amz-Security-Token" if self.context.get("omit_session_token") else None
        return [(name, value) for name, value in decoded if name != left_out]

    @cached_property
    def claim(self) -> SignatureClaim:
        """What the request says about its signature."""
        headers = self.parts[1]
        if self.place == "query":
            return parse_presigned(self.query)
        return parse_authorization(headers["authorization"], headers["x-amz-date"])

    @property
    def payload_hash(self) -> str:
        """The hash of the body."""
        return sha256(self.parts[2]).hexdigest()

    def key(self) -> SigningKey:
        """Return the signing key."""
        return signing_key(self.context["credentials"]["secret_access_key"], self.claim.scope)


def vector(name: str, place: str) -> Vector:
    """Return a vector by its folder's name."""
    return Vector(SUITE / name, place)


def test_the_suite_is_there() -> None:
    """All 38 vectors are found: an empty folder must not look like a success."""
    if not SUITE.is_dir():
        pytest.skip("AWS's signing test suite is not beside this repository.")
    assert len(VECTORS) == 38


@vectors
@pytest.mark.parametrize("place", ["header", "query"])
def test_aws_vector_in_three_stages(name: str, place: str) -> None:
    """Canonical request, string to sign and signature are those that AWS publishes."""
    v = vector(name, place)
    claim = v.claim
    canonical = canonical_request(
        v.method, v.uri, canonical_query(v.query), v.parts[1], claim.signed_headers, v.payload_hash
    )
    assert canonical == v.text("canonical-request")
    to_sign = string_to_sign(claim.timestamp, claim.scope, canonical)
    assert to_sign == v.text("string-to-sign")
    signature = v.key().sign(to_sign)
    assert signature == v.text("signature")
    assert matches(signature, claim.signature)


@vectors
def test_aws_vector_signed_by_us(name: str) -> None:
    """Signing the vector's headers gives the Authorization value that AWS publishes."""
    v = vector(name, "header")
    headers = {header: v.parts[1][header] for header in v.claim.signed_headers}
    authorization, signature = sign_headers(
        v.method,
        v.uri,
        canonical_query(v.query),
        headers,
        v.payload_hash,
        key=v.key(),
        scope=v.claim.scope,
        access_key_id=v.claim.access_key_id,
        timestamp=v.claim.timestamp,
    )
    assert authorization == v.parts[1]["authorization"]
    assert signature == v.text("signature")
