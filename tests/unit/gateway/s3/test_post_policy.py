"""post_policy: AWS's example verifies and allows its own form; every condition is enforced as a naive reader would."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AccessDenied, EntityTooLarge, EntityTooSmall, InvalidPolicyDocument
from gateway.s3.post_policy import parse
from gateway.signing.sigv4 import Scope, signing_key
from tests.unit.gateway.forms import policy_text

FAR = "2099-01-01T00:00:00Z"
# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html
AWS_POLICY = """{ "expiration": "2015-12-30T12:00:00.000Z",
  "conditions": [
    {"bucket": "sigv4examplebucket"},
    ["starts-with", "$key", "user/user1/"],
    {"acl": "public-read"},
    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},
    ["starts-with", "$Content-Type", "image/"],
    {"x-amz-meta-uuid": "14365123651274"},
    {"x-amz-server-side-encryption": "AES256"},
    ["starts-with", "$x-amz-meta-tag", ""],

    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    {"x-amz-date": "20151229T000000Z" }
  ]
}""".replace("\n", "\r\n")
AWS_SIGNATURE = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
AWS_FORM = {
    "bucket": "sigv4examplebucket", "key": "user/user1/me.jpg", "acl": "public-read",
    "success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html", "content-type": "image/jpeg",
    "x-amz-meta-uuid": "14365123651274", "x-amz-server-side-encryption": "AES256", "x-amz-meta-tag": "",
    "x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request", "x-amz-algorithm": "AWS4-HMAC-SHA256",
    "x-amz-date": "20151229T000000Z", "policy": "…", "x-amz-signature": AWS_SIGNATURE, "x-ignore-me": "anything",
}  # fmt: skip
THEN = int(datetime(2015, 12, 29, 1, tzinfo=UTC).timestamp())


def policy(*conditions, expiration: str = FAR):
    return parse(policy_text({"expiration": expiration, "conditions": list(conditions)}))


def denied(found, fields, now=0) -> str:
    with pytest.raises(AccessDenied) as error:
        found.judge(fields, now)
    return error.value.text


def test_aws_published_signature():
    """The policy of AWS's documentation has the signature that AWS publishes for it."""
    key = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Scope("20151229", "us-east-1", "s3"))
    assert key.sign(policy_text(AWS_POLICY)) == AWS_SIGNATURE


def test_aws_published_form():
    """AWS's policy allows AWS's form, until it expires."""
    found = parse(policy_text(AWS_POLICY))
    found.judge(AWS_FORM, THEN)
    noon = int(datetime(2015, 12, 30, 12, tzinfo=UTC).timestamp())
    found.judge(AWS_FORM, noon - 1)
    assert "expired" in denied(found, AWS_FORM, noon)


@pytest.mark.parametrize("change", [
    {"bucket": "other"}, {"key": "user/user2/me.jpg"}, {"key": "user/user1"}, {"acl": "private"}, {"content-type": "text/html"},
    {"x-amz-meta-uuid": ""}, {"x-amz-meta-tag": None}, {"content-type": None}, {"x-amz-date": None}, {"x-amz-meta-new": ""},
    {"x-amz-security-token": "t"}, {"name": "submit"}, {"x-amz-storage-class": "GLACIER"}, {"content-type": "image/png,text/html"},
])  # fmt: skip
def test_any_change_of_aws_form_is_refused(change):
    """A value that is not the one meant, a field that is missing and one that is too many are all AccessDenied."""
    fields = {name: value for name, value in (AWS_FORM | change).items() if value is not None}
    assert "Invalid according to Policy" in denied(parse(policy_text(AWS_POLICY)), fields, THEN)


@pytest.mark.parametrize("name", ["bucket", "key", "x-amz-date", "x-amz-security-token"])
def test_a_policy_must_name_every_field(name):
    """A policy that says nothing of the bucket, the key or the token allows no form that has one: every form has the first two."""
    fields = {
        "bucket": "b",
        "key": "k",
        "x-amz-date": "d",
        "x-amz-security-token": "t",
        "policy": "p",
        "x-amz-signature": "s",
    }
    conditions = {n: {n: fields[n]} for n in ("bucket", "key", "x-amz-date", "x-amz-security-token")}
    policy(*conditions.values()).judge(fields, 0)
    del conditions[name]
    assert denied(policy(*conditions.values()), fields) == f"Invalid according to Policy: Extra input fields: {name}"


NAMES = ["key", "acl", "content-type", "x-amz-meta-a", "bucket", "x-ignore-1", "policy"]
VALUES = st.sampled_from(["", "a", "ab", "abc", "b", "a,b", "a, ab", "A"])
CONDITIONS = st.lists(
    st.tuples(st.sampled_from(["simple", "eq", "starts-with"]), st.sampled_from(NAMES), VALUES), max_size=6
)


