"""TLS at the front door: certificates from the certs folder; SDKs then upload with unsigned trailers."""

from __future__ import annotations

import os
import ssl
import urllib.request
import uuid

import boto3
import pytest
from botocore.config import Config

from tests.servers.certificates import certificate
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess, until


def over_tls(folder, endpoint: str, **env: str) -> GatewayProcess:
    """Start a gateway that speaks TLS; its `trust` is the file with the certificate to trust."""
    certificate(folder / "certs")
    server = GatewayProcess(folder, endpoint, **env)
    server.endpoint = server.endpoint.replace("http:", "https:")
    server.trust = str(folder / "certs" / "public.crt")
    server.process.start()
    context = ssl.create_default_context(cafile=server.trust)

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{server.endpoint}/minio/health/ready", context=context, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    until(ready, "the gateway is ready over TLS")
    return server


@pytest.fixture(scope="module")
def secure(tmp_path_factory, weed, issuer):
    """A gateway that speaks TLS, and the certificate to trust."""
    urls = {"MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.urls["config"]}
    server = over_tls(tmp_path_factory.mktemp("tls"), weed.endpoint, **urls)
    yield server
    server.close()


@pytest.mark.parametrize("algorithm", [None, "CRC32", "SHA256"])
def test_default_uploads_over_tls(secure, algorithm):
    """boto3's default over TLS (STREAMING-UNSIGNED-PAYLOAD-TRAILER) stores the payload with its checksum."""
    s3 = boto3.client(
        "s3",
        endpoint_url=secure.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ROOT_USER,
        aws_secret_access_key=ROOT_PASSWORD,
        verify=secure.trust,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )
    modes = []
    s3.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: modes.append(request.headers["X-Amz-Content-SHA256"])
    )
    name, body = f"tls-{uuid.uuid4().hex[:10]}", os.urandom(3 * 2**20)
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=body, **({"ChecksumAlgorithm": algorithm} if algorithm else {}))
    assert [m if isinstance(m, str) else m.decode() for m in modes] == ["STREAMING-UNSIGNED-PAYLOAD-TRAILER"]
    found = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
    assert found["Body"].read() == body
    assert found[f"Checksum{algorithm or 'CRC32'}"]
    assert "ContentEncoding" not in found
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


def test_minio_py_over_tls(secure, issuer):
    """minio-py over TLS (UNSIGNED-PAYLOAD) works with root's keys."""
    import urllib3
    from minio import Minio

    pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=secure.trust)
    client = Minio(
        endpoint=secure.endpoint.removeprefix("https://"),
        access_key=ROOT_USER,
        secret_key=ROOT_PASSWORD,
        http_client=pool,
    )
    assert isinstance(client.list_buckets(), list)
