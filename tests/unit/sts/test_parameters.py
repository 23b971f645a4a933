"""Parameters: every one of AWS's and MinIO's is accepted or refused by name, and docs/sts.md says which.

`python -m tests.unit.sts.test_parameters` writes the tables of docs/sts.md anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import botocore.session
import pytest
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from sts import wire
from sts.parameters import ACTIONS, Action, tags_of, wanted
from sts.wire import InvalidParameterValue, MalformedPolicyDocument, MissingParameter, StsCall, StsError, parse_call

DOCUMENT = Path(__file__).parents[3] / "docs" / "sts.md"
MODEL = botocore.session.get_session().get_service_model("sts")
ARN = "arn:aws:iam::123456789012:role/any"
#: A value that each parameter takes, as botocore wants it.
VALUES = {
    "RoleArn": ARN, "RoleSessionName": "s1", "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/readonly"}],
    "Policy": '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}',
    "DurationSeconds": 900, "Tags": [{"Key": "a", "Value": "b"}], "TransitiveTagKeys": ["a"], "ExternalId": "ext",
    "SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456", "SourceIdentity": "me", "MinimumSessionTokenSize": 1024,
    "ProvidedContexts": [{"ProviderArn": "arn:aws:sts::aws:contextProvider/x", "ContextAssertion": "abcd"}],
    "WebIdentityToken": "a.b.c", "ProviderId": "corp",
}  # fmt: skip
#: MinIO's own parameters, by the clients that send them (minio.md 1.1 and 1.6).
MINIO = {
    "AssumeRole": ["DurationSeconds", "RoleArn", "RoleSessionName", "Policy", "ExternalId", "TokenRevokeType"],
    "AssumeRoleWithClientGrants": ["DurationSeconds", "Token", "Policy", "RoleArn", "TokenRevokeType", "WebIdentityToken"],
    "AssumeRoleWithWebIdentity": ["RoleArn", "RoleSessionName", "WebIdentityToken", "WebIdentityAccessToken", "WebIdentityRefreshToken", "DurationSeconds", "Policy", "TokenRevokeType", "Token"],
    "AssumeRoleWithLDAPIdentity": ["LDAPUsername", "LDAPPassword", "Policy", "DurationSeconds", "TokenRevokeType", "ConfigName"],
    "AssumeRoleWithCertificate": ["DurationSeconds", "TokenRevokeType"],
    "AssumeRoleWithCustomToken": ["Token", "RoleArn", "DurationSeconds"],
}  # fmt: skip
NEEDED = {
    "AssumeRoleWithClientGrants": {"Token": "t"}, "AssumeRoleWithWebIdentity": {"WebIdentityToken": "t"},
    "AssumeRoleWithLDAPIdentity": {"LDAPUsername": "u", "LDAPPassword": "p"},
    "AssumeRoleWithCustomToken": {"Token": "t", "RoleArn": "arn:r"},
}  # fmt: skip


def asked(action: str, **parameters: str):
    return wanted(StsCall(action, {"Action": action, **NEEDED.get(action, {}), **parameters}, None, ""))


def sent(operation: str, **parameters):
    """Return a call as botocore writes it."""
    request = create_serializer("query").serialize_to_request(parameters, MODEL.operation_model(operation))
    form = "&".join(f"{wire_quote(n)}={wire_quote(str(v))}" for n, v in request["body"].items())
    return parse_call("", form.encode(), "application/x-www-form-urlencoded", signer=None, source_ip="")


def wire_quote(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


AWS = [
    (operation, member)
    for operation in ("AssumeRole", "AssumeRoleWithWebIdentity", "GetSessionToken")
    for member in MODEL.operation_model(operation).input_shape.members
]


@pytest.mark.parametrize(("operation", "member"), AWS)
def test_every_parameter_of_aws_is_accepted_or_refused_by_name(operation, member):
    """Botocore's model is the list: each member is taken, or the refusal names it and says why."""
    given = {n: VALUES[n] for n in MODEL.operation_model(operation).input_shape.required_members} | {
        member: VALUES[member]
    }
    if member == "TransitiveTagKeys":
        given["Tags"] = VALUES["Tags"]
    action = ACTIONS[operation]
    if member in action.refused:
        with pytest.raises(
            InvalidParameterValue, match=f"parameter {member} is not supported: {action.refused[member]}"
        ):
            wanted(sent(operation, **given))
    else:
        assert wanted(sent(operation, **given)).action is action


