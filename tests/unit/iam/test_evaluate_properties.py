"""What holds of every decision, whatever the policies and the request."""

import dataclasses
import json
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.context import RequestContext
from iam.authorize import AllOf, IamPolicies
from iam.conditions import _TESTS
from iam.evaluate import asks_existing_tags, decide, explain
from iam.model import AccessRequest
from iam.policy import PolicyError, parse
from tests.unit.iam.saying import ALICE, Facts, allow, ask, deny, policy


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


@given(POLICIES, QUESTIONS, st.booleans())
def test_an_explanation_agrees_with_the_decision(policies, question, deny_only):
    """What is told of the statements is what was decided, to the letter of the reason, and each denial has a finding."""
    question = question._replace(deny_only=deny_only)
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
    st.sampled_from(["*", "arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::?/a*", "arn:aws:s3:::c/k"]),
    min_size=1,
    max_size=3,
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


ANY = st.text(max_size=6) | st.sampled_from(
    ["*", "${jwt:sub}", "::1", "1", "true", "2026-01-01", "arn:aws:s3:::b", "${x}"]
)
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
    assert bool(decide(plain, question._replace(context=Facts(**facts, jwt__sub=hostile)))) is bool(
        decide(plain, without)
    )


@given(POLICIES, QUESTIONS)
def test_without_an_allow_nothing_is_allowed(policies, question):
    """Deny statements alone, however they are negated, add up to no Allow."""
    denials = [p for p in policies if not any(statement.allow for statement in p.statements)]
    assert not decide(denials, question)


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
