"""Routing: the most specific operation, or a refusal; and every operation has its actions."""

from __future__ import annotations

import itertools

import pytest
from botocore.loaders import Loader

from gateway.errors import InvalidArgument, S3Error
from gateway.s3.actions import ACTIONS, copy_source, required
from gateway.s3.operations import REFUSED, resolve, settled, table
from gateway.s3.request import parse
from gateway.signing.checksums import HEADERS


def request(method: str, target: str, **headers: str):
    pairs = [("host", "h"), *((n.replace("_", "-"), v) for n, v in headers.items())]
    return parse(method, target, pairs, source_ip="127.0.0.1")


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation", "actions"),
    [
        ("GET", "/", {}, "ListBuckets", ["s3:ListAllMyBuckets"]),
        ("GET", "/buc", {}, "ListObjects", ["s3:ListBucket"]),
        ("GET", "/buc?list-type=2&prefix=a", {}, "ListObjectsV2", ["s3:ListBucket"]),
        ("GET", "/buc?versions", {}, "ListObjectVersions", ["s3:ListBucketVersions"]),
        ("GET", "/buc?analytics", {}, "ListBucketAnalyticsConfigurations", ["s3:GetAnalyticsConfiguration"]),
        ("GET", "/buc?analytics&id=1", {}, "GetBucketAnalyticsConfiguration", ["s3:GetAnalyticsConfiguration"]),
        ("DELETE", "/buc?policy", {}, "DeleteBucketPolicy", ["s3:DeleteBucketPolicy"]),
        ("DELETE", "/buc", {}, "DeleteBucket", ["s3:DeleteBucket"]),
        ("GET", "/buc/k", {}, "GetObject", ["s3:GetObject"]),
        ("GET", "/buc/k?versionId=v", {}, "GetObject", ["s3:GetObjectVersion"]),
        ("GET", "/buc/k?x-id=GetObject", {}, "GetObject", ["s3:GetObject"]),
        ("GET", "/buc/k?uploadId=u", {}, "ListParts", ["s3:ListMultipartUploadParts"]),
        ("PUT", "/buc/k", {}, "PutObject", ["s3:PutObject"]),
        ("PUT", "/buc/k", {"x_amz_tagging": "a=1"}, "PutObject", ["s3:PutObject", "s3:PutObjectTagging"]),
        ("PUT", "/buc/k", {"x_amz_copy_source": "/src/k%20"}, "CopyObject", ["s3:PutObject", "s3:GetObject"]),
        ("PUT", "/buc/k?partNumber=1&uploadId=u", {}, "UploadPart", ["s3:PutObject"]),
        (
            "PUT",
            "/buc/k?partNumber=1&uploadId=u",
            {"x_amz_copy_source": "src/k?versionId=v"},
            "UploadPartCopy",
            ["s3:PutObject", "s3:GetObjectVersion"],
        ),
        ("POST", "/buc/k?uploads", {}, "CreateMultipartUpload", ["s3:PutObject"]),
        ("POST", "/buc/k?uploadId=u", {}, "CompleteMultipartUpload", ["s3:PutObject"]),
        ("DELETE", "/buc/k?uploadId=u", {}, "AbortMultipartUpload", ["s3:AbortMultipartUpload"]),
        ("DELETE", "/buc/k?versionId=v", {}, "DeleteObject", ["s3:DeleteObjectVersion"]),
        ("POST", "/buc?delete", {}, "DeleteObjects", ["s3:DeleteObject"]),
        ("HEAD", "/buc", {}, "HeadBucket", ["s3:ListBucket"]),
        ("POST", "/buc/k?select&select-type=2", {}, "SelectObjectContent", ["s3:GetObject"]),
        (
            "PUT",
            "/buc/k",
            {"x_amz_object_lock_event_hold": "ON"},
            "PutObject",
            ["s3:PutObject", "s3:PutObjectRetention"],
        ),
        ("GET", "/buc/k?annotation&versionId=v", {}, "ListObjectAnnotations", ["s3:ListObjectVersionAnnotations"]),
        ("GET", "/buc/k?retention&versionId=v", {}, "GetObjectRetention", ["s3:GetObjectRetention"]),
        ("POST", "/buc/k?restore&versionId=v", {}, "RestoreObject", ["s3:RestoreObject"]),
        (
            "DELETE",
            "/buc/k",
            {"x_amz_bypass_governance_retention": "1"},
            "DeleteObject",
            ["s3:DeleteObject", "s3:BypassGovernanceRetention"],
        ),
        ("DELETE", "/buc/k", {"x_amz_bypass_governance_retention": "False"}, "DeleteObject", ["s3:DeleteObject"]),
    ],
)
def test_operation_and_actions(method, target, headers, operation, actions):
    """A request is exactly this operation and needs exactly these actions."""
    one = request(method, target, **headers)
    found = resolve(one)
    assert found.name == operation
    assert [need.action for need in required(found, one)] == actions


