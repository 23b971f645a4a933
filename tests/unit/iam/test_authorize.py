"""Owner, named policies, session policies: who wins over whom."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.authorize import AllOf, IamPolicies
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import CANNED, parse


def text(effect="Allow", action="s3:*", resource="*"):
    """Return a policy document of one statement."""
    return json.dumps({"Statement": [{"Effect": effect, "Action": action, "Resource": resource}]})


def ask(authorizer, action="s3:GetObject", kind=PrincipalType.USER, **principal):
    """Return the decision at once."""
    return authorizer.decide_now(AccessRequest(Principal(kind, "k", **principal), action, "b", "o"))


IAM = IamPolicies(lambda: CANNED)
ALL_OF = AllOf(IAM)


def test_the_owner_may_all_and_others_what_their_policies_say():
    """Named policies add up; the owner needs none."""
    assert ask(IAM, owner=True)
    assert ask(IAM, policies=("readonly",))
    assert not ask(IAM, "s3:PutObject", policies=("readonly",))
    assert ask(IAM, "s3:PutObject", policies=("readonly", "writeonly"))


def test_trap_31_no_policy_is_a_denial():
    """No name, only unknown names, no policies at all, or an error while looking: the answer is no."""
    assert not ask(IAM)
    assert not ask(IAM, policies=("nope",))
    assert ask(IAM, policies=("nope", "readonly")).reason.endswith("; no such policy: nope")
    assert ask(IAM, "s3:PutObject", policies=("nope", "readonly")).reason.endswith("; no such policy: nope")
    assert not ask(IamPolicies(dict), policies=("readonly",))

    def broken():
        raise OSError("no such file")

    refusal = ask(IamPolicies(broken), policies=("readonly",))
    assert not refusal
    assert refusal.reason == "policies: OSError"


@pytest.mark.parametrize(
    "session", ["", "{}", "null", "[]", "{", text() + "x", '{"Statement": []}', text("Deny"), text(action="s3:Put*")]
)
@pytest.mark.parametrize("owner", [False, True])
def test_trap_29_a_session_policy_that_grants_nothing_denies(session, owner):
    """Empty, broken, deny-only or about other actions: no session, not even root's, gets more than it says."""
    assert not ask(ALL_OF, owner=owner, policies=("readwrite",), session_policy=session)


def test_trap_29_a_session_policy_never_widens():
    """Session AND principal: a larger session policy gives nothing that the principal lacks."""
    assert ask(ALL_OF, policies=("readonly",), session_policy=text())
    assert not ask(ALL_OF, "s3:PutObject", policies=("readonly",), session_policy=text(action="*"))
    assert not ask(ALL_OF, session_policy=text(action="*"))
    assert ask(ALL_OF, owner=True, session_policy=text(action="s3:Get*"))


def test_anonymous_is_denied_unless_a_policy_is_for_it():
    """Without credentials only policies named for anonymous requests count."""
    assert not ask(ALL_OF, kind=PrincipalType.ANONYMOUS)
    assert not ask(ALL_OF, kind=PrincipalType.ANONYMOUS, owner=True)
    assert ask(ALL_OF, kind=PrincipalType.ANONYMOUS, policies=("readonly",))


def test_parsed_session_policies_are_bounded_and_told_apart():
    """Thousands of different session policies keep memory flat, and each session is judged by its own."""
    authorizer = AllOf(IAM)
    for number in range(600):
        session = text(action=["s3:Get*", f"s3:Action{number}"] if number % 2 else ["s3:Put*", f"s3:Action{number}"])
        assert bool(ask(authorizer, policies=("readwrite",), session_policy=session)) is bool(number % 2)
    assert len(authorizer._parsed) <= 256


SESSIONS = st.none() | st.text() | st.builds(
    text,
    st.sampled_from(["Allow", "Deny"]),
    st.sampled_from(["*", "s3:*", "s3:Get*", ["s3:Put*", "admin:*"]]),
    st.sampled_from(["*", "arn:aws:s3:::b/*", "arn:aws:s3:::other/*", "arn:aws:s3:::b/${jwt:sub}"]),
)  # fmt: skip


@given(
    SESSIONS,
    st.lists(st.sampled_from([*CANNED, "nope"]), max_size=3),
    st.booleans(),
    st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:GetBucketLocation", "admin:ServerInfo"]),
    st.sampled_from(PrincipalType),
)
def test_trap_29_a_session_is_a_subset_of_its_parent(session, names, owner, action, kind):
    """Whatever a session policy says, what AllOf allows the parent is allowed too."""
    parent = {"owner": owner, "policies": tuple(names)}
    if ask(ALL_OF, action, kind, session_policy=session, **parent):
        assert ask(IAM, action, kind, **parent)
    else:
        assert session is not None or kind is PrincipalType.ANONYMOUS or not ask(IAM, action, kind, **parent)


async def test_a_question_that_is_denied_already_is_asked_of_nobody():
    """Neither a session policy's no nor an anonymous request goes on to the rest, now or awaited."""
    authorizer = AllOf(IamPolicies(lambda: pytest.fail("the rest was asked")))
    narrowed = Principal(PrincipalType.USER, "k", policies=("readwrite",), session_policy=text("Deny"))
    for principal in (narrowed, Principal(PrincipalType.ANONYMOUS)):
        request = AccessRequest(principal, "s3:GetObject", "b", "o")
        assert not authorizer.decide_now(request)
        assert authorizer.decide_now(request) is not None
        assert not await authorizer.decide(request)


TAGGED = {"StringEquals": {"s3:ExistingObjectTag/color": "red"}}


