"""Taking over a MinIO gateway's etcd: a real etcd, filled by a real MinIO gateway of February 2021.

tests/golden/minio_2021_02.json is what that gateway wrote, byte for byte, encrypted with its root pair; where it is built
(deploy/tools/install-former-gateway.sh, with Go), it fills an etcd anew while we look. The years after 2021-04 are the same values
without encryption. Other eras are made by hand, in tests/unit/iam/test_minio_layout.py.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace

import pytest

from iam import bulk, portable, takeover
from iam.codec import record_key
from iam.embedded import EmbeddedStore
from iam.madmin import decrypt
from iam.minio_layout import Former
from iam.model import Secret
from iam.records import Attachment, Group, Kind, PolicyDocument, ServiceAccount, User
from iam.store import EtcdSettings, StoreUnavailable
from tests.servers import former_gateway
from tests.servers.etcd import Etcd, make_pki
from tests.servers.former_gateway import ALICE, BOB, PHOTOS, FormerGateway
from tests.servers.iam import CODEC
from tests.servers.processes import ROOT

GOLDEN = json.loads((ROOT / "tests/golden/minio_2021_02.json").read_text())
FORMER = Former(root=(former_gateway.USER, Secret(former_gateway.PASSWORD)))
NOW = 2_000_000_000  # the session of the golden file has expired by then


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """A real etcd."""
    with Etcd(tmp_path_factory.mktemp("former")) as one:
        yield one


@pytest.fixture
async def store(tmp_path):
    """The store of the gateway that takes over."""
    one = EmbeddedStore(tmp_path / "iam.db")
    await one.open()
    yield one
    await one.close()


def settings(etcd, prefix="", **members):
    """Return how the former etcd is reached."""
    return EtcdSettings(etcd.endpoints, path_prefix=prefix, **members)


def golden(etcd, prefix, *, encrypted=True):
    """Put what MinIO wrote behind a prefix."""
    for key, value in GOLDEN["rows"].items():
        data = base64.b64decode(value)
        text = data if encrypted else decrypt(":".join(GOLDEN["root"]), data)
        etcd.put(f"{prefix}{key}".encode(), text)


def expected(accounts):
    """Return the records that `FormerGateway.fill` amounts to, by kind and name; the text of a policy apart, times left out."""
    keys = [ServiceAccount(a["accessKey"], Secret(a["secretKey"]), ALICE[0]) for a in accounts.values()]
    records = [
        User(ALICE[0], Secret(ALICE[1])), User(BOB[0], Secret(BOB[1]), enabled=False),
        Group("team", (ALICE[0], BOB[0])), Group("closed", (ALICE[0],), enabled=False),
        PolicyDocument("photos", json.dumps(PHOTOS, separators=(",", ":"))),
        Attachment(ALICE[0], ("photos",)), Attachment(BOB[0], ("readwrite", "photos")),
        Attachment("team", ("readonly",), group=True), *keys,
    ]  # fmt: skip
    return {record_key(record): record for record in records}


def check(found, accounts):
    """Check that everything was found, and nothing else."""
    assert (found.skipped, found.warnings) == ((), ())
    there = {record_key(record): bulk._bare(record) for record in found.records}
    narrow = record_key(ServiceAccount(accounts["photos"]["accessKey"], Secret(""), ""))
    assert json.loads(there[narrow].policy) == PHOTOS
    there[narrow] = replace(there[narrow], policy=None)
    assert there == expected(accounts)


@pytest.mark.parametrize("encrypted", [True, False], ids=["2019-11 to 2021-04", "later"])
async def test_what_a_real_minio_gateway_wrote_is_read(etcd, encrypted):
    """Users, groups, policies, mappings and service accounts of a real MinIO gateway are read, encrypted or not."""
    prefix = f"{encrypted}/"
    golden(etcd, prefix, encrypted=encrypted)
    found = await takeover.read(settings(etcd, prefix), FORMER, now=NOW)
    check(found, GOLDEN["accounts"])
    assert (found.sessions, found.expired) == (0, 1)


@pytest.mark.skipif(not former_gateway.BINARY.exists(), reason="run deploy/tools/install-former-gateway.sh, with Go")
async def test_a_living_minio_gateway_is_taken_over(tmp_path, weed, store):
    """A MinIO gateway that is filled by its own admin API while we look is taken over, beneath the prefix it was given."""
    with Etcd(tmp_path / "etcd") as etcd:
        gateway = FormerGateway(tmp_path / "former", weed.endpoint, etcd, prefix="site-1/")
        try:
            accounts = gateway.fill()
            found = await takeover.read(settings(etcd, "site-1/"), FORMER, now=1)
            report = await takeover.run(
                settings(etcd, "site-1/"), FORMER, store, CODEC, root_access_key="newroot", now=1
            )
        finally:
            gateway.close()
    check(found, accounts)
    assert len(report["created"]) == 10
    assert report["sessions"] == {"live": 1, "expired": 0}


async def test_a_second_run_changes_nothing_and_a_dry_one_never(etcd, store):
    """Dry, for good and once more: the same is told, then done, then already so."""
    golden(etcd, "again/")

    async def run(**options):
        return await takeover.run(
            settings(etcd, "again/"), FORMER, store, CODEC, root_access_key="newroot", now=NOW, **options
        )

    dry = await run(dry_run=True)
    assert not (await store.snapshot()).rows
    done, again = await run(), await run()
    assert done == dry | {"dryRun": False}
    assert (len(done["created"]), again["created"], len(again["unchanged"])) == (10, [], 10)


async def test_the_former_etcd_is_only_read(etcd, store):
    """Taking over leaves the etcd of MinIO as it was."""
    golden(etcd, "readonly/")
    before = etcd.revision()
    await takeover.run(settings(etcd, "readonly/"), FORMER, store, CODEC, root_access_key="newroot", now=NOW)
    assert etcd.revision() == before


async def test_another_root_pair_takes_nothing(etcd):
    """With a wrong root pair, or none, every value is told and nothing is taken."""
    golden(etcd, "wrong/")
    for former in (Former(), Former(root=(former_gateway.USER, Secret("not-the-secret")))):
        found = await takeover.read(settings(etcd, "wrong/"), former, now=NOW)
        assert found.records == ()
        assert len(found.skipped) == len(GOLDEN["rows"])


async def test_no_iam_and_no_etcd_are_told(etcd):
    """An etcd without MinIO's IAM, and one that is not there, are errors and not an empty success."""
    with pytest.raises(takeover.NothingThere, match="elsewhere/config/iam/"):
        await takeover.read(settings(etcd, "elsewhere/"), FORMER, now=NOW)
    with pytest.raises(StoreUnavailable):
        await takeover.read(EtcdSettings(("http://127.0.0.1:1",), timeout=0.3), FORMER, now=NOW)


