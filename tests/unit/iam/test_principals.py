"""Whom a bucket-style document is about."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.evaluate import decide
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import PolicyError, parse
from iam.principals import account_fault, arn_of, names_of, parse_principals

ANONYMOUS = Principal(PrincipalType.ANONYMOUS)
ROOT = Principal(PrincipalType.ACCOUNT, "root", owner=True)
ROOTS = Principal(PrincipalType.ASSUMED_ROLE, "KR", owner=True, parent="root", provider="user")
ALICE = Principal(PrincipalType.USER, "alice")
SVC = Principal(PrincipalType.USER, "svc1", parent="alice")
ALICES = Principal(PrincipalType.ASSUMED_ROLE, "KA", parent="alice", provider="user")
ROLE = "arn:minio:iam:::role/idmp-x"
BOB = Principal(
    PrincipalType.ASSUMED_ROLE, "KB", parent="openid:corp:bob", provider="openid:corp", claims={"roleArn": ROLE}
)
EVE = Principal(
    PrincipalType.ASSUMED_ROLE, "KE", parent="openid:corp:alice", provider="openid:corp", claims={"sub": "alice"}
)
FAKE = Principal(PrincipalType.ASSUMED_ROLE, "KF", parent="alice", claims={"sub": "alice"})
CALLERS = {"anonymous": ANONYMOUS, "root": ROOT, "roots": ROOTS, "alice": ALICE, "svc": SVC, "alices": ALICES, "bob": BOB,
           "eve": EVE, "fake": FAKE}  # fmt: skip
EVERYBODY = set(CALLERS)
SIGNED = EVERYBODY - {"anonymous"}


def document(**element):
    """Return a statement over everything, for whom it says."""
    return {"Effect": "Allow", "Action": "s3:*", "Resource": "*", **element}


def allowed(*statements):
    """Return whose GetObject the statements allow."""
    policy = parse(json.dumps({"Statement": list(statements)}), principals=True)
    return {name for name, who in CALLERS.items() if decide([policy], AccessRequest(who, "s3:GetObject", "b", "k"))}


@pytest.mark.parametrize(
    ("element", "who"),
    [
        ("*", EVERYBODY),
        ({"AWS": "*"}, EVERYBODY),
        ({"AWS": ["arn:aws:iam:::user/zoe", "*"]}, EVERYBODY),
        ({"AWS": "arn:aws:iam:::root"}, {"root", "roots"}),
        ({"AWS": "arn:aws:iam:::user/alice"}, {"alice", "svc", "alices"}),
        ({"AWS": ["arn:aws:iam:::user/alice", "arn:aws:iam:::root"]}, {"alice", "svc", "alices", "root", "roots"}),
        ({"AWS": "arn:aws:iam:::user/ALICE"}, set()),
        ({"AWS": ROLE}, {"bob"}),
        ({"AWS": "arn:aws:sts:::assumed-role/idmp-x/KB"}, {"bob"}),
        ({"AWS": "arn:aws:sts:::assumed-role/alice/KA"}, {"alices"}),
        ({"AWS": "arn:aws:sts:::federated-user/openid:corp:bob"}, {"bob"}),
        ({"AWS": "arn:aws:sts:::federated-user/openid:corp:alice"}, {"eve"}),
        ({"Federated": "openid:corp"}, {"bob", "eve"}),
        ({"Federated": "openid:corp", "AWS": "arn:aws:iam:::user/alice"}, {"bob", "eve", "alice", "svc", "alices"}),
        ({"Federated": "user"}, set()),
    ],
)
def test_a_principal_names_callers(element, who):
    """Each form names whom AWS's reference says, in our one account; an anonymous caller is named by `*` alone."""
    assert allowed(document(Principal=element)) == who


@pytest.mark.parametrize(
    ("element", "denied"),
    [
        ({"Principal": "*"}, EVERYBODY),
        ({"Principal": {"AWS": "arn:aws:iam:::root"}}, SIGNED),
        ({"Principal": {"AWS": "arn:aws:iam:::user/alice"}}, {"alice", "svc", "alices", "fake"}),
        ({"Principal": {"AWS": ROLE}}, {"bob"}),
        ({"NotPrincipal": {"AWS": "arn:aws:iam:::user/alice"}}, EVERYBODY - {"alice", "svc", "alices"}),
        ({"NotPrincipal": {"AWS": "arn:aws:iam:::root"}}, EVERYBODY - {"root", "roots"}),
        ({"NotPrincipal": {"Federated": "openid:corp"}}, EVERYBODY - {"bob", "eve"}),
    ],
)
def test_trap_30_a_deny_reaches_whom_it_names(element, denied):
    """A Deny for the account is for all who sign, one for a user follows her into her sessions; exceptions are exact."""
    assert allowed(document(Principal="*"), document(Effect="Deny", **element)) == EVERYBODY - denied


