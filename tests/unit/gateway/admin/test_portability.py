"""export and import: everything of the IAM, for who may have everything of it."""

from __future__ import annotations

import json

import pytest

from iam.model import Secret
from iam.records import ServiceAccount
from tests.unit.gateway.admin.conftest import key
from tests.unit.gateway.signers import ROOT


async def exported(gateway) -> str:
    """Return the document, its secrets in the clear."""
    return (await gateway.ours("POST", "/export", {"clear": True})).document["document"]


async def filled(gateway) -> None:
    """Let there be one of each kind."""
    await gateway.user("ann", "s3:GetObject")
    await gateway.iam.changes.add_members("staff", ["ann"])
    await gateway.iam.changes.attach("staff", ["readonly"], group=True)
    await gateway.iam.changes.create_account("ann", access_key_id="acc", secret=Secret("secret-of-acc"))


async def test_everything_comes_and_goes(gateway):
    """What was exported and then removed is there again, with its secrets; a second import finds nothing to do."""
    await filled(gateway)
    before, document = gateway.iam.watcher.view, await exported(gateway)
    await gateway.iam.changes.remove_members("staff", ["ann"])
    await gateway.iam.changes.remove_user("ann")
    await gateway.iam.changes.remove_group("staff")
    await gateway.iam.changes.remove_policy("ann-policy")
    told = await gateway.ours("POST", "/import", {"document": document})
    assert told.sealed
    assert set(told.document["created"]) == {
        "users/ann", "groups/staff", "policies/ann-policy", "service-accounts/acc", "attachments/user/ann", "attachments/group/staff",
    }  # fmt: skip
    after = gateway.iam.watcher.view
    assert after.users["ann"].secret == before.users["ann"].secret
    assert after.accounts["acc"].secret == Secret("secret-of-acc")
    assert after.groups_of("ann") == ("staff",)
    again = (await gateway.ours("POST", "/import", {"document": document})).document
    assert (again["created"], len(again["unchanged"])) == ([], 6)


async def test_nothing_is_done_by_a_dry_run(gateway):
    """It says what would be, and nothing is written."""
    await filled(gateway)
    document = await exported(gateway)
    await gateway.iam.changes.remove_user("ann")
    revision = gateway.iam.watcher.view.revision
    told = (await gateway.ours("POST", "/import", {"document": document, "dryRun": True})).document
    assert (told["dryRun"], "users/ann" in told["created"]) == (True, True)
    assert gateway.iam.watcher.view.revision == revision


async def test_ours_stays_unless_it_is_replaced(gateway):
    """What differs and is newer here is kept; `replace` writes over it."""
    await filled(gateway)
    document = await exported(gateway)
    await gateway.iam.changes.put_user("ann", secret=Secret("a-newer-secret"))
    assert [
        note["about"] for note in (await gateway.ours("POST", "/import", {"document": document})).document["kept"]
    ] == ["users/ann"]
    assert gateway.iam.watcher.view.users["ann"].secret == Secret("a-newer-secret")
    told = (await gateway.ours("POST", "/import", {"document": document, "replace": True})).document
    assert told["replaced"] == ["users/ann"]
    assert gateway.iam.watcher.view.users["ann"].secret == key("ann").secret


async def test_root_s_accounts_are_root_s_affair(gateway):
    """Who may import makes no account of root's by it: who has one is root. Neither does root where a policy narrows it."""
    await gateway.iam.changes.create_account(
        ROOT.access_key_id, access_key_id="root-acc", secret=Secret("secret-of-root-acc")
    )
    document = await exported(gateway)
    await gateway.iam.changes.remove_account("root-acc")
    importer = await gateway.user("importer", "admin:ImportIAM")
    assert (await gateway.ours("POST", "/import", {"document": document}, importer)).code == "AccessDenied"
    assert "root-acc" not in gateway.iam.watcher.view.accounts
    assert (await gateway.ours("POST", "/import", {"document": document})).status == 200
    assert isinstance(gateway.iam.watcher.view.accounts["root-acc"], ServiceAccount)