@pytest.mark.parametrize(
    "target",
    ["/buc?ACL", "/buc?unknown", "/buc?acl&policy", "/buc/k?acl=x", "/buc/k?uploads", "/buc?acl&x=1", "/?prefixx=1"],
)
def test_trap_62_unknown_parameters_never_fall_through(target):
    """A parameter that the operation does not know is refused, whatever the method."""
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        with pytest.raises(S3Error) as refused:
            resolve(request(method, target))
        assert refused.value.status in {405, 501}


def test_a_missing_header_is_named():
    """GetObjectAttributes without the header that says which is a mistake in the request, not an operation that is not there."""
    with pytest.raises(InvalidArgument, match="x-amz-object-attributes"):
        resolve(request("GET", "/buc/k?attributes"))
    assert resolve(request("GET", "/buc/k?attributes", x_amz_object_attributes="ETag")).name == "GetObjectAttributes"
    for method, target in (("GET", "/buc/k?attributes=x"), ("PUT", "/buc/k?attributes"), ("GET", "/buc?attributes")):
        with pytest.raises(S3Error) as refused:
            resolve(request(method, target))
        assert refused.value.status == 501


def test_every_operation_has_its_actions():
    """The routing table and the action table name the same operations; with the refused ones they are S3's model."""
    assert {o.name for found in table().values() for o in found} == set(ACTIONS)
    assert not ACTIONS.keys() & REFUSED.keys()
    assert set(Loader().load_service_model("s3", "service-2")["operations"]) == ACTIONS.keys() | REFUSED.keys()


PATHS = {"service": "/", "bucket": "/buc", "object": "/buc/key"}
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"]
OPERATIONS = [operation for found in table().values() for operation in found]
#: Everything that makes one operation another: fixed and required parameters, of any operation.
SELECTORS = sorted(
    {(n, v) for o in OPERATIONS for n, v in o.static} | {(n, "x") for o in OPERATIONS for n in o.needs_query}
)


def meant(method: str, level: str, query: dict[str, str]) -> str | None:
    """Say naively which operation a request without headers is: the one that needs most of those that know all of it."""
    fitting = [
        o for o in OPERATIONS
        if (o.method, o.level) == (method, level) and not o.needs_headers and query.keys() <= o.query
        and dict(o.static).items() <= query.items() and o.needs_query <= query.keys()
    ]  # fmt: skip
    return max(fitting, key=lambda o: o.weight).name if fitting else None


def routed(method: str, target: str) -> str | None:
    """Return the operation's name, None for a refusal as S3 refuses, the error's code for any other."""
    try:
        return resolve(request(method, target)).name
    except S3Error as error:
        return (
            None
            if error.status in {405, 501} or error.text == "The header x-amz-object-attributes is missing."
            else error.code
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", PATHS)
def test_trap_22_every_subresource_is_its_own_operation_or_refused(method, level):
    """Every selector of the model alone, with and without `=`, and in capitals: one known operation, else a refusal."""
    for name, value in SELECTORS:
        spellings = {f"{name}={value}": value, f"{name}=": "", name: "", f"{name}=zzz": "zzz"}
        for text, given in spellings.items():
            assert routed(method, f"{PATHS[level]}?{text}") == meant(method, level, {name: given}), text
        for other in (name.upper(), name.capitalize(), f"{name}%20", f"{name}%00", f"%20{name}"):
            assert other != name
            assert routed(method, f"{PATHS[level]}?{other}={value}") is None, other


@pytest.mark.parametrize("method", METHODS[:5])
@pytest.mark.parametrize("level", ["bucket", "object"])
def test_trap_62_two_subresources_never_fall_through(method, level):
    """Every two selectors together, in both orders: the operation that knows both, or a refusal."""
    for (one, first), (two, second) in itertools.permutations(SELECTORS, 2):
        if one != two:
            target = f"{PATHS[level]}?{one}={first}&{two}={second}"
            assert routed(method, target) == meant(method, level, {one: first, two: second}), target


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/buc?session", {}),
        ("PUT", "/buc/k?renameObject", {"x_amz_rename_source": "k2"}),
        ("GET", "/?max-directory-buckets=1", {}),
        ("POST", "/WriteGetObjectResponse", {"x_amz_request_route": "r", "x_amz_request_token": "t"}),
        ("GET", "/buc?events=s3:ObjectCreated:*", {}),
        ("GET", "/buc?uploads&metadata=true", {}),
        ("GET", "/buc/k?metadata=true", {}),
        ("PUT", "/buc/k", {"x_amz_meta_snowball_auto_extract": "true"}),
        ("DELETE", "/buc/k", {"x_minio_force_delete": "true"}),
    ],
)
def test_what_would_lead_past_the_policy_is_refused(method, target, headers):
    """Operations that hand out the backend's keys or reach keys nobody judged are S3's own refusals."""
    with pytest.raises(S3Error) as refused:
        resolve(request(method, target, **headers))
    assert refused.value.code in {"NotImplemented", "MethodNotAllowed"}


