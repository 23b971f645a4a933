"""Policy documents: what parses, and what is said about what does not."""

import json
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.evaluate import decide
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import CANNED, MAX_DOCUMENT, Policy, PolicyError, parse

GOOD = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}


#: MinIO's admin actions: those that look, and those that identities and rights need.
DIAGNOSTICS = (
    "Profiling",
    "ServerTrace",
    "ConsoleLog",
    "ServerInfo",
    "TopLocksInfo",
    "OBDInfo",
    "BandwidthMonitor",
    "Prometheus",
)
ADMINISTRATION = (
    "CreateUser", "DeleteUser", "ListUsers", "EnableUser", "DisableUser", "GetUser", "AddUserToGroup", "RemoveUserFromGroup",
    "GetGroup", "ListGroups", "EnableGroup", "DisableGroup", "CreatePolicy", "DeletePolicy", "GetPolicy",
    "AttachUserOrGroupPolicy", "UpdatePolicyAssociation", "ListUserPolicies", "CreateServiceAccount", "UpdateServiceAccount",
    "RemoveServiceAccount", "ListServiceAccounts", "ListTemporaryAccounts", "ConfigUpdate", "ExportIAM", "ImportIAM",
)  # fmt: skip


def problems_of(document):
    """Return what `parse` finds wrong."""
    with pytest.raises(PolicyError) as caught:
        parse(document if isinstance(document, str) else json.dumps(document))
    return caught.value.problems


def statement(**members):
    """Return a document of one good statement with members changed; None removes one."""
    return {"Version": "2012-10-17", "Statement": [{k: v for k, v in (GOOD | members).items() if v is not None}]}


def test_a_full_document_parses():
    """Every documented member is understood, strings and lists alike."""
    policy = parse(
        json.dumps(
            {
                "Version": "2012-10-17",
                "Id": "home",
                "Statement": [
                    {**GOOD, "Sid": "Read", "Condition": {"StringLike": {"s3:prefix": ["a/*", "b/*"]}}},
                    {"Effect": "Deny", "NotAction": ["s3:Get*"], "NotResource": ["arn:aws:s3:::b/*"]},
                    {"Effect": "Allow", "Action": "Admin:ServerInfo"},
                ],
            }
        )
    )
    first, second, third = policy.statements
    assert (policy.id, first.sid, first.allow, first.actions) == ("home", "Read", True, ("s3:getobject",))
    assert first.conditions[0].values == ("a/*", "b/*")
    assert (second.allow, second.not_actions, second.not_resources) == (False, ("s3:get*",), ("arn:aws:s3:::b/*",))
    assert (third.actions, third.resources) == (("admin:serverinfo",), ())


