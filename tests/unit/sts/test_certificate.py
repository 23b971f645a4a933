"""Client certificates: the matrix of bad ones, and that a name stays within its own part of all names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from iam.policy import CANNED
from sts.certificate import ClientCertificate
from sts.proof import Proof
from sts.wire import StsCall, StsError
from tests.servers.certificates import Authority

NOW = 1_900_000_000
AT = datetime.fromtimestamp(NOW, UTC)
CA = Authority()
CLIENT, SERVER, ANY = (
    ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
)  # fmt: skip


async def prove(names=("ann",), usages=(CLIENT,), *, der: bytes | None = None, secure=True, given=True, **how) -> Proof:
    found = der or CA.client(names, usages, now=AT, **how)[0].public_bytes(Encoding.DER)
    call = StsCall("AssumeRoleWithCertificate", {}, None, "", certificate=found if given else None, secure=secure)
    return await ClientCertificate(lambda: NOW).prove(call)


async def test_a_certificate_names_its_client():
    """The common name is the identity, the organization its audience, NotAfter its end."""
    found = await prove(organizations=("red", "blue"), ends=5000)
    assert found == Proof(
        "tls", "tls:ann", {"sub": "ann", "iss": "CA of the tests", "aud": ["red", "blue"]}, expires_at=NOW + 5000,
        subject="ann", issuer="CA of the tests",
    )  # fmt: skip


@pytest.mark.parametrize("usages", [(CLIENT,), (ANY,), (SERVER, CLIENT)])
async def test_what_is_for_clients_is_taken(usages):
    """clientAuth, alone or beside others, and any use are for clients; so is a certificate that says it is no CA's."""
    assert (await prove(usages=usages, ca=False)).parent == "tls:ann"


BAD = {
    "for servers": ({"usages": (SERVER,)}, "InvalidClientCertificate", "clientAuth"),
    "for nothing": ({"usages": None}, "InvalidClientCertificate", "clientAuth"),
    "a CA's": ({"ca": True}, "InvalidClientCertificate", "CA's"),
    "expired": ({"ends": 0}, "ExpiredTokenException", "expired"),
    "expired long ago": ({"begins": -900, "ends": -600}, "ExpiredTokenException", "expired"),
    "not yet": ({"begins": 1}, "InvalidClientCertificate", "not valid yet"),
    "nobody's": ({"names": ()}, "MissingParameter", "common name"),
    "with an empty name": ({"names": ("",)}, "MissingParameter", "common name"),
    "two people's": ({"names": ("ann", "root")}, "MissingParameter", "common name"),
    "with a line in the name": ({"names": ("ann\nroot",)}, "InvalidClientCertificate", "not a name"),
    "with a hidden character": ({"names": ("ann\u202e",)}, "InvalidClientCertificate", "not a name"),
    "with a long name": ({"names": ("a" * 257,)}, "InvalidClientCertificate", "not a name"),
    "no certificate": ({"der": b"\x30\x03\x02\x01\x01"}, "InvalidClientCertificate", "cannot be read"),
    "no bytes of one": ({"der": b"junk"}, "InvalidClientCertificate", "cannot be read"),
    "not shown": ({"given": False}, "MissingParameter", "No client certificate"),
    "over plain HTTP": ({"secure": False}, "InsecureConnection", "plain HTTP"),
    "not shown, over plain HTTP": ({"secure": False, "given": False}, "InsecureConnection", "plain HTTP"),
}


@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize(("how", "code", "text"), BAD.values(), ids=BAD)
async def test_trap_44_bad_certificates_prove_nobody(how, code, text):
    """Each certificate that is not a client's own, of this moment and in one name is refused, and told what is wrong."""
    with pytest.raises(StsError) as refused:
        await prove(**how)
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert text in refused.value.text


@pytest.mark.parametrize(
    "name", ["root", "tls:root", "openid:corp:ann", "uid=ann,dc=x", "../root", "consoleAdmin", "a/b", "*"]
)
async def test_trap_44_a_name_stays_in_its_own_part(name):
    """Whatever a certificate calls its client, the identity is `tls:` and that: nobody else's, and nobody's rights."""
    found = await prove(names=(name,))
    assert (found.parent, found.provider, found.groups, found.role_arn) == (f"tls:{name}", "tls", (), "")
    assert set(found.claims) == {"sub", "iss"}


def test_trap_44_a_certificate_has_no_canned_policy():
    """The policy is called like the client, as in MinIO; a client called consoleAdmin or readwrite has none."""
    policies = ClientCertificate.policies
    assert policies("tls", {"sub": "backup"}) == ("backup",)
    assert [policies("tls", {"sub": name}) for name in CANNED] == [()] * len(CANNED)
    assert policies("tls", {}) == policies("tls", {"sub": ["a"]}) == ()


async def test_it_is_always_ready():
    """The way in has nobody to wait for."""
    way = ClientCertificate(lambda: NOW)
    assert await way.ready() is None
    await way.close()
