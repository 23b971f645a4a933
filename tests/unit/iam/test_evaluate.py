"""Decisions: deny first, default deny, resources as AWS matches them, hostile variables."""

import dataclasses
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.context import RequestContext
from iam.authorize import AllOf, IamPolicies
from iam.conditions import _TESTS
from iam.evaluate import asks_existing_tags, decide, explain
from iam.model import AccessRequest, Principal, PrincipalType, UnknownFact
from iam.policy import CANNED, PolicyError, parse

ALICE = Principal(PrincipalType.USER, "alice")


class Facts:
    """A context with the given values, keys in lower case."""

    def __init__(self, **facts):
        self._facts = {name.replace("__", ":"): value for name, value in facts.items()}

    def values(self, key):
        value = self._facts.get(key.lower())
        return (value,) if isinstance(value, str) else value

    def document(self):
        return {}


def policy(*statements, **document):
    """Return a parsed policy of the statements."""
    return parse(json.dumps({"Statement": list(statements), **document}))


def allow(action="s3:*", resource="*", **members):
    """Return an Allow statement."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **members}


def deny(action="s3:*", resource="*", **members):
    """Return a Deny statement."""
    return allow(action, resource, **members) | {"Effect": "Deny"}


def ask(*policies, action="s3:GetObject", bucket="b", key="k", **facts):
    """Return the decision on one question."""
    return decide(policies, AccessRequest(ALICE, action, bucket, key, Facts(**facts)))


def test_nothing_said_is_a_denial():
    """Without a policy, or with one about other things, the answer is no."""
    assert not ask()
    assert not ask(policy(allow("s3:PutObject")))


@pytest.mark.parametrize("order", [1, -1])
def test_trap_30_explicit_deny_wins(order):
    """A Deny in any policy, in any place, beats every Allow."""
    policies = [policy(allow()), policy(allow(), deny("s3:Get*", "arn:aws:s3:::b/secret*")), CANNED["consoleAdmin"]]
    assert not ask(*policies[::order], key="secret/1")
    assert ask(*policies[::order], key="public/1")
    assert not ask(policy(*[deny("s3:Get*"), allow()][::order]))


def test_the_reason_names_policy_and_statement():
    """An operator reads from the reason which words decided."""
    spoken = policy(allow(Sid="Read"), deny("s3:Delete*"), Id="home")
    assert ask(spoken).reason == "home/Read allows s3:GetObject"
    assert ask(spoken, action="s3:DeleteObject").reason == "home/statement 1 denies s3:DeleteObject on arn:aws:s3:::b/k"


def test_actions_ignore_case_and_resources_do_not():
    """AWS compares actions without case and ARNs with it."""
    assert ask(policy(allow("S3:gETo*")))
    assert not ask(policy(allow(resource="arn:aws:s3:::B/*")))


@pytest.mark.parametrize(
    ("resource", "bucket", "key", "matches"),
    [
        ("arn:aws:s3:::b/*", "b", "k", True),
        ("arn:aws:s3:::b/*", "b", "", False),
        ("arn:aws:s3:::b", "b", "", True),
        ("arn:aws:s3:::b", "b", "k", False),
        ("arn:aws:s3:::b*", "bb", "x/y", True),
        ("arn:aws:s3:::b/?", "b", "kk", False),
        ("arn:aws:s3:::b/a*c*e", "b", "abcce", True),
        ("arn:aws:s3:::b/a*c*e", "b", "abcee!", False),
        ("arn:aws:s3:::b/a.c", "b", "abc", False),
        ("arn:aws:s3:::b/*", "b", "line\nbreak", True),
        ("arn:aws:s3:::b/x", "b", "x\n", False),
        ("arn:aws:s3:::*", "", "", True),
        ("*", "", "", True),
        ("arn:aws:s3:::b", "", "", False),
    ],
)
def test_resources_match_as_on_aws(resource, bucket, key, matches):
    """The whole ARN must match; `bucket/*` is about objects only; an empty bucket needs a pattern for all."""
    assert bool(ask(policy(allow(resource=resource)), bucket=bucket, key=key)) is matches


def test_not_action_and_not_resource_mean_all_others():
    """NotAction and NotResource cover exactly what they do not name."""
    others = policy({"Effect": "Allow", "NotAction": "s3:Delete*", "NotResource": "arn:aws:s3:::secret/*"})
    assert ask(others)
    assert not ask(others, action="s3:DeleteObject")
    assert not ask(others, bucket="secret")


def test_admin_actions_need_no_resource_but_must_be_named():
    """`admin:*` is granted by its name or by `*` on all; `*` on one bucket is not administration."""
    question = {"action": "admin:ServerInfo", "bucket": "", "key": ""}
    assert ask(policy({"Effect": "Allow", "Action": "admin:*"}), **question)
    assert ask(policy(allow(["s3:*", "admin:*"], "arn:aws:s3:::b/*")), **question)
    assert ask(policy(allow("*")), **question)
    assert not ask(policy(allow("*", "arn:aws:s3:::b/*")), **question)
    assert not ask(policy(allow("*"), {"Effect": "Deny", "Action": "admin:Server*"}), **question)
    assert not ask(CANNED["readwrite"], **question)
    assert ask(CANNED["diagnostics"], **question)


HOME = policy(allow(resource="arn:aws:s3:::home/${jwt:sub}/*"))
FENCE = policy(allow(), deny(resource="arn:aws:s3:::home/${jwt:sub}/*"))


def test_variables_stand_for_the_value():
    """A user's own folder is reachable, the neighbour's is not."""
    assert ask(HOME, bucket="home", key="ann/x", jwt__sub="ann")
    assert not ask(HOME, bucket="home", key="bob/x", jwt__sub="ann")
    assert ask(FENCE, bucket="home", key="bob/x", jwt__sub="ann")


@pytest.mark.parametrize(
    "claim", [None, "", "*", "b?b", "../", "..", ".", "{other}", "${jwt:name}", "bob/x", ("bob", "x")]
)
def test_trap_58_hostile_claims_do_not_widen(claim):
    """An absent, empty, wildcard, path-like, nested or many-valued claim opens no other user's folder."""
    facts = {"jwt__sub": claim, "jwt__name": "bob"}
    assert not ask(HOME, bucket="home", key="bob/x", **facts)
    like = policy(allow(Condition={"StringLike": {"s3:prefix": "${jwt:sub}/*"}}))
    assert not ask(like, s3__prefix="bob/x", **facts)


