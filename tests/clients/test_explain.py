"""Why, asked of a gateway with a real identity provider, about what boto3 was answered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import urllib3
from botocore.exceptions import ClientError

from tests.conftest import credentials_for, s3_client
from tests.servers.processes import ROOT, ROOT_PASSWORD, ROOT_USER, GatewayProcess, until
from tests.servers.recording import RecordingBackend


def explain(gateway, *words: str):
    """Return what the command line tells an operator."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "MINIO_ROOT_USER": ROOT_USER,
        "MINIO_ROOT_PASSWORD": ROOT_PASSWORD,
        "MINIO_GW_ADMIN_URL": gateway.endpoint,
    }
    argv = [sys.executable, "-m", "gateway.cli", "admin", "explain", "--json", *words]
    done = subprocess.run(argv, env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def reader(gateway, issuer, s3):
    """A session of a provider's client that may read, and a bucket."""
    s3.create_bucket(Bucket="explained")
    s3.put_object(Bucket="explained", Key="cat", Body=b"meow")
    yield credentials_for(gateway, issuer, "reader")
    s3.delete_object(Bucket="explained", Key="cat")
    s3.delete_bucket(Bucket="explained")


def test_a_federated_session(gateway, issuer, reader):
    """Through which provider, by which claim, with which policy; and the decision is what boto3 saw."""
    client = s3_client(gateway.endpoint, reader)
    assert client.get_object(Bucket="explained", Key="cat")["Body"].read() == b"meow"
    told = explain(gateway, "--as", reader["accessKey"], "s3:GetObject", "explained/cat")
    assert (told["allowed"], told["notes"]) == (True, [])
    who = told["caller"]
    assert (who["type"], who["issuer"]) == ("AssumedRole", json.loads(_discovery(issuer))["issuer"])
    assert who["provider"].startswith("openid")
    assert who["parent"].startswith(f"{who['provider']}:")
    assert who["claims"]["policy"] == "readonly"
    assert who["policies"] == [
        {"name": "readonly", "exists": True, "from": [f"given by the provider {who['provider']}"]}
    ]


def test_a_refusal(gateway, reader):
    """A write that boto3 was refused: its request id tells the operator what the answer kept from the client."""
    with pytest.raises(ClientError) as refused:
        s3_client(gateway.endpoint, reader).put_object(Bucket="explained", Key="dog", Body=b"woof")
    answer = refused.value.response
    assert answer["Error"]["Message"] == "Access Denied."
    told = explain(gateway, "--request-id", answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"])
    assert (told["allowed"], told["request"]["action"], told["request"]["key"]) == (False, "s3:PutObject", "dog")
    assert told["decided"]["accessKey"] == reader["accessKey"]
    assert told["decided"]["reason"] == told["reason"]
    assert reader["sessionToken"] not in json.dumps(told)
    assert not explain(gateway, "--as", reader["accessKey"], "s3:PutObject", "explained/dog")["allowed"]


def test_each_process_knows_its_own(tmp_path):
    """Of two workers one has refused: asked again and again, it tells, and says which it is; the other says that it does not know."""
    backend, words = RecordingBackend(), ("--workers", "2")
    gateway = GatewayProcess(tmp_path, backend.endpoint, *words, MINIO_GW_DATA_DIR=str(tmp_path / "data")).start()
    try:
        anonymous = urllib3.request("GET", f"{gateway.endpoint}/explained/cat", retries=False)
        assert anonymous.status == 403
        asked = ("--request-id", anonymous.headers["x-amz-request-id"])
        found: list = []
        until(lambda: _asked(gateway, asked, found), "the worker that refused answers")
        (note,) = [note for note in found[0]["notes"] if note.startswith("Told by process ")]
        worker = int(note.removeprefix("Told by process ").partition(",")[0])
        assert worker != gateway.process.popen.pid
        assert Path(f"/proc/{worker}/stat").read_text().split(") ")[1].split()[1] == str(gateway.process.popen.pid)
    finally:
        gateway.close()
        backend.close()


def _asked(gateway, words, found: list) -> bool:
    """Ask once; whoever does not know must say so."""
    try:
        found.append(explain(gateway, *words))
    except subprocess.CalledProcessError as error:
        if json.loads(error.stderr)["code"] != "XMinioAdminNoSuchRequest":
            raise
    return bool(found)


def _discovery(issuer) -> bytes:
    with urlopen(issuer.urls["config"], timeout=10) as answer:
        return answer.read()
