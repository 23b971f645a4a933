"""The STS wire: which calls are understood, and documents that boto3, minio-py and any XML parser read."""

from __future__ import annotations

from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import botocore.session
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from iam.model import Credentials, Secret
from sts import wire
from sts.wire import (
    InvalidParameterValue,
    MissingAction,
    MissingParameter,
    Named,
    StsCall,
    StsError,
    parse_call,
    render_error,
    render_result,
)

FORM = "application/x-www-form-urlencoded"
NS = "{https://sts.amazonaws.com/doc/2011-06-15/}"
CREDENTIALS = Credentials("A" * 20, Secret("s+/<&>"), Secret("h.p.s"), 1_534_891_778)
ACTIONS = ["AssumeRole", "AssumeRoleWithClientGrants", "AssumeRoleWithWebIdentity"]


def parse(query="", body=b"", content_type=FORM):
    return parse_call(query, body, content_type, signer=None, source_ip="192.0.2.1")


def test_the_call_of_2018():
    """All in the query, no Version, no body, no content type: understood as it was."""
    found = parse("Action=AssumeRoleWithClientGrants&DurationSeconds=3600&Token=a.b.c", b"", "")
    assert found == StsCall(
        "AssumeRoleWithClientGrants",
        {"Action": "AssumeRoleWithClientGrants", "DurationSeconds": "3600", "Token": "a.b.c"},
        None,
        "192.0.2.1",
    )


@pytest.mark.parametrize("kind", [FORM, f"{FORM}; charset=utf-8", f"{FORM};charset=UTF-8", FORM.title()])
def test_forms_are_read(kind):
    """The form that SDKs send is read, in whatever spelling of its media type."""
    found = parse("", b"Action=AssumeRole&Version=2011-06-15&Policy=%7B%22a%22%3A+1%7D&RoleSessionName=s%2B1", kind)
    assert (found.parameters["Policy"], found.parameters["RoleSessionName"]) == ('{"a": 1}', "s+1")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "multipart/form-data", f"{FORM}x", f"x{FORM}"])
def test_trap_48_other_bodies_are_not_parameters(kind):
    """A body is a form only when its content type says so."""
    with pytest.raises(MissingAction):
        parse("", b"Action=AssumeRole&Version=2011-06-15", kind)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("Action=AssumeRole&Action=X", b""),
        ("Action=AssumeRole&Version=2011-06-15&Policy=&Policy=x", b""),
        ("Action=AssumeRole", b"Action=X&Version=2011-06-15"),
        ("Action=AssumeRole&Version=2011-06-15", b"Version=2011-06-15"),
        ("Token=a", b"Action=A&Version=2011-06-15&Token=a"),
        ("", b"Action=A&Action=A"),
        ("", b"Action=A&%41ction=A"),
    ],
)
def test_trap_48_parameters_given_twice_are_refused(query, body):
    """The same parameter in query and body, or twice in either, however it is spelled, is refused."""
    with pytest.raises(InvalidParameterValue, match="more than once"):
        parse(query, body)


@pytest.mark.parametrize(
    ("query", "body", "error"),
    [
        ("", b"", MissingAction),
        ("Version=2011-06-15", b"", MissingAction),
        ("Action=&Version=2011-06-15", b"", MissingAction),
        ("action=AssumeRole", b"", MissingAction),
        ("Action=AssumeRole&Version=2010-01-01", b"", MissingParameter),
        ("Action=AssumeRole&Version=", b"", MissingParameter),
        ("", b"Action=AssumeRole", MissingParameter),
        ("Action=AssumeRole", b"Token=x", MissingParameter),
        ("Action=AssumeRole&Token=%ff", b"", InvalidParameterValue),
        ("Action=AssumeRole&Token=\udcff", b"", InvalidParameterValue),
        ("", b"Action=AssumeRole&Token=\xff", InvalidParameterValue),
        ("", b"a=1&" * 200, InvalidParameterValue),
        ("", b"&".join(b"a%d=1" % i for i in range(200)), InvalidParameterValue),
    ],
)
def test_what_is_not_understood_is_refused(query, body, error):
    """No action, another version, bytes that are no text, absurdly many parameters: each is told what it is."""
    with pytest.raises(error):
        parse(query, body)


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_a_call_or_an_error(query, body):
    """Whatever arrives is a call or an StsError, and nothing else."""
    try:
        assert parse(query, body).action
    except StsError as error:
        assert ET.fromstring(render_error(error.code, error.text, "R")) is not None  # noqa: PT017 - as above


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_parameters_come_as_they_were_sent(parameters):
    """Query and form decode to what was encoded."""
    parameters = {"Action": "A", "Version": "2011-06-15"} | parameters
    try:
        assert parse(urlencode(parameters, quote_via=quote)).parameters == parameters
        assert parse("", urlencode(parameters).encode()).parameters == parameters
    except StsError:
        assert not parameters["Action"] or parameters["Version"] != "2011-06-15"


