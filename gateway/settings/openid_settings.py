"""The identity providers among the settings: one without a suffix, further ones whose variables end in `_NAME`. Pure.

MinIO's rules, with two of ours: what would let in tokens that are for others, or for anybody, is refused unless the operator
says so by name (trap 39); several providers may be claim based as long as their issuers differ.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from gateway.settings.table import Reader
from iam.records import is_policy_name
from sts.settings import OpenIdSettings

CONFIG_URL, JWKS_URL = "MINIO_IDENTITY_OPENID_CONFIG_URL", "MINIO_IDENTITY_OPENID_JWKS_URL"
CLIENT_ID, ROLE_POLICY = "MINIO_IDENTITY_OPENID_CLIENT_ID", "MINIO_IDENTITY_OPENID_ROLE_POLICY"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,63}")


def openids(reader: Reader) -> tuple[OpenIdSettings, ...]:
    """Return the providers, the one without a suffix first; what is wrong is noted with the reader."""
    suffixes = reader.suffixes()
    for suffix in suffixes:
        _check_name(reader, suffix, suffixes)
    many = bool(suffixes)
    read = [_provider(reader, "", many=many)]
    read += [_provider(reader.suffixed(suffix), suffix, many=True) for suffix in suffixes]
    found = tuple(one for one in read if one is not None)
    _differ(reader, found)
    return found


def _check_name(reader: Reader, suffix: str, others: Iterable[str]) -> None:
    name = suffix[1:]
    if not _NAME.fullmatch(name):
        reader.bad(CONFIG_URL + suffix, f"{name!r} names no provider", "use letters, digits and _, 64 at most")
    if any(suffix < other and suffix.lower() == other.lower() for other in others):
        reader.bad(CONFIG_URL + suffix, "is there in capitals and in small letters", "use one of them")


def _provider(reader: Reader, suffix: str, *, many: bool) -> OpenIdSettings | None:
    """Return one provider, None when it is switched off or there is none."""
    jwks, discovery = (reader.url(reader.source(name), reader.get(name)) for name in (JWKS_URL, CONFIG_URL))
    leeway = int(reader.number("MINIO_GW_OPENID_LEEWAY", 0, 300, whole=True))
    on = reader.switch("MINIO_IDENTITY_OPENID_ENABLE")
    if on and not jwks and not discovery and (suffix or reader.is_set("MINIO_IDENTITY_OPENID_ENABLE")):
        reader.bad(
            CONFIG_URL + suffix, "is missing: this provider's other settings are there", "set it, or remove them"
        )
    if not on or not (jwks or discovery):
        return None
    carried = reader.items("MINIO_GW_OPENID_CARRIED_CLAIMS")
    found = OpenIdSettings(
        jwks, discovery, reader.get(CLIENT_ID), reader.get("MINIO_IDENTITY_OPENID_CLAIM_NAME"),
        reader.get("MINIO_IDENTITY_OPENID_CLAIM_PREFIX"), reader.path("MINIO_GW_OPENID_CA"), leeway, suffix[1:].lower(),
        reader.get("MINIO_GW_OPENID_ISSUER"), reader.items("MINIO_GW_OPENID_AUDIENCES"),
        reader.items("MINIO_GW_OPENID_SUBJECTS"), reader.items("MINIO_GW_OPENID_TYP"), reader.items(ROLE_POLICY),
        reader.switch("MINIO_IDENTITY_OPENID_CLAIM_USERINFO"), carried or None,
    )  # fmt: skip
    _check_audience(reader, found, many=many)
    _check_role(reader, found)
    if many and not discovery and not found.issuer:
        reader.bad(
            reader.source("MINIO_GW_OPENID_ISSUER"),
            "is missing",
            "with several providers say whose tokens a key set is for",
        )
    if found.userinfo and not discovery:
        reader.bad(reader.source("MINIO_IDENTITY_OPENID_CLAIM_USERINFO"), "has no discovery document that names the endpoint",
                   "set CONFIG_URL")  # fmt: skip
    return found


def _check_audience(reader: Reader, found: OpenIdSettings, *, many: bool) -> None:
    """Refuse any audience, unless it was asked for by name, or all there is is the key set of 2018 (trap 39)."""
    anybody = reader.switch("MINIO_GW_OPENID_ANY_AUDIENCE")
    if anybody and found.accepted:
        reader.bad(
            reader.source("MINIO_GW_OPENID_ANY_AUDIENCE"), "is on though an audience is named", "take one of them away"
        )
    if found.accepted or anybody or not (found.config_url or many):
        return
    reader.bad(reader.source(CLIENT_ID), "is missing: tokens that are for others would be taken",
               "set it or MINIO_GW_OPENID_AUDIENCES; MINIO_GW_OPENID_ANY_AUDIENCE=on takes the risk")  # fmt: skip


def _check_role(reader: Reader, found: OpenIdSettings) -> None:
    """A role needs a client id, which names it, and subjects, to all of whom it gives the same."""
    if not found.role_policies:
        return
    setting = reader.source(ROLE_POLICY)
    if reader.is_set("MINIO_IDENTITY_OPENID_CLAIM_NAME"):
        reader.bad(setting, "and MINIO_IDENTITY_OPENID_CLAIM_NAME exclude each other", "take one of them away")
    if not found.client_id:
        reader.bad(setting, "needs the client id of the provider", f"set {CLIENT_ID}")
    if not found.subjects:
        reader.bad(reader.source("MINIO_GW_OPENID_SUBJECTS"), "is missing: the role would be anybody's",
                   "name the subjects that may take it; * is all of them")  # fmt: skip
    for name in found.role_policies:
        if not is_policy_name(name):
            reader.bad(setting, f"{name!r} is no name of a policy", "name policies, comma separated")


def _differ(reader: Reader, found: tuple[OpenIdSettings, ...]) -> None:
    """Nobody may have to guess which provider a token or a role is of."""
    by_claim = [one for one in found if not one.role_policies]
    _once(reader, "MINIO_GW_OPENID_ISSUER", [(one, one.issuer) for one in by_claim], "issuer")
    _once(reader, CONFIG_URL, [(one, one.config_url) for one in by_claim], "discovery document")
    _once(reader, CLIENT_ID, [(one, one.role_arn("")) for one in found], "role, which the client id names")


def _once(reader: Reader, setting: str, values: list[tuple[OpenIdSettings, str]], what: str) -> None:
    count = Counter(value for _, value in values if value)
    twice = [one for one, value in values if count[value] > 1]
    if twice:
        names = ", ".join(one.provider for one in twice)
        reader.bad(setting, f"{names} have the same {what}", "give each its own, or remove one")
