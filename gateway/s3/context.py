"""The facts of one request that a policy may ask about: condition keys for IAM policies, `conditions` for OPA.

Computed when asked. What is ours to say (who, when, from where, how signed, which claims, which tags) is looked up in
our own facts only; a client's header or parameter of such a name is left out of the document, in any case and whether
or not we have a value, so nobody can write it (trap 32). `document` has the shape that MinIO's Rego policies were
written for: headers in Go's canonical spelling and parameters as sent, both in one object of lists.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl

from iam.claims import texts_of, values_of
from iam.model import Principal, UnknownFact
from iam.principals import arn_of, is_federated

#: s3: keys that AWS documents; each is the header of that name, where the operation knows it.
_HEADER_KEYS = frozenset({
    "if-match", "if-none-match", "x-amz-acl", "x-amz-bucket-namespace", "x-amz-content-sha256", "x-amz-copy-source",
    "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write",
    "x-amz-grant-write-acp", "x-amz-metadata-directive", "x-amz-object-annotation-directive", "x-amz-object-if-match",
    "x-amz-object-ownership", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location",
})  # fmt: skip
_QUERY_KEYS = frozenset({"annotation-prefix", "delimiter", "max-annotation-results", "max-keys", "prefix"})
_LOCK_KEYS = {
    "object-lock-mode": "x-amz-object-lock-mode",
    "object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "object-lock-legal-hold": "x-amz-object-lock-legal-hold",
    "object-lock-event-hold": "x-amz-object-lock-event-hold",
}
_LOCK_NAMES = {
    "x-amz-object-lock-mode": "Object-Lock-Mode",
    "x-amz-object-lock-retain-until-date": "Object-Lock-Retain-Until-Date",
    "x-amz-object-lock-legal-hold": "Object-Lock-Legal-Hold",
}
#: s3:ObjectCreationOperation: whether a write makes the object, or only prepares it.
_CREATES = {
    "CompleteMultipartUpload": "true", "CopyObject": "true", "PutObject": "true",
    "CreateMultipartUpload": "false", "UploadPart": "false", "UploadPartCopy": "false",
}  # fmt: skip
_MASKED = frozenset({
    "authorization", "cookie", "proxy-authorization", "signature", "x-amz-credential", "x-amz-security-token",
    "x-amz-signature", "x-amz-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key",
})  # fmt: skip
#: Names in the document that only we write; the second half are the claims of MinIO's `jwt:` and `ldap:` keys.
_OURS = frozenset({
    "authtype", "currenttime", "epochtime", "existingobjecttag", "groups", "locationconstraint",
    "object-lock-event-hold", "object-lock-event-hold-duration-days", "object-lock-legal-hold", "object-lock-mode",
    "object-lock-remaining-retention-days", "object-lock-retain-until-date", "objectcreationoperation",
    "principaltype", "referer",
    "requestobjecttag", "requestobjecttagkeys", "securetransport", "signatureage", "signatureversion", "sourceip",
    "useragent", "userid", "username", "versionid", "x-amz-tagging",
    "address", "aud", "birthdate", "client_id", "email", "family_name", "gender", "given_name", "iss", "jti",
    "ldapuser", "ldapusername", "middle_name", "name", "nickname", "parent", "phone_number", "picture", "policy",
    "preferred_username", "profile", "scope", "sub", "upn", "user", "website",
})  # fmt: skip
_LDAP_CLAIMS = {"user": "ldapUser", "username": "ldapUsername"}
_OF_LDAP = frozenset(_LDAP_CLAIMS.values())
_OUR_FAMILIES = ("existingobjecttag/", "requestobjecttag/", "aws:", "s3:", "jwt:", "ldap:", "sts:", "svc:")
#: The user's wishes about the request: a claim of such a name must not speak in their place.
_WISHES = _QUERY_KEYS | _HEADER_KEYS | {"list-type", "marker", "requestobjecttagkeys", "start-after", "sessionpolicy"}
_NO_CLAIMS = (*_OUR_FAMILIES, "x-amz-", "object-lock-")


@lru_cache(maxsize=16)
def iso(now: int) -> str:
    """Return a time (epoch seconds) as aws:CurrentTime says it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


#: aws: keys of one value; the two that are about Amazon's own services are as they are for whoever calls himself.
_AWS: Mapping[str, Callable[[RequestContext], str]] = {
    "currenttime": lambda facts: iso(facts.now),
    "epochtime": lambda facts: str(facts.now),
    "federatedprovider": lambda facts: facts.principal.provider if is_federated(facts.principal) else "",
    "principalarn": lambda facts: arn_of(facts.principal),
    "principalisawsservice": lambda _: "false",
    "principaltype": lambda facts: facts.principal.type.value,
    "referer": lambda facts: facts.headers.get("referer", ""),
    "securetransport": lambda facts: "true" if facts.secure else "false",
    "sourceip": lambda facts: facts.source_ip,
    "tokenissuetime": lambda facts: "" if facts.principal.issued_at is None else iso(facts.principal.issued_at),
    "useragent": lambda facts: facts.headers.get("user-agent", ""),
    "userid": lambda facts: facts.principal.parent or facts.principal.access_key_id,
    "username": lambda facts: facts.principal.parent or facts.principal.access_key_id,
    "viaawsservice": lambda _: "false",
}