def result(action, subject="sub<ject>&", **parameters) -> bytes:
    return render_result(StsCall(action, parameters, None, ""), CREDENTIALS, Named(subject), request_id="RID")


@pytest.mark.parametrize("action", ACTIONS)
def test_shape_of_a_result(action):
    """Root, namespace, result and credentials are named as MinIO's clients look them up; the expiry is UTC with Z."""
    root = ET.fromstring(result(action))
    found = root.find(f"{NS}{action}Result/{NS}Credentials")
    assert root.tag == f"{NS}{action}Response"
    assert {child.tag.removeprefix(NS): child.text for child in found} == {
        "AccessKeyId": "A" * 20, "SecretAccessKey": "s+/<&>", "SessionToken": "h.p.s", "Expiration": "2018-08-21T22:49:38Z",
    }  # fmt: skip
    assert root.findtext(f"{NS}ResponseMetadata/{NS}RequestId") == "RID"
    assert root.find(f"{NS}{action}Result/{NS}AssumedRoleUser/{NS}AssumeRoleId") is not None


@pytest.mark.parametrize(
    ("action", "element"),
    [("AssumeRoleWithWebIdentity", "SubjectFromWebIdentityToken"), ("AssumeRoleWithClientGrants", "SubjectFromToken")],
)
def test_subject(action, element):
    """The token's subject is told under the name each call has for it, and left out when there is none."""
    assert ET.fromstring(result(action)).findtext(f".//{NS}{element}") == "sub<ject>&"
    assert ET.fromstring(result(action, "")).find(f".//{NS}{element}") is None


def read_by_botocore(operation, status, body):
    """Return what botocore's own parser makes of a document."""
    model = botocore.session.get_session().get_service_model("sts")
    parser = create_parser(model.metadata["protocol"])
    shape = model.operation_model(operation).output_shape
    return parser.parse({"status_code": status, "headers": {}, "body": body}, shape)


@pytest.mark.parametrize("operation", ["AssumeRole", "AssumeRoleWithWebIdentity"])
def test_botocore_reads_results(operation):
    """boto3 finds the credentials, the assumed role and the request id."""
    arn = "arn:aws:iam::123456789012:role/any"
    found = read_by_botocore(operation, 200, result(operation, RoleArn=arn, RoleSessionName="s1"))
    assert found["Credentials"]["SecretAccessKey"] == "s+/<&>"
    assert found["Credentials"]["Expiration"].timestamp() == CREDENTIALS.expires_at
    assert found["AssumedRoleUser"] == {"AssumedRoleId": f"{'A' * 20}:s1", "Arn": arn}
    assert found["ResponseMetadata"]["RequestId"] == "RID"


def test_botocore_reads_errors():
    """boto3 finds code, message and request id."""
    found = read_by_botocore("AssumeRole", 403, render_error("AccessDenied", "No <way> & none.", "RID"))
    assert (found["Error"]["Code"], found["Error"]["Message"]) == ("AccessDenied", "No <way> & none.")
    assert found["ResponseMetadata"]["RequestId"] == "RID"


def test_shape_of_an_error():
    """ErrorResponse in the namespace: an empty Type, Code, Message; beside them the request id."""
    root = ET.fromstring(render_error("InvalidParameterValue", "text", "RID"))
    assert [child.tag for child in root] == [f"{NS}Error", f"{NS}RequestId"]
    assert [(child.tag, child.text) for child in root[0]] == [
        (f"{NS}Type", None), (f"{NS}Code", "InvalidParameterValue"), (f"{NS}Message", "text"),
    ]  # fmt: skip


@given(st.text(st.characters(codec=None)))
def test_any_text_makes_a_document(text):
    """Names from outside, half characters and control characters among them, never break a document."""
    document = result("AssumeRoleWithWebIdentity", text, RoleArn=text, RoleSessionName=text)
    for one in (document, render_error("AccessDenied", text, "R")):
        assert ET.fromstring(one).tag.startswith(NS)


def errors():
    return [e for e in vars(wire).values() if isinstance(e, type) and issubclass(e, StsError) and e is not StsError]


@pytest.mark.parametrize("error", errors())
def test_every_error_has_its_own_words(error):
    """Each error has a status of a refusal and a message of its own; the reason is for the log alone."""
    one = error(reason="the-reason")
    assert one.status in {400, 403, 500, 503}
    assert one.text == error.message != StsError.message
    assert "the-reason" not in str(one)
