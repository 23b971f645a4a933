"""The parameters of every action, in one table: required, accepted, ignored, refused; any other is refused by its name. Pure.

What a client of AWS or MinIO sends out of habit and what cannot matter here is ignored; what its sender believes to narrow or
to secure something is refused, since silence would be a lie. docs/sts.md shows these tables.
https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from iam.policy import PolicyError, parse
from iam.records import REVOKE_TYPE
from sts.wire import InvalidParameterValue, MalformedPolicyDocument, MissingParameter, StsCall

MIN_DURATION, MAX_DURATION, DEFAULT_DURATION = 900, 31_536_000, 3600  # seconds
MAX_SESSION_TOKEN_DURATION, SESSION_TOKEN_DURATION = 129_600, 43_200  # AWS's, for GetSessionToken
MAX_POLICY = 2048  # characters of compact JSON
MAX_POLICY_ARNS, MAX_TAGS = 10, 50
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_MEMBER = re.compile(r"([A-Za-z]+)\.member\.([1-9][0-9]{0,2})(\.[A-Za-z]+)?")
_POLICY_ARN = re.compile(r"(?:arn:[a-z][a-z-]*:iam:[a-z0-9-]*:[a-z0-9]*:policy/)?([A-Za-z0-9_.@+=-]{1,128})")
_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_TAG_TEXT = re.compile(r"[\w \u00a0.:/=+\-@]*")
_ROLE_ARN = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,2048}")

_MFA = "there is no MFA here"
_UNVERIFIED = "nobody here vouches for it"
_SESSION = ("DurationSeconds", "Policy", "PolicyArns", "TokenRevokeType")
_ROLE = ("RoleArn", "RoleSessionName")
_FEW_BYTES = {"MinimumSessionTokenSize": "session tokens are as long as they must be"}
_NO_TAGS = {
    "Tags": "the tags of these sessions come from the identity provider",
    "TransitiveTagKeys": "the tags of these sessions come from the identity provider",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One action: names of parameters, lists without `.member.N`. `required` has the choices of each that must be there.

    `ignored` and `refused` say why. `longest` and `default` are seconds; None: as long as the proof lasts. `signed`: the call
    needs a signature.
    """

    name: str
    accepted: tuple[str, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    longest: int = MAX_DURATION
    default: int | None = DEFAULT_DURATION
    signed: bool = False


_TOKEN = (("Token", "WebIdentityToken"),)
_TOKEN_IGNORED = {
    "WebIdentityRefreshToken": "nothing is refreshed here",
    "ConfigName": "MinIO's own hint",
    **_FEW_BYTES,
}

ACTIONS: Mapping[str, Action] = MappingProxyType({action.name: action for action in (
    Action(
        "AssumeRole", (*_SESSION, *_ROLE, "Tags", "TransitiveTagKeys"), signed=True,
        ignored={"ExternalId": "no role here trusts third parties", **_FEW_BYTES},
        refused={"SerialNumber": _MFA, "TokenCode": _MFA, "SourceIdentity": _UNVERIFIED, "ProvidedContexts": _UNVERIFIED},
    ),
    Action(
        "AssumeRoleWithClientGrants", (*_SESSION, *_ROLE, "ProviderId", "WebIdentityAccessToken"), _TOKEN,
        ignored=_TOKEN_IGNORED, refused=_NO_TAGS, default=None,
    ),
    Action(
        "AssumeRoleWithWebIdentity", (*_SESSION, *_ROLE, "ProviderId", "WebIdentityAccessToken"), _TOKEN,
        ignored=_TOKEN_IGNORED, refused=_NO_TAGS, default=None,
    ),
    Action(
        "AssumeRoleWithLDAPIdentity", (*_SESSION, "RoleSessionName"), (("LDAPUsername",), ("LDAPPassword",)),
        ignored={"RoleArn": "rights come from the directory's names", "ConfigName": "there is one directory", **_FEW_BYTES},
        refused=_NO_TAGS,
    ),
    Action(
        "AssumeRoleWithCertificate", (*_SESSION, "RoleSessionName"),
        ignored={"RoleArn": "rights come from the certificate's name", **_FEW_BYTES}, refused=_NO_TAGS,
    ),
    Action(
        "AssumeRoleWithCustomToken", (*_SESSION, "RoleSessionName"), (("Token",), ("RoleArn",)),
        ignored=_FEW_BYTES, refused=_NO_TAGS, default=None,
    ),
    Action("GetCallerIdentity", signed=True),
    Action(
        "GetSessionToken", ("DurationSeconds", "TokenRevokeType"), signed=True,
        ignored=_FEW_BYTES, refused={"SerialNumber": _MFA, "TokenCode": _MFA},
        longest=MAX_SESSION_TOKEN_DURATION, default=SESSION_TOKEN_DURATION,
    ),
)})  # fmt: skip
#: Actions that look at a presented secret; their values never appear in a message.
_MEMBERS = {
    "PolicyArns": frozenset({".arn"}), "Tags": frozenset({".Key", ".Value"}), "TransitiveTagKeys": frozenset({""}),
    "ProvidedContexts": frozenset({".ProviderArn", ".ContextAssertion"}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call asks for, each part as it must be. `policy` is compact JSON; `policies` (parameter, policy's name)."""

    action: Action
    duration: int | None = None
    policy: str | None = None
    policies: tuple[tuple[str, str], ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    session_name: str = ""
    revoke_type: str = ""


def wanted(call: StsCall) -> Wanted:
    """Return what a call asks for. Raises StsError, naming the parameter at fault."""
    action = ACTIONS.get(call.action)
    if action is None:
        raise InvalidParameterValue(f"The action {call.action[:64]} is not supported.")
    _check_names(call, action)
    _check_required(call, action)
    tags = tags_of(_tag_members(call))
    return Wanted(
        action, _duration(call, action), _policy(call), _policies(call), tags, _transitive(call, tags),
        _matching(call, "RoleSessionName", _SESSION_NAME), _matching(call, "TokenRevokeType", REVOKE_TYPE),
    )  # fmt: skip


def _check_names(call: StsCall, action: Action) -> None:
    known = {
        "Action",
        "Version",
        *action.accepted,
        *action.ignored,
        *(name for names in action.required for name in names),
    }
    for given in call.parameters:
        name = _list_of(given)
        if name in action.refused:
            raise InvalidParameterValue(f"The parameter {name} is not supported: {action.refused[name]}.")
        if name not in known:
            raise InvalidParameterValue(f"The parameter {given[:64]} is unknown to {action.name}.")


def _list_of(given: str) -> str:
    """Return the parameter that a name is of: the list's for `PolicyArns.member.1.arn`, the name itself for any other."""
    match = _MEMBER.fullmatch(given)
    if match is None:
        # An empty list is sent as its bare name without a value; it is then looked at where lists are read.
        return given
    return match[1] if (match[3] or "") in _MEMBERS.get(match[1], ()) else given


def _check_required(call: StsCall, action: Action) -> None:
    for names in action.required:
        if not any(call.parameters.get(name) for name in names):
            raise MissingParameter(f"The parameter {' or '.join(names)} is missing.")
    if len(call.parameters.get("RoleArn", "")) and not _ROLE_ARN.fullmatch(call.parameters["RoleArn"]):
        raise InvalidParameterValue("RoleArn must be a text of 2048 characters at most.")


def _members(call: StsCall, name: str) -> dict[int, dict[str, str]]:
    """Return a list's members by their number: each a mapping of suffix to value."""
    if call.parameters.get(name):
        raise InvalidParameterValue(f"{name} is a list: give {name}.member.1 and so on.")
    found: dict[int, dict[str, str]] = {}
    for given, value in call.parameters.items():
        match = _MEMBER.fullmatch(given)
        if match is not None and match[1] == name:
            found.setdefault(int(match[2]), {})[match[3] or ""] = value
    return dict(sorted(found.items()))


def _duration(call: StsCall, action: Action) -> int | None:
    text = call.parameters.get("DurationSeconds", "")
    if not text:
        return action.default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and MIN_DURATION <= int(text) <= action.longest):
        raise InvalidParameterValue(f"DurationSeconds must be between {MIN_DURATION} and {action.longest}.")
    return int(text)


def _policy(call: StsCall) -> str | None:
    """Return the session policy as compact JSON: its length counts, since it travels in every request."""
    text = call.parameters.get("Policy", "")
    if not text:
        return None
    try:
        parse(text)
    except PolicyError as error:
        raise MalformedPolicyDocument("; ".join(error.problems)[:1000]) from None
    compact = json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    if len(compact) > MAX_POLICY:
        raise MalformedPolicyDocument(f"The policy is longer than {MAX_POLICY} characters.")
    if _NOT_TEXT.search(compact):
        raise MalformedPolicyDocument("The policy holds half a character.")
    return compact


def _policies(call: StsCall) -> tuple[tuple[str, str], ...]:
    """Return each policy of PolicyArns: the parameter that names it, and its name; `arn:…:policy/NAME`, or NAME alone."""
    members = _members(call, "PolicyArns")
    if len(members) > MAX_POLICY_ARNS:
        raise InvalidParameterValue(f"PolicyArns may have {MAX_POLICY_ARNS} members at most.")
    found = []
    for number, member in members.items():
        parameter = f"PolicyArns.member.{number}.arn"
        match = _POLICY_ARN.fullmatch(member[".arn"])
        if match is None:
            raise InvalidParameterValue(f"{parameter} is not the ARN of a policy.")
        found.append((parameter, match[1]))
    return tuple(found)


def _tag_members(call: StsCall) -> list[tuple[str, str]]:
    found = []
    for number, member in _members(call, "Tags").items():
        if member.keys() != {".Key", ".Value"}:
            raise InvalidParameterValue(f"Tags.member.{number} needs a Key and a Value.")
        found.append((member[".Key"], member[".Value"]))
    return found


def tags_of(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return session tags as AWS allows them (50; keys unlike in any case). Raises InvalidParameterValue.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_know
    """
    if len(pairs) > MAX_TAGS:
        raise InvalidParameterValue(f"A session may have {MAX_TAGS} tags at most.")
    found: dict[str, str] = {}
    for key, value in pairs:
        if not 0 < len(key) <= 128 or not _TAG_TEXT.fullmatch(key) or key.lower().startswith("aws:"):
            raise InvalidParameterValue(f"The tag key {key[:64]!r} is not one that a session may have.")
        if len(value) > 256 or not _TAG_TEXT.fullmatch(value):
            raise InvalidParameterValue(f"The value of the tag {key!r} is not one that a session may have.")
        found[key] = value
    if len({key.lower() for key in found}) < len(pairs):
        raise InvalidParameterValue("A tag key was given more than once.")
    return found


def _transitive(call: StsCall, tags: Mapping[str, str]) -> tuple[str, ...]:
    keys = tuple(member[""] for member in _members(call, "TransitiveTagKeys").values())
    for key in keys:
        if key not in tags:
            raise InvalidParameterValue(f"TransitiveTagKeys names {key[:64]!r}, which is none of the Tags.")
    return keys


def _matching(call: StsCall, name: str, pattern: re.Pattern[str]) -> str:
    text = call.parameters.get(name, "")
    if text and not pattern.fullmatch(text):
        raise InvalidParameterValue(f"{name} must match {pattern.pattern}.")
    return text
