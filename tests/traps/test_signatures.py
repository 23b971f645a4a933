"""Who asks, and when: signatures that cover too little, came too late, or speak for somebody else (traps 5, 9, 18, 19, 65)."""

from __future__ import annotations

import re
import time

import pytest

from tests.conftest import credentials_for
from tests.servers.processes import GatewayProcess
from tests.traps.raw import ROOT_KEYS, Wire, allowing, ask, narrowed, presigned, signed, written


def stamp(offset: int) -> str:
    """Return the time so many seconds from now, as x-amz-date has it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + offset))


def status_of(edge, target: str, headers: dict[str, str], method: str = "GET") -> tuple[int, str]:
    with Wire(edge.port) as wire:
        answer = wire.send(written(method, target, headers)).answer()
    return answer.status, answer.code


def test_trap_05_a_signature_covers_its_host(edge, recorded):
    """A signature that leaves the host out, or covers another one, opens nothing."""
    good = signed(edge, "GET", "/bkt/k")
    without = good | {"Authorization": good["Authorization"].replace("SignedHeaders=host;", "SignedHeaders=")}
    assert status_of(edge, "/bkt/k", without) == (403, "AccessDenied")
    assert status_of(edge, "/bkt/k", good | {"Host": "other.test"}) == (403, "SignatureDoesNotMatch")
    assert status_of(edge, "/bkt/k", good | {"Host": "bkt.s3.example.test"}) == (403, "SignatureDoesNotMatch")
    assert recorded() == []


@pytest.mark.parametrize(
    "expires", ["0", "-1", "604801", "9223372036854775808", "1e3", "60.5", "", "abc", "%2B60", "٣"]
)
def test_trap_09_a_presigned_lifetime_is_a_number_of_seconds(edge, recorded, expires):
    """A lifetime that is none, too long or no number is refused before its signature is looked at."""
    target = re.sub("X-Amz-Expires=60", f"X-Amz-Expires={expires}", presigned(edge, "GET", "/bkt/k"))
    answer = exchange_one(edge, target)
    assert answer.status == 400
    assert recorded() == []


def test_trap_09_a_presigned_lifetime_is_given_once(edge, recorded):
    """Without a lifetime, or with two, a presigned URL is refused; with another than was signed too."""
    target = presigned(edge, "GET", "/bkt/k")
    for other, code in (
        (target.replace("&X-Amz-Expires=60", ""), "AuthorizationQueryParametersError"),
        (target + "&X-Amz-Expires=60", "InvalidArgument"),
        (target.replace("X-Amz-Expires=60", "X-Amz-Expires=3600"), "SignatureDoesNotMatch"),
    ):
        assert exchange_one(edge, other).code == code
    assert recorded() == []
    assert exchange_one(edge, target).status == 200


def exchange_one(edge, target: str):
    with Wire(edge.port) as wire:
        data = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{edge.port}\r\n\r\n".encode()
        return wire.send(data).answer() or pytest.fail("closed")


@pytest.mark.parametrize(("offset", "good"), [(-880, True), (880, True), (-960, False), (960, False), (-86_400, False)])
def test_trap_65_a_signature_is_good_for_a_quarter_of_an_hour(edge, recorded, offset, good):
    """A header signature older or newer than fifteen minutes is RequestTimeTooSkewed (the exact second: the unit tests)."""
    answer = ask(edge, "GET", "/bkt/k", date=stamp(offset))
    assert (answer.status, answer.code) == ((200, "") if good else (403, "RequestTimeTooSkewed"))
    assert len(recorded()) == good


def test_trap_65_the_scope_is_of_the_date(edge, recorded):
    """A scope of another day than the date, whoever signed it, is refused."""
    good = signed(edge, "GET", "/bkt/k")
    day = good["X-Amz-Date"][:8]
    other = good | {"Authorization": good["Authorization"].replace(f"/{day}/", "/20200101/")}
    assert status_of(edge, "/bkt/k", other) == (400, "AuthorizationHeaderMalformed")
    assert recorded() == []


@pytest.fixture(scope="module")
def proxied(tmp_path_factory, backend, issuer):
    """Two gateways: one whose peer here is a listed proxy, one that lists no proxy; both trust the provider."""
    made = [
        GatewayProcess(
            tmp_path_factory.mktemp("proxied"),
            backend.endpoint,
            MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
            MINIO_GW_TRUSTED_PROXIES=networks,
        ).start()
        for networks in ("127.0.0.0/8, 10.0.0.0/8", "192.0.2.0/24")
    ]
    yield made
    for one in made:
        one.close()


#: X-Forwarded-For lines, and the address that a listed proxy's word makes of them.
HOPS = [
    (["6.6.6.6"], "6.6.6.6"),
    (["6.6.6.6, 7.7.7.7"], "7.7.7.7"),
    (["6.6.6.6", "7.7.7.7"], "7.7.7.7"),  # the client's line, then the proxy's own
    (["6.6.6.6, 7.7.7.7, 10.1.1.1"], "7.7.7.7"),
    (["6.6.6.6,"], "127.0.0.1"),
]


@pytest.mark.parametrize(("lines", "address"), HOPS)
def test_trap_19_the_source_address_is_a_listed_proxys_word_only(proxied, issuer, backend, recorded, lines, address):
    """aws:SourceIp is the last address that no listed proxy vouches beyond; from anybody else the header says nothing."""
    for edge, seen in zip(proxied, (address, "127.0.0.1"), strict=True):
        only = allowing("s3:GetObject") | {"Condition": {"IpAddress": {"aws:SourceIp": f"{seen}/32"}}}
        head = written("GET", "/bkt/k", signed(edge, "GET", "/bkt/k", who=narrowed(edge, issuer, only)))
        forwarded = "".join(f"X-Forwarded-For: {line}\r\n" for line in lines).encode()
        with Wire(edge.port) as wire:
            answer = wire.send(head[:-2] + forwarded + b"\r\n").answer()
        assert answer.status == 200, (seen, answer)
    assert len(recorded()) == 2
    assert all(b"6.6.6.6" not in request.head for request in recorded())


def test_trap_18_what_a_proxy_says_moves_no_request(proxied, recorded):
    """Forwarded hosts, prefixes and paths change neither bucket nor key, whoever sends them."""
    names = (
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Forwarded",
        "X-Host",
        "X-HTTP-Method-Override",
    )
    for edge in proxied:
        extra = dict.fromkeys(names, "/other/secret") | {
            "X-Forwarded-Host": "other.s3.example.test",
            "X-Forwarded-Port": "1",
        }
        headers = signed(edge, "GET", "/bkt/k") | extra
        with Wire(edge.port) as wire:
            assert wire.send(written("GET", "/bkt/k", headers)).answer().status == 200
    assert [r.line for r in recorded()] == ["GET /bkt/k HTTP/1.1"] * 2
    assert all(b"other" not in r.head for r in recorded())


def test_trap_18_a_proxys_tls_counts_from_a_listed_proxy_only(proxied, issuer, backend, recorded):
    """aws:SecureTransport follows X-Forwarded-Proto from a listed proxy and nobody else."""
    secure = allowing("s3:GetObject") | {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    found = []
    for edge in proxied:
        headers = signed(edge, "GET", "/bkt/k", who=narrowed(edge, issuer, secure)) | {"X-Forwarded-Proto": "https"}
        with Wire(edge.port) as wire:
            found.append(wire.send(written("GET", "/bkt/k", headers)).answer().status)
    assert found == [200, 403]


def test_trap_63_a_signature_is_of_one_session(edge, issuer, recorded):
    """Two sessions of one person with other rights do not lend each other theirs, in whichever order they come."""
    reader, writer = narrowed(edge, issuer, allowing("s3:GetObject")), narrowed(edge, issuer, allowing("s3:PutObject"))
    for _ in range(2):
        assert [ask(edge, "GET", "/bkt/k", who=who).status for who in (reader, writer)] == [200, 403]
        assert [ask(edge, "PUT", "/bkt/k", body=b"x", who=who).status for who in (reader, writer)] == [403, 200]
    assert [r.line.split(" ")[0] for r in recorded()] == ["GET", "PUT"] * 2


@pytest.mark.parametrize("off", ["no provider", "opa", "anonymous"])
def test_trap_66_every_optional_part_leaves_the_signature_checked(tmp_path, backend, recorded, issuer, off):
    """With each optional part off, or on and away, a bad signature is refused and none is refused."""
    settings = {
        "no provider": {},
        "opa": {"MINIO_POLICY_PLUGIN_URL": "http://127.0.0.1:9/v1"},
        "anonymous": {"MINIO_GW_ANONYMOUS_POLICY": "readonly"},
    }[off]
    bare = GatewayProcess(tmp_path / "bare", backend.endpoint, **settings).start(ready=off != "opa")
    try:
        good = signed(bare, "PUT", "/bkt/k")
        bad = good | {"Authorization": re.sub("Signature=.{8}", "Signature=00000000", good["Authorization"])}
        assert status_of(bare, "/bkt/k", bad, "PUT") == (403, "SignatureDoesNotMatch")
        assert status_of(bare, "/bkt/k", {"Host": "x"}, "PUT") == (403, "AccessDenied")
        assert recorded() == []
    finally:
        bare.close()


def test_trap_02_a_session_and_root_are_known_by_their_keys(edge, issuer, recorded):
    """The witness of this file: what is signed well, by root or in a session, crosses."""
    app = credentials_for(edge, issuer)
    assert ask(edge, "GET", "/bkt/k").status == 200
    assert (
        ask(
            edge, "GET", "/bkt/k", who=ROOT_KEYS.__class__(app["accessKey"], app["secretKey"], app["sessionToken"])
        ).status
        == 200
    )
    assert len(recorded()) == 2