@pytest.mark.parametrize("claim", [None, "", "*", "b?b", "../", "a/b", ("bob", "x"), "a\x00"])
def test_trap_58_a_deny_that_cannot_be_known_denies(claim):
    """A Deny whose variable has no usable value applies: losing it would be an Allow."""
    assert not ask(FENCE, bucket="home", key="bob/x", jwt__sub=claim)
    unless = policy(allow(), {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::home/${jwt:sub}/*"})
    assert not ask(unless, bucket="home", key="bob/x", jwt__sub=claim)


def test_trap_58_wildcards_in_values_are_no_values():
    """A claim of `*` opens nothing, not even an object called `*`, and no Deny is escaped by it."""
    like = policy(allow(Condition={"StringLike": {"s3:prefix": "${jwt:sub}/*"}}))
    for claim in ("*", "b?b", "bo*"):
        assert not ask(HOME, bucket="home", key=f"{claim}/x", jwt__sub=claim)
        assert not ask(like, s3__prefix=f"{claim}/x", jwt__sub=claim)
        assert not ask(FENCE, bucket="home", key="bob/x", jwt__sub=claim)


def test_escapes_stand_for_the_characters_themselves():
    """`${*}`, `${?}` and `${$}` match a star, a question mark and a dollar, nothing else."""
    escaped = policy(allow(resource="arn:aws:s3:::b/${*}${?}${$}"))
    assert ask(escaped, key="*?$")
    assert not ask(escaped, key="abc")


def test_a_statement_needs_all_its_conditions():
    """Conditions are joined by and."""
    both = {"StringEquals": {"s3:prefix": "a"}, "Bool": {"aws:SecureTransport": True}}
    guarded = policy(allow(Condition=both))
    assert ask(guarded, s3__prefix="a", aws__securetransport="true")
    assert not ask(guarded, s3__prefix="a", aws__securetransport="false")
    assert not ask(guarded, aws__securetransport="true")


def test_a_condition_that_cannot_be_known_denies_both_ways():
    """A number that is none neither opens an Allow nor escapes a Deny."""
    limit = {"Condition": {"NumericGreaterThan": {"s3:max-keys": "10"}}}
    assert not ask(policy(allow(**limit)), s3__max_keys="x", **{"s3__max-keys": "nan"})
    assert not ask(policy(allow(), deny(**limit)), **{"s3__max-keys": "nan"})
    assert ask(policy(allow(), deny(**limit)), **{"s3__max-keys": "9"})


def test_many_stars_cost_no_exponential_time():
    """A hostile pattern from a session policy cannot stop the gateway: this would not end with backtracking."""
    hostile = policy(allow(resource="arn:aws:s3:::b/" + "*a" * 200 + "*b"))
    assert not ask(hostile, key="a" * 1023)
    assert ask(hostile, key="a" * 1022 + "b")


def test_everything_in_s3_is_not_administration():
    """`*`, or all but some actions, on S3's resources opens no admin: or sts: action; a Deny so written closes them."""
    question = {"action": "admin:ServerInfo", "bucket": "", "key": ""}
    everywhere = "arn:aws:s3:::*"
    assert not ask(policy(allow("*", everywhere)), **question)
    assert not ask(policy({"Effect": "Allow", "NotAction": "s3:DeleteBucket", "Resource": everywhere}), **question)
    assert not ask(policy({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b"}), **question)
    assert ask(policy({"Effect": "Allow", "NotAction": "s3:DeleteBucket", "Resource": "*"}), **question)
    assert not ask(CANNED["consoleAdmin"], policy(deny("*", everywhere)), **question)
    assert not ask(CANNED["consoleAdmin"], policy(deny(["admin:*"], "arn:aws:s3:::b/*")), **question)


def written(*statements):
    """Return a parsed policy that remembers its statements as they were written."""
    parsed = policy(*statements)
    parsed.about["(written)"] = statements
    return parsed


STATEMENTS = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"])},
    optional={"Condition": st.sampled_from([
        {"StringLike": {"s3:prefix": "${jwt:sub}/*"}}, {"Bool": {"aws:SecureTransport": "true"}},
        {"NumericLessThan": {"s3:max-keys": "10"}}, {"ForAllValues:StringEquals": {"jwt:groups": ["a", "b"]}},
        {"StringNotEqualsIfExists": {"jwt:sub": "ann"}}, {"Null": {"s3:prefix": "true"}},
    ])},
).flatmap(lambda members: st.tuples(
    st.sampled_from(["Action", "NotAction"]),
    st.sampled_from(["s3:*", "s3:Get*", "s3:ListBucket", "*", ["admin:*", "s3:Put*"]]),
    st.sampled_from(["Resource", "NotResource"]),
    st.sampled_from(["*", "arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::*/${jwt:sub}/*", "arn:aws:s3:::?/a*"]),
).map(lambda drawn: members | {drawn[0]: drawn[1], drawn[2]: drawn[3]}))  # fmt: skip
POLICIES = st.lists(st.lists(STATEMENTS, min_size=1, max_size=3).map(lambda s: written(*s)), max_size=3)
QUESTIONS = st.builds(
    lambda action, bucket, key, facts: AccessRequest(ALICE, action, bucket, key, Facts(**facts)),
    st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:ListBucket", "admin:ServerInfo"]),
    st.sampled_from(["", "b", "c"]),
    st.sampled_from(["", "k", "ann/k", "a*"]),
    st.fixed_dictionaries({}, optional={
        "jwt__sub": st.sampled_from(["ann", "", "*", "../", "a/b"]),
        "s3__prefix": st.sampled_from(["", "ann/x", "*/x"]),
        "aws__securetransport": st.sampled_from(["true", "false", "?"]),
        "s3__max-keys": st.sampled_from(["5", "x"]),
        "jwt__groups": st.sampled_from([("a",), ("a", "c")]),
    }),
)  # fmt: skip


