"""`minio-gw admin key …` against a real gateway."""

from __future__ import annotations


def test_a_key_s_life(admin):
    """Made, listed, withdrawn; the secret in it is nowhere."""
    made = admin("key", "rotate")
    listed = admin("key", "list")["keys"]
    assert made in listed
    assert all(set(key) == {"keyId", "createdAt", "activeAt"} for key in listed)
    assert [made["keyId"], made["createdAt"], made["activeAt"]] in [
        line.split() for line in admin.text("key", "list").splitlines()
    ]
    assert admin("key", "withdraw", made["keyId"]) == {"keyId": made["keyId"], "withdrawn": True}
    assert admin.refused("key", "withdraw", made["keyId"])["code"] == "XMinioAdminNoSuchKey"
    assert made not in admin("key", "list")["keys"]


def test_pruning(admin):
    """Keys that still mint stay, and it is said that none could go."""
    assert admin("key", "prune") == {"pruned": []}
    assert admin.text("key", "prune") == "no key could go\n"
    assert admin.text("key", "rotate").startswith("made ")