async def test_with_a_password(tmp_path):
    """An etcd that wants a user and a password is read with them, and not without."""
    with Etcd(tmp_path / "etcd") as etcd:
        golden(etcd, "")
        for words in (
            ("user", "add", "root:etcd-password"),
            ("user", "grant-role", "root", "root"),
            ("auth", "enable"),
        ):
            etcd.etcdctl(*words)
        with pytest.raises(StoreUnavailable):
            await takeover.read(settings(etcd), FORMER, now=NOW)
        how = settings(etcd, username="root", password=Secret("etcd-password"))
        check(await takeover.read(how, FORMER, now=NOW), GOLDEN["accounts"])


async def test_over_tls_and_in_many_pages(tmp_path, monkeypatch):
    """Client certificates, and more keys than a page has, are no obstacle."""
    monkeypatch.setattr("iam.etcd_cluster.PAGE", 3)
    pki = make_pki(tmp_path)
    with Etcd(tmp_path / "etcd", tls=pki) as etcd:
        golden(etcd, "")
        how = settings(etcd, ca_file=pki.ca, client_cert=pki.client, client_cert_key=pki.client_key)
        check(await takeover.read(how, FORMER, now=NOW), GOLDEN["accounts"])


async def test_from_etcd_to_a_document_to_a_store(etcd, store):
    """The way of the command line: read there, carried as a sealed document, put into a gateway's store under its own root."""
    golden(etcd, "carried/")
    found = await takeover.read(settings(etcd, "carried/"), FORMER, now=NOW)
    root = ServiceAccount("SVCROOT1", Secret("svc-secret"), former_gateway.USER)
    text = portable.write(
        [*found.records, root],
        root_access_key=former_gateway.USER,
        passphrase=Secret("of the caller"),
        random=os.urandom,
    ).text
    records = portable.read(text, root_access_key="newroot", passphrase=Secret("of the caller"))
    outcome = await bulk.put(store, CODEC, records, root_access_key="newroot", now=NOW)
    report = takeover.report(found, outcome.document())
    assert (len(report["created"]), report["skipped"]) == (11, [])
    there = bulk.There.of(await store.snapshot(), CODEC)
    assert there.records[Kind.ACCOUNT, "SVCROOT1"].parent == "newroot"


async def test_trap_54_the_report_tells_no_secret(etcd, store):
    """The report, as text and as JSON, names keys and reasons and counts; none of the secrets."""
    golden(etcd, "told/")
    etcd.put(b"told/config/iam/users/x\x1b[2Jy/identity.json", b'{"secretKey":"terminal-secret"}')
    etcd.put(b"told/config/iam/policydb/users/alice.json", b'{"version":1,"policy":"lost"}')
    report = await takeover.run(settings(etcd, "told/"), FORMER, store, CODEC, root_access_key="newroot", now=NOW)
    text = takeover.rendered(report)
    secrets = [
        ALICE[1],
        BOB[1],
        former_gateway.PASSWORD,
        "terminal-secret",
        *(a["secretKey"] for a in GOLDEN["accounts"].values()),
    ]
    assert not [secret for secret in secrets if secret in text or secret in json.dumps(report)]
    assert text.splitlines()[0] == "created: 1 policies, 2 users, 2 groups, 2 service-accounts, 3 attachments"
    assert "\x1b" not in text
    assert "attachments/user/alice: there is no policy 'lost': it gives nothing" in text
    assert text.splitlines()[-1] == "temporary credentials, which are not taken: 0 still good, 1 expired"
