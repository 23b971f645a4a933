"""What OPA (or any policy webhook) is asked, with MinIO's input document, and what its answer means. Everything but a clear yes is a no.

A yes is HTTP 200 with a JSON object whose `result` is exactly `true`, or an object whose `allow` is exactly `true`
(members beside them, such as OPA's `decision_id`, say nothing). An error, another status, `{}`, null, a string, HTML, a member
given twice: Deny, with the reason for the log (trap 31). A reason holds neither the answer's text nor the token.

Pure: how questions and answers travel is another's matter (iam/opa.py, gateway/turns/policy_service.py).
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NoReturn

from iam.model import AccessRequest, Allow, Decision, Deny

MAX_ANSWER = 65_536  # bytes
_SHORT = 256  # bytes of an answer whose meaning is kept


_NO = "policy service said no"


class NoAnswer(Exception):
    """The service answered something that is no answer; the text is ours, so it may be logged."""


class Tally:
    """How questions were answered since this process began: `yes`, `no`, or by nothing that decides; `seconds` spent on them."""

    def __init__(self) -> None:
        self.yes = self.no = self.undecided = 0
        self.seconds = 0.0

    def count(self, decision: Decision, seconds: float) -> None:
        """Count one question."""
        self.seconds += seconds
        if isinstance(decision, Allow):
            self.yes += 1
        elif decision.reason == _NO:
            self.no += 1
        else:
            self.undecided += 1


def opa_input(request: AccessRequest) -> dict[str, Any]:
    """Return MinIO's input document for one question."""
    principal = request.principal
    return {
        "account": principal.access_key_id,
        "groups": list(principal.groups) or None,
        "action": request.action,
        "bucket": request.bucket,
        "conditions": request.context.document(),
        "owner": principal.owner,
        "object": request.key,
        "claims": dict(principal.claims),
        "denyOnly": request.deny_only,
    }


def question_of(request: AccessRequest) -> bytes:
    """Return what is sent about a request. Raises ValueError for what JSON cannot say."""
    return question(opa_input(request))


def question(document: dict[str, Any]) -> bytes:
    """Return what is sent about an input document. Raises ValueError for what JSON cannot say."""
    return json.dumps({"input": document}, allow_nan=False, default=str).encode()


def answer(status: int, body: bytes) -> Any:
    """Return the JSON of an answer. Raises NoAnswer and ValueError when it has none."""
    if status != 200:
        raise NoAnswer(f"status {status}")
    return _DECODER.decode(body.decode())


def judged(status: int, body: bytes) -> Decision:
    """Return what an answer decides. Never raises."""
    try:
        return _read_short(status, body) if len(body) <= _SHORT else _read(status, body)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the answer is no
        return trouble(error)


def _read(status: int, body: bytes) -> Decision:
    return _verdict(answer(status, body))


def trouble(error: Exception) -> Deny:
    """Return the denial of a question that has no answer."""
    return Deny(f"policy service: {kind(error)}")


def kind(error: Exception) -> str:
    """Name an error without repeating what a header, a URL or an answer said."""
    if isinstance(error, NoAnswer):
        return str(error)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "answer is not JSON"
    return type(error).__name__


def _verdict(found: Any) -> Decision:
    result = found.get("result") if isinstance(found, dict) else None
    said = result.get("allow") if isinstance(result, dict) else result
    if said is True:
        return Allow("policy service")
    return Deny(_NO if said is False else "policy service's answer is no decision")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NoAnswer("a member is given twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise NoAnswer(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
#: Most answers are the same few bytes. What bytes mean is kept, not what was asked: each question is asked (trap 37). What raises is not kept.
_read_short = lru_cache(maxsize=64)(_read)