@given(POLICIES, STATEMENTS, QUESTIONS)
def test_trap_30_one_more_deny_never_widens(policies, statement, question):
    """Whatever else is said, adding a Deny only takes away; and where it applies nothing is left."""
    before = decide(policies, question)
    fence = policy(statement | {"Effect": "Deny"})
    assert bool(decide([*policies, fence], question)) <= bool(before)
    assert bool(decide([fence, *policies], question)) is bool(decide([*policies, fence], question))


@given(POLICIES, STATEMENTS, QUESTIONS)
def test_a_statement_is_never_surer_to_allow_than_to_deny(policies, statement, question):
    """What lets a statement allow would also let it deny: nothing unknown opens, and no Deny is lost."""
    allows, denies = policy(statement | {"Effect": "Allow"}), policy(statement | {"Effect": "Deny"})
    assert not decide([*policies, allows, denies], question) or not decide([allows], question)


@given(POLICIES, STATEMENTS, QUESTIONS)
def test_one_more_allow_never_narrows(policies, statement, question):
    """Whatever else is said, adding an Allow only gives."""
    gift = policy(statement | {"Effect": "Allow"})
    before = decide(policies, question)
    assert bool(before) <= bool(decide([*policies, gift], question))
    assert bool(decide([gift, *policies], question)) is bool(decide([*policies, gift], question))


