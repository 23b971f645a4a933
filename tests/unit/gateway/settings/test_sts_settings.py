"""Client certificates, the identity plugin and the form of tokens: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

from gateway.settings.sts_settings import TlsIdentity
from iam.model import Secret
from sts.settings import PluginSettings
from tests.unit.gateway.settings.test_config import loaded, problems


def test_nothing_is_trusted_unless_it_was_configured():
    """By default no client certificate is asked for, no plugin is asked, and tokens are MinIO's."""
    found = loaded()
    assert (found.tls_identity, found.plugin, found.session_tokens) == (None, None, "readable")
    assert loaded(MINIO_GW_CLIENT_CA="/clients").tls_identity is None


def test_the_cas_of_clients():
    """Without a word the CAs are where MinIO has them, in the certs folder."""
    assert loaded(MINIO_IDENTITY_TLS_ENABLE="on", MINIO_CERTS_DIR="/c").tls_identity == TlsIdentity(Path("/c/CAs"))
    assert loaded(MINIO_IDENTITY_TLS_ENABLE="on").tls_identity == TlsIdentity(Path("/home/somebody/.minio/certs/CAs"))


def test_trap_44_verification_cannot_be_left_out():
    """MinIO's switch that accepts any certificate is a problem, with what to do instead."""
    assert set(problems(MINIO_IDENTITY_TLS_ENABLE="on", MINIO_IDENTITY_TLS_SKIP_VERIFY="on")) == {
        "MINIO_IDENTITY_TLS_SKIP_VERIFY"
    }


def test_the_plugin_needs_policies():
    """A plugin without the policies of its role could give nobody anything: that is told; without a URL there is none."""
    assert set(problems(MINIO_IDENTITY_PLUGIN_URL="http://hook")) == {"MINIO_IDENTITY_PLUGIN_ROLE_POLICY"}
    assert set(problems(MINIO_IDENTITY_PLUGIN_URL="hook", MINIO_IDENTITY_PLUGIN_ROLE_POLICY="p")) == {
        "MINIO_IDENTITY_PLUGIN_URL"
    }
    assert loaded(MINIO_IDENTITY_PLUGIN_ROLE_POLICY="p", MINIO_IDENTITY_PLUGIN_AUTH_TOKEN="t").plugin is None
    found = loaded(MINIO_IDENTITY_PLUGIN_URL="http://hook", MINIO_IDENTITY_PLUGIN_ROLE_POLICY="p")
    assert found.plugin == PluginSettings("http://hook", ("p",))


def test_trap_54_the_plugins_token_is_a_secret():
    """Neither the configuration nor a problem shows the token that the plugin is asked with."""
    given = {"MINIO_IDENTITY_PLUGIN_URL": "http://hook", "MINIO_IDENTITY_PLUGIN_ROLE_POLICY": "p"}
    found = loaded(MINIO_IDENTITY_PLUGIN_AUTH_TOKEN="hunter2-hunter2", **given)
    assert found.plugin.auth_token == Secret("hunter2-hunter2")
    assert "hunter2" not in repr(found)
    assert "hunter2" not in str(problems(MINIO_IDENTITY_PLUGIN_AUTH_TOKEN="hunter2\n", **given))
