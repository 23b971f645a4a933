"""A provider's settings: nothing is trusted unless it was configured."""

from __future__ import annotations

import dataclasses

import pytest

from sts.settings import OpenIdSettings


def test_defaults():
    """Nothing is configured by default; no clock but ours is believed, and the policy claim has MinIO's name."""
    assert OpenIdSettings() == OpenIdSettings(
        jwks_url="", config_url="", client_id="", claim_name="policy", claim_prefix="", ca_file=None, leeway=0
    )


def test_settings_never_change():
    """Nobody turns a running verifier to another provider."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        OpenIdSettings().jwks_url = "https://other.test/jwks"
