"""The documents of AWS's guides mean what the guides say they mean."""

import pytest

from tests.unit.iam.saying import allow, ask, deny, policy

# The documents of the AWS pages named beside them; keys of services that are not here are left out.
USER_FOLDERS = policy(  # IAM user guide, reference_policies_examples_s3_home-directory-console
    allow(["s3:ListAllMyBuckets", "s3:GetBucketLocation"], "*"),
    allow("s3:ListBucket", "arn:aws:s3:::bucket",
          Condition={"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/*"]}}),
    allow("s3:*", ["arn:aws:s3:::bucket/home/${aws:username}", "arn:aws:s3:::bucket/home/${aws:username}/*"]),
    Version="2012-10-17",
)  # fmt: skip
OWNER_CONTROL = policy(  # S3 user guide, example-policies-s3: uploads with full control for the bucket's owner
    allow("s3:PutObject", "arn:aws:s3:::bucket/*"),
    deny("s3:PutObject", "arn:aws:s3:::bucket/*",
         Condition={"StringNotEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}),
)  # fmt: skip
ENCRYPTED = policy(  # S3 user guide, UsingServerSideEncryption: uploads without encryption denied
    allow("s3:PutObject", "arn:aws:s3:::bucket/*"),
    deny("s3:PutObject", "arn:aws:s3:::bucket/*", Condition={"Null": {"s3:x-amz-server-side-encryption": "true"}}),
)
TLS_ONLY = policy(  # S3 user guide, example-bucket-policies: aws:SecureTransport
    allow(),
    deny(
        "s3:*", ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"], Condition={"Bool": {"aws:SecureTransport": "false"}}
    ),
)
OFFICE = policy(  # IAM user guide, reference_policies_examples_aws_deny-ip
    allow(), deny("*", "*", Condition={"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "203.0.113.0/24"]}})
)
SPRING = policy(  # IAM user guide, reference_policies_examples_aws-dates
    allow(Condition={"DateGreaterThan": {"aws:CurrentTime": "2020-04-01T00:00:00Z"},
                     "DateLessThan": {"aws:CurrentTime": "2020-06-30T23:59:59Z"}})
)  # fmt: skip
TEN_KEYS = policy(  # S3 user guide, amazon-s3-policy-keys: s3:max-keys
    allow("s3:ListBucket", "arn:aws:s3:::bucket", Condition={"NumericLessThanEquals": {"s3:max-keys": "10"}})
)
TAG_KEYS = policy(  # S3 user guide, tagging-and-policies: only these keys
    allow("s3:PutObjectTagging", "arn:aws:s3:::bucket/*",
          Condition={"ForAllValues:StringLike": {"s3:RequestObjectTagKeys": ["Owner", "CreationDate"]}})
)  # fmt: skip
ONE_BUCKET = policy(  # IAM user guide, reference_policies_examples_s3_deny-except-bucket
    allow("s3:*", ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]),
    {"Effect": "Deny", "NotAction": "s3:*", "NotResource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]},
)
TEAM = policy(  # IAM user guide, tutorial_attribute-based-access-control, with S3's keys
    allow(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::bucket/*",
          Condition={"StringEquals": {"s3:ExistingObjectTag/team": "${aws:PrincipalTag/team}"}}),
)  # fmt: skip
HOME_OR_SHARED = policy(  # IAM user guide, reference_policies_variables: a default value
    allow("s3:GetObject", "arn:aws:s3:::bucket/${aws:PrincipalTag/team, 'company-wide'}/*")
)
TODAYS_SESSIONS = policy(  # IAM user guide, id_roles_use_revoke-sessions: sessions older than a moment
    allow(), deny("*", "*", Condition={"DateLessThan": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}})
)
ONLY_ALICE = policy(  # IAM user guide, reference_policies_condition-keys: aws:PrincipalArn
    allow(), deny(Condition={"ArnNotLike": {"aws:PrincipalArn": ["arn:aws:iam:::user/alice", "arn:aws:iam:::root"]}})
)
ANY_GROUP = policy(  # single-vs-multi-valued-context-keys: ForAnyValue
    allow(Condition={"ForAnyValue:StringEquals": {"aws:groups": ["red", "blue"]}})
)
ALL_GROUPS = policy(  # single-vs-multi-valued-context-keys: ForAllValues, guarded by Null as the guide advises
    allow(Condition={"ForAllValues:StringEquals": {"aws:groups": ["red", "blue"]}, "Null": {"aws:groups": "false"}})
)
IF_EXISTS = policy(  # reference_policies_elements_condition_operators: ...IfExists
    allow("s3:*", "*", Condition={"StringLikeIfExists": {"s3:prefix": ["home/*"]}})
)
NUMBERS = policy(allow(Condition={"NumericEquals": {"s3:max-keys": ["10", "20"]}}))  # several values: any of them
TAGGED, TAGS_OF = "s3:existingobjecttag/team", "aws:principaltag/team"
GET, PUT, LIST, TAG = "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:PutObjectTagging"
ACL, SSE, MAX, KEYS = "s3:x-amz-acl", "s3:x-amz-server-side-encryption", "s3:max-keys", "s3:requestobjecttagkeys"


@pytest.mark.parametrize(
    ("document", "action", "key", "facts", "allowed"),
    [
        (USER_FOLDERS, "s3:ListAllMyBuckets", "", {}, True),
        (USER_FOLDERS, LIST, "", {"aws:username": "ann", "s3:prefix": "home/ann/x"}, True),
        (USER_FOLDERS, LIST, "", {"aws:username": "ann", "s3:prefix": ""}, True),
        (USER_FOLDERS, LIST, "", {"aws:username": "ann"}, False),
        (USER_FOLDERS, LIST, "", {"aws:username": "ann", "s3:prefix": "home/bob/"}, False),
        (USER_FOLDERS, PUT, "home/ann/x", {"aws:username": "ann"}, True),
        (USER_FOLDERS, PUT, "home/anna/x", {"aws:username": "ann"}, False),
        (USER_FOLDERS, PUT, "home/ann/x", {}, False),
        (OWNER_CONTROL, PUT, "k", {ACL: "bucket-owner-full-control"}, True),
        (OWNER_CONTROL, PUT, "k", {ACL: "public-read"}, False),
        (OWNER_CONTROL, PUT, "k", {}, False),
        (ENCRYPTED, PUT, "k", {SSE: "AES256"}, True),
        (ENCRYPTED, PUT, "k", {}, False),
        (TLS_ONLY, GET, "k", {"aws:securetransport": "true"}, True),
        (TLS_ONLY, GET, "k", {"aws:securetransport": "false"}, False),
        (OFFICE, GET, "k", {"aws:sourceip": "203.0.113.9"}, True),
        (OFFICE, GET, "k", {"aws:sourceip": "198.51.100.9"}, False),
        (OFFICE, GET, "k", {"aws:sourceip": "2001:db8::1"}, False),
        (SPRING, GET, "k", {"aws:currenttime": "2020-05-01T12:00:00Z"}, True),
        (SPRING, GET, "k", {"aws:currenttime": "2020-07-01T00:00:00Z"}, False),
        (TEN_KEYS, LIST, "", {MAX: "10"}, True),
        (TEN_KEYS, LIST, "", {MAX: "11"}, False),
        (TEN_KEYS, LIST, "", {}, False),
        (TAG_KEYS, TAG, "k", {KEYS: ("Owner",)}, True),
        (TAG_KEYS, TAG, "k", {KEYS: ("Owner", "Cost")}, False),
        (ONE_BUCKET, GET, "k", {}, True),
        (TEAM, GET, "k", {TAGGED: "red", TAGS_OF: "red"}, True),
        (TEAM, GET, "k", {TAGGED: "red", TAGS_OF: "blue"}, False),
        (TEAM, GET, "k", {TAGGED: "red"}, False),
        (TEAM, GET, "k", {TAGS_OF: "red"}, False),
        (TEAM, GET, "k", {}, False),
        (HOME_OR_SHARED, GET, "red/x", {TAGS_OF: "red"}, True),
        (HOME_OR_SHARED, GET, "company-wide/x", {TAGS_OF: "red"}, False),
        (HOME_OR_SHARED, GET, "company-wide/x", {}, True),
        (HOME_OR_SHARED, GET, "company-wide/x", {TAGS_OF: "*"}, False),
        (TODAYS_SESSIONS, GET, "k", {"aws:tokenissuetime": "2025-12-31T23:59:59Z"}, False),
        (TODAYS_SESSIONS, GET, "k", {"aws:tokenissuetime": "2026-01-01T00:00:01Z"}, True),
        (TODAYS_SESSIONS, GET, "k", {}, True),
        (ONLY_ALICE, GET, "k", {"aws:principalarn": "arn:aws:iam:::user/alice"}, True),
        (ONLY_ALICE, GET, "k", {"aws:principalarn": "arn:aws:iam:::user/alice2"}, False),
        (ONLY_ALICE, GET, "k", {}, False),
        (ANY_GROUP, GET, "k", {"aws:groups": ("green", "blue")}, True),
        (ANY_GROUP, GET, "k", {"aws:groups": ("green",)}, False),
        (ANY_GROUP, GET, "k", {}, False),
        (ALL_GROUPS, GET, "k", {"aws:groups": ("red", "blue")}, True),
        (ALL_GROUPS, GET, "k", {"aws:groups": ("red", "green")}, False),
        (ALL_GROUPS, GET, "k", {}, False),
        (IF_EXISTS, LIST, "", {"s3:prefix": "home/a"}, True),
        (IF_EXISTS, LIST, "", {"s3:prefix": "x"}, False),
        (IF_EXISTS, GET, "k", {}, True),
        (NUMBERS, LIST, "", {MAX: "20"}, True),
        (NUMBERS, LIST, "", {MAX: "30"}, False),
        (ONE_BUCKET, "admin:ServerInfo", "", {}, False),
    ],
)
def test_documents_of_awss_guides_mean_what_the_guides_say(document, action, key, facts, allowed):
    """The policies people copy from AWS give the decisions AWS describes."""
    bucket = "" if action in {"s3:ListAllMyBuckets", "admin:ServerInfo"} else "bucket"
    assert bool(ask(document, action=action, bucket=bucket, key=key, **facts)) is allowed