def naive(conditions, fields) -> bool:
    """Judge as AWS's page says it, word for word."""
    for kind, name, value in conditions:
        if name not in fields:
            return False
        given_value = fields[name]
        if kind == "starts-with" and name == "content-type":
            for item in given_value.split(","):
                if item.strip()[: len(value)] != value:
                    return False
        elif kind == "starts-with":
            if given_value[: len(value)] != value:
                return False
        elif given_value != value:
            return False
    covered = [name for _, name, _ in conditions]
    return all(
        name in covered or name in {"policy", "file", "x-amz-signature"} or name[:9] == "x-ignore-" for name in fields
    )


@given(CONDITIONS, st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5), st.randoms())
def test_conditions_against_a_naive_reader(conditions, fields, random):
    """For any conditions and fields the judgement is the naive one, whatever the case of the names in the policy."""

    def spelled(name):
        return "".join(random.choice([c, c.upper()]) for c in name)

    written = [
        {spelled(name): value} if kind == "simple" else [spelled(kind), "$" + spelled(name), value]
        for kind, name, value in conditions
    ]
    try:
        policy(*written).judge(fields, 0)
        allowed = True
    except AccessDenied:
        allowed = False
    assert allowed == naive(conditions, fields)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 120), st.booleans())
def test_sizes(least, more, size, as_text):
    """A file is in the range or it is too small or too large; both ends are in."""
    bounds = [least, least + more]
    found = policy(["content-length-range", *(map(str, bounds) if as_text else bounds)])
    if size < least:
        with pytest.raises(EntityTooSmall):
            found.judge_size(size)
    elif size > least + more:
        with pytest.raises(EntityTooLarge):
            found.judge_size(size)
    else:
        found.judge_size(size)


@pytest.mark.parametrize("document", [
    "", "[]", "{}", "null", "nonsense", '{"expiration": "2099-01-01T00:00:00Z"}', '{"conditions": []}', "[" * 12000,
    {"expiration": FAR, "conditions": [], "more": 1}, {"expiration": FAR, "conditions": {}}, {"Expiration": FAR, "conditions": []},
    {"expiration": 4070908800, "conditions": []}, {"expiration": "2099-01-01", "conditions": []}, {"expiration": "2099-13-01T00:00:00Z", "conditions": []},
    {"expiration": "2099-01-01T00:00:00+02:00", "conditions": []}, {"expiration": "0000-01-01T00:00:00Z", "conditions": []},
    '{"expiration": "2099-01-01T00:00:00Z", "expiration": "2000-01-01T00:00:00Z", "conditions": []}',
    '{"expiration": "2099-01-01T00:00:00Z", "conditions": [{"acl": "a", "acl": "b"}]}',
])  # fmt: skip
def test_strange_policies_are_refused(document):
    """A policy is an object of two members, each once, with an expiration in UTC."""
    with pytest.raises(InvalidPolicyDocument):
        parse(policy_text(document))


@pytest.mark.parametrize("condition", [
    {}, {"acl": "a", "key": "k"}, {"acl": 1}, {"acl": None}, {"acl": ["a"]}, {"": "a"}, [], ["eq"], ["eq", "$key"], ["eq", "key", "a"],
    ["eq", "$", "a"], ["eq", "$key", "a", "b"], ["ends-with", "$key", "a"], ["eq", "$key", 1], "eq", 1, None, True,
    ["content-length-range"], ["content-length-range", 1], ["content-length-range", 2, 1], ["content-length-range", -1, 1],
    ["content-length-range", 1.0, 2], ["content-length-range", "1e3", 2000], ["content-length-range", True, 1], ["content-length-range", 0, 10**16],
    ["content-length-range", "", ""], ["Content-Length-Range", 1, 2], ["content-length-range", 1, 2, 3],
])  # fmt: skip
def test_strange_conditions_are_refused(condition):
    """What is not understood is never taken for a condition that holds."""
    with pytest.raises(InvalidPolicyDocument):
        policy(condition)


@pytest.mark.parametrize("text", ["e30", "e30=\n", "e3 0=", "_-==", "gIA=", "", "é"])
def test_strange_base64_is_refused(text):
    """The policy is base64 without line ends, of UTF-8."""
    with pytest.raises(InvalidPolicyDocument):
        parse(text)


def test_a_policy_is_read_as_json_whatever_its_spelling():
    """White space and escapes mean nothing: the document is read once, by one reader."""
    document = json.dumps({"expiration": FAR, "conditions": [{"key": "ü"}]}, ensure_ascii=True, indent=3)
    parse(base64.b64encode(document.encode()).decode()).judge({"key": "ü"}, 0)
