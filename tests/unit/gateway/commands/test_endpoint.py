"""Where the gateway is, and who calls."""

from __future__ import annotations

import io
from argparse import Namespace
from pathlib import Path

import pytest

from gateway.commands.endpoint import Unusable, endpoint, read_secret, read_text
from iam.model import Credentials, Secret

ROOT = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "root-secret"}
AWS = {"AWS_ACCESS_KEY_ID": "aws", "AWS_SECRET_ACCESS_KEY": "aws-secret", "AWS_SESSION_TOKEN": "token"}


def found(environ=None, **options):
    return endpoint(Namespace(**options), {"HOME": "/nowhere", **ROOT, **(environ or {})})


@pytest.mark.parametrize(
    ("environ", "options", "origin"),
    [
        ({}, {}, "http://127.0.0.1:9000"),
        ({"MINIO_ADDRESS": ":9001"}, {}, "http://127.0.0.1:9001"),
        ({"MINIO_ADDRESS": "0.0.0.0:9001"}, {}, "http://127.0.0.1:9001"),
        ({"MINIO_ADDRESS": "[::]:9001"}, {}, "http://127.0.0.1:9001"),
        ({"MINIO_ADDRESS": "gw.test:9001"}, {}, "http://gw.test:9001"),
        ({"MINIO_ADDRESS": ":1", "MINIO_GW_ADMIN_URL": "https://gw.test/"}, {}, "https://gw.test"),
        ({"MINIO_GW_ADMIN_URL": "https://gw.test"}, {"url": "http://other:1"}, "http://other:1"),
        ({"MINIO_ADDRESS": ":9001"}, {"address": ":9002"}, "http://127.0.0.1:9002"),
    ],
)
def test_where(environ, options, origin):
    """The flag, then the variable, then the gateway of the same settings."""
    assert found(environ, **options).origin == origin


def test_certificates_mean_https(tmp_path):
    """Where the gateway's settings make it speak TLS, it is called so."""
    for name in ("public.crt", "private.key"):
        (tmp_path / name).touch()
    assert found({"MINIO_CERTS_DIR": str(tmp_path)}).origin == "https://127.0.0.1:9000"


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path):
    """Whether the gateway speaks TLS is then not known: that is said, with what to do."""
    with pytest.raises(Unusable, match="--url"):
        found({"MINIO_CERTS_DIR": str(tmp_path / ("x" * 300))})


@pytest.mark.parametrize(
    "url", ["gw:9000", "ftp://gw", "http://gw/path", "http://gw?x=1", "http://user:pass-word@gw", "http://gw#x"]
)
def test_what_is_no_url(url):
    """Anything but scheme, host and port is refused, and a password in it is not shown."""
    with pytest.raises(Unusable) as refused:
        found(url=url)
    assert "pass-word" not in str(refused.value)


def test_who_calls(tmp_path):
    """The named key, else root's, else AWS's: a gateway's environment has its backend's keys as AWS's."""
    secret, token = tmp_path / "secret", tmp_path / "token"
    secret.write_text("named-secret\n")
    token.write_text("named-token\r\n")
    assert found(AWS).credentials == Credentials("root", Secret("root-secret"))
    neither = {"MINIO_ROOT_USER": "", "MINIO_ROOT_PASSWORD": ""}
    assert found(neither | AWS).credentials == Credentials("aws", Secret("aws-secret"), Secret("token"))
    assert found(AWS, access_key="aws").credentials == Credentials("aws", Secret("aws-secret"), Secret("token"))
    named = found(AWS, access_key="me", secret_key_file=secret)
    assert named.credentials == Credentials("me", Secret("named-secret"))
    named = found(access_key="me", secret_key_file=secret, session_token_file=token)
    assert named.credentials == Credentials("me", Secret("named-secret"), Secret("named-token"))


def test_root_s_secret_may_be_in_a_file(tmp_path):
    """What the gateway reads from a file, or from the file of its environment, its administrator need not repeat."""
    (tmp_path / "password").write_text("from-a-file\n")
    (tmp_path / "env").write_text(f"MINIO_ROOT_USER=root\nMINIO_ROOT_PASSWORD_FILE={tmp_path / 'password'}\n")
    told = endpoint(Namespace(), {"MINIO_CONFIG_ENV_FILE": str(tmp_path / "env")})
    assert told.credentials == Credentials("root", Secret("from-a-file"))


@pytest.mark.parametrize(
    ("environ", "options"),
    [({"MINIO_ROOT_USER": "", "MINIO_ROOT_PASSWORD": ""}, {}), (AWS, {"access_key": "somebody"}), ({}, {"access_key": "somebody"})],
)  # fmt: skip
def test_a_secret_that_is_missing_is_told(environ, options):
    """Nobody's secret is taken for somebody else's, and the remedy is named."""
    with pytest.raises(Unusable, match="Remedy"):
        found(environ, **options)


def test_the_region():
    """The one that the gateway demands, the flag's before it."""
    assert found().region == "us-east-1"
    assert found({"MINIO_REGION": "eu-west-1"}).region == "eu-west-1"
    assert found({"MINIO_REGION": "eu-west-1"}, region="here").region == "here"


def test_other_settings_do_not_matter():
    """What is wrong with a gateway's own settings is not the administrator's affair."""
    assert found({"MINIO_GW_DRAIN": "long", "MINIO_GW_NONSENSE": "x"}).origin


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff", b"a\x1bb"])
def test_what_is_no_secret(tmp_path, content):
    """A secret is one line of printable characters."""
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(Unusable) as refused:
        read_secret(tmp_path / "secret")
    assert "two\n" not in str(refused.value)


def test_files_that_are_not_there(tmp_path):
    """The path and the system's words say what is wrong."""
    for read in (read_secret, read_text):
        with pytest.raises(Unusable, match="No such file"):
            read(tmp_path / "none")


def test_the_standard_input(monkeypatch):
    """`-` is one line of the standard input; an end without one is told."""
    monkeypatch.setattr("sys.stdin", io.StringIO("from outside\n"))
    assert read_secret(Path("-")) == "from outside"
    with pytest.raises(Unusable, match="ends before"):
        read_secret(Path("-"))
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines\n"))
    assert read_text(Path("-")) == "two\nlines\n"
