"""One administration call as values: its route, what its handler is given and gives back."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from gateway.admin.access import Asker
from gateway.admin.errors import XMinioAdminConfigBadJSON, XMinioAdminInvalidArgument
from gateway.admin.office import Office
from gateway.s3.request import S3Request
from iam.madmin import SIZE_LIMIT
from iam.model import Principal
from iam.records import LATEST, is_text

NEVER = "1970-01-01T00:00:00Z"  # MinIO's expiration of what has none
AT_ONCE = 64  # names in one list: they are changed in one transaction of the store
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")


class Body(StrEnum):
    """What a body is; the value is what the documentation says. Sealed ones are `iam.madmin`'s, by the caller's secret key."""

    NONE = "-"
    JSON = "JSON"
    SEALED = "encrypted JSON"


@dataclass(frozen=True)
class Reply:
    """What a handler answers: `document` is written as JSON, None is no body."""

    document: Any = None
    status: int = 200


@dataclass(frozen=True)
class Route:
    """One call: what leads to it, what it needs, what it takes and gives.

    `path` may end in `{}`, which stands for one word. One of `actions` must be allowed; `choose` says which of them it is.
    `needs` and `may` are the parameters, `repeatable` those of `may` that may be given more than once. `own` says whether a call is
    about its caller itself: then it is allowed unless something denies it. `by_body`: `choose` or `own` read the body. `limit`:
    bytes of the body as it comes.
    """

    method: str
    path: str
    actions: tuple[str, ...]
    handle: Handler
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    repeatable: frozenset[str] = frozenset()
    body: Body = Body.NONE
    answer: Body = Body.NONE
    choose: Callable[[AdminCall], str] | None = None
    own: Callable[[AdminCall, Office], bool] | None = None
    by_body: bool = False
    about: tuple[str, ...] = ()
    limit: int = SIZE_LIMIT


@dataclass(frozen=True)
class AdminCall:
    """One call whose signature was verified; `word` is what `{}` stood for, `body` is opened already."""

    route: Route
    request: S3Request
    asker: Asker
    word: str = ""
    body: bytes = b""

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self.asker.principal

    def one(self, name: str, default: str = "") -> str:
        """Return a parameter of the query."""
        return self.request.parameters.get(name, default)

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a parameter that may be given more than once."""
        return tuple(value for given, value in self.request.query if given == name)

    def flag(self, name: str) -> bool:
        """Return a parameter that is `true` or `false`. Raises XMinioAdminInvalidArgument."""
        return self.choice(name, ("false", "true")) == "true"

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        """Return a parameter that is one of these words, the first when it is absent. Raises XMinioAdminInvalidArgument."""
        given = self.one(name, words[0])
        if given not in words:
            raise XMinioAdminInvalidArgument(f"The parameter {name} must be one of: {', '.join(words)}.")
        return given

    def document(self, *members: str) -> Document:
        """Return the JSON object of the body, which may have these members only. Raises XMinioAdminConfigBadJSON."""
        return Document.read(self.body, members)

    async def must(self, action: str, *, own: bool = False) -> None:
        """Return if one more action is allowed. Raises AccessDenied."""
        await self.asker.must((action,), own=own)


Handler = Callable[[AdminCall, Office], Awaitable[Reply]]


@dataclass(frozen=True)
class Document:
    """A JSON object, read strictly: what is not as it should be is refused, never guessed. null is like absent."""

    members: Mapping[str, Any]

    @classmethod
    def read(cls, body: bytes, members: tuple[str, ...]) -> Document:
        """Return the object. Raises XMinioAdminConfigBadJSON."""
        try:
            found = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
            whole = is_text(json.dumps(found, ensure_ascii=False))
        except (ValueError, RecursionError) as error:
            raise XMinioAdminConfigBadJSON(reason=f"body: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise XMinioAdminConfigBadJSON("The body must be a JSON object.")
        if not whole:
            raise XMinioAdminConfigBadJSON("The body holds what is no Unicode text.")
        unknown = sorted(found.keys() - set(members))
        if unknown:
            raise XMinioAdminConfigBadJSON(
                f"The body has members that this call does not know: {', '.join(unknown)[:200]}."
            )
        return cls({name: value for name, value in found.items() if value is not None})

    def text(self, name: str, default: str = "") -> str:
        """Return a string."""
        return str(self._of(name, str, default))

    def flag(self, name: str) -> bool:
        """Return a boolean, false when it is absent."""
        return bool(self._of(name, bool, default=False))

    def texts(self, name: str, at_most: int = AT_ONCE) -> tuple[str, ...]:
        """Return a list of strings, each once; a single one may stand for a list of it, as MinioAdmin sends it."""
        value = self.members.get(name, [])
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise XMinioAdminConfigBadJSON(f"The member {name} must be a list of strings.")
        if len(found) > at_most:
            raise XMinioAdminInvalidArgument(f"The member {name} may name {at_most} at most.")
        return tuple(dict.fromkeys(found))

    def json_text(self, name: str) -> str | None:
        """Return an object as its JSON text, None when it is absent."""
        value = self.members.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise XMinioAdminConfigBadJSON(f"The member {name} must be an object.")
        return json.dumps(value, ensure_ascii=False)

    def moment(self, name: str) -> int | None:
        """Return a time (RFC 3339) in epoch seconds, 0 for MinIO's "never", None when it is absent."""
        text = self.text(name)
        return _epoch(name, text) if text else None

    def _of(self, name: str, kind: type[Any], default: Any) -> Any:
        value = self.members.get(name, default)
        if not isinstance(value, kind):
            raise XMinioAdminConfigBadJSON(f"The member {name} must be of type {kind.__name__}.")
        return value


def utc(seconds: int | None) -> str:
    """Return a time in epoch seconds as RFC 3339, MinIO's "never" for None and 0."""
    if not seconds:
        return NEVER
    return datetime.fromtimestamp(min(seconds, LATEST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch(name: str, text: str) -> int:
    if text.startswith(("0001-01-01T", "1970-01-01T00:00:00")):  # Go's zero time, and the epoch's
        return 0
    try:
        return int(datetime.fromisoformat(text if _RFC3339.fullmatch(text) else "").timestamp())
    except (ValueError, OverflowError):
        raise XMinioAdminInvalidArgument(f"{name} is no time in the form of RFC 3339.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a member that stands twice: nobody could say which was meant (RFC 8259 section 4)."""
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError("a member stands twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
