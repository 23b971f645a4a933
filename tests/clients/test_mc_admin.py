"""`mc admin` against a real gateway, where its binary was built: what it says and what is so afterwards."""

from __future__ import annotations

import json
import subprocess

import httpx
import pytest

from tests.clients.conftest import installed
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess

pytestmark = pytest.mark.conformance
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::photos/*"]}]}  # fmt: skip


class Mc:
    """The program, with an alias for the gateway."""

    def __init__(self, gateway, folder) -> None:
        self._program = installed(".tools/mc", "deploy/tools/install-mc.sh, with Go")
        self._folder = folder
        alias = {
            "url": gateway.endpoint,
            "accessKey": ROOT_USER,
            "secretKey": ROOT_PASSWORD,
            "api": "S3v4",
            "path": "on",
        }
        (folder / "config.json").write_text(json.dumps({"version": "10", "aliases": {"gw": alias}}))

    def run(self, *words: str, status: int = 0) -> list[dict]:
        """Run a command of `mc admin`; return the JSON documents that it prints."""
        command = [str(self._program), "--config-dir", str(self._folder), "--json", "--disable-pager", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == status, done.stdout + done.stderr
        decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
        while text:
            document, end = decoder.raw_decode(text)
            found.append(document)
            text = text[end:].strip()
        return found

    def admin(self, *words: str, status: int = 0) -> list[dict]:
        """Run `mc admin`."""
        return self.run("admin", *words, status=status)


@pytest.fixture
def mc(gateway, tmp_path):
    """The program; the users it makes are gone at the end."""
    made = Mc(gateway, tmp_path)
    yield made
    for user in made.admin("user", "list", "gw"):
        made.admin("user", "remove", "gw", user["accessKey"])
    for group in made.admin("group", "list", "gw")[0].get("groups") or []:
        made.admin("group", "remove", "gw", group)


def test_prometheus_reads_with_the_token_that_mc_writes(servers, weed, tmp_path):
    """`mc admin prometheus generate`: its bearer token and its path give the metrics of a gateway that says nothing about them."""
    gateway = GatewayProcess(servers / "scraped", weed.endpoint).start()
    try:
        scrape = Mc(gateway, tmp_path).admin("prometheus", "generate", "gw")[0]
        url = f"{scrape['scheme']}://{scrape['staticConfigs'][0]['targets'][0]}{scrape['metricsPath']}"
        answer = httpx.get(url, headers={"Authorization": f"Bearer {scrape['bearerToken']}"})
        assert answer.status_code == 200
        assert "minio_gw_requests_in_flight" in answer.text
        assert httpx.get(url).status_code == 403
    finally:
        gateway.close()


def test_mc_administrates_users(mc):
    """`mc admin user`: add, list, disable, enable, info, remove."""
    mc.admin("user", "add", "gw", "alice", "alice-secret")
    mc.admin("user", "disable", "gw", "alice")
    assert [(u["accessKey"], u["userStatus"]) for u in mc.admin("user", "list", "gw")] == [("alice", "disabled")]
    mc.admin("user", "enable", "gw", "alice")
    assert mc.admin("user", "info", "gw", "alice")[0]["userStatus"] == "enabled"
    mc.admin("user", "remove", "gw", "alice")
    failed = mc.admin("user", "info", "gw", "alice", status=1)[0]
    assert failed["error"]["cause"]["error"]["Code"] == "XMinioAdminNoSuchUser"


def test_mc_administrates_groups(mc):
    """`mc admin group`: add, list, info, disable, remove."""
    for name in ("alice", "bob"):
        mc.admin("user", "add", "gw", name, f"{name}-secret")
    mc.admin("group", "add", "gw", "devs", "alice", "bob")
    mc.admin("group", "disable", "gw", "devs")
    shown = mc.admin("group", "info", "gw", "devs")[0]
    assert (shown["members"], shown["groupStatus"]) == (["alice", "bob"], "disabled")
    assert mc.admin("group", "list", "gw")[0]["groups"] == ["devs"]
    mc.admin("group", "remove", "gw", "devs", "alice", "bob")
    mc.admin("group", "remove", "gw", "devs")


def test_mc_administrates_policies(mc, tmp_path):
    """`mc admin policy`: create, list, info, attach, entities (whatever their order), detach, remove."""
    (tmp_path / "photos.json").write_text(json.dumps(POLICY))
    for name in ("bob", "alice"):
        mc.admin("user", "add", "gw", name, f"{name}-secret")
    mc.admin("policy", "create", "gw", "photos", str(tmp_path / "photos.json"))
    assert "photos" in {p["policy"] for p in mc.admin("policy", "list", "gw")}
    assert mc.admin("policy", "info", "gw", "photos")[0]["policyInfo"]["Policy"] == POLICY
    attached = mc.admin("policy", "attach", "gw", "photos", "--user", "alice")[0]
    assert attached["policiesAttached"] == ["photos"]
    entities = mc.admin("policy", "entities", "gw", "--user", "bob", "--user", "alice")[0]["result"]
    assert [(u["user"], u["policies"]) for u in entities["userMappings"]] == [("bob", []), ("alice", ["photos"])]
    assert mc.admin("policy", "entities", "gw")[0]["result"]["policyMappings"][0]["users"] == ["alice"]
    in_use = mc.admin("policy", "remove", "gw", "photos", status=1)[0]
    assert in_use["error"]["cause"]["error"]["Code"] == "XMinioIAMPolicyInUse"
    assert mc.admin("policy", "detach", "gw", "photos", "--user", "alice")[0]["policiesDetached"] == ["photos"]
    mc.admin("policy", "remove", "gw", "photos")


def test_mc_administrates_service_accounts(mc):
    """`mc admin user svcacct` and `mc admin accesskey`: add, info, disable, list, remove; root's own too."""
    mc.admin("user", "add", "gw", "alice", "alice-secret")
    mc.admin("user", "svcacct", "add", "gw", "alice", "--access-key", "alices-key", "--secret-key", "alices-other")
    shown = mc.admin("user", "svcacct", "info", "gw", "alices-key")[0]
    assert (shown["parentUser"], shown["accountStatus"]) == ("alice", "on")
    mc.admin("user", "svcacct", "disable", "gw", "alices-key")
    mc.admin("user", "svcacct", "edit", "gw", "alices-key", "--name", "reader")
    shown = mc.admin("user", "svcacct", "info", "gw", "alices-key")[0]
    assert (shown["accountStatus"], shown["name"]) == ("off", "reader")
    assert [found["accessKey"] for found in mc.admin("user", "svcacct", "list", "gw", "alice")] == ["alices-key"]
    listed = mc.admin("accesskey", "list", "gw", "alice")
    assert [account["accessKey"] for account in listed[0]["svcaccs"]] == ["alices-key"]
    made = mc.admin("accesskey", "create", "gw", "--name", "roots")[0]
    assert mc.admin("accesskey", "info", "gw", made["accessKey"])[0]["parentUser"] == ROOT_USER
    for name in ("alices-key", made["accessKey"]):
        mc.admin("user", "svcacct", "remove", "gw", name)
    assert mc.admin("user", "svcacct", "list", "gw", "alice") == []


def test_mc_shows_the_gateway(mc):
    """`mc admin info` shows one online server without drives."""
    found = mc.admin("info", "gw")[0]["info"]
    assert (found["mode"], len(found["servers"])) == ("online", 1)