@pytest.mark.parametrize(
    ("query", "name"), [("list-type=2&", "ListObjectsV2"), ("", "ListObjects"), ("versions&", "ListObjectVersions")]
)
@pytest.mark.parametrize("value", ["true", "false"])
def test_a_listing_with_metadata_is_a_listing(query, name, value):
    """`mc mirror -a` asks so: it is the same operation with the same parameters, and the wish is none of what crosses."""
    found = resolve(request("GET", f"/buc?{query}metadata={value}"))
    assert found.name == name
    assert "metadata" not in found.query


SIGNED = "X-Amz-Signature=0&X-Amz-Algorithm=AWS4-HMAC-SHA256"


def test_headers_in_a_presigned_url_are_judged_as_headers():
    """What SDKs hoist into the query of a presigned URL needs the same actions as the header would."""
    hoisted = "x-amz-acl=public-read&X-Amz-Tagging=a%3D1&x-amz-object-lock-mode=GOVERNANCE&x-amz-meta-color=red"
    one = request("PUT", f"/buc/k?{hoisted}&x-amz-checksum-crc32=AAAAAA%3D%3D&{SIGNED}")
    found = resolve(one)
    meant = settled(one, found)
    assert [need.action for need in required(found, meant)] == [
        "s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectAcl", "s3:PutObjectRetention",
    ]  # fmt: skip
    assert meant.headers.items() - one.headers.items() == {
        ("x-amz-acl", "public-read"), ("x-amz-tagging", "a=1"), ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-meta-color", "red"),
    }  # fmt: skip
    assert [n for n, _ in meant.query] == ["x-amz-checksum-crc32", "X-Amz-Signature", "X-Amz-Algorithm"]
    plain = request("PUT", "/buc/k")
    assert settled(plain, found) is plain


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/buc/k?x-amz-acl=private", {}),
        (f"/buc/k?x-amz-acl=private&{SIGNED}", {"x_amz_acl": "public-read"}),
        (f"/buc/k?x-amz-acl=private&X-Amz-Acl=public-read&{SIGNED}", {}),
        (f"/buc/k?x-amz-copy-source=b%2Fk&{SIGNED}", {}),
        (f"/buc/k?x-amz-security-token=t&{SIGNED}", {}),
        (f"/buc/k?x-amz-unknown=1&{SIGNED}", {}),
        (f"/buc/k?x-amz-server-side-encryption-customer-key=k&{SIGNED}", {}),
        (f"/buc/k?x-amz-meta-snowball-auto-extract=true&{SIGNED}", {}),
        (f"/buc/k?uploadId=u&partNumber=1&x-amz-acl=private&{SIGNED}", {}),
        (f"/buc/k?content-type=text%2Fhtml&{SIGNED}", {}),
    ],
)
def test_no_other_header_counts_as_a_parameter(target, headers):
    """Unsigned, doubled, unknown to the operation, a key, or choosing another operation: refused."""
    with pytest.raises(S3Error) as refused:
        resolve(request("PUT", target, **headers))
    assert refused.value.status in {400, 501}


