"""`minio-gw admin export` and `import` against real gateways, and the takeover of a MinIO gateway's etcd."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from tests.servers.etcd import Etcd
from tests.servers.processes import ROOT, GatewayProcess
from tests.servers.recording import RecordingBackend

GOLDEN = json.loads((ROOT / "tests/golden/minio_2021_02.json").read_text())


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another gateway, with another root and an empty store."""
    backend = RecordingBackend()
    settings = {"MINIO_ROOT_USER": "other-root", "MINIO_ROOT_PASSWORD": "other-root-secret"}
    server = GatewayProcess(tmp_path_factory.mktemp("other"), backend.endpoint, **settings).start()
    yield server
    server.close()
    backend.close()


def test_a_whole_iam_moves(admin, other, tmp_path):
    """What one gateway exports another one imports: the users' keys sign there, and have the rights that they had."""
    secret, phrase = admin.user("ida", "readonly")[1], admin.file("phrase", "correct horse\n")
    made = admin("service-account", "add")
    out = tmp_path / "iam.json"
    assert admin("export", "--passphrase-file", phrase, "--out", str(out))["file"] == str(out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert secret not in out.read_text()
    admin.environ.setenv("MINIO_GW_ADMIN_URL", other.endpoint)
    admin.become("other-root", "other-root-secret")
    would = admin("import", "file", str(out), "--passphrase-file", phrase, "--dry-run")
    assert (would["dryRun"], "users/ida" in would["created"]) == (True, True)
    assert admin("user", "list")["users"] == []
    done = admin("import", "file", str(out), "--passphrase-file", phrase)
    assert set(done["created"]) == set(would["created"])
    again = admin.text("import", "file", str(out), "--passphrase-file", phrase)
    assert again.splitlines()[0] == "created: nothing"
    assert admin("service-account", "info", made["accessKey"])["parentUser"] == "other-root"
    admin.become("ida", secret)
    assert admin("user", "info", "ida")["policies"] == ["readonly"]


def test_a_document_on_the_standard_output(admin):
    """In the clear only for who says so; the same document for people and for programs."""
    _, secret = admin.user("ina")
    assert json.loads(admin.text("export", "--clear"))["secrets"]["clear"]["users/ina"] == secret
    document = json.loads(admin("export", "--clear")["document"])
    assert document["secrets"]["clear"]["users/ina"] == secret


def test_nothing_is_written_over(admin):
    """A file that is there stays as it is: status 2."""
    there = admin.file("there", "mine")
    assert "cannot be written" in admin.refused("export", "--clear", "--out", there, status=2)["message"]
    assert Path(there).read_text() == "mine"


@pytest.mark.parametrize("words", [(), ("--clear", "--passphrase-file", "x")])
def test_how_secrets_leave_must_be_said(admin, words):
    """Sealed or in the clear, and never both: status 2."""
    assert "--passphrase-file" in admin.refused("export", *words, status=2)["message"]


def test_a_wrong_passphrase(admin, tmp_path):
    """It opens nothing, and nothing is imported."""
    phrase, wrong = admin.file("phrase", "correct horse\n"), admin.file("wrong", "another phrase\n")
    out = str(tmp_path / "iam.json")
    admin("export", "--passphrase-file", phrase, "--out", out)
    assert admin.refused("import", "file", out, "--passphrase-file", wrong)["code"] == "XMinioIAMNotPortable"
    assert "passphrase" in admin.refused("import", "file", out)["message"]
    assert admin.refused("import", "file", admin.file("none", "{}"))["code"] == "XMinioIAMNotPortable"


def test_minio_s_etcd_is_taken_over(admin, other, tmp_path):
    """What a MinIO gateway of February 2021 left in its etcd is here afterwards, and its etcd is as it was."""
    admin.environ.setenv("MINIO_GW_ADMIN_URL", other.endpoint)
    admin.become("other-root", "other-root-secret")
    user, password = GOLDEN["root"]
    words = [
        "import",
        "minio",
        "--prefix",
        "former/",
        "--former-user",
        user,
        "--former-password-file",
        admin.file("password", password),
    ]
    with Etcd(tmp_path) as etcd:
        for key, value in GOLDEN["rows"].items():
            etcd.put(f"former/{key}".encode(), base64.b64decode(value))
        words += ["--etcd", ",".join(etcd.endpoints)]
        looked = admin.process(*words, "--dry-run", "--json")
        done = admin.process(*words, "--json")
        again = admin.process(*words)
        nothing = admin.process(*words[:2], "--prefix", "elsewhere/", "--etcd", ",".join(etcd.endpoints))
    assert (looked[0], done[0], again[0], nothing[0]) == (0, 0, 0, 2)
    would, report = json.loads(looked[1]), json.loads(done[1])
    assert set(would["created"]) == set(report["created"]) >= {"users/alice", "policies/photos", "groups/team"}
    assert password not in done[1] + again[1]
    assert again[1].splitlines()[0] == "created: nothing"
    assert "there is no key that begins with elsewhere/config/iam/" in nothing[2]
    assert [u["policies"] for u in admin("user", "list")["users"] if u["accessKey"] == "alice"] == [["photos"]]


def test_a_document_that_is_too_large(admin):
    """It is told before it is sent: status 2."""
    large = admin.file("large.json", "x" * (16 * 2**20))
    assert "larger than" in admin.refused("import", "file", large, status=2)["message"]


def test_half_a_pair_is_told(admin):
    """A user without its password, a certificate without its key: status 2, and nothing is called."""
    base = ["import", "minio", "--etcd", "http://127.0.0.1:9"]
    for half in (["--former-user", "x"], ["--etcd-user", "x"], ["--etcd-cert", "/c.pem"]):
        assert "together" in admin.refused(*base, *half, status=2)["message"]
    status, out, err = admin.process(*base, "--etcd-timeout", "0.2")
    assert (status, out) == (2, "")
    assert err.startswith("minio-gw admin: etcd: ")
