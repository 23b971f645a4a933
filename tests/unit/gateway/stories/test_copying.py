"""copying: what comes along with a copy needs its own rights, or does not come."""

from __future__ import annotations

import json

import pytest

from gateway.errors import S3Error
from gateway.stories.plans import Forward, NeedsTags
from iam.authorize import AllOf, IamPolicies
from iam.policy import parse
from tests.unit.gateway.signers import ANN, presigned, signed
from tests.unit.gateway.storied import plan_of, world

COPY = {"x-amz-copy-source": "/src/k"}
PLAIN = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
TAGS = ["s3:GetObjectTagging", "s3:PutObjectTagging"]
ANNOTATIONS = ["s3:GetObjectAnnotation", "s3:PutObjectAnnotation"]


def plan(headers: dict[str, str], *actions: str):
    """Return the plan of a copy by someone who may do these actions, or the error's code."""
    policies = {
        "ann": parse(json.dumps({"Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}))
    }
    try:
        return plan_of(*signed("PUT", "/ann/k", COPY | headers, who=ANN), world(AllOf(IamPolicies(lambda: policies))))
    except S3Error as error:
        return error.code


def annotations_of(found: Forward) -> str:
    """Return what a plan's copy does with annotations."""
    return found.request.headers.get("x-amz-object-annotation-directive", "")


def test_who_may_carry_everything_copies_at_once():
    """With every right the request goes as it came."""
    found = plan({}, *PLAIN, *TAGS, *ANNOTATIONS)
    assert isinstance(found, Forward)
    assert annotations_of(found) == ""


@pytest.mark.parametrize("missing", TAGS)
def test_tags_are_not_copied_by_who_may_not_read_or_write_them(missing):
    """Then the source is looked at: without tags it is copied, with tags or when that cannot be known it is not."""
    found = plan({}, *PLAIN, *ANNOTATIONS, *(a for a in TAGS if a != missing))
    assert isinstance(found, NeedsTags)
    assert found.objects == (("src", "k", ""),)
    assert found.then([()]).request.headers["x-amz-tagging-directive"] == "REPLACE"
    for tags in ((("a", "1"),), None):
        with pytest.raises(S3Error) as refused:
            found.then([tags])
        assert refused.value.code == "AccessDenied"


def test_tags_of_meanwhile_stay_behind():
    """What is copied because it had no tags is copied without any, whatever the client's own headers would have added."""
    said = {"x-amz-tagging-directive": "COPY", "x-amz-tagging": "a=1"}
    sent = plan(said, *PLAIN, "s3:PutObjectTagging", *ANNOTATIONS).then([()]).request.headers
    assert (sent["x-amz-tagging-directive"], sent.get("x-amz-tagging")) == ("REPLACE", None)


def test_the_tags_of_the_version_that_is_copied_count():
    """A source version's tags are read, and need the action for versions."""
    found = plan({"x-amz-copy-source": "/src/k?versionId=v"}, *PLAIN, *TAGS, *ANNOTATIONS)
    assert isinstance(found, NeedsTags)
    assert found.objects == (("src", "k", "v"),)
    source = {"x-amz-copy-source": "/src/k?versionId=v"}
    assert isinstance(plan(source, *PLAIN, *TAGS, "s3:GetObjectVersionTagging", *ANNOTATIONS), Forward)


def test_tags_that_are_replaced_need_no_right_at_the_source():
    """REPLACE needs the right to write tags, where it writes any."""
    assert isinstance(plan({"x-amz-tagging-directive": "REPLACE"}, *PLAIN, *ANNOTATIONS), Forward)
    both = {"x-amz-tagging-directive": "REPLACE", "x-amz-tagging": "a=1"}
    assert plan(both, *PLAIN, *ANNOTATIONS) == "AccessDenied"
    assert isinstance(plan(both, *PLAIN, "s3:PutObjectTagging", *ANNOTATIONS), Forward)


@pytest.mark.parametrize("missing", ANNOTATIONS)
def test_annotations_stay_behind_or_are_refused(missing):
    """Without the right, a copy that does not ask for annotations leaves them; one that does is denied."""
    rights = [*PLAIN, *TAGS, *(a for a in ANNOTATIONS if a != missing)]
    found = plan({}, *rights)
    assert isinstance(found, Forward)
    assert annotations_of(found) == "EXCLUDE"
    assert plan({"x-amz-object-annotation-directive": "COPY"}, *rights) == "AccessDenied"
    assert isinstance(plan({"x-amz-object-annotation-directive": "EXCLUDE"}, *rights), Forward)


@pytest.mark.parametrize("name", ["x-amz-tagging-directive", "x-amz-object-annotation-directive"])
@pytest.mark.parametrize("value", ["replace", "exclude", "REPLACE,COPY", "x"])
def test_a_directive_that_nobody_knows_is_no_directive(name, value):
    """A store might read it as COPY, so it is refused."""
    assert plan({name: value}, *PLAIN, *TAGS, *ANNOTATIONS) == "InvalidArgument"


@pytest.mark.parametrize("missing", ["s3:GetObject", "s3:PutObject"])
def test_trap_23_a_copy_needs_its_source_and_its_destination(missing):
    """Neither right stands for the other, whatever else is allowed."""
    assert plan({}, *(a for a in PLAIN if a != missing), *TAGS, *ANNOTATIONS) == "AccessDenied"


@pytest.mark.parametrize(
    "source", ["src/secret/k", "/src/secret/k", "src/%73ecret/k", "/src/secret%2Fk", "src/secret/k?versionId=v"]
)
def test_trap_24_a_condition_on_the_source_is_about_what_is_copied(source):
    """However the source is written, s3:x-amz-copy-source is the decoded bucket/key that the backend will read."""
    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*",
            "Condition": {"StringLike": {"s3:x-amz-copy-source": "src/secret/*"}}}  # fmt: skip
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policies = {"ann": parse(json.dumps({"Statement": [allow, deny]}))}
    for target in ("/ann/k", "/ann/k?partNumber=1&uploadId=u"):
        with pytest.raises(S3Error) as refused:
            plan_of(
                *signed("PUT", target, {"x-amz-copy-source": source}, who=ANN),
                world(AllOf(IamPolicies(lambda: policies))),
            )
        assert refused.value.code == "AccessDenied"


def test_a_directive_in_a_presigned_url_is_one_for_the_store_too():
    """A store that ignores it in the query would copy the tags: it crosses as the header that was judged."""
    statements = [{"Effect": "Allow", "Action": [*PLAIN, *ANNOTATIONS], "Resource": "*"}]
    policies = {"ann": parse(json.dumps({"Statement": statements}))}
    request = presigned("PUT", "/ann/k?x-amz-tagging-directive=REPLACE", COPY, who=ANN)
    found = plan_of(*request, world(AllOf(IamPolicies(lambda: policies))))
    assert isinstance(found, Forward)
    assert found.request.headers["x-amz-tagging-directive"] == "REPLACE"
    assert "x-amz-tagging-directive" not in found.request.parameters


PUBLIC = {"StringEquals": {"s3:RequestObjectTag/class": "public"}}


@pytest.mark.parametrize("directive", [{}, {"x-amz-tagging-directive": "COPY"}])
def test_trap_32_tags_that_a_copy_ignores_satisfy_no_policy(directive):
    """Who may give the tag class=public only may not carry class=secret over under that word; the header is not sent."""
    statements = [
        {"Effect": "Allow", "Action": [*PLAIN, *ANNOTATIONS, "s3:GetObjectTagging"], "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:PutObjectTagging", "Resource": "*", "Condition": PUBLIC},
    ]
    where = world(AllOf(IamPolicies(lambda: {"ann": parse(json.dumps({"Statement": statements}))})))
    said = COPY | directive | {"x-amz-tagging": "class=public"}
    found = plan_of(*signed("PUT", "/ann/k", said, who=ANN), where)
    assert isinstance(found, NeedsTags)
    with pytest.raises(S3Error) as refused:
        found.then([(("class", "secret"),)])
    assert refused.value.code == "AccessDenied"
    assert "x-amz-tagging" not in found.then([()]).request.headers
    replaced = plan_of(*signed("PUT", "/ann/k", said | {"x-amz-tagging-directive": "REPLACE"}, who=ANN), where)
    assert replaced.request.headers["x-amz-tagging"] == "class=public"


def test_tags_that_a_copy_ignores_are_not_sent():
    """Whoever may carry the source's tags sends a request that every store reads alike, signed in the header or in a URL."""
    sent = plan({"x-amz-tagging": "a=1"}, *PLAIN, *TAGS, *ANNOTATIONS)
    assert "x-amz-tagging" not in sent.request.headers
    where = world(
        AllOf(
            IamPolicies(
                lambda: {"ann": parse(json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}))}
            )
        )
    )
    hoisted = plan_of(*presigned("PUT", "/ann/k?x-amz-tagging=a%3D1", COPY, who=ANN), where)
    assert "x-amz-tagging" not in hoisted.request.headers
    assert "x-amz-tagging" not in hoisted.request.parameters
