"""The condition keys that a request here can have: what a policy may ask about. Pure.

A key that is not here is a problem when a policy is parsed: a condition on it would silently never hold, or always. What each
is, is said by `gateway.s3.context`; docs/policies.md lists them.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

KEYS = frozenset(
    [f"aws:{name}" for name in (
        "currenttime", "epochtime", "federatedprovider", "groups", "principalarn", "principalisawsservice",
        "principaltype", "referer", "securetransport", "sourceip", "tagkeys", "tokenissuetime", "useragent", "userid",
        "username", "viaawsservice",
    )]
    + [f"s3:{name}" for name in (
        "annotation-prefix", "authtype", "delimiter", "if-match", "if-none-match", "locationconstraint",
        "max-annotation-results", "max-keys", "object-lock-event-hold", "object-lock-event-hold-duration-days",
        "object-lock-legal-hold", "object-lock-mode", "object-lock-remaining-retention-days",
        "object-lock-retain-until-date", "objectcreationoperation", "prefix", "requestobjecttagkeys", "signatureage",
        "signatureversion", "versionid", "x-amz-acl", "x-amz-bucket-namespace", "x-amz-content-sha256",
        "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp",
        "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive", "x-amz-object-annotation-directive",
        "x-amz-object-if-match", "x-amz-object-ownership", "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-storage-class", "x-amz-website-redirect-location",
    )]
    + ["sts:durationseconds", "sts:externalid", "sts:rolesessionname"],
)  # fmt: skip
_EXISTING_TAG = "s3:existingobjecttag/"
FAMILIES = ("jwt:", "ldap:", "aws:principaltag/", "aws:requesttag/", "s3:requestobjecttag/", _EXISTING_TAG)


def is_known_key(key: str) -> bool:
    """Return whether a request can have this condition key (any case)."""
    lower = key.lower()
    return lower in KEYS or (lower.startswith(FAMILIES) and lower not in FAMILIES)


def names_existing_tags(text: str) -> bool:
    """Return whether a key is about the tags of the object as it is, or a text has a variable that is."""
    lower = text.lower()
    return lower.startswith(_EXISTING_TAG) or f"${{{_EXISTING_TAG}" in lower
