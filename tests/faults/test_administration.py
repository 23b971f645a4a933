"""Two real gateways over a real etcd: what is administrated at one is so at both, and is told to be undone when it may be."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioAdminException
from urllib3 import PoolManager, Retry

from tests.conftest import s3_client
from tests.servers.cluster import EtcdCluster
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess, until


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """One real member."""
    cluster = EtcdCluster(tmp_path_factory.mktemp("etcd"), 1).start()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory, etcd, weed):
    """Gateways A and B over it."""
    folder = tmp_path_factory.mktemp("pair")
    settings = {"MINIO_ETCD_ENDPOINTS": ",".join(etcd.endpoints)}
    gateways = [GatewayProcess(folder / name, weed.endpoint, **settings).start() for name in "ab"]
    yield gateways
    for gateway in gateways:
        gateway.close()


def client(gateway) -> MinioAdmin:
    """Return root's client, which tries once."""
    once = PoolManager(retries=Retry(total=0, redirect=0))
    provider = StaticProvider(ROOT_USER, ROOT_PASSWORD)
    return MinioAdmin(
        endpoint=gateway.endpoint.removeprefix("http://"), credentials=provider, secure=False, http_client=once
    )


def code(gateway, name: str) -> str:
    """Return the error code of a user's listing, "" when it is served."""
    try:
        s3_client(gateway.endpoint, {"accessKey": name, "secretKey": f"{name}-secret"}).list_buckets()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_a_change_at_one_gateway_is_in_force_at_the_other(pair):
    """A user made and given a policy at A is served by B; removed at B it is refused by A."""
    first, second = pair
    client(first).user_add("alice", "alice-secret")
    client(first).policy_set("readwrite", user="alice")
    until(lambda: code(second, "alice") == "", "B serves", 10)
    assert json.loads(client(second).user_list())["alice"]["policyName"] == "readwrite"
    client(second).user_remove("alice")
    until(lambda: code(first, "alice") == "InvalidAccessKeyId", "A refuses", 10)


def test_a_store_that_is_away_is_told_and_nothing_is_changed(pair, etcd):
    """Without etcd changes are 503 and happen neither here nor there; what is known goes on; afterwards changes work again."""
    first, second = pair
    client(first).user_add("bob", "bob-secret")
    client(first).policy_set("readwrite", user="bob")
    until(lambda: code(second, "bob") == "", "B serves", 10)
    etcd.members[0].kill()
    try:
        with pytest.raises(MinioAdminException) as refused:
            client(first).user_remove("bob")
        assert (refused.value._code, json.loads(refused.value._body)["Code"]) == ("503", "XMinioIAMNotInitialized")
        assert list(json.loads(client(first).user_list())) == ["bob"]
        assert [code(gateway, "bob") for gateway in pair] == ["", ""]
    finally:
        etcd.members[0].start()
        etcd.wait()

    def removed() -> bool:
        try:
            client(second).user_remove("bob")
        except MinioAdminException as error:
            return error._code == "404"
        return True

    until(removed, "bob is removed", 30)
    until(lambda: code(first, "bob") == "InvalidAccessKeyId", "A refuses", 10)