def named(action="s3:GetObject", resource="arn:aws:s3:::b/*", **more):
    """Return a policy document that names the tags of the object as it is."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": TAGGED} | more
    return json.dumps({"Statement": [statement, {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (named(), True),
        (named("s3:*", "*"), True),
        (named(Effect="Deny"), True),
        (named(Condition={"Null": {"S3:existingobjecttag/color": "true"}}), True),
        (named(Condition={"StringEquals": {"jwt:sub": "${s3:ExistingObjectTag/owner}"}}), True),
        (named(resource="arn:aws:s3:::b/${s3:ExistingObjectTag/owner}/*", Condition={}), True),
        (named("s3:PutObject"), False),
        (named(resource="arn:aws:s3:::other/*"), False),
        (named(Condition={"StringEquals": {"s3:RequestObjectTag/color": "red"}}), False),
        (text(), False),
    ],
)
def test_tags_are_wanted_where_a_statement_that_could_apply_names_them(document, wanted):
    """In a named policy as in the session's; for the owner in the session's only."""
    iam = IamPolicies(lambda: {"p": parse(document), "plain": parse(text())})
    question = AccessRequest(Principal(PrincipalType.USER, "k", policies=("p", "gone")), "s3:GetObject", "b", "o")
    assert iam.wants_existing_tags(question) is wanted
    assert AllOf(iam).wants_existing_tags(question) is wanted
    for owner in (True, False):
        principal = Principal(PrincipalType.USER, "k", owner=owner, policies=("plain",), session_policy=document)
        assert AllOf(iam).wants_existing_tags(AccessRequest(principal, "s3:GetObject", "b", "o")) is wanted
    owner = Principal(PrincipalType.ACCOUNT, "root", owner=True, policies=("p",))
    assert not AllOf(iam).wants_existing_tags(AccessRequest(owner, "s3:GetObject", "b", "o"))


def test_policies_that_cannot_be_had_want_nothing():
    """Whatever goes wrong while looking is said by the decision, which is a Deny."""

    def broken():
        raise OSError("no such file")

    iam = AllOf(IamPolicies(broken))
    question = AccessRequest(Principal(PrincipalType.USER, "k", session_policy="{"), "s3:GetObject", "b", "o")
    assert not iam.wants_existing_tags(question)
    assert not iam.decide_now(question)


def own(authorizer, **principal):
    """Return the decision about one's own affairs."""
    question = AccessRequest(Principal(PrincipalType.USER, "k", **principal), "admin:CreateUser", "", deny_only=True)
    return authorizer.decide_now(question)


def test_own_affairs_are_allowed_unless_denied():
    """For whoever has a policy: a Deny wins, having none is a denial, and the next question is judged as ever."""
    known = {**CANNED, "no": parse('{"Statement": [{"Effect": "Deny", "Action": "admin:CreateUser"}]}')}
    authorizer = AllOf(IamPolicies(lambda: known))
    assert own(authorizer, policies=("readonly",))
    assert not own(authorizer, policies=("readonly", "no"))
    assert not own(authorizer)
    assert not own(authorizer, policies=("unknown",))
    assert not ask(authorizer, "admin:CreateUser", policies=("readonly",))


@pytest.mark.parametrize("owner", [False, True])
def test_trap_29_own_affairs_need_the_session_policy_s_leave(owner):
    """What a session policy does not allow is not allowed because it is one's own (CVE-2025-62506)."""
    admin = '{"Statement": [{"Effect": "Allow", "Action": "admin:CreateUser"}]}'
    assert own(ALL_OF, owner=owner, policies=("readonly",), session_policy=admin)
    assert not own(ALL_OF, owner=owner, policies=("readonly",), session_policy=text())


POLICIES = st.lists(st.sampled_from(["readonly", "writeonly", "no", "tagged", "gone"]), max_size=3).map(tuple)
SESSIONS = st.sampled_from(
    [None, "", "{", text(), text("Deny"), text(action="s3:Put*"), text(resource="arn:aws:s3:::b/o")]
)


@given(
    POLICIES,
    SESSIONS,
    st.booleans(),
    st.booleans(),
    st.sampled_from(PrincipalType),
    st.sampled_from(["s3:GetObject", "s3:PutObject"]),
)
async def test_an_explanation_is_the_decision(names, session, owner, own, kind, action):
    """Whoever asks for whatever: explain says what a request would be answered, in the same words, and who said it."""
    tagged = text().replace('"Action"', '"Condition": {"StringEquals": {"s3:ExistingObjectTag/a": "b"}}, "Action"')
    known = {**CANNED, "no": parse(text("Deny", "s3:PutObject")), "tagged": parse(tagged)}
    authorizer = AllOf(IamPolicies(lambda: known))
    principal = Principal(kind, "k", owner=owner, policies=names, session_policy=session)
    question = AccessRequest(principal, action, "b", "o", deny_only=own)
    found = await authorizer.explain(question)
    assert found.decision == authorizer.decide_now(question)
    assert bool(found) == bool(found.decision)
    if found.by == "session policy":
        assert found.session is None or not found.session
    if found.by == "policies" and not found.missing and names:
        assert found.policies.decision == found.decision


async def test_an_explanation_of_what_is_broken_is_a_denial():
    """Where the policies cannot be had there is nothing to explain but that."""

    def broken():
        raise OSError

    found = await AllOf(IamPolicies(broken)).explain(
        AccessRequest(Principal(PrincipalType.USER, "k", policies=("readonly",)), "s3:GetObject", "b", "o")
    )
    assert (bool(found), found.by, found.policies) == (False, "policies", None)
