"""Other people's clients, real programs, with temporary credentials through the gateway."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import urllib.request
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bucket(s3):
    """A fresh bucket, emptied and removed afterwards."""
    name = f"c-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    while found := s3.list_objects_v2(Bucket=name).get("Contents"):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in found]})
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def environment(gateway, app_credentials):
    """The environment a shell user would have."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINIO_"))}
    return keep | {
        "AWS_ACCESS_KEY_ID": app_credentials["accessKey"], "AWS_SECRET_ACCESS_KEY": app_credentials["secretKey"],
        "AWS_SESSION_TOKEN": app_credentials["sessionToken"], "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": gateway.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


def run(environment, *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_aws_cli(environment, bucket, tmp_path):
    """The aws cli puts, gets, lists, copies, deletes, presigns and does multipart."""
    aws = ROOT / ".venv-awscli" / "bin" / "aws"
    if not aws.exists():
        pytest.skip("no .venv-awscli; `make test` makes it")
    # Its presign is SigV2 unless told otherwise; SigV2 is refused here, as it is in AWS's newer regions.
    (tmp_path / "config").write_text("[default]\ns3 =\n    signature_version = s3v4\n")
    environment = environment | {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    big = tmp_path / "big"
    big.write_bytes(os.urandom(20 * 2**20))
    cli = lambda *words: run(environment, str(aws), *words)  # noqa: E731
    cli("s3", "cp", str(big), f"s3://{bucket}/dir/big")
    assert "dir/big" in cli("s3", "ls", "--recursive", f"s3://{bucket}")
    cli("s3", "cp", f"s3://{bucket}/dir/big", f"s3://{bucket}/copied")
    cli("s3", "cp", f"s3://{bucket}/copied", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    url = cli("s3", "presign", f"s3://{bucket}/copied").strip()
    with urllib.request.urlopen(url) as answer:
        assert hashlib.sha256(answer.read()).digest() == hashlib.sha256(big.read_bytes()).digest()
    assert bucket in cli("s3api", "list-buckets")
    cli("s3", "rm", "--recursive", f"s3://{bucket}")
    assert not cli("s3", "ls", "--recursive", f"s3://{bucket}")


def test_rclone(environment, bucket, tmp_path):
    """Rclone copies a tree there and back and finds no difference."""
    source = tmp_path / "tree"
    (source / "sub dir").mkdir(parents=True)
    (source / "sub dir" / "ümläut.bin").write_bytes(os.urandom(7 * 2**20))
    (source / "small").write_bytes(b"x")
    remote = f":s3,provider=Other,env_auth=true,endpoint='{environment['AWS_ENDPOINT_URL']}':{bucket}/t"
    rclone = str(ROOT / ".venv" / "bin" / "rclone")
    environment = environment | {"RCLONE_CONFIG": str(tmp_path / "rclone.conf")}
    run(environment, rclone, "copy", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", str(source), remote)
    run(environment, rclone, "check", str(source), remote)
    assert "small" in run(environment, rclone, "lsf", remote)
    link = run(environment, rclone, "link", f"{remote}/small").strip()
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"x"
    run(environment, rclone, "moveto", f"{remote}/small", f"{remote}/moved")
    run(environment, rclone, "purge", remote)


def test_minio_py(gateway, app_credentials, bucket):
    """minio-py (signed chunks or hashes of its own) does the whole round."""
    from minio import Minio
    from minio.commonconfig import CopySource
    from minio.deleteobjects import DeleteObject

    client = Minio(
        endpoint=gateway.endpoint.removeprefix("http://"), secure=False, access_key=app_credentials["accessKey"],
        secret_key=app_credentials["secretKey"], session_token=app_credentials["sessionToken"],
    )  # fmt: skip
    body = os.urandom(12 * 2**20)
    client.put_object(
        bucket_name=bucket, object_name="big one", data=io.BytesIO(body), length=len(body), part_size=5 * 2**20
    )
    answer = client.get_object(bucket_name=bucket, object_name="big one")
    assert answer.read() == body
    answer.close()
    answer.release_conn()
    client.copy_object(
        bucket_name=bucket, object_name="copy", source=CopySource(bucket_name=bucket, object_name="big one")
    )
    assert sorted(o.object_name for o in client.list_objects(bucket_name=bucket)) == ["big one", "copy"]
    url = client.presigned_get_object(bucket_name=bucket, object_name="copy", expires=timedelta(minutes=5))
    with urllib.request.urlopen(url) as found:
        assert found.read() == body
    assert not list(
        client.remove_objects(bucket_name=bucket, delete_object_list=[DeleteObject("copy"), DeleteObject("big one")])
    )


def test_minio_py_credential_providers(gateway, issuer):
    """minio-py's ClientGrants, WebIdentity and AssumeRole providers get credentials that work."""
    from client_grants import get_token
    from minio import Minio
    from minio.credentials import AssumeRoleProvider, ClientGrantsProvider, WebIdentityProvider

    from tests.servers.processes import ROOT_PASSWORD, ROOT_USER

    def jwt():
        return get_token(issuer.urls["token"], "app", "app-secret")

    providers = [
        ClientGrantsProvider(jwt_provider_func=jwt, sts_endpoint=gateway.endpoint),
        WebIdentityProvider(jwt_provider_func=jwt, sts_endpoint=gateway.endpoint),
        AssumeRoleProvider(sts_endpoint=gateway.endpoint, access_key=ROOT_USER, secret_key=ROOT_PASSWORD),
    ]
    for provider in providers:
        client = Minio(endpoint=gateway.endpoint.removeprefix("http://"), secure=False, credentials=provider)
        assert isinstance(client.list_buckets(), list)


def test_boto3_sts(gateway, issuer):
    """boto3's assume_role and assume_role_with_web_identity give credentials that work."""
    import boto3
    from client_grants import get_token

    from tests.conftest import s3_client
    from tests.servers.processes import ROOT_PASSWORD, ROOT_USER

    sts = boto3.client("sts", endpoint_url=gateway.endpoint, region_name="us-east-1", aws_access_key_id=ROOT_USER,
                       aws_secret_access_key=ROOT_PASSWORD)  # fmt: skip
    arn = "arn:aws:iam::123456789012:role/any"
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    answers = [
        sts.assume_role(RoleArn=arn, RoleSessionName="s1"),
        sts.assume_role_with_web_identity(RoleArn=arn, RoleSessionName="s2", WebIdentityToken=token),
    ]
    for answer in answers:
        found = answer["Credentials"]
        keys = {
            "accessKey": found["AccessKeyId"],
            "secretKey": found["SecretAccessKey"],
            "sessionToken": found["SessionToken"],
        }
        assert "Buckets" in s3_client(gateway.endpoint, keys).list_buckets()


async def test_aiobotocore(gateway, app_credentials, bucket):
    """Aiobotocore does the round."""
    from aiobotocore.session import get_session

    async with get_session().create_client(
        "s3", endpoint_url=gateway.endpoint, region_name="us-east-1", aws_access_key_id=app_credentials["accessKey"],
        aws_secret_access_key=app_credentials["secretKey"], aws_session_token=app_credentials["sessionToken"],
    ) as client:  # fmt: skip
        await client.put_object(Bucket=bucket, Key="k", Body=b"async")
        answer = await client.get_object(Bucket=bucket, Key="k")
        async with answer["Body"] as body:
            assert await body.read() == b"async"
        await client.delete_object(Bucket=bucket, Key="k")


def test_s3fs(gateway, app_credentials, bucket):
    """s3fs writes (in parts), reads, lists, copies and removes."""
    import s3fs

    fs = s3fs.S3FileSystem(
        key=app_credentials["accessKey"], secret=app_credentials["secretKey"], token=app_credentials["sessionToken"],
        endpoint_url=gateway.endpoint, client_kwargs={"region_name": "us-east-1"}, skip_instance_cache=True,
    )  # fmt: skip
    body = os.urandom(11 * 2**20)
    with fs.open(f"{bucket}/dir/f", "wb", block_size=5 * 2**20) as out:
        out.write(body)
    fs.invalidate_cache()
    assert fs.cat(f"{bucket}/dir/f") == body
    fs.copy(f"{bucket}/dir/f", f"{bucket}/g")
    fs.invalidate_cache()
    assert sorted(fs.ls(bucket)) == [f"{bucket}/dir", f"{bucket}/g"]
    fs.rm(f"{bucket}/dir", recursive=True)
    fs.rm(f"{bucket}/g")
