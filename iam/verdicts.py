"""Why a decision is as it is: what `iam.evaluate.explain` tells, as data that renders into words and into JSON. Pure.

For the operator and the audit only: it holds the request's facts and the policies' words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iam.model import Decision


@dataclass(frozen=True, slots=True)
class Finding:
    """An element of a statement that did not hold, or of which nobody can know whether it holds.

    `element` is the member of the document (`Action`, `NotResource`, `Condition`), `listed` what the document lists there,
    `actual` what the request has (None: nothing). `operator` and `key` are a condition's.
    """

    element: str
    listed: tuple[str, ...]
    actual: tuple[str, ...] | None
    known: bool = True
    operator: str = ""
    key: str = ""

    @property
    def place(self) -> str:
        """Return where it stands in the statement: `Condition.StringLike.s3:prefix`."""
        return ".".join(part for part in (self.element, self.operator, self.key) if part)

    def words(self) -> str:
        """Say it in a sentence."""
        has = "nothing" if self.actual is None else ", ".join(map(repr, self.actual))
        listed = ", ".join(map(repr, self.listed))
        outcome = "does not hold" if self.known else "cannot be known (a value is missing or is not of its kind)"
        return f"{self.place} {outcome}: the request has {has}, the statement lists {listed}"

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        actual = None if self.actual is None else list(self.actual)
        return {"place": self.place, "known": self.known, "listed": list(self.listed), "actual": actual}


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of one policy: whether it applied, and what kept it from that, or was not known and did not."""

    policy: str
    statement: str
    allow: bool
    applied: bool
    findings: tuple[Finding, ...] = ()

    def words(self) -> str:
        """Say it in a line."""
        effect = "Allow" if self.allow else "Deny"
        why = "; ".join(finding.words() for finding in self.findings)
        return f"{self.policy}/{self.statement} ({effect}) {'applies' if self.applied else 'does not apply'}{why and ': '}{why}"

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "policy": self.policy,
            "statement": self.statement,
            "effect": "Allow" if self.allow else "Deny",
            "applied": self.applied,
            "findings": [finding.document() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and how every statement came to it, in the policies' order. True when it allows, as the decision."""

    decision: Decision
    steps: tuple[Step, ...]

    def __bool__(self) -> bool:
        return bool(self.decision)

    def words(self) -> str:
        """Say it in lines: the decision, then every statement."""
        answer = "allowed" if self.decision else "denied"
        return "\n".join([f"{answer}: {self.decision.reason}", *(f"- {step.words()}" for step in self.steps)])

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        steps = [step.document() for step in self.steps]
        return {"allowed": bool(self.decision), "reason": self.decision.reason, "statements": steps}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an authorizer decides, who in it decided, and what each part of it said. True when it allows, as the decision.

    `by`: `owner`, `session policy`, `policies`, `policy service`, or `default` for who is not even asked about. `missing` are
    policies that the principal names and that do not exist; `service` is a policy service's answer.
    """

    decision: Decision
    by: str
    session: Verdict | None = None
    policies: Verdict | None = None
    missing: tuple[str, ...] = ()
    service: Decision | None = None

    def __bool__(self) -> bool:
        return bool(self.decision)