@given(POLICIES, POLICIES, QUESTIONS)
def test_trap_29_a_session_is_what_both_allow(parent, session, question):
    """Under a session policy exactly that is allowed which the parent's policies and the session's both allow."""
    named = {f"p{number}": one for number, one in enumerate(parent)}
    document = {"Statement": [s for one in session for s in one.about["(written)"]] or [deny()]}
    principal = dataclasses.replace(ALICE, policies=tuple(named), session_policy=json.dumps(document))
    narrowed = question._replace(principal=principal)
    answer = bool(AllOf(IamPolicies(lambda: named)).decide_now(narrowed))
    assert answer is bool(decide(parent, narrowed) and decide([parse(json.dumps(document))], narrowed))
    assert answer <= bool(decide(parent, question))


@given(POLICIES, QUESTIONS)
def test_an_explanation_agrees_with_the_decision(policies, question):
    """What is told of the statements is what was decided, to the letter of the reason, and each denial has a finding."""
    verdict = explain(policies, question)
    assert verdict.decision == decide(policies, question)
    assert bool(verdict) is bool(verdict.decision)
    assert json.loads(json.dumps(verdict.document()))["allowed"] is bool(verdict)
    assert len(verdict.steps) == sum(len(one.statements) for one in policies)
    assert all(step.applied or step.findings for step in verdict.steps)
    assert all(not step.findings for step in verdict.steps if step.allow and step.applied)
    assert verdict.words()


ACTIONS = st.lists(st.sampled_from(["s3:*", "s3:Get*", "s3:PutObject", "s3:L?st*", "*"]), min_size=1, max_size=3)
RESOURCES = st.lists(
    st.sampled_from(["*", "arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::?/a*", "arn:aws:s3:::c/k"]), min_size=1, max_size=3
)


@given(ACTIONS, RESOURCES, st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:ListBucket"]), st.sampled_from(["b", "c"]),
       st.sampled_from(["", "k", "a"]))  # fmt: skip
def test_not_action_and_not_resource_are_complements(actions, resources, action, bucket, key):
    """Of a statement and the same with Not, exactly one is about an action, and exactly one about a resource."""
    question = {"action": action, "bucket": bucket, "key": key}
    one, other = allow(actions), {"Effect": "Allow", "NotAction": actions, "Resource": "*"}
    assert bool(ask(policy(one), **question)) is not bool(ask(policy(other), **question))
    one, other = allow("s3:*", resources), {"Effect": "Allow", "Action": "s3:*", "NotResource": resources}
    assert bool(ask(policy(one), **question)) is not bool(ask(policy(other), **question))