def test_trap_47_a_subject_called_like_a_user_is_not_that_user():
    """Nobody whom a provider vouches for has a user's rights or exceptions, whatever name and claims it gives them."""
    for who in (EVE, FAKE):
        assert "arn:aws:iam:::user/alice" not in names_of(who, deny=False)
        assert arn_of(who).startswith("arn:aws:sts:::federated-user/")


def test_the_arn_is_of_who_is_behind():
    """aws:PrincipalArn is root's, the user's, the role's or the federated identity's; anonymous has none."""
    assert [arn_of(CALLERS[name]).rpartition(":::")[2] for name in CALLERS] == [
        "", "root", "root", "user/alice", "user/alice", "user/alice", "role/idmp-x", "federated-user/openid:corp:alice",
        "federated-user/alice",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ({}, "Statement[0]: needs Principal or NotPrincipal"),
        ({"Principal": "*", "NotPrincipal": {"AWS": ROLE}}, "Statement[0]: needs Principal or NotPrincipal"),
        ({"Principal": "alice"}, 'Statement[0].Principal: must be "*" or an object'),
        ({"Principal": {}}, "Statement[0].Principal: must be"),
        ({"Principal": []}, "Statement[0].Principal: must be"),
        ({"Principal": {"AWS": []}}, "Statement[0].Principal.AWS: must be a string or a list"),
        ({"Principal": {"AWS": [1]}}, "Statement[0].Principal.AWS: must be a string or a list"),
        ({"Principal": {"AWS": "alice"}}, "Statement[0].Principal.AWS: 'alice' is nobody who can call here"),
        ({"Principal": {"AWS": "123456789012"}}, "'123456789012' is nobody who can call here"),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, "is nobody who can call here"),
        ({"Principal": {"AWS": "arn:aws:iam:::user/*"}}, "is nobody who can call here"),
        ({"Principal": {"AWS": "arn:aws:iam:::user/${aws:username}"}}, "is nobody who can call here"),
        ({"Principal": {"AWS": "arn:aws:iam:::group/staff"}}, "is nobody who can call here"),
        ({"Principal": {"CanonicalUser": "79a5"}}, "Statement[0].Principal.CanonicalUser: no caller here has"),
        ({"Principal": {"Service": "s3.amazonaws.com"}}, "Statement[0].Principal.Service: no service calls here"),
        ({"Principal": {"aws": "*"}}, "Statement[0].Principal.aws: must be AWS or Federated"),
        ({"Principal": {"Federated": "*"}}, "Statement[0].Principal.Federated: '*' is no provider's name"),
        ({"NotPrincipal": {"AWS": ROLE}}, "Statement[0].NotPrincipal: only in a Deny"),
        ({"Effect": "Deny", "NotPrincipal": {"AWS": "*"}}, "Statement[0].NotPrincipal: excepts everybody"),
        ({"Effect": "Deny", "NotPrincipal": "*"}, "Statement[0].NotPrincipal: excepts everybody"),
    ],
)
def test_who_cannot_call_is_a_problem(element, problem):
    """A statement about nobody is said to be one, with its place: a Deny about nobody would be nothing."""
    with pytest.raises(PolicyError) as caught:
        parse(json.dumps({"Statement": [document(**element)]}), principals=True)
    assert any(problem in found for found in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("member", ["Principal", "NotPrincipal"])
def test_an_identitys_policy_names_nobody(member):
    """Without being asked for, the element is a problem."""
    with pytest.raises(PolicyError, match=rf"Statement\[0\].{member}: unknown member in an identity's policy"):
        parse(json.dumps({"Statement": [document(**{member: "*"})]}))


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["*", ROLE, "arn:aws:iam:::root"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["AWS", "Federated", "x"]), inner, max_size=3)
    ),
)


@given(JSON)
def test_any_element_names_somebody_or_is_a_problem(element):
    """Whatever stands there, nothing is raised, and a statement is never silently about nobody."""
    problems = []
    names = parse_principals(element, "P", problems)
    assert names or problems


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("aws:PrincipalArn", "arn:aws:iam:::user/alice", True), ("aws:PrincipalArn", "arn:aws:iam::*:user/${jwt:a:b}", True),
        ("aws:PrincipalArn", "arn:*:iam::${jwt:account, 'none'}:*", True), ("aws:PrincipalArn", "*", True),
        ("aws:PrincipalArn", "arn:minio:iam:eu-1::role/idmp-a:b", True), ("s3:prefix", "arn:aws:iam::1:user/alice", True),
        ("aws:PrincipalArn", "arn:aws:iam::123456789012:user/alice", False), ("aws:principalarn", "arn:aws:iam::?:root", False),
        ("aws:PrincipalArn", "arn:${jwt:a:b}:iam::1:root", False),
    ],
)  # fmt: skip
def test_a_condition_names_no_account(key, value, good):
    """A value of aws:PrincipalArn that could match no caller here, for its account, is told; one that could is not."""
    assert (account_fault(key, value) is None) is good