def test_a_single_statement_may_stand_without_a_list():
    """AWS allows one statement object, and MinIO an absent Version."""
    assert len(parse(json.dumps({"Statement": GOOD})).statements) == 1


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("", "document: not JSON"),
        ("[" * 10_000, "document: nested too deep"),
        ('{"Version": "2008-10-17", "Statement": ' + "[" * 940 + "]" * 940 + "}", ""),
        ('{"Statement": ' + '{"Statement": ' * 700 + "0" + "}" * 700 + ', "Statement": 0}', ""),
        ('{"Statement": ' + "9" * 5000 + "}", "document: not JSON"),
        ('{"Statement": NaN}', "document: not JSON"),
        (" " * (MAX_DOCUMENT + 1), "document: longer than"),
        ([], "document: must be an object"),
        ({"Version": "2012-10-17"}, "Statement: must be"),
        ({"Statement": []}, "Statement: must be"),
        ({"Statement": "x"}, "Statement: must be"),
        ({"Statement": ["x"]}, "Statement[0]: must be an object"),
        ({"Statement": GOOD, "Extra": 1}, "Extra: unknown member"),
        ({"Statement": GOOD, "Version": "2012-10-18"}, "Version: must be"),
        ({"Statement": GOOD, "Version": []}, "Version: must be"),
        ({"Statement": GOOD, "Id": 1}, "Id: must be a string"),
        (statement(Principal="*"), "Statement[0].Principal: unknown member in an identity's policy"),
        (statement(NotPrincipal={}), "Statement[0].NotPrincipal: unknown member in an identity's policy"),
        (statement(Action="s3:${*}"), "Statement[0].Action: 's3:${*}' has a variable"),
        (
            statement(Resource="arn:aws:s3:::b/${aws:user}"),
            "has the variable ${aws:user}, a key that no request here has",
        ),
        (statement(Resource="arn:aws:s3:::b/${jwt:sub, ''}"), "neither ${key} nor"),
        (statement(Condition={"StringLike": {"s3:prefix": "${username}"}}), "has the variable ${username}, a key that"),
        (
            statement(Condition={"ArnLike": {"aws:PrincipalArn": "alice"}}),
            "ArnLike.aws:PrincipalArn: 'alice' is no value for",
        ),
        (
            statement(Condition={"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:user/alice"}}),
            "'arn:aws:iam::000000000000:user/alice' names an account",
        ),
        (
            statement(
                Condition={
                    "StringNotLike": {"AWS:principalarn": ["arn:aws:iam:::root", "arn:aws:iam::12*:${aws:username}"]}
                }
            ),
            "AWS:principalarn: 'arn:aws:iam::12*:${aws:username}' names an account",
        ),
        (statement(Condition={"DateLessThan": {"aws:CurrentTime": "2026"}}), "'2026' is no value for DateLessThan"),
        (
            statement(Condition={"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}),
            "a key that no request here has",
        ),
        (statement(effect="Allow"), "Statement[0].effect: unknown member"),
        (statement(Effect="allow"), "Statement[0].Effect: must be"),
        (statement(Effect=None), "Statement[0].Effect: must be"),
        (statement(Effect=["Allow"]), "Statement[0].Effect: must be"),
        (statement(Sid=7), "Statement[0].Sid: must be a string"),
        (statement(Action=None), "Statement[0]: needs Action or NotAction"),
        (statement(NotAction="s3:PutObject"), "Statement[0]: needs Action or NotAction"),
        (statement(Action=[]), "Statement[0].Action: must be a string or a list"),
        (statement(Action=""), "Statement[0].Action: must be a string or a list"),
        (statement(Action=[1]), "Statement[0].Action: must be a string or a list"),
        (statement(Action={"a": 1}), "Statement[0].Action: must be a string or a list"),
        (statement(Action="ec2:Start"), "Statement[0].Action: 'ec2:start' is no action"),
        (statement(Resource=None), "Statement[0]: needs Resource or NotResource"),
        (statement(Resource=None, Action=None, NotAction="admin:*"), "Statement[0]: needs Resource or NotResource"),
        (statement(Resource=None, Action=["admin:*", "s3:*"]), "Statement[0]: needs Resource or NotResource"),
        (statement(NotResource="*"), "Statement[0]: needs Resource or NotResource"),
        (statement(Resource=[]), "Statement[0].Resource: must be a string or a list"),
        (statement(Resource="bucket/*"), "Statement[0].Resource: 'bucket/*' is no S3 ARN"),
        (statement(Resource="arn:aws:s3:::"), "Statement[0].Resource: 'arn:aws:s3:::' is no S3 ARN"),
        (statement(Resource="arn:aws:s3:::b/${aws:username"), "has a `${` without"),
        (statement(Condition=[]), "Statement[0].Condition: must be an object"),
        (statement(Condition={"StringIs": {"s3:prefix": "a"}}), "Statement[0].Condition.StringIs: unknown operator"),
        (statement(Condition={"NullIfExists": {"s3:prefix": "true"}}), "NullIfExists: unknown operator"),
        (statement(Condition={"ForSome:Bool": {"s3:prefix": "true"}}), "ForSome:Bool: unknown operator"),
        (statement(Condition={"StringEquals": {}}), "Statement[0].Condition.StringEquals: must be an object"),
        (statement(Condition={"StringEquals": "a"}), "Statement[0].Condition.StringEquals: must be an object"),
        (statement(Condition={"StringEquals": {"s3:prefix": []}}), "Condition.StringEquals.s3:prefix: must be a value"),
        (statement(Condition={"StringEquals": {"s3:prefix": None}}), "StringEquals.s3:prefix: must be a value"),
        (statement(Condition={"StringEquals": {"s3:prefix": "${aws:userid"}}), "has a `${` without"),
        (statement(Condition={"StringEquals": {"s3:nonsense": "a"}}), "s3:nonsense: a key that no request here has"),
        (statement(Condition={"StringEquals": {"jwt:": "a"}}), "jwt:: a key that no request here has"),
        (statement(Condition={"Bool": {"aws:SecureTransport": "yes"}}), "'yes' is no value for Bool"),
        (statement(Condition={"Null": {"s3:prefix": ["true", "false"]}}), "Null.s3:prefix: must be one value"),
        (statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/40"}}), "is no value for IpAddress"),
        (statement(Condition={"NumericLessThan": {"s3:max-keys": "many"}}), "is no value for NumericLessThan"),
        (statement(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}}), "is no value for DateLessThan"),
        (statement(Condition={"BinaryEquals": {"s3:prefix": "?"}}), "is no value for BinaryEquals"),
    ],
)
def test_a_faulty_document_is_refused_with_its_place(document, problem):
    """What we do not understand is a problem that names its place, never something ignored."""
    assert any(problem in found for found in problems_of(document)), problems_of(document)