ANY = st.text(max_size=6) | st.sampled_from(["*", "${jwt:sub}", "::1", "1", "true", "2026-01-01", "arn:aws:s3:::b", "${x}"])
ANY_CONDITIONS = st.dictionaries(
    st.builds(
        "{}{}{}".format, st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]), st.sampled_from([*sorted(_TESTS), "Null"]),
        st.sampled_from(["", "IfExists"]),
    ),
    st.dictionaries(st.sampled_from(["jwt:sub", "s3:prefix", "aws:sourceip", "jwt:${jwt:sub}"]), ANY | st.lists(ANY), max_size=2),
    max_size=3,
)  # fmt: skip


@given(st.lists(st.tuples(ANY_CONDITIONS, ANY, st.sampled_from(["Allow", "Deny"])), min_size=1, max_size=3), st.booleans(), ANY, ANY,
       st.dictionaries(st.sampled_from(["jwt:sub", "s3:prefix", "aws:sourceip"]), ANY | st.lists(ANY).map(tuple)))  # fmt: skip
def test_no_parsable_document_raises_for_any_request(drawn, principals, bucket, key, facts):
    """Whatever parses can be judged, explained and asked for tags, whatever the request says."""
    who = {"Principal": "*"} if principals else {}
    written = [
        {"Effect": effect, "Action": "s3:*", "Resource": f"arn:aws:s3:::{text}x", "Condition": condition, **who}
        for condition, text, effect in drawn
    ]
    try:
        document = parse(json.dumps({"Statement": written}), principals=principals)
    except PolicyError:
        return
    question = AccessRequest(ALICE, "s3:GetObject", bucket, key, Facts(**facts))
    assert explain([document], question).decision == decide([document], question)
    assert asks_existing_tags([document], question) is False


@given(POLICIES, QUESTIONS, st.sampled_from(["*", "b?b", "../", "..", "a/b", "\x00", ("ann", "bob")]))
def test_trap_58_a_hostile_claim_only_narrows(policies, question, hostile):
    """Whatever the policies: who has a bad value where others have none is allowed nothing that they are not."""
    facts = {name: value for name, value in question.context._facts.items() if name != "jwt:sub"}
    plain = [one for one in policies if not any(c.key == "jwt:sub" for s in one.statements for c in s.conditions)]
    without = question._replace(context=Facts(**facts))
    assert bool(decide(plain, question._replace(context=Facts(**facts, jwt__sub=hostile)))) is bool(decide(plain, without))


@given(POLICIES, QUESTIONS)
def test_without_an_allow_nothing_is_allowed(policies, question):
    """Deny statements alone, however they are negated, add up to no Allow."""
    denials = [p for p in policies if not any(statement.allow for statement in p.statements)]
    assert not decide(denials, question)


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


class Unread:
    """A context that knows nothing of the tags of the object as it is."""

    def values(self, key):
        if key.lower().startswith("s3:existingobjecttag/"):
            raise UnknownFact(key)

    def document(self):
        return {}


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"s3:ExistingObjectTag/a": "1"}},
        {"StringNotEquals": {"s3:ExistingObjectTag/a": "1"}},
        {"StringEqualsIfExists": {"s3:ExistingObjectTag/a": "1"}},
        {"ForAllValues:StringEquals": {"s3:ExistingObjectTag/a": "1"}},
        {"Null": {"s3:ExistingObjectTag/a": "true"}},
        {"Null": {"s3:ExistingObjectTag/a": "false"}},
        {"StringNotEquals": {"aws:username": "${s3:ExistingObjectTag/a}"}},
    ],
)
def test_tags_nobody_has_read_fall_to_the_safe_side(condition):
    """An Allow on unknown tags does not apply and a Deny does, whatever the operator."""
    question = AccessRequest(ALICE, "s3:GetObject", "b", "k", Unread())
    assert not decide([policy(allow(Condition=condition))], question)
    assert not decide([policy(allow(), deny(Condition=condition))], question)


