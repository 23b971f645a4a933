"""The keys that a request can have."""

import pytest

from iam.condition_keys import FAMILIES, KEYS, is_known_key, names_existing_tags


def test_known_keys_ignore_case():
    """Condition keys have no case; a family needs a name; a key that no request here has is not known."""
    assert all(map(is_known_key, ["AWS:sourceip", "jwt:anything", "s3:ExistingObjectTag/a", "s3:VersionId"]))
    assert all(map(is_known_key, ["aws:PrincipalTag/a", "aws:RequestTag/b", "aws:TagKeys", "sts:RoleSessionName"]))
    assert not any(map(is_known_key, ["jwt:", "s3:ExistingObjectTag/", "aws:SourceVpc", "prefix", "s3:x-amz-other"]))
    assert not any(map(is_known_key, ["aws:PrincipalTag/", "aws:PrincipalTag", "aws:MultiFactorAuthPresent", "", ":"]))


def test_keys_are_written_in_lower_case():
    """They are compared so."""
    assert all(key == key.lower() for key in (*KEYS, *FAMILIES))


@pytest.mark.parametrize(
    "text", ["s3:ExistingObjectTag/a", "b/${s3:existingobjecttag/a}", "${s3:ExistingObjectTag/a, 'x'}"]
)
def test_existing_tags_are_seen(text):
    """As a key or within a text, whatever the case: the tags are fetched for whoever names them."""
    assert names_existing_tags(text)
    assert not names_existing_tags("s3:RequestObjectTag/a")