@pytest.mark.parametrize(("action", "name"), [(action, name) for action, names in MINIO.items() for name in names])
def test_every_parameter_of_minio_is_accepted(action, name):
    """What MinIO's clients send is taken, by the action that they send it to."""
    other = {"Token": "WebIdentityToken", "WebIdentityToken": "Token"}.get(name, "")
    parameters = {"Action": action, **NEEDED.get(action, {})}
    if action != "AssumeRoleWithCustomToken":
        parameters.pop(other, None)
    parameters[name] = {"DurationSeconds": "3600", "Policy": VALUES["Policy"]}.get(name, "value")
    assert wanted(StsCall(action, parameters, None, "")).action.name == action


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "name",
    [
        "policy",
        "Durationseconds",
        "X-Amz-Algorithm",
        "AccessKey",
        "PolicyArns.member.1",
        "Tags.member.1.Name",
        "PolicyArns.member.0.arn",
        "PolicyArns.arn",
        "<x>&",
    ],
)
def test_an_unknown_parameter_is_refused_by_its_name(action, name):
    """A parameter nobody knows, or one spelled otherwise, is told by its name, and its value is not repeated."""
    with pytest.raises(InvalidParameterValue) as refused:
        asked(action, **{name: "the-value"})
    assert name in refused.value.text
    assert "the-value" not in refused.value.text


@pytest.mark.parametrize(("action", "names"), [(a, names) for a, row in ACTIONS.items() for names in row.required])
def test_required_parameters_are_missed_by_name(action, names):
    """A required parameter that is absent or empty is told by its name."""
    for empty in ({}, dict.fromkeys(names, "")):
        given = {n: v for n, v in NEEDED[action].items() if n not in names} | empty
        with pytest.raises(MissingParameter, match=" or ".join(names)):
            wanted(StsCall(action, {"Action": action, **given}, None, ""))


@pytest.mark.parametrize(
    ("action", "good", "bad"),
    [
        ("AssumeRole", ["900", "31536000", "0000900"], ["899", "31536001", "0", "-900", "1e3", "900.0", "\u0669\u0660\u0660", " 900", "9" * 30]),
        ("GetSessionToken", ["900", "129600"], ["899", "129601"]),
        ("AssumeRoleWithCustomToken", ["900", "31536000"], ["60"]),
    ],
)  # fmt: skip
def test_durations_have_bounds(action, good, bad):
    """Seconds within the action's bounds are taken; any other text is a refusal that names the bounds."""
    for text in good:
        assert asked(action, DurationSeconds=text).duration == int(text)
    for text in bad:
        with pytest.raises(InvalidParameterValue, match="DurationSeconds must be between 900"):
            asked(action, DurationSeconds=text)
    assert asked(action).duration == asked(action, DurationSeconds="").duration == ACTIONS[action].default


def test_a_policy_is_compact_and_bounded():
    """The session policy is kept as compact JSON of 2048 characters at most; what is wrong with one is told by place."""
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    assert asked("AssumeRole", Policy=json.dumps(policy, indent=9)).policy == json.dumps(policy, separators=(",", ":"))
    assert asked("AssumeRole", Policy="").policy is None
    for bad, text in [("{}", "Statement"), ("[]", "object"), ("x", "not JSON"), (json.dumps(policy)[:-1], "not JSON"),
                      (json.dumps(policy | {"Principal": "*"}), "Principal: unknown member"),
                      (json.dumps(policy | {"Id": "x" * 2048}), "longer than 2048"), (json.dumps(policy | {"Id": "\ud800"}), "half a character")]:  # fmt: skip
        with pytest.raises(MalformedPolicyDocument, match=text):
            asked("AssumeRole", Policy=bad)


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::aws:policy/readonly", "readonly"), ("arn:minio:iam:::policy/my.policy", "my.policy"),
        ("arn:aws-cn:iam::123456789012:policy/p", "p"), ("readwrite", "readwrite"),
        ("arn:aws:iam::aws:policy/path/p", None), ("arn:aws:s3:::policy/p", None), ("arn:aws:iam::aws:role/p", None),
        ("", None), ("*", None), ("../p", None), ("arn:aws:iam::aws:policy/", None), ("p\n", None), ("p,q", None),
    ],
)  # fmt: skip
def test_policy_arns_are_names(arn, name):
    """An ARN of AWS's or MinIO's, or the bare name, names a policy; what names none is refused by its parameter."""
    given = {"PolicyArns.member.1.arn": arn}
    if name is None:
        with pytest.raises(InvalidParameterValue, match=r"PolicyArns\.member\.1\.arn is not the ARN"):
            asked("AssumeRole", **given)
    else:
        assert asked("AssumeRole", **given).policies == (("PolicyArns.member.1.arn", name),)