# A naive reading of the same rules, with nothing of the implementation: an oracle for random policies.

TAG_TEXTS = st.sampled_from(["", "a", "A", "ab", "b"])
TAG_KEYS = {"s3:ExistingObjectTag/x", "s3:ExistingObjectTag/X", "s3:RequestObjectTag/x", "s3:RequestObjectTagKeys",
            "s3:if-none-match", "s3:ObjectCreationOperation"}  # fmt: skip
NAIVE = {
    "StringEquals": lambda actual, listed: any(a == v for a in actual for v in listed),
    "StringNotEquals": lambda actual, listed: all(a != v for a in actual for v in listed),
    "StringEqualsIgnoreCase": lambda actual, listed: any(a.lower() == v.lower() for a in actual for v in listed),
    # AWS takes an empty text for no value here; what is one or the other falls to the safe side: None.
    "ForAllValues:StringEquals": lambda actual, listed: (
        all(a in listed for a in actual) or (None if not any(actual) else False)
    ),
    "ForAnyValue:StringEquals": lambda actual, listed: any(a in listed for a in actual),
    "ForAnyValue:StringNotEquals": lambda actual, listed: any(a not in listed for a in actual),
}
WITHOUT = {"StringEquals": False, "StringNotEquals": True, "StringEqualsIgnoreCase": False,
           "ForAllValues:StringEquals": True, "ForAnyValue:StringEquals": False,
           "ForAnyValue:StringNotEquals": False}  # fmt: skip
CONDITIONS = st.dictionaries(
    st.sampled_from(sorted(NAIVE)),
    st.dictionaries(
        st.sampled_from(sorted(TAG_KEYS)), st.lists(TAG_TEXTS, min_size=1, max_size=3), min_size=1, max_size=3
    ),
    max_size=3,
)
TAG_SETS = st.dictionaries(st.sampled_from(["x", "X", "y"]), TAG_TEXTS, max_size=3)


def naive(statements, facts):
    """Decide as AWS describes it: some Allow holds and no Deny does."""

    def holds(condition, effect):
        found = [
            NAIVE[name](facts[key], listed) if facts.get(key) else WITHOUT[name]
            for name, keys in condition.items()
            for key, listed in keys.items()
        ]
        return all((effect == "Deny") if one is None else one for one in found)

    effects = {effect for effect, condition in statements if holds(condition, effect)}
    return effects == {"Allow"}


@given(
    st.lists(st.tuples(st.sampled_from(["Allow", "Deny"]), CONDITIONS), min_size=1, max_size=4), TAG_SETS, TAG_SETS,
    st.booleans(), st.sampled_from(["PutObject", "UploadPart", "GetObject"]),
)  # fmt: skip
def test_conditions_on_tags_agree_with_a_naive_reading(statements, existing, requested, once, operation):
    """Policies over existing tags, request tags and conditional writes decide as their words say."""
    document = policy(*[{**allow(Condition=c), "Effect": effect} for effect, c in statements])
    headers = {"x-amz-tagging": urlencode(requested)} | ({"if-none-match": "*"} if once else {})
    context = RequestContext(
        headers, (), ALICE, "192.0.2.1", secure=True, now=0, operation=operation, existing_tags=tuple(existing.items())
    )
    facts = {f"s3:ExistingObjectTag/{name}": [value] for name, value in existing.items()}
    facts |= {f"s3:RequestObjectTag/{name}": [value] for name, value in requested.items()}
    facts |= {"s3:RequestObjectTagKeys": list(requested)} | ({"s3:if-none-match": ["*"]} if once else {})
    facts |= {"s3:ObjectCreationOperation": {"PutObject": ["true"], "UploadPart": ["false"]}.get(operation, [])}
    question = AccessRequest(ALICE, "s3:PutObject", "b", "k", context)
    assert bool(decide([document], question)) is naive(statements, facts)
