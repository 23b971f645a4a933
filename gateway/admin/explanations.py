"""Why a request is allowed or refused, for the operator: as a document, and in words. Pure.

Clients are told AccessDenied and a request id, no more. Here a claim's value is shown only where it says who the caller is or a
policy depends on it; a secret, a token, a signature nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from gateway.printable import plain
from gateway.s3.context import RequestContext
from iam.condition_keys import KEYS
from iam.model import AccessRequest, Decision, Principal, UnknownFact
from iam.policy import Policy
from iam.records import attachment_name
from iam.verdicts import Explanation, Verdict
from iam.view import IamView
from sts.sessions import OUR_CLAIMS

MASKED = "***"
_ACTION = re.compile(r"(?:s3|admin|sts|kms):[A-Za-z0-9]{1,128}")
_ARN = "arn:aws:s3:::"
_CLAIM = re.compile(r"(?:jwt|ldap):([^\"'}\s]+)", re.IGNORECASE)
#: Claims that say who the caller is.
_IDENTIFYING = frozenset({"iss", "sub", "azp", "ldapUser", "ldapUsername", "roleArn"})
_QUERY = frozenset({"annotation-prefix", "delimiter", "max-annotation-results", "max-keys", "prefix"})
#: Keys that are about the caller or follow from the rest: nobody can say them.
_NOT_GIVEN = frozenset(
    {"object-lock-remaining-retention-days", "object-lock-event-hold-duration-days", "requestobjecttagkeys"}
)
_SHOWN_FACTS = (
    "aws:CurrentTime", "aws:SourceIp", "aws:SecureTransport", "aws:UserAgent", "aws:Referer", "aws:PrincipalArn",
    "aws:PrincipalType", "s3:authType", "s3:signatureversion", "s3:prefix", "s3:delimiter", "s3:max-keys", "s3:VersionId",
)  # fmt: skip


class BadQuestion(ValueError):
    """What is to be explained is no question that a request could be; the text says why."""


def resource_of(text: str) -> tuple[str, str]:
    """Return bucket and key of `bucket`, `bucket/key` or their ARN; both are "" where there is none."""
    bucket, _, key = text.removeprefix(_ARN).partition("/")
    return bucket, key


def question(
    principal: Principal, action: str, resource: str, given: Mapping[str, tuple[str, ...]], *, now: int
) -> AccessRequest:
    """Return the question that a signed request would be; `given` are condition keys that it shall have. Raises BadQuestion."""
    if not _ACTION.fullmatch(action):
        raise BadQuestion(f"{action[:64]!r} is no action: s3:, admin:, sts: or kms: and a name, without wildcards.")
    bucket, key = resource_of(resource)
    if key and not bucket:
        raise BadQuestion("The resource has a key and no bucket.")
    if action.startswith("s3:") and not bucket and resource:
        raise BadQuestion("The resource is bucket/key.")
    facts = RequestContext(
        {}, (), principal, "", secure=False, now=now, signature_version="AWS4-HMAC-SHA256", auth_type="REST-HEADER",
        operation=action.partition(":")[2], existing_tags=None if key else (),
    )  # fmt: skip
    for name, values in given.items():
        facts = _with_fact(facts, name, values)
    return AccessRequest(principal, action, bucket, key, facts)


def _with_fact(facts: RequestContext, name: str, values: tuple[str, ...]) -> RequestContext:
    """Return the facts of a request that has a condition key, by writing what a client would have sent. Raises BadQuestion."""
    service, _, key = name.partition(":")
    lower = key.lower()
    family, _, tag = key.partition("/")
    if not values:
        raise BadQuestion(f"{name[:64]} has no value.")
    make = _FACTS.get(f"{service.lower()}:{family.lower()}")
    if make is not None and (family.lower() in _TAGS) == bool(tag):
        return make(facts, tag, values)
    if service.lower() != "s3" or lower in _NOT_GIVEN or f"s3:{lower}" not in KEYS:
        raise BadQuestion(
            f"{name[:64]} is no fact of a request that can be given: it is the caller's, or nobody knows it."
        )
    if lower in _QUERY:
        return facts._replace(query=(*facts.query, *((lower, value) for value in values)))
    return _with_header(facts, f"x-amz-{lower}" if lower.startswith("object-lock-") else lower, values)


def _with_header(facts: RequestContext, name: str, values: tuple[str, ...]) -> RequestContext:
    return facts._replace(headers={**facts.headers, name: values[0]})


def _with_tags(facts: RequestContext, tag: str, values: tuple[str, ...]) -> RequestContext:
    sent = facts.headers.get("x-amz-tagging", "")
    return _with_header(facts, "x-amz-tagging", ("&".join(filter(None, (sent, urlencode({tag: values[0]})))),))


def _with_time(facts: RequestContext, _: str, values: tuple[str, ...]) -> RequestContext:
    try:
        moment = datetime.fromisoformat(values[0]) if "T" in values[0] else datetime.fromtimestamp(int(values[0]), UTC)
    except (ValueError, OverflowError, OSError):
        raise BadQuestion(f"{values[0][:64]!r} is no time.") from None
    return facts._replace(now=int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _with_age(facts: RequestContext, _: str, values: tuple[str, ...]) -> RequestContext:
    if not (values[0].isascii() and values[0].isdigit()):
        raise BadQuestion("s3:signatureAge is a number of milliseconds.")
    return facts._replace(signature_age_ms=int(values[0]))


_TAGS = frozenset({"requestobjecttag", "existingobjecttag"})
_Make = Callable[[RequestContext, str, tuple[str, ...]], RequestContext]
_FACTS: Mapping[str, _Make] = {
    "aws:currenttime": _with_time,
    "aws:epochtime": _with_time,
    "aws:sourceip": lambda facts, _, values: facts._replace(source_ip=values[0]),
    "aws:securetransport": lambda facts, _, values: facts._replace(secure=values[0].lower() == "true"),
    "aws:useragent": lambda facts, _, values: _with_header(facts, "user-agent", values),
    "aws:referer": lambda facts, _, values: _with_header(facts, "referer", values),
    "s3:versionid": lambda facts, _, values: facts._replace(version_id=values[0]),
    "s3:locationconstraint": lambda facts, _, values: facts._replace(location=values[0]),
    "s3:authtype": lambda facts, _, values: facts._replace(auth_type=values[0]),
    "s3:signatureversion": lambda facts, _, values: facts._replace(signature_version=values[0]),
    "s3:signatureage": _with_age,
    "s3:objectcreationoperation": lambda facts, _, values: facts._replace(
        operation="PutObject" if values[0].lower() == "true" else "CreateMultipartUpload"
    ),
    "s3:requestobjecttag": _with_tags,
    "s3:existingobjecttag": lambda facts, tag, values: facts._replace(
        existing_tags=(*(facts.existing_tags or ()), (tag, values[0]))
    ),
}


def document(asked: AccessRequest, found: Explanation, known: Mapping[str, Policy], view: IamView) -> dict[str, Any]:
    """Return the whole explanation; `known` are the policies by name, `view` says what is attached to whom."""
    return {
        "allowed": bool(found),
        "reason": found.decision.reason,
        "decidedBy": found.by,
        "request": {"action": asked.action, "bucket": asked.bucket, "key": asked.key, "resource": asked.resource,
                    "denyOnly": asked.deny_only, "facts": _facts(asked)},
        "caller": caller(asked.principal, known, view),
        "sessionPolicy": found.session.document() if found.session is not None else None,
        "policies": found.policies.document() if found.policies is not None else None,
        "missingPolicies": list(found.missing),
        "policyService": _decision(found.service),
    }  # fmt: skip


def unauthentic(access_key_id: str, reason: str) -> dict[str, Any]:
    """Return the explanation of a caller who is not let in at all."""
    return {
        "allowed": False, "reason": reason, "decidedBy": "authentication", "request": None,
        "caller": {"accessKey": access_key_id}, "sessionPolicy": None, "policies": None, "missingPolicies": [],
        "policyService": None,
    }  # fmt: skip


def caller(principal: Principal, known: Mapping[str, Policy], view: IamView) -> dict[str, Any]:
    """Return who a principal is: whose key, proved by whom, with which claims, groups and policies."""
    policies = [known[name] for name in principal.policies if name in known]
    texts = (*(policy.text for policy in policies), principal.session_policy or "")
    return {
        "accessKey": principal.access_key_id, "type": principal.type.value, "owner": principal.owner,
        "parent": principal.parent, "provider": principal.provider, "issuer": str(principal.claims.get("iss", "")),
        "claims": _claims(principal, texts), "groups": list(principal.groups), "tags": dict(principal.tags),
        "policies": [{"name": name, "exists": name in known, "from": _origins(principal, name, view)} for name in principal.policies],
        "hasSessionPolicy": principal.session_policy is not None,
    }  # fmt: skip


def _claims(principal: Principal, texts: Iterable[str]) -> dict[str, Any]:
    """Return the claims, with the values of those that identify, that a policy asks about, or that name the policies."""
    asked = {name.lower() for text in texts for name in _CLAIM.findall(text)}
    shown = {name for name in principal.claims if name in _IDENTIFYING or name.lower() in asked}
    return {
        name: value if name in shown or _names_policies(value, principal.policies) else MASKED
        for name, value in sorted(principal.claims.items())
        if name not in OUR_CLAIMS or name in _IDENTIFYING
    }


def _names_policies(value: Any, policies: tuple[str, ...]) -> bool:
    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    return any(isinstance(name, str) and name.strip() in policies for name in names)


def _origins(principal: Principal, policy: str, view: IamView) -> list[str]:
    """Return where a principal has a policy from."""
    holders = [(principal.parent or principal.access_key_id, False), *((group, True) for group in principal.groups)]
    found = []
    for name, group in holders:
        attachment = view.attachments.get(attachment_name(name, group=group))
        if attachment is not None and policy in attachment.policies:
            found.append(f"attached to the group {name}" if group else f"attached to {name}")
    return found or [f"given by the provider {principal.provider}" if principal.provider else "given by the settings"]


def _facts(asked: AccessRequest) -> dict[str, list[str]]:
    """Return the facts that policies mostly ask about, where the request has them."""
    found = {}
    for key in _SHOWN_FACTS:
        try:
            values = asked.context.values(key)
        except UnknownFact:
            continue
        if values:
            found[key] = list(values)
    return found


def _decision(decision: Decision | None) -> dict[str, Any] | None:
    return None if decision is None else {"allowed": bool(decision), "reason": decision.reason}


def words(told: Mapping[str, Any], found: Explanation | None = None) -> str:
    """Say an explanation in lines."""
    return "\n".join(plain(line) for line in _lines(told, found))


def _lines(told: Mapping[str, Any], found: Explanation | None) -> Iterator[str]:
    if told["request"] is not None:
        on = f" on {told['request']['resource']}" if told["request"]["bucket"] else ""
        yield f"{told['request']['action']}{on}"
    yield f"{'ALLOWED' if told['allowed'] else 'DENIED'} by {told['decidedBy']}: {told['reason']}"
    yield from _caller_lines(told["caller"])
    if found is None:
        return
    yield from _verdict_lines("session policy", found.session)
    yield from _verdict_lines("policies", found.policies)
    if found.missing:
        yield f"no such policy: {', '.join(found.missing)}"
    if found.service is not None:
        yield f"policy service: {'allowed' if found.service else 'denied'}: {found.service.reason}"


def _caller_lines(who: Mapping[str, Any]) -> Iterator[str]:
    yield f"caller: {who['accessKey'] or 'anonymous'}" + (f" ({who['type']})" if "type" in who else "")
    if "type" not in who:
        return
    if who["owner"]:
        yield "  is the root account, or acts for it"
    if who["parent"]:
        yield f"  acts for {who['parent']}" + (f", proved by {who['provider']}" if who["provider"] else "")
    yield from (f"  claim {name} = {value}" for name, value in who["claims"].items() if value != MASKED)
    hidden = [name for name, value in who["claims"].items() if value == MASKED]
    if hidden:
        yield f"  claims that nothing depends on: {', '.join(hidden)}"
    if who["groups"]:
        yield f"  groups: {', '.join(who['groups'])}"
    for policy in who["policies"]:
        yield f"  policy {policy['name']}, {' and '.join(policy['from'])}{'' if policy['exists'] else ' (does not exist)'}"


def _verdict_lines(title: str, verdict: Verdict | None) -> Iterator[str]:
    if verdict is not None:
        yield f"{title}: {'allowed' if verdict else 'denied'}: {verdict.decision.reason}"
        yield from (f"  - {step.words()}" for step in verdict.steps)