#: Tags of an object, in their order.
Tags = tuple[tuple[str, str], ...]


class RequestContext(NamedTuple):
    """An `iam.model.Context` over one request.

    `headers` have lower-case names, `query` is decoded; `now` is in epoch seconds, `signature_age_ms` in milliseconds
    (signed requests only); `version_id` and `location` are what the operation found, "" without; `raw_headers` sends
    credentials to the policy service unmasked.

    `known` are the headers that cross (None: all), since one that stays behind says nothing about the request; `told` is
    what the request's document says, under the header's name that says the same, or, where no header does, under the
    condition key in lower case: `aws:requesttag` (pairs, URL encoded). `existing_tags` are those of the object as it is, None
    while nobody has looked.
    """

    headers: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    principal: Principal
    source_ip: str
    secure: bool
    now: int
    signature_version: str = ""
    auth_type: str = ""
    signature_age_ms: int | None = None
    raw_headers: bool = False
    version_id: str = ""
    location: str = ""
    operation: str = ""
    known: frozenset[str] | None = None
    told: Mapping[str, str] = MappingProxyType({})
    existing_tags: Tags | None = None

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a condition key, None when the request has none. Raises UnknownFact."""
        service, _, name = key.partition(":")
        match service.lower():
            case "aws":
                return self._aws(name)
            case "s3":
                return self._s3(name)
            case "jwt":
                return values_of(self.principal.claims, name)
            case "ldap":
                return self._ldap(name.lower())
        return None

    def document(self) -> dict[str, list[str]]:
        """Return MinIO's `conditions`: headers and parameters as sent, then our own facts in place of their names."""
        ours = self._ours()
        taken = {name.lower() for name in ours}
        found: dict[str, list[str]] = {}
        for name, value in self._sent():
            lower = name.lower()
            if lower not in taken and lower not in _OURS and not lower.startswith(_OUR_FAMILIES):
                masked = lower in _MASKED and not self.raw_headers
                found.setdefault(name, []).append("***" if masked else value)
        return found | ours

    def masked(self) -> RequestContext:
        """Return the same facts without credentials and signatures, about which no condition asks."""
        headers = {name: "***" if name in _MASKED else value for name, value in self.headers.items()}
        query = tuple((name, "***" if name.lower() in _MASKED else value) for name, value in self.query)
        return self._replace(headers=headers, query=query)

    def _aws(self, name: str) -> tuple[str, ...] | None:
        lower = name.lower()
        fact = _AWS.get(lower)
        if fact is not None:
            return _one(fact(self))
        if lower == "groups":
            return self.principal.groups or None
        return self._session_tag(lower, name) if "tag" in lower else None

    def _session_tag(self, lower: str, name: str) -> tuple[str, ...] | None:
        """Tags of the session, and those that the request would give. Tags of sessions have no case but keep theirs (AWS STS)."""
        wanted = name.partition("/")[2]
        match lower.partition("/")[0]:
            case "principaltag":
                return values_of(self.principal.tags, wanted)
            case "requesttag":
                return values_of(dict(self._given_tags()), wanted)
            case "tagkeys":
                return tuple(tag for tag, _ in self._given_tags()) or None
        return None

    def _given_tags(self) -> list[tuple[str, str]]:
        if self.operation == "PutBucketTagging":  # its document crosses unread
            raise UnknownFact("aws:RequestTag")
        return parse_qsl(self.told.get("aws:requesttag", ""), keep_blank_values=True)

    def _user(self) -> str:
        """Return the identity behind the request: the parent of a session, else the access key."""
        return self.principal.parent or self.principal.access_key_id

    def _s3(self, name: str) -> tuple[str, ...] | None:
        lower = name.lower()
        if lower in _QUERY_KEYS:
            return tuple(value for sent, value in self.query if sent == lower) or None
        if lower in _HEADER_KEYS or lower in _LOCK_KEYS:
            value = self._header(_LOCK_KEYS.get(lower, lower))
            return None if value is None else (value,)
        return self._tag_facts(lower, name) if "tag" in lower else _one(self._own_s3().get(lower, _nothing)())

    def _header(self, name: str) -> str | None:
        """Return a header that crosses, or what the document says in its place."""
        if name in self.told:
            return self.told[name]
        crosses = self.known is None or name in self.known or name == "x-amz-content-sha256"
        return self.headers.get(name) if crosses else None

    def _tag_facts(self, lower: str, name: str) -> tuple[str, ...] | None:
        """Tags' names have a case, the key before them has none."""
        family, _, wanted = name.partition("/")
        match lower.partition("/")[0]:
            case "requestobjecttagkeys":
                return tuple(tag for tag, _ in self._tags()) or None
            case "requestobjecttag":
                return tuple(value for tag, value in self._tags() if tag == wanted) or None
            case "existingobjecttag" if self.existing_tags is None:
                raise UnknownFact(family)
            case "existingobjecttag":
                return tuple(value for tag, value in self.existing_tags or () if tag == wanted) or None
        return None

    def _own_s3(self) -> Mapping[str, Callable[[], str]]:
        return {
            "versionid": lambda: self.version_id,
            "signatureversion": lambda: self.signature_version,
            "authtype": lambda: self.auth_type,
            "signatureage": lambda: "" if self.signature_age_ms is None else str(self.signature_age_ms),
            "locationconstraint": lambda: self.location,
            "objectcreationoperation": lambda: _CREATES.get(self.operation, ""),
            "object-lock-remaining-retention-days": self._remaining_days,
            "object-lock-event-hold-duration-days": self._event_hold_days,
        }

    def _remaining_days(self) -> str:
        """Return the whole days until the retention ends; what is no date is given as it came, so no number matches."""
        until = self._header("x-amz-object-lock-retain-until-date") or ""
        try:
            moment = datetime.fromisoformat(until)
            return str(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - self.now) // 86400)
        except (ValueError, OverflowError):
            return until

    def _event_hold_days(self) -> str:
        years = self._header("x-amz-object-lock-event-hold-duration-years") or ""
        days = str(int(years) * 365) if years.isascii() and years.isdigit() and len(years) < 9 else years
        return self._header("x-amz-object-lock-event-hold-duration-days") or days

    def _tags(self) -> list[tuple[str, str]]:
        told = self._header("x-amz-tagging")
        return parse_qsl(told, keep_blank_values=True) if told else []

    def _ldap(self, name: str) -> tuple[str, ...] | None:
        """Look at claims that our own LDAP way in wrote: those of another provider may be called alike (trap 47)."""
        if not self._is_ldap():
            return None
        if name == "groups":
            return self.principal.groups or None
        return values_of(self.principal.claims, _LDAP_CLAIMS[name]) if name in _LDAP_CLAIMS else None

    def _is_ldap(self) -> bool:
        return self.principal.provider.partition(":")[0] == "ldap"

    def _sent(self) -> Iterator[tuple[str, str]]:
        # A header `Prefix` is no listing's prefix, but a policy that looks for either spelling would take it for one.
        skipped = _LOCK_NAMES.keys() | _QUERY_KEYS
        yield from ((_canonical(name), value) for name, value in self.headers.items() if name not in skipped)
        yield from self.query

    def _ours(self) -> dict[str, list[str]]:
        facts = self._facts() | self._object_facts()
        taken = {name.lower() for name in facts}
        claims = {
            name.removeprefix("ldap").lower() if name in _OF_LDAP else name: list(value)
            for name, given in self.principal.claims.items()
            if isinstance(given, str | list) and (value := texts_of(given))
            and (name not in _OF_LDAP or self._is_ldap())
        }  # fmt: skip
        return {name: value for name, value in claims.items() if _may_stand(name, taken)} | facts

    def _facts(self) -> dict[str, list[str]]:
        facts = {
            "CurrentTime": [iso(self.now)],
            "EpochTime": [str(self.now)],
            "Referer": [self.headers.get("referer", "")],
            "SecureTransport": [str(self.secure).lower()],
            "SourceIp": [self.source_ip],
            "UserAgent": [self.headers.get("user-agent", "")],
            "authType": [self.auth_type],
            "principaltype": [self.principal.type.value],
            "signatureversion": [self.signature_version],
            "userid": [self._user()],
            "username": [self._user()],
            "versionid": [self.version_id],
            "groups": list(self.principal.groups),
            "signatureAge": [] if self.signature_age_ms is None else [str(self.signature_age_ms)],
            "LocationConstraint": [self.location] if self.location else [],
        }
        return {name: values for name, values in facts.items() if values}

    def _object_facts(self) -> dict[str, list[str]]:
        lock = {name: self._header(header) for header, name in _LOCK_NAMES.items()}
        facts = {name: [value] for name, value in lock.items() if value is not None}
        tags = self._tags()
        for tag, value in tags:
            facts.setdefault(f"RequestObjectTag/{tag}", []).append(value)
        for tag, value in self.existing_tags or ():
            facts.setdefault(f"ExistingObjectTag/{tag}", []).append(value)
        return facts | ({"RequestObjectTagKeys": [tag for tag, _ in tags]} if tags else {})


def _may_stand(claim: str, taken: set[str]) -> bool:
    """Return whether a claim may stand in the document under its own name: not where a fact or a wish stands."""
    lower = claim.lower()
    return lower not in taken and lower not in _WISHES and not lower.startswith(_NO_CLAIMS)


def _nothing() -> str:
    return ""


def _one(value: str | None) -> tuple[str, ...] | None:
    return (value,) if value else None


def _canonical(name: str) -> str:
    """Spell a header as Go does, which is what MinIO's Rego policies were written for."""
    return _spelled_short(name) if len(name) <= _SHORT else _spelled(name)


def _spelled(name: str) -> str:
    return "-".join([part.capitalize() for part in name.split("-")])


_SHORT = 64  # letters of a header's name whose spelling is kept: clients invent longer ones
_spelled_short = lru_cache(maxsize=1024)(_spelled)
