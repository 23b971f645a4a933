"""A provider's settings: nothing is trusted unless it was configured."""

from __future__ import annotations

import dataclasses

import pytest

from sts.settings import OpenIdSettings


def test_defaults():
    """Nothing is configured by default; no clock but ours is believed, and the policy claim has MinIO's name."""
    assert OpenIdSettings() == OpenIdSettings(
        jwks_url="", config_url="", client_id="", claim_name="policy", claim_prefix="", ca_file=None, leeway=0, name="",
        issuer="", audiences=(), subjects=(), types=(), role_policies=(), userinfo=False, carried=None,
    )  # fmt: skip


def test_names():
    """A provider is `openid`, or `openid:` and its name; its claim has its prefix; its audiences begin with the client id."""
    assert (OpenIdSettings().provider, OpenIdSettings(name="corp").provider) == ("openid", "openid:corp")
    assert OpenIdSettings(claim_name="n", claim_prefix="p-").claim == "p-n"
    assert OpenIdSettings(client_id="c", audiences=("a",)).accepted == ("c", "a")
    assert OpenIdSettings(audiences=("a",)).accepted == ("a",)


def test_role_arn():
    """The ARN is MinIO's, over the client id's SHA-1 (RFC 3174's own example); a provider without a role has none."""
    role = OpenIdSettings(client_id="abc", role_policies=("p",))
    assert role.role_arn("") == "arn:minio:iam:::role/qZk-NkcGgWq6PiVxeFDCbJzQ2J0"
    assert role.role_arn("eu-west-1") == "arn:minio:iam:eu-west-1::role/qZk-NkcGgWq6PiVxeFDCbJzQ2J0"
    assert OpenIdSettings(client_id="abc").role_arn("") == ""


def test_settings_never_change():
    """Nobody turns a running verifier to another provider."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        OpenIdSettings().jwks_url = "https://other.test/jwks"