def test_trap_36_rights_over_rights_are_their_own():
    """Who may write a bucket's policy, ACL, CORS or replication is said by its own action, which nothing else needs."""
    own = {"PutBucketPolicy", "DeleteBucketPolicy", "PutBucketAcl", "PutBucketCors", "DeleteBucketCors",
           "PutBucketReplication", "DeleteBucketReplication", "PutBucketOwnershipControls", "PutPublicAccessBlock",
           "DeletePublicAccessBlock", "DeleteBucketOwnershipControls", "PutObjectAcl"}  # fmt: skip
    actions = {ACTIONS[name] for name in own}
    assert {name for name, action in ACTIONS.items() if action in actions} == own
    for name in own - {"PutObjectAcl"}:
        operation = next(o for o in OPERATIONS if o.name == name)
        query = "&".join(n for n, _ in operation.static)
        assert [n.action for n in required(operation, request(operation.method, f"/buc?{query}"))] == [ACTIONS[name]]


def test_every_subresource_routes_to_its_own_operation():
    """A request made of an operation's own wire form is that operation."""
    for (method, level), operations in table().items():
        for operation in operations:
            query = [*(f"{n}={v}" for n, v in operation.static), *(f"{n}=x" for n in operation.needs_query)]
            path = {"service": "/", "bucket": "/buc", "object": "/buc/key"}[level]
            headers = dict.fromkeys(operation.needs_headers, "src/key")
            assert (
                resolve(
                    parse(method, f"{path}?{'&'.join(query)}", [("host", "h"), *headers.items()], source_ip="")
                ).name
                == operation.name
            )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "/",
        "bucket",
        "bucket/",
        "/b%2F..%2Fk",
        "//b%2Fk",
        "b/../x/k",
        "b/%2e%2e/x",
        "b/k?x=1",
        "b/k?versionId=a&x",
        "arn:aws:s3:::b/k",
        "../b/k",
        "b/%ff",
    ],
)
def test_trap_24_copy_source_is_read_once(value):
    """A copy source that is empty, escapes its bucket or carries more than a version is refused."""
    with pytest.raises(S3Error):
        copy_source(value)


def test_a_range_keeps_its_condition():
    """If-Range, which the model lacks, crosses wherever Range does and nowhere else."""
    for operations in table().values():
        for operation in operations:
            assert ("if-range" in operation.headers) == ("range" in operation.headers)


def test_every_body_may_carry_every_checksum():
    """Each header of a checksum crosses with every PUT and POST, and those that describe the framing."""
    for operations in table().values():
        for operation in operations:
            if operation.method in {"PUT", "POST"}:
                assert operation.headers >= HEADERS | {"content-md5", "x-amz-trailer", "x-amz-decoded-content-length"}


def test_a_parameter_of_minios_clients_is_known_to_its_operation_alone():
    """Mc asks for lifecycles withUpdatedAt: the same operation. Anywhere else the parameter is unknown."""
    assert resolve(request("GET", "/buc?lifecycle&withUpdatedAt=true")).name == "GetBucketLifecycleConfiguration"
    for target in ("/buc?withUpdatedAt=true", "/buc?policy&withUpdatedAt=true", "/buc/k?withUpdatedAt=true"):
        with pytest.raises(S3Error) as refusal:
            resolve(request("GET", target))
        assert refusal.value.code == "NotImplemented"


@pytest.mark.parametrize("value", ['"0cc175b9c0f1b6a831c399e269772661"', "0cc", 'W/"a"', "*, b", ""])
@pytest.mark.parametrize(("method", "target", "headers", "name"), [
    ("PUT", "/buc/k", {}, "if-match"), ("PUT", "/buc/k", {}, "if-none-match"), ("DELETE", "/buc/k", {}, "if-match"),
    ("DELETE", "/buc/k?versionId=v", {}, "if-match"), ("DELETE", "/buc/k", {}, "x-amz-if-match-size"),
    ("DELETE", "/buc/k", {}, "x-amz-if-match-last-modified-time"), ("POST", "/buc/k?uploadId=u", {}, "if-match"),
    ("PUT", "/buc/k", {"x-amz-copy-source": "src/k"}, "if-match"),
])  # fmt: skip
def test_trap_33_a_write_that_depends_on_what_an_object_is_reads_it(method, target, headers, name, value):
    """Else who may only write learns by trying what is in there; that there is an object at all is no more than the write itself tells."""
    version = "v" if "versionId" in target else ""
    read = ("s3:GetObjectVersion" if version else "s3:GetObject", "buc", "k", version)
    for said, expected in ((value, True), ("*", False)):
        one = request(method, target, **headers, **{name: said})
        assert (read in required(resolve(one), one)) is expected
    one = request("PUT", "/buc/k?tagging", **{name: value})
    assert [need.action for need in required(resolve(one), one)] == ["s3:PutObjectTagging"]
