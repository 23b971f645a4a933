"""The facts of an STS call that a policy may ask about: an `iam.model.Context` for sts: actions. Pure.

No call of STS has a key of S3's, and only whom LDAP proved has one of LDAP's: they are absent, as `gateway.s3.context` says of
the sessions that come of it. What is not looked up at all is unknown: it can neither hold nor be absent, so that a Deny that asks for
it denies.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html#awssecuritytokenservice-policy-keys
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from iam.claims import values_of
from iam.model import Principal, UnknownFact
from iam.principals import arn_of, is_federated
from sts.wire import StsCall


@dataclass(frozen=True, slots=True)
class Question:
    """The context of one call: `duration` is what the session would last (seconds), `now` in epoch seconds.

    `asked_tags` are those that the caller gives it.
    """

    principal: Principal
    call: StsCall
    duration: int
    now: int
    asked_tags: Mapping[str, str] = field(default_factory=dict)

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a condition key, None when the call has none. Raises UnknownFact."""
        service, _, name = key.partition(":")
        match service.lower():
            case "jwt":
                return values_of(self.principal.claims, name)
            case "ldap":
                return self._ldap(name.lower())
            case "s3":
                return None
        family, slash, tag = name.partition("/")
        if slash:
            return self._tag(f"{service}:{family}".lower(), tag)
        facts = self._facts()
        if key.lower() not in facts:
            raise UnknownFact(key)
        return facts[key.lower()] or None

    def document(self) -> dict[str, list[str]]:
        """Return MinIO's `conditions` for OPA: what is known, under the names without their service."""
        return {key.partition(":")[2]: list(values) for key, values in self._facts().items() if values}

    def _facts(self) -> dict[str, tuple[str, ...]]:
        who = self.principal.parent or self.principal.access_key_id
        session, external = (self.call.parameters.get(name, "") for name in ("RoleSessionName", "ExternalId"))
        facts = {
            "aws:sourceip": self.call.source_ip,
            "aws:securetransport": str(self.call.secure).lower(),
            "aws:principaltype": self.principal.type.value,
            "aws:principalarn": arn_of(self.principal),
            "aws:federatedprovider": self.principal.provider if is_federated(self.principal) else "",
            "aws:tokenissuetime": "" if self.principal.issued_at is None else _iso(self.principal.issued_at),
            "aws:useragent": self.call.user_agent,
            "aws:referer": self.call.referer,
            "aws:principalisawsservice": "false",
            "aws:viaawsservice": "false",
            "aws:userid": who,
            "aws:username": who,
            "aws:epochtime": str(self.now),
            "aws:currenttime": _iso(self.now),
            "sts:durationseconds": str(self.duration),
            "sts:rolesessionname": session,
            "sts:externalid": external,
        }
        lists = {"aws:groups": self.principal.groups, "aws:tagkeys": tuple(self.asked_tags)}
        return {key: (value,) if value else () for key, value in facts.items()} | lists

    def _ldap(self, name: str) -> tuple[str, ...] | None:
        """Look at claims that our own LDAP way in wrote: those of another provider may be called alike (trap 47)."""
        if self.principal.provider.partition(":")[0] != "ldap":
            return None
        if name == "groups":
            return self.principal.groups or None
        claim = {"user": "ldapUser", "username": "ldapUsername"}.get(name)
        return values_of(self.principal.claims, claim) if claim else None

    def _tag(self, family: str, tag: str) -> tuple[str, ...] | None:
        tags = {"aws:requesttag": self.asked_tags, "aws:principaltag": self.principal.tags}.get(family)
        if tags is None:
            raise UnknownFact(family)
        return values_of(tags, tag)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
