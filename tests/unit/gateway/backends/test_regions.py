"""regions: only a region is believed from an answer, never a host."""

from __future__ import annotations

import pytest

from gateway.backends.regions import KEPT, Regions, elsewhere, in_region, is_amazon
from gateway.stories.forward import Target

AWS = Target("s3.amazonaws.com", "us-east-1", secure=True, virtual_host=True)
STORE = Target("store.example:9000", "us-east-1", secure=False)


@pytest.mark.parametrize(
    ("authority", "there"),
    [
        ("s3.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
        ("s3.us-east-2.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
        ("s3-us-west-2.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
        ("s3.cn-north-1.amazonaws.com.cn", "s3.eu-west-1.amazonaws.com.cn"),
        ("store.example:9000", "store.example:9000"),
        ("s3.amazonaws.com.evil.example", "s3.amazonaws.com.evil.example"),
    ],
)
def test_a_region_has_its_own_host_at_amazon_only(authority, there):
    """Amazon's regions are hosts; elsewhere the region is a word in the signature."""
    found = in_region(Target(authority, "us-east-1", secure=True), "eu-west-1")
    assert (found.authority, found.region) == (there, "eu-west-1")
    assert is_amazon(Target(authority, "", secure=True)) == (authority != there)


@pytest.mark.parametrize(
    ("status", "region", "found"),
    [
        (301, "eu-west-1", "eu-west-1"),
        (307, "us-gov-west-1", "us-gov-west-1"),
        (400, "ap-southeast-2", "ap-southeast-2"),
        (400, "us-east-1", ""),
        (200, "eu-west-1", ""),
        (403, "eu-west-1", ""),
        (301, "evil.example", ""),
        (301, "eu-west-1.evil.example", ""),
        (301, "", ""),
    ],
)
def test_which_answers_send_elsewhere(status, region, found):
    """Only S3's wrong-region answers do, only to another region, and only to something that is one."""
    assert elsewhere(status, {"x-amz-bucket-region": region}, "us-east-1") == found


def test_what_was_learnt_is_kept_within_bounds():
    """A bucket's region is used from then on; many buckets push out the oldest."""
    regions = Regions(AWS)
    assert regions.target("b") == AWS
    regions.learn("b", "eu-west-1")
    assert regions.target("b").authority == "s3.eu-west-1.amazonaws.com"
    for i in range(KEPT):
        regions.learn(f"bucket{i}", "eu-west-1")
    assert not regions.knows("b")
    assert regions.knows("bucket0")