def test_all_problems_are_reported_at_once():
    """The author of a policy sees every fault in one go."""
    found = problems_of({"Id": 1, "Statement": [GOOD | {"Effect": "Maybe"}, GOOD | {"Sid": 1}]})
    assert [problem.partition(":")[0] for problem in found] == ["Id", "Statement[0].Effect", "Statement[1].Sid"]


def test_a_member_given_twice_is_refused_with_its_path():
    """Two readers of a document with a doubled member could see two policies."""
    text = '{"Statement": [{"Effect": "Deny", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
    assert problems_of(text) == ("Statement[0].Effect: given twice",)


def test_canned_policies_are_minios():
    """The five names MinIO's users know exist, and readonly cannot list."""
    assert set(CANNED) == {"readonly", "readwrite", "writeonly", "diagnostics", "consoleAdmin"}
    assert CANNED["readonly"].statements[0].actions == ("s3:getbucketlocation", "s3:getobject")


def test_canned_policies_grant_what_minio_documents():
    """The readers cannot list, diagnostics only look, and the console's administrator may all that administration has."""
    nobody = Principal(PrincipalType.USER, "k")

    def granted(name, *actions):
        asked = {a: AccessRequest(nobody, a, *(("b", "k") if a.startswith("s3:") else ("", ""))) for a in actions}
        return {action for action, question in asked.items() if decide([CANNED[name]], question)}

    s3 = ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject", "s3:GetBucketLocation")
    looks = tuple(f"admin:{name}" for name in DIAGNOSTICS)
    rest = tuple(f"admin:{name}" for name in ADMINISTRATION)
    everything = (*s3, *looks, *rest, "kms:Status", "sts:AssumeRole")
    assert granted("readonly", *everything) == {"s3:GetObject", "s3:GetBucketLocation"}
    assert granted("writeonly", *everything) == {"s3:PutObject"}
    assert granted("readwrite", *everything) == set(s3)
    assert granted("diagnostics", *everything) == set(looks)
    assert granted("consoleAdmin", *everything) == set(everything) - {"sts:AssumeRole"}


def test_texts_that_recur_are_kept_once():
    """Ten thousand policies about the same actions hold one text of each."""
    first, second = (parse(json.dumps(statement(Condition={"StringLike": {"s3:prefix": "a/*"}}))) for _ in range(2))
    one, other = first.statements[0], second.statements[0]
    assert one.actions[0] is other.actions[0]
    assert one.resources[0] is other.resources[0]
    assert one.conditions[0].key is other.conditions[0].key


def test_a_parsed_policy_is_small():
    """A typical policy of three statements takes at most two KiB beside the texts that are its own."""
    # The least of some batches: the interpreter's table of texts grows by leaps, for whoever comes then.
    assert min(weight(range(start, start + 300)) for start in (0, 300, 600, 900)) <= 2048


def weight(numbers):
    """Return the bytes of a typical policy, its own texts left out."""
    texts = [json.dumps(typical(number)) for number in numbers]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [parse(text) for text in texts]
        taken = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()
    return taken - sum(sys.getsizeof(text) for statement in kept[-1].statements for text in statement.resources)