def test_lists_have_bounds_and_shapes():
    """Eleven policies, fifty-one tags, half a tag, a list given as a text: each is refused by name; an empty list is none."""
    eleven = {f"PolicyArns.member.{i}.arn": "p" for i in range(1, 12)}
    many = {f"Tags.member.{i}.{part}": f"k{i}" for i in range(1, 52) for part in ("Key", "Value")}
    for members, text in [(eleven, "PolicyArns may have 10"), (many, "50 tags"), ({"Tags.member.1.Key": "a"}, r"Tags\.member\.1 needs"),
                        ({"PolicyArns": "p"}, "PolicyArns is a list"), ({"TransitiveTagKeys.member.1": "a"}, "none of the Tags")]:  # fmt: skip
        with pytest.raises(InvalidParameterValue, match=text):
            asked("AssumeRole", **members)
    assert asked("AssumeRole", PolicyArns="", Tags="").policies == ()


@pytest.mark.parametrize(
    ("pairs", "good"),
    [
        ([("team", "red"), ("a:b/c.d=e+f-g@h i", "")], True), ([("k" * 128, "v" * 256)], True), ([("\u00e9", "\u65e5")], True),
        ([("", "v")], False), ([("k" * 129, "v")], False), ([("k", "v" * 257)], False), ([("aws:x", "v")], False),
        ([("AWS:x", "v")], False), ([("a", "1"), ("A", "2")], False), ([("a", "1"), ("a", "1")], False),
        ([("a*", "1")], False), ([("a", "${jwt:sub}")], False), ([("a", "x\ny")], False), ([("a", "*")], False),
    ],
)  # fmt: skip
def test_tags_are_as_aws_allows_them(pairs, good):
    """AWS's lengths and characters; no reserved prefix; no key twice in any case; nothing that a pattern would read as more."""
    if good:
        assert tags_of(pairs) == dict(pairs)
    else:
        with pytest.raises(InvalidParameterValue):
            tags_of(pairs)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("RoleSessionName", ["ab", "a.b@c=d,e+f-g_h", "1700000000000000000", "x" * 64], ["a", "x" * 65, "a b", "a/b", "a:b", "a\nb"]),
        ("TokenRevokeType", ["laptop", "a:b/c"], ["a b", "x" * 65, "a\n", "\u00e9"]),
        ("RoleArn", ["x", ARN, "arn:minio:iam:::role/dummy-internal"], ["a\nb", "x" * 2049]),
    ],
)  # fmt: skip
def test_names_have_their_shapes(name, good, bad):
    """What a client names is taken within its bounds and told by its parameter otherwise."""
    for value in good:
        assert asked("AssumeRole", **{name: value})
    for value in bad:
        with pytest.raises(InvalidParameterValue, match=name):
            asked("AssumeRole", **{name: value})


@given(
    st.sampled_from(sorted(ACTIONS)),
    st.dictionaries(
        st.sampled_from(
            ["Policy", "Tags.member.1.Key", "Tags.member.1.Value", "PolicyArns.member.1.arn", "DurationSeconds", "x"]
        )
        | st.text(),
        st.text(),
    ),
)
def test_any_parameters_are_understood_or_refused(action, parameters):
    """Whatever is sent ends in what is wanted, or in an StsError."""
    try:
        assert asked(action, **parameters).action.name == action
    except StsError as error:
        assert error.status == 400  # noqa: PT017 - as above


def _actions() -> str:
    rows = ["| action | signed | required | accepted | ignored | refused | seconds |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*rows, *map(_row, ACTIONS.values())])


def _row(action: Action) -> str:
    def named(pairs) -> str:
        return "; ".join(f"`{name}`: {why}" for name, why in pairs.items())

    required = ", ".join(" or ".join(f"`{name}`" for name in names) for names in action.required)
    accepted = ", ".join(f"`{name}`" for name in action.accepted)
    default = "as long as the proof" if action.default is None else str(action.default)
    seconds = f"900 to {action.longest}; {default}" if "DurationSeconds" in action.accepted else ""
    cells = [f"`{action.name}`", "yes" if action.signed else "", required, accepted, named(action.ignored), named(action.refused), seconds]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _errors() -> str:
    found = [e for e in vars(wire).values() if isinstance(e, type) and issubclass(e, StsError) and e is not StsError]
    unique = sorted(set(found), key=lambda error: error.__name__)
    rows = [f"| `{e.__name__}` | {e.status} | {' '.join((e.__doc__ or '').split())} |" for e in unique]
    return "\n".join(["| code | status | when |", "|---|---|---|", *rows])


def document() -> str:
    """Return docs/sts.md with its tables as the code has them."""
    text = DOCUMENT.read_text()
    for name, table in (("actions", _actions()), ("errors", _errors())):
        begin, end = f"<!-- {name}: generated by tests/unit/sts/test_parameters.py -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def test_the_document_says_what_the_code_does():
    """docs/sts.md has every action with its parameters, and every error with its status, as the code has them."""
    assert DOCUMENT.read_text() == document(), "run: python -m tests.unit.sts.test_parameters"
    assert set(re.findall(r"^\| `(\w+)` \| (?:yes)? *\|", document(), re.MULTILINE)) == set(ACTIONS)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