async def test_trap_47_the_secrets_of_root_s_accounts_are_exported_by_root_only(gateway):
    """Who may export does not become root by it: root's accounts are left out, and that is told; a narrowed root is no root."""
    root = ROOT.access_key_id
    await filled(gateway)
    await gateway.iam.changes.create_account(root, access_key_id="root-acc", secret=Secret("secret-of-root-acc"))
    allowed = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "admin:ExportIAM"}]}'
    await gateway.iam.changes.create_account(
        root, access_key_id="narrowed", secret=key("narrowed").secret, policy=allowed
    )
    for who in (await gateway.user("exporter", "admin:ExportIAM"), key("narrowed")):
        told = (await gateway.ours("POST", "/export", {"clear": True}, who)).document
        assert "root-acc" not in told["document"]
        assert "secret-of-acc" in told["document"]
        assert {"about": "serviceAccounts/root-acc", "text": "it is root's, and only root exports it"} in told[
            "skipped"
        ]
    assert "secret-of-root-acc" in await exported(gateway)


async def test_trap_47_an_import_replaces_no_account_of_root_s(gateway):
    """Who may import takes no access key of root's over, whoever it shall belong to; root itself may give it away."""
    root = ROOT.access_key_id
    await gateway.iam.changes.create_account(root, access_key_id="root-acc", secret=Secret("secret-of-root-acc"))
    account = {"accessKey": "root-acc", "parent": "importer", "enabled": True}
    text = json.dumps({
        "format": "minio-gw iam", "version": 1, "serviceAccounts": [account],
        "secrets": {"clear": {"serviceAccounts/root-acc": "secret-of-importer"}},
    })  # fmt: skip
    importer = await gateway.user("importer", "admin:ImportIAM")
    told = (await gateway.ours("POST", "/import", {"document": text, "replace": True}, importer)).document
    assert told["skipped"] == [
        {"about": "service-accounts/root-acc", "text": "it is root's here, and only root changes it"}
    ]
    assert gateway.iam.watcher.view.accounts["root-acc"].parent == root
    told = (await gateway.ours("POST", "/import", {"document": text, "replace": True})).document
    assert told["replaced"] == ["service-accounts/root-acc"]


@pytest.mark.parametrize(("path", "document"), [("/export", {"clear": True}), ("/import", {"document": "{}"})])
async def test_each_takes_its_own_action(gateway, path, document):
    """Every other right of administration does not give all secrets away, nor take any in."""
    who = await gateway.user("ann", "admin:*", deny=f"admin:{path[1:].capitalize()}IAM")
    refused = await gateway.ours("POST", path, document, who)
    assert (refused.status, refused.code) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "document", [{}, {"clear": True, "passphrase": "long enough"}, {"passphrase": "short"}, {"clear": "yes"}]
)
async def test_what_no_export_is(gateway, document):
    """How the secrets leave must be said, once; a short passphrase protects nothing."""
    assert (await gateway.ours("POST", "/export", document)).status == 400


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"format": "minio-gw iam", "version": 2}', '{"format": "minio-gw iam", "version": 1, "more": 1}'],
)
async def test_what_no_document_is(gateway, text):
    """It is refused with what is wrong, and nothing is written."""
    told = await gateway.ours("POST", "/import", {"document": text})
    assert (told.status, told.code) == (400, "XMinioIAMNotPortable")


async def test_an_import_may_be_larger_than_other_calls(gateway):
    """A thousand users fit in one; another call's body of that length is refused."""
    users = [{"name": f"user-{i:04}", "enabled": True} for i in range(1000)]
    secrets = {"clear": {f"users/{user['name']}": "x" * 100 for user in users}}
    document = json.dumps({"format": "minio-gw iam", "version": 1, "users": users, "secrets": secrets}, indent=8)
    assert len(document) > 262_272 // 2
    padded = document + " " * 300_000
    assert (
        len((await gateway.ours("POST", "/import", {"document": padded, "dryRun": True})).document["created"]) == 1000
    )
    refused = await gateway.call("PUT", "/add-user", {"secretKey": "x" * 300_000}, accessKey="ann")
    assert refused.code == "XMinioAdminConfigTooLarge"
