"""The policy of a POST form: the document that was signed, and the judgement of a form by it.

A condition names a field and what its value must be; every condition must hold, and every field must be named by one, so
that whoever fills the form in can say nothing that its signer did not foresee (trap 34). `parse` raises
InvalidPolicyDocument, `judge` AccessDenied. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.errors import AccessDenied, EntityTooLarge, EntityTooSmall, InvalidPolicyDocument

#: Fields that no condition has to name.
_EXEMPT = frozenset({"x-amz-signature", "file", "policy"})
_IGNORED_PREFIX = "x-ignore-"
_EXPIRATION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_OPERATORS = frozenset({"eq", "starts-with"})
MAX_SIZE = 10**15


@dataclass(frozen=True, slots=True)
class Condition:
    """`operator` is eq or starts-with; `field` has its lower-case name."""

    operator: str
    field: str
    value: str

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Return whether a form has the field, with a value that is meant."""
        given = fields.get(self.field)
        if given is None:
            return False
        if self.operator == "eq":
            return given == self.value
        # A list of content types must hold whole.
        values = [value.strip() for value in given.split(",")] if self.field == "content-type" else [given]
        return all(value.startswith(self.value) for value in values)


@dataclass(frozen=True, slots=True)
class PostPolicy:
    """A parsed policy: `expires_at` in epoch seconds, `sizes` the ranges (bytes, inclusive) a file must be in."""

    expires_at: float
    conditions: tuple[Condition, ...]
    sizes: tuple[tuple[int, int], ...]

    def judge(self, fields: Mapping[str, str], now: int) -> None:
        """Refuse a form that this policy does not allow; `fields` by lower-case name, the bucket among them."""
        if now >= self.expires_at:
            raise AccessDenied("Invalid according to Policy: Policy expired.")
        for condition in self.conditions:
            if not condition.holds(fields):
                text = json.dumps([condition.operator, f"${condition.field}", condition.value])
                raise AccessDenied(f"Invalid according to Policy: Policy Condition failed: {text}")
        named = {condition.field for condition in self.conditions}
        extra = [n for n in fields if n not in named | _EXEMPT and not n.startswith(_IGNORED_PREFIX)]
        if extra:
            raise AccessDenied(f"Invalid according to Policy: Extra input fields: {', '.join(sorted(extra))}")

    def judge_size(self, size: int) -> None:
        """Refuse a file of this many bytes if it is too small or too large. Raises EntityTooSmall, EntityTooLarge."""
        for least, most in self.sizes:
            if size < least:
                raise EntityTooSmall(ProposedSize=str(size), MinSizeAllowed=str(least))
            if size > most:
                raise EntityTooLarge(ProposedSize=str(size), MaxSizeAllowed=str(most))


def parse(text: str) -> PostPolicy:
    """Parse the policy field: a JSON document in base64."""
    document = _document(text)
    if not isinstance(document, dict) or document.keys() != {"expiration", "conditions"}:
        raise _invalid("it must have expiration and conditions, and nothing else")
    if not isinstance(document["conditions"], list):
        raise _invalid("conditions must be a list")
    conditions: list[Condition] = []
    sizes: list[tuple[int, int]] = []
    for found in document["conditions"]:
        if isinstance(found, list) and found[:1] == ["content-length-range"]:
            sizes.append(_range(found))
        else:
            conditions.append(_condition(found))
    return PostPolicy(_expiration(document["expiration"]), tuple(conditions), tuple(sizes))


def _document(text: str) -> Any:
    try:
        return json.loads(base64.b64decode(text, validate=True).decode("utf-8"), object_pairs_hook=_object)
    except (binascii.Error, ValueError, RecursionError):  # both decoders raise kinds of ValueError
        raise _invalid("it must be JSON, as UTF-8 in base64") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name given twice: two readers would take two of them."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _expiration(value: Any) -> float:
    if isinstance(value, str) and _EXPIRATION.fullmatch(value):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            pass
    raise _invalid("expiration must be an ISO 8601 time in UTC")


def _condition(found: Any) -> Condition:
    """Read `{"field": "value"}` or `["operator", "$field", "value"]`."""
    if isinstance(found, dict):
        if len(found) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified")
        field, value = next(iter(found.items()))
        operator = "eq"
    elif isinstance(found, list) and len(found) == 3 and all(isinstance(item, str) for item in found):
        operator, field, value = found
        operator = operator.lower()
        if operator not in _OPERATORS or not field.startswith("$"):
            raise _invalid("a condition has an unknown operator, or a field without $")
        field = field[1:]
    else:
        raise _invalid("a condition is neither an object nor a list of three texts")
    if not isinstance(value, str) or not field:
        raise _invalid("Invalid Simple-Condition: value must be a string")
    return Condition(operator, field.lower(), value)


def _range(found: list[Any]) -> tuple[int, int]:
    bounds = [_size(item) for item in found[1:]]
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise _invalid("content-length-range must have a least and a greatest size")
    return bounds[0], bounds[1]


def _size(value: Any) -> int:
    """Read a number of bytes; some signers write it as a text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SIZE:
        raise _invalid("content-length-range must have whole numbers")
    return value


def _invalid(why: str) -> InvalidPolicyDocument:
    return InvalidPolicyDocument(f"Invalid Policy: {why}.", reason=why)
