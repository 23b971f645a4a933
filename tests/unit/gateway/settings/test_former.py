"""MinIO's settings and flags that are not here: none is left undone in silence."""

from __future__ import annotations

import pytest

from tests.unit.gateway.settings.test_config import loaded, problems


@pytest.mark.parametrize(
    ("name", "value"),
    [("MINIO_GATEWAY_SSE", "S3"), ("MINIO_GATEWAY_SSE", "S3;C"), ("MINIO_KMS_AUTO_ENCRYPTION", "on"), ("MINIO_SSE_AUTO_ENCRYPTION", "on")],
)  # fmt: skip
def test_encryption_at_the_gateway_is_refused(name, value):
    """Whoever asks the gateway to encrypt is told that it does not, before anything is stored in the clear."""
    assert "encryption" in problems(**{name: value})[name]


@pytest.mark.parametrize("value", ["off", "OFF", "false", "0", ""])
def test_encryption_that_is_off_is_no_problem(value):
    """Who says that nothing shall be encrypted gets that."""
    assert loaded(MINIO_KMS_AUTO_ENCRYPTION=value, MINIO_SSE_AUTO_ENCRYPTION=value).former


def test_encryption_is_refused_from_the_file_of_variables_too():
    """MINIO_CONFIG_ENV_FILE is read for it as the environment is."""
    files = {"/env": "export MINIO_GATEWAY_SSE=S3\n"}
    assert "MINIO_GATEWAY_SSE" in problems(MINIO_CONFIG_ENV_FILE="/env", files=files)


def test_who_administrates_is_not_refused():
    """`minio-gw admin` stores nothing, so it runs beside such a variable."""
    loaded("admin", MINIO_GATEWAY_SSE="S3")


@pytest.mark.parametrize(
    ("name", "text"),
    [("MINIO_AUDIT_WEBHOOK_ENDPOINT_TARGET1", "nothing is sent"), ("MINIO_LOGGER_WEBHOOK_ENABLE_X", "nothing is sent"),
     ("MINIO_CACHE_DRIVES", "cached"), ("MINIO_PUBLIC_IPS", "DNS"), ("MINIO_ETCD_COREDNS_PATH", "DNS"),
     ("MINIO_STS_DURATION", "session"), ("MINIO_KMS_SECRET_KEY", "encrypted"), ("MINIO_API_CORS_ALLOW_ORIGIN", "CORS"),
     ("MINIO_API_REQUESTS_MAX", "MINIO_GW_MAX_INFLIGHT"), ("MINIO_BROWSER", "console"), ("MINIO_IDENTITY_LDAP_COMMENT", "nobody reads it")],
)  # fmt: skip
def test_what_counts_for_nothing_is_told(name, text):
    """A variable of MinIO's, or a misspelled one, that changes nothing is named at the start with what is so instead."""
    (line,) = loaded(**{name: "x"}).former
    assert name in line
    assert text in line
    assert "x" not in line.partition(":")[0].removesuffix(name)


def test_no_value_is_told():
    """What a variable holds may be a secret, and is in no line."""
    assert "hunter2" not in "".join(
        loaded(MINIO_KMS_SECRET_KEY="hunter2", MINIO_AUDIT_WEBHOOK_AUTH_TOKEN="hunter2").former
    )


def test_flags_are_told_with_the_variables_of_their_kind():
    """One line says what is so of a topic, with all that was set for it."""
    found = loaded(flags={"--console-address": ":9001"}, MINIO_BROWSER="on").former
    assert found == ("--console-address, MINIO_BROWSER: there is no console; `minio-gw admin` and mc administrate",)


@pytest.mark.parametrize(
    "name",
    ["MINIO_SERVICE_HOST", "MINIO_SERVICE_PORT", "MINIO_SERVICE_PORT_HTTP_API", "MINIO_PORT", "MINIO_PORT_9000_TCP",
     "MINIO_PORT_9000_TCP_ADDR", "MINIO_CONSOLE_SERVICE_HOST", "PATH", "MINIO_ROOT_PASSWORD_FILE", "MINIO_IDENTITY_OPENID_CLIENT_ID_LAB"],
)  # fmt: skip
def test_what_is_no_setting_of_minio_is_not_told(name):
    """Links to Kubernetes' services, others' variables and our own settings are not named."""
    root = {"MINIO_ROOT_USER": "rootaccess"} | (
        {} if name.endswith("_FILE") else {"MINIO_ROOT_PASSWORD": "root-secret"}
    )
    openid = {"MINIO_IDENTITY_OPENID_CONFIG_URL_LAB": "https://idp/x"} if "OPENID" in name else {}
    assert loaded(root=root, files={"/x": "root-secret"}, **{name: "/x"}, **openid).former == ()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("1m", 60), ("1m30s", 90), ("2h", 7200), ("1.5s", 1.5)]
)
def test_times_may_be_written_as_go_does(text, seconds):
    """MINIO_IDLE_TIMEOUT=1m is what MinIO's users wrote."""
    assert loaded(MINIO_IDLE_TIMEOUT=text).body_timeout == seconds


@pytest.mark.parametrize("text", ["m", "s", "1x", "", "1m1", "-1m", "90h"])
def test_what_is_no_time_is_told(text):
    """A time that nobody can read, or that is out of bounds, is a problem (an empty one is the default)."""
    assert (loaded if not text else problems)(MINIO_IDLE_TIMEOUT=text)