def typical(number):
    """Return a policy as teams have it."""
    team = f"arn:aws:s3:::team-{number}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": team,
             "Condition": {"StringLike": {"s3:prefix": ["home/*", "shared/*"]}}},
            {"Sid": "Objects", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
             "Resource": [f"{team}/home/${{aws:username}}/*", f"{team}/shared/*"]},
            {"Sid": "Tls", "Effect": "Deny", "Action": "s3:*", "Resource": "*",
             "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        ],
    }  # fmt: skip


def test_the_limit_is_the_callers():
    """STS takes 2,048 characters, an operator's file more: one over is refused, the exact length is not."""
    text = json.dumps({"Statement": GOOD})
    assert parse(text, limit=len(text)) == parse(text)
    with pytest.raises(PolicyError, match="longer than"):
        parse(text, limit=len(text) - 1)


def test_version_2008_is_understood_and_has_no_variables():
    """AWS reads `${...}` as plain text there; whoever wrote one meant a variable, so it is a problem."""
    assert parse(json.dumps(statement() | {"Version": "2008-10-17"})).statements
    home = {"Resource": "arn:aws:s3:::home/${aws:username}/*"}
    guarded = {"Condition": {"StringLike": {"s3:prefix": ["a", "${aws:username}/*"]}}}
    for members in (home, guarded):
        assert problems_of(statement(**members) | {"Version": "2008-10-17"})[0].startswith("Version: 2008-10-17 has no")
        assert parse(json.dumps(statement(**members))).statements


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([
    "2012-10-17", "Allow", "Deny", "*", "s3:*", "admin:*", "arn:aws:s3:::b/*", "arn:aws:s3:::${jwt:sub}/*", "true",
    "10.0.0.0/8", "2026-01-01", "${", "arn:aws:s3:::",
])  # fmt: skip
NAMES = st.text() | st.sampled_from([
    "Version", "Id", "Statement", "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition",
    "StringLike", "ForAnyValue:StringEquals", "Bool", "Null", "IpAddress", "NumericLessThan", "DateLessThanIfExists",
    "BinaryEquals", "ArnLike", "aws:SourceIp", "s3:prefix", "jwt:sub",
])  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
CONDITIONS = st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=2), max_size=2)
STATEMENTS = st.dictionaries(NAMES, VALUES, max_size=5) | st.fixed_dictionaries(
    {"Effect": LEAVES, "Action": VALUES, "Resource": VALUES}, optional={"Condition": CONDITIONS, "Sid": LEAVES}
)
DOCUMENTS = VALUES | st.fixed_dictionaries(
    {"Statement": STATEMENTS | st.lists(STATEMENTS, max_size=2)}, optional={"Version": LEAVES, "Id": LEAVES}
)


@given(DOCUMENTS | st.just(statement()), st.booleans())
def test_any_json_is_a_policy_or_a_policy_error(document, principals):
    """No document ends in another exception, and none is refused without saying what is wrong."""
    try:
        assert isinstance(parse(json.dumps(document), principals=principals), Policy)
    except PolicyError as error:
        assert error.problems  # noqa: PT017 - that it raises is the other half of the property


@given(st.text())
def test_any_text_is_a_policy_or_a_policy_error(text):
    """What is no JSON at all is a PolicyError too."""
    with pytest.raises(PolicyError):
        parse(text)


def test_thousands_of_members_cost_no_quadratic_time():
    """Fifty thousand members and one of them twice are read in one pass; counting each anew would take minutes."""
    names = ", ".join(f'"{number}": 0' for number in range(50_000))
    with pytest.raises(PolicyError) as caught:
        parse(f'{{{names}, "7": 0}}', limit=1_000_000)
    assert caught.value.problems[0] == "7: given twice"


@pytest.mark.parametrize("name", ["Id", "ID"])
def test_a_document_may_be_named_as_aws_or_as_minio_writes_it(name):
    """MinIO gives a policy back with `ID`, however its author wrote that; it is the same policy."""
    assert parse(json.dumps({"Statement": GOOD, name: "home"})).id == "home"


def test_one_name_of_a_document_is_enough():
    """Two names, in two spellings, are a mistake of whoever wrote them."""
    assert problems_of({"Statement": GOOD, "Id": "a", "ID": "b"}) == ("ID: given twice, as Id too",)
