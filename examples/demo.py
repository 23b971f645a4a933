"""The demo: a real S3 store, a development OpenID provider and the gateway on loopback, then a client's whole way.

python examples/demo.py            stays up until Ctrl-C
python examples/demo.py --once     ends by itself, with status 0 or 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from client_grants import assume_role_with_client_grants, get_token, show

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::demo-*", "arn:aws:s3:::demo-*/*"]}],
}
_BEGAN = time.monotonic()


def step(text: str) -> None:
    """Say what happens now."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {text}", flush=True)


class Stack:
    """The processes of the demo, in a temporary folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="minio-gw-demo-"))
        self.running: list[subprocess.Popen[str]] = []
        self.root = ("demo-root", secrets.token_urlsafe(24))
        self.endpoint = ""
        self.token_url = ""

    def up(self) -> None:
        """Start the provider, then the store with the gateway in front."""
        step("starting the development OpenID provider")
        issuer = self._start([sys.executable, str(Path(__file__).with_name("dev_issuer.py")),
                              "--client", "demo-app:demo-secret:demo-buckets"], "issuer")  # fmt: skip
        assert issuer.stdout is not None  # noqa: S101 - it is piped
        urls = json.loads(issuer.stdout.readline())
        self.token_url = urls["token"]
        policies = self.folder / "policies"
        policies.mkdir()
        (policies / "demo-buckets.json").write_text(json.dumps(POLICY))
        port = _free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        step("starting the S3 store (SeaweedFS) and the gateway in front of it")
        command = [sys.executable, "-m", "gateway.cli", "server", "--address", f"127.0.0.1:{port}", "--quiet",
                   "--certs-dir", str(self.folder / "certs"), str(self.folder / "store")]  # fmt: skip
        settings = {"MINIO_ROOT_USER": self.root[0], "MINIO_ROOT_PASSWORD": self.root[1], "MINIO_GW_POLICY_DIR": str(policies),
                    "MINIO_IDENTITY_OPENID_CONFIG_URL": urls["config"], "MINIO_IDENTITY_OPENID_CLIENT_ID": "demo-app"}  # fmt: skip
        gateway = self._start(command, "gateway", settings)
        self._wait(gateway)

    def down(self) -> None:
        """Stop everything that was started, and remove the folder."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, command: list[str], name: str, settings: dict[str, str] | None = None) -> subprocess.Popen[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MINIO_", "AWS_"))} | (settings or {})
        with (self.folder / f"{name}.log").open("w") as log:
            # A session of their own: Ctrl-C is ours to hand on, in order.
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE if name == "issuer" else log, stderr=log,
                                       text=True, start_new_session=True)  # fmt: skip
        self.running.append(process)
        return process

    def _wait(self, gateway: subprocess.Popen[str]) -> None:
        said = time.monotonic()
        while gateway.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/minio/health/ready", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
            if time.monotonic() - said > 5:
                said = time.monotonic()
                step("… still starting")
            if time.monotonic() - _BEGAN > 120:
                break
        raise RuntimeError("the gateway did not get ready:\n" + (self.folder / "gateway.log").read_text())


def client(endpoint: str, credentials: dict[str, str]) -> Any:
    """Return an ordinary boto3 client with the temporary credentials."""
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=credentials["accessKey"],
        aws_secret_access_key=credentials["secretKey"], aws_session_token=credentials["sessionToken"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip


def tour(stack: Stack) -> dict[str, str]:
    """Go a client's whole way; raise where anything is not as it should be."""
    step("client id and secret -> token of the provider (client_credentials)")
    token = get_token(stack.token_url, "demo-app", "demo-secret")
    step("token -> temporary credentials (AssumeRoleWithClientGrants)")
    credentials = assume_role_with_client_grants(stack.endpoint, token["access_token"], int(token["expires_in"]))
    show(credentials)
    s3 = client(stack.endpoint, credentials)
    s3.create_bucket(Bucket="demo-bucket")
    s3.put_object(Bucket="demo-bucket", Key="hello.txt", Body=b"Hello, World")
    step(
        "bucket made, object uploaded; listing: "
        + ", ".join(o["Key"] for o in s3.list_objects_v2(Bucket="demo-bucket")["Contents"])
    )
    same(s3.get_object(Bucket="demo-bucket", Key="hello.txt")["Body"].read(), b"Hello, World", "download")
    _big(s3, stack.folder / "64MiB")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "demo-bucket", "Key": "hello.txt"}, ExpiresIn=300)
    with urllib.request.urlopen(url) as answer:
        same(answer.read(), b"Hello, World", "presigned GET")
    _refused(s3)
    return credentials


def same(found: bytes, expected: bytes, what: str) -> None:
    """Compare, and say so."""
    if found != expected:
        raise RuntimeError(f"{what}: the bytes differ")
    step(f"{what}: the same bytes came back")


def _big(s3: Any, path: Path) -> None:
    body = os.urandom(64 * 2**20)
    path.write_bytes(body)
    s3.upload_file(
        str(path), "demo-bucket", "big", Config=TransferConfig(multipart_threshold=2**23, multipart_chunksize=2**23)
    )
    back = s3.get_object(Bucket="demo-bucket", Key="big")["Body"].read()
    same(hashlib.sha256(back).digest(), hashlib.sha256(body).digest(), "multipart upload of 64 MiB")


def _refused(s3: Any) -> None:
    try:
        s3.create_bucket(Bucket="somebody-elses")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code != "AccessDenied":
            raise
        step("a bucket that the policy 'demo-buckets' does not name: AccessDenied, as it must be")
        return
    raise RuntimeError("the policy did not refuse what it must")


def lines(stack: Stack, credentials: dict[str, str]) -> None:
    """Print lines to paste."""
    key, secret, token, endpoint = (
        *(credentials[n] for n in ("accessKey", "secretKey", "sessionToken")),
        stack.endpoint,
    )
    print(f"""
# aws cli
export AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY='{secret}' AWS_SESSION_TOKEN={token}
export AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL={endpoint}
aws s3 ls s3://demo-bucket

# boto3 (with the variables above)
python -c "import boto3; print(boto3.client('s3').list_objects_v2(Bucket='demo-bucket')['KeyCount'])"

# mc
export MC_HOST_demo='http://{key}:{secret}:{token}@{endpoint.removeprefix("http://")}'
mc ls demo/demo-bucket

# rclone
rclone ls ":s3,provider=Other,endpoint='{endpoint}',access_key_id={key},secret_access_key='{secret}',session_token={token}:demo-bucket"
""")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after the tour")
    options = parser.parse_args()
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _interrupt(interrupted))
    stack = Stack()
    try:
        stack.up()
        lines(stack, tour(stack))
        if not options.once:
            step(f"the gateway is at {stack.endpoint}; Ctrl-C stops everything")
            while not interrupted.wait(1):
                pass
    except KeyboardInterrupt:
        step("interrupted")
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the demo failed and says so
        step(f"FAILED: {type(error).__name__}: {error}")
        return 1
    finally:
        step("stopping")
        stack.down()
    step("done")
    return 0


def _interrupt(event: threading.Event) -> None:
    if event.is_set():
        return
    event.set()
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
