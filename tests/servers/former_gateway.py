"""A real MinIO gateway of February 2021, the era of values encrypted with the root pair; its etcd is what users bring.

Built by deploy/tools/install-former-gateway.sh. What it wrote once, for those who have no Go, is tests/golden/minio_2021_02.json:

    python -m tests.servers.former_gateway > tests/golden/minio_2021_02.json
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
from minio import MinioAdmin
from minio.credentials import StaticProvider

from tests.servers.etcd import Etcd
from tests.servers.processes import BACKEND, ROOT, Process, Weed, free_port, http_status, until

BINARY = ROOT / ".tools" / "former-gateway"
USER, PASSWORD = "formerroot", "secret-of-the-former-root"
PHOTOS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::photos/*"]}],
}
ALICE, BOB = ("alice", "alice-secret-1"), ("bob@example.com", "bob-secret-12")


class FormerGateway:
    """A `gateway s3` process of MinIO with its IAM in etcd."""

    def __init__(self, folder: Path, backend: str, etcd: Etcd, *, prefix: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        settings = {
            "MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD,
            "MINIO_ETCD_ENDPOINTS": ",".join(etcd.endpoints), "MINIO_ETCD_PATH_PREFIX": prefix,
            "AWS_ACCESS_KEY_ID": BACKEND.access_key_id, "AWS_SECRET_ACCESS_KEY": BACKEND.secret.reveal(),
        }  # fmt: skip
        command = [str(BINARY), "--config-dir", str(folder), "gateway", "s3", "--address", self.address, backend]
        self.process = Process(command, folder / "log", settings).start()
        until(lambda: http_status(f"http://{self.address}/minio/health/ready") == 200, "the former gateway is ready")

    def admin(self, access_key: str = USER, secret: str = PASSWORD) -> MinioAdmin:
        """Return its admin client."""
        return MinioAdmin(endpoint=self.address, credentials=StaticProvider(access_key, secret), secure=False)

    def fill(self) -> dict[str, Any]:
        """Make users, groups, policies, service accounts and a session; return the accounts' credentials by what they may."""
        admin, own = self.admin(), self.admin(*ALICE)
        for user in (ALICE, BOB):
            admin.user_add(*user)
        admin.user_disable(BOB[0])
        admin.policy_add("photos", policy=PHOTOS)
        admin.policy_set("photos", user=ALICE[0])
        admin.policy_set("readwrite,photos", user=BOB[0])
        admin.group_add("team", [ALICE[0], BOB[0]])
        admin.group_add("closed", [ALICE[0]])
        admin.group_disable("closed")
        admin.policy_set("readonly", group="team")
        accounts = {"all": own.add_service_account(), "photos": own.add_service_account(policy=PHOTOS)}
        sts = boto3.client(
            "sts", endpoint_url=f"http://{self.address}", region_name="us-east-1",
            aws_access_key_id=ALICE[0], aws_secret_access_key=ALICE[1],
        )  # fmt: skip
        sts.assume_role(RoleArn="arn:minio:iam:::role/any", RoleSessionName="test", DurationSeconds=900)
        return {name: json.loads(answer)["credentials"] for name, answer in accounts.items()}

    def close(self) -> None:
        """End it."""
        self.process.stop()


def record() -> dict[str, Any]:
    """Return what a gateway writes while it is filled."""
    with tempfile.TemporaryDirectory() as folder, Etcd(Path(folder, "etcd")) as etcd:
        weed = Weed(Path(folder, "weed"))
        try:
            gateway = FormerGateway(Path(folder, "gateway"), weed.endpoint, etcd)
            accounts = gateway.fill()
            gateway.close()
            rows = {kv.key.decode(): base64.b64encode(kv.value).decode() for kv in etcd.get(b"config/iam/")}
        finally:
            weed.close()
    return {"root": [USER, PASSWORD], "accounts": accounts, "rows": rows}


if __name__ == "__main__":
    json.dump(record(), sys.stdout, indent=1)
    sys.stdout.write("\n")
