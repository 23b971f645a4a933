"""documents: what a body says is judged before it is sent, and sent as it was judged."""

from __future__ import annotations

import json
from hashlib import sha256
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import S3Error
from gateway.s3 import xml
from gateway.stories.documents import MAX_DOCUMENT
from gateway.stories.plans import Forward, NeedsBody
from iam.authorize import AllOf, IamPolicies
from iam.model import Allow
from iam.policy import parse
from tests.unit.gateway.signers import ANN, signed
from tests.unit.gateway.storied import plan_of, world

NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
REGION = "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
TAGS = "<Tagging><TagSet><Tag><Key>{}</Key><Value>{}</Value></Tag></TagSet></Tagging>"
RETENTION = "<Retention><Mode>{}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>"
HOLD = "<LegalHold><Status>{}</Status></LegalHold>"


def under(action: str, effect: str = "Allow", **condition):
    """Return a world in which Ann may all but that the action has this condition."""
    statements = [{"Effect": effect, "Action": action, "Resource": "*", "Condition": condition}]
    if effect == "Deny":
        statements.append({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    policies = {"ann": parse(json.dumps({"Version": "2012-10-17", "Statement": statements}))}
    return world(AllOf(IamPolicies(lambda: policies)))


def put(target: str, document: str, where, method: str = "PUT", **headers):
    """Return what becomes of a document: the plan after it was read, or the error's code."""
    body = document.encode()
    given = {"Content-Length": str(len(body)), **{n.replace("_", "-"): v for n, v in headers.items()}}
    request, now = signed(method, target, given, who=ANN, payload=sha256(body).hexdigest())
    try:
        plan = plan_of(request, now, where)
        assert isinstance(plan, NeedsBody)
        assert plan.limit == MAX_DOCUMENT
        return plan.then(body)
    except S3Error as error:
        return error.code


ONLY_EU = under("s3:CreateBucket", StringEquals={"s3:LocationConstraint": "eu-west-1"})
ONLY_RED = under("s3:PutObjectTagging", StringEquals={"s3:RequestObjectTag/color": "red"})
NO_COLOR = under("s3:PutObjectTagging", "Deny", **{"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": ["color"]}})
NOT_COMPLIANCE = under("s3:PutObjectRetention", "Deny", StringEquals={"s3:object-lock-mode": "COMPLIANCE"})
TEN_DAYS = under("s3:PutObjectRetention", NumericLessThanEquals={"s3:object-lock-remaining-retention-days": 10})
ONLY_OFF = under("s3:PutObjectLegalHold", StringEquals={"s3:object-lock-legal-hold": "OFF"})


@pytest.mark.parametrize(
    ("target", "document", "where", "allowed"),
    [
        ("/bkt", REGION.format("eu-west-1"), ONLY_EU, True),
        ("/bkt", REGION.format("us-west-2"), ONLY_EU, False),
        ("/bkt", "<CreateBucketConfiguration/>", ONLY_EU, False),
        ("/bkt/k?tagging", TAGS.format("color", "red"), ONLY_RED, True),
        ("/bkt/k?tagging", TAGS.format("color", "blue"), ONLY_RED, False),
        ("/bkt/k?tagging", TAGS.format("Color", "red"), ONLY_RED, False),
        ("/bkt/k?tagging", "<Tagging><TagSet/></Tagging>", ONLY_RED, False),
        ("/bkt/k?tagging", TAGS.format("size", "1"), NO_COLOR, True),
        ("/bkt/k?tagging", TAGS.format("color", "1"), NO_COLOR, False),
        ("/bkt/k?tagging", "<Tagging><TagSet/></Tagging>", NO_COLOR, True),
        ("/bkt/k?retention", RETENTION.format("GOVERNANCE", "2027-01-01T00:00:00Z"), NOT_COMPLIANCE, True),
        ("/bkt/k?retention", RETENTION.format("COMPLIANCE", "2027-01-01T00:00:00Z"), NOT_COMPLIANCE, False),
        ("/bkt/k?retention", RETENTION.format("GOVERNANCE", "2001-01-01T00:00:00Z"), TEN_DAYS, True),
        ("/bkt/k?retention", RETENTION.format("GOVERNANCE", "9999-01-01T00:00:00Z"), TEN_DAYS, False),
        ("/bkt/k?retention", RETENTION.format("GOVERNANCE", "soon"), TEN_DAYS, False),
        ("/bkt/k?legal-hold", HOLD.format("OFF"), ONLY_OFF, True),
        ("/bkt/k?legal-hold", HOLD.format("ON"), ONLY_OFF, False),
    ],
)
def test_conditions_hold_for_what_the_document_says(target, document, where, allowed):
    """Region, tags, retention and legal hold of the document decide, with and without S3's namespace."""
    name = document[1:].split(">")[0].split("/")[0]
    for text in (document, document.replace(f"<{name}", f"<{name} {NS}", 1)):
        plan = put(target, text, where)
        assert isinstance(plan, Forward) if allowed else plan == "AccessDenied"


def test_a_header_does_not_speak_for_the_document():
    """A header of PutObject's that the operation does not know cannot say what the document does not."""
    forged = put("/bkt/k?tagging", TAGS.format("color", "blue"), ONLY_RED, x_amz_tagging="color=red")
    assert forged == "AccessDenied"
    forged = put("/bkt/k?legal-hold", HOLD.format("ON"), ONLY_OFF, x_amz_object_lock_legal_hold="OFF")
    assert forged == "AccessDenied"


def test_what_was_judged_is_what_is_sent():
    """The document is written anew from what was read: no comment, no foreign namespace, nothing between."""
    plan = put("/bkt/k?tagging", f"<Tagging {NS}>\n <TagSet><!-- x --><Tag><Key>color</Key><Value>red</Value></Tag></TagSet></Tagging>", ONLY_RED)  # fmt: skip
    assert plan.body == (xml.PROLOG + f"<Tagging {NS}><TagSet><Tag><Key>color</Key><Value>red</Value></Tag></TagSet></Tagging>").encode()  # fmt: skip


@pytest.mark.parametrize(
    ("target", "document"),
    [
        ("/bkt", REGION.format("us-west-2").replace("</Create", "<LocationConstraint>eu-west-1</LocationConstraint></Create")),
        ("/bkt", REGION.format(" eu-west-1")),
        ("/bkt", REGION.format("eu-west-1").replace("<Loc", '<Loc xmlns="urn:x" ', 1)),
        ("/bkt", REGION.format("eu-west-1").replace("LocationConstraint>", "locationconstraint>")),
        ("/bkt", REGION.format("<b>eu-west-1</b>")),
        ("/bkt", f'<!DOCTYPE x [<!ENTITY e "eu-west-1">]>{REGION.format("&e;")}'),
        ("/bkt", "<Other/>"),
        ("/bkt", "not XML"),
        ("/bkt/k?tagging", TAGS.format("color", "red").replace("</TagSet>", "<Tag><Key>color</Key><Value>blue</Value></Tag></TagSet>")),
        ("/bkt/k?tagging", "<Tagging><TagSet><Tag><Key>color</Key></Tag></TagSet></Tagging>"),
        ("/bkt/k?tagging", "<Tagging><Tag><Key>color</Key><Value>red</Value></Tag></Tagging>"),
        ("/bkt/k?retention", "<Retention><Mode>GOVERNANCE</Mode><Mode>COMPLIANCE</Mode></Retention>"),
        ("/bkt/k?legal-hold", '<LegalHold><Status a="1">OFF</Status></LegalHold>'),
    ],
)  # fmt: skip
def test_a_document_that_could_be_read_in_two_ways_is_malformed(target, document):
    """Members given twice, unknown, in other namespaces or padded: MalformedXML, whatever policy would say."""
    assert put(target, document, under("s3:*", Null={"aws:SourceIp": "false"})) == "MalformedXML"


@pytest.mark.parametrize("tags", [
    "<TagSet><Tag><Key>pad</Key><Key>color</Key><Value>blue</Value></Tag><Tag><Value>red</Value></Tag></TagSet>",
    "<TagSet><Tag><Key>pad</Key><Value>x</Value><Value>red</Value></Tag><Tag><Key>color</Key><Value>blue</Value></Tag><Tag><Key>z</Key></Tag></TagSet>",
    "<TagSet><Tag><Key>color</Key><Value>red</Value></Tag></TagSet><TagSet><Tag><Key>color2</Key><Value>blue</Value></Tag></TagSet>",
    "<TagSet><Tag><Key>color</Key></Tag><Tag><Value>red</Value></Tag></TagSet>", "<TagSet><Tag/><Tag><Key>color</Key><Value>red</Value></Tag></TagSet>",
])  # fmt: skip
def test_a_tag_is_one_key_and_one_value(tags):
    """What is judged is what a store would read, tag by tag: else another tag's value would be this one's."""
    assert put("/ann/k?tagging", f"<Tagging>{tags}</Tagging>", ONLY_RED) == "MalformedXML"
    bucket = f"<CreateBucketConfiguration>{tags.replace('TagSet', 'Tags')}</CreateBucketConfiguration>"
    assert put("/ann", bucket, world()) == "MalformedXML"


def test_a_new_bucket_with_tags_needs_the_action_for_tags():
    """CreateBucket with tags is CreateBucket and TagResource."""
    document = (
        "<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>1</Value></Tag></Tags></CreateBucketConfiguration>"
    )
    always = {"Null": {"aws:SourceIp": "false"}}
    assert put("/bkt", document, under("s3:CreateBucket", **always)) == "AccessDenied"
    plan = put("/bkt", document, under("s3:*", **always))
    assert isinstance(plan, Forward)
    assert b"<Tag><Key>a</Key><Value>1</Value></Tag>" in plan.body
    for value, answer in (("1", Forward), ("2", str)):
        tagged = {"StringEquals": {"aws:RequestTag/a": value}, "ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}
        assert isinstance(put("/bkt", document, under("s3:*", **tagged)), answer)


def test_a_restore_that_writes_elsewhere_is_not_implemented():
    """A RestoreObject that only restores goes on; one with a query and a place for its result does not."""
    free = under("s3:*", Null={"aws:SourceIp": "false"})
    plain = (
        "<RestoreRequest><Days>1</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters></RestoreRequest>"
    )
    assert isinstance(put("/bkt/k?restore", plain, free, "POST"), Forward)
    output = "<OutputLocation><S3><BucketName>other</BucketName><Prefix>p</Prefix></S3></OutputLocation>"
    for more in (output, "<Type>SELECT</Type>", "<SelectParameters/>"):
        assert put("/bkt/k?restore", plain.replace("<Days>", f"{more}<Days>"), free, "POST") == "NotImplemented"


def test_a_request_without_a_document_waits_for_none():
    """CreateBucket without a body is judged and forwarded at once, without a body."""
    where = under("s3:CreateBucket", Null={"s3:LocationConstraint": "true"})
    plan = plan_of(*signed("PUT", "/bkt", {}, who=ANN), where)
    assert isinstance(plan, Forward)
    assert plan.body is None


def test_a_body_that_is_not_what_was_signed_is_refused():
    """The document's hash is checked before it is read."""
    body = REGION.format("eu-west-1").encode()
    request, now = signed("PUT", "/bkt", {"Content-Length": str(len(body))}, who=ANN, payload="0" * 64)
    plan = plan_of(request, now, ONLY_EU)
    with pytest.raises(S3Error) as refused:
        plan.then(body)
    assert refused.value.code == "XAmzContentSHA256Mismatch"


FREE = under("s3:*", Null={"aws:SourceIp": "false"})
TEXTS = st.text(
    st.characters(exclude_characters="\x00\ufffe\uffff", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
)


@given(st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_any_tags_are_told_and_sent_as_they_are(tags):
    """What policy sees of the tags and what the store reads of them are the tags that the client wrote."""
    inner = "".join(f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in tags.items())
    seen = []

    class Seeing:
        def decide_now(self, request):
            seen.append(request.context)
            return Allow()

        def wants_existing_tags(self, request):
            return False

    plan = put("/bkt/k?tagging", f"<Tagging><TagSet>{inner}</TagSet></Tagging>", world(Seeing()))
    assert xml.tags(plan.body) == tuple(tags.items())
    assert seen[0].values("s3:RequestObjectTagKeys") == (tuple(tags) or None)
    assert all(seen[0].values(f"s3:RequestObjectTag/{key}") == (value,) for key, value in tags.items())


PIECES = st.sampled_from(["<Tagging>", "</Tagging>", "<TagSet>", "</TagSet>", "<Tag>", "</Tag>", "<Key>k</Key>", "<Value>v</Value>",
                          "<Key/>", "<!-- c -->", "<![CDATA[x]]>", "<!DOCTYPE x>", "&amp;", "&e;", " ", "x", '<Key a="1">', "\x00"])  # fmt: skip


@given(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=60)))
def test_any_document_is_read_or_refused_as_malformed(document):
    """Whatever comes, the answer is a plan to send what was read, or MalformedXML; nothing else escapes."""
    if not document.encode("utf-8", "replace"):
        return
    plan = put("/bkt/k?tagging", document.encode("utf-8", "replace").decode(), FREE)
    assert plan == "MalformedXML" or xml.tags(plan.body) is not None
