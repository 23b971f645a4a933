"""backends_file: what the file says is what is used; everything wrong with it is told at once, and no secret ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.endpoints import BackendSettings
from gateway.backends.places import Place, Places, Rule
from gateway.settings.backends_file import load
from gateway.settings.config import ConfigErrors
from gateway.settings.config import load as load_config
from iam.model import Credentials, Secret

GOOD = """
default = "main"

[backends.main]
endpoint = "http://127.0.0.1:9333"
credentials = "root"

[backends.archive]
endpoint = "s3.eu-central-1.amazonaws.com"
credentials = { profile = "archive" }

[backends.lab]
endpoint = "https://s3.lab.example.org:8443/"
region = "lab"
addressing = "virtual"
regions = "on"
aws_chunked = false
ca = "/etc/lab.pem"
credentials = { env = "LAB" }

[backends.files]
endpoint = "https://files.example.org"
credentials = { access_key_file = "/run/ak", secret_key_file = "/run/sk" }

[[buckets]]
name = "photos"
backend = "archive"
bucket = "acme-photos"

[[buckets]]
name = "team"
backend = "lab"
bucket = "shared"
prefix = "teams/a/"

[[buckets]]
name = "logs-*"
backend = "files"
bucket = "acme-*"
"""
ENV = {"LAB_ACCESS_KEY": "LABKEY", "LAB_SECRET_KEY": "lab-secret"}
FILES = {"/run/ak": "FILEKEY\n", "/run/sk": "file-secret\n"}


def texts(setting: str, path: Path) -> str:
    return FILES.get(str(path), "")


def problems(text: str, environ=ENV) -> dict[str, str]:
    """Return what is wrong, by where it is."""
    _, found = load(text, environ, texts)
    return {p.setting.removeprefix("MINIO_GW_BACKENDS").removeprefix(": "): f"{p.text}. {p.remedy}" for p in found}


def test_a_whole_file():
    """Every key has its effect, every default its value."""
    found, wrong = load(GOOD, ENV, texts)
    assert wrong == []
    assert found.backends == {
        "main": BackendSettings("http://127.0.0.1:9333", "us-east-1", "path", "root", name="main"),
        "archive": BackendSettings(
            "https://s3.eu-central-1.amazonaws.com", "eu-central-1", "virtual", "chain", profile="archive", name="archive"
        ),
        "lab": BackendSettings(
            "https://s3.lab.example.org:8443", "lab", "virtual", "static", Path("/etc/lab.pem"),
            Credentials("LABKEY", Secret("lab-secret")), "on", aws_chunked=False, name="lab",
        ),
        "files": BackendSettings(
            "https://files.example.org", "us-east-1", "path", "static", static=Credentials("FILEKEY", Secret("file-secret")), name="files"
        ),
    }  # fmt: skip
    assert found.rules == (
        Rule("photos", "archive", "amazonaws.com", "acme-photos"),
        Rule("team", "lab", "s3.lab.example.org:8443", "shared", "teams/a/"),
        Rule("logs-*", "files", "files.example.org:443", "acme-*"),
        Rule("*", "main", "localhost:9333"),
    )
    assert Places(found.rules).of("logs-7") == Place("files", "acme-7")


def test_the_example_is_a_good_file():
    """What the examples folder shows loads without a problem."""
    text = (Path(__file__).parents[4] / "examples" / "backends.toml").read_text()
    assert problems(text) == {}


def test_variables_may_be_in_files():
    """NAME_ACCESS_KEY_FILE and NAME_SECRET_KEY_FILE name files that hold them."""
    found, wrong = load(GOOD, {"LAB_ACCESS_KEY_FILE": "/run/ak", "LAB_SECRET_KEY_FILE": "/run/sk"}, texts)
    assert wrong == []
    assert found.backends["lab"].static == Credentials("FILEKEY", Secret("file-secret"))


def test_a_variable_is_said_once():
    """A variable beside its file is a problem, as for every setting; neither is repeated."""
    environ = {"LAB_ACCESS_KEY": "LABKEY", "LAB_SECRET_KEY": "hunter2", "LAB_SECRET_KEY_FILE": "/run/sk"}
    assert problems(GOOD, environ) == {
        "backends.lab.credentials": "LAB_SECRET_KEY_FILE is set beside LAB_SECRET_KEY. take one of them away"
    }


BACKEND = '[backends.b]\nendpoint = "http://s:1"\ncredentials = "chain"\n'


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "backends"),
        ("backends = 1", "backends"),
        ("x = ", ""),
        (f'default = "b"\n{BACKEND}regoin = "x"', "backends.b.regoin"),
        (f'regoin = "x"\ndefault = "b"\n{BACKEND}', "regoin"),
        (f'default = "c"\n{BACKEND}', "default"),
        (f"default = 1\n{BACKEND}", "default"),
        ('default = "b"\n[backends.b]\ncredentials = "root"', "backends.b.endpoint"),
        ('default = "b"\n[backends.b]\nendpoint = "http://u:pw@s"\ncredentials = "root"', "backends.b.endpoint"),
        ('default = "b"\n[backends.b]\nendpoint = "http://s/path"\ncredentials = "root"', "backends.b.endpoint"),
        ('default = "b"\n[backends.b]\nendpoint = 1\ncredentials = "root"', "backends.b.endpoint"),
        ('default = "b"\n[backends.b]\nendpoint = "http://s"', "backends.b.credentials"),
        ('default = "b"\n[backends.b]\nendpoint = "http://s"\ncredentials = "secret-key"', "backends.b.credentials"),
        ('default = "b"\n[backends.b]\nendpoint = "http://s"\ncredentials = { env = "A", profile = "B" }', "backends.b.credentials"),
        ('default = "b"\n[backends.b]\nendpoint = "http://s"\ncredentials = { env = "NOT-SET" }', "backends.b.credentials.env"),
        ('default = "b"\n[backends.b]\nendpoint = "http://s"\ncredentials = { env = "UNSET" }', "backends.b.credentials"),
        ('default = "b"\n[backends.b]\nendpoint = "http://s"\ncredentials = { access_key_file = "/no", secret_key_file = "/no" }',
         "backends.b.credentials"),
        (f'default = "b"\n{BACKEND}addressing = "hosts"', "backends.b.addressing"),
        (f'default = "b"\n{BACKEND}regions = "maybe"', "backends.b.regions"),
        (f'default = "b"\n{BACKEND}region = "eu west"', "backends.b.region"),
        (f'default = "b"\n{BACKEND}region = "x\\r\\nhunter2: y"', "backends.b.region"),
        (f'default = "b"\n{BACKEND}aws_chunked = "off"', "backends.b.aws_chunked"),
        (f'default = "b"\n{BACKEND}secret_key = "hunter2"', "backends.b.secret_key"),
        ('default = "b"\nbackends.b = 1', "backends.b"),
        ('default = "b c"\n[backends."b c"]\nendpoint = "http://s:1"\ncredentials = "chain"', "backends.'b c'"),
        (BACKEND, "backends.b"),
        (BACKEND + "buckets = 1\n", "backends.b.buckets"),
        ("buckets = 1\n" + BACKEND, "buckets"),
        (BACKEND + '[[buckets]]\nbackend = "b"', "buckets 1.name"),
        (BACKEND + '[[buckets]]\nname = "a/b"\nbackend = "b"', "buckets 1.name"),
        (BACKEND + '[[buckets]]\nname = "a*b*c*d*e"\nbackend = "b"', "buckets 1.name"),
        (BACKEND + '[[buckets]]\nname = "n1"\nbackend = "c"', "buckets 1 (n1).backend"),
        (BACKEND + '[[buckets]]\nname = "n1"', "buckets 1 (n1).backend"),
        (BACKEND + '[[buckets]]\nname = "n1"\nbackend = "b"\nbucket = "x/y"', "buckets 1 (n1).bucket"),
        (BACKEND + '[[buckets]]\nname = "n1"\nbackend = "b"\nbucket = "x*"', "buckets 1 (n1).bucket"),
        (BACKEND + '[[buckets]]\nname = "n*"\nbackend = "b"\nbucket = "x"', "buckets 1 (n*).bucket"),
        (BACKEND + '[[buckets]]\nname = "n*m*"\nbackend = "b"\nbucket = "x*y*"', "buckets 1 (n*m*).bucket"),
        (BACKEND + '[[buckets]]\nname = "n1"\nbackend = "b"\nshared = "yes"', "buckets 1 (n1).shared"),
        (BACKEND + '[[buckets]]\nname = "n1"\nbackend = "b"\nbucket = "x"\n[[buckets]]\nname = "n2"\nbackend = "b"\nbucket = "x"',
         "buckets 2 (n2)"),
        (BACKEND + '[[buckets]]\nname = "n*"\nbackend = "b"\n[[buckets]]\nname = "n1"\nbackend = "b"', "buckets 2 (n1)"),
        (BACKEND + '[[buckets]]\nname = "*"\nbackend = "b"\n[[buckets]]\nname = "n1"\nbackend = "b"', "buckets 2 (n1)"),
        ('default = "b"\n' + BACKEND + '[[buckets]]\nname = "*"\nbackend = "b"', "default"),
        *((BACKEND + f'[[buckets]]\nname = "n1"\nbackend = "b"\nprefix = "{prefix}"', "buckets 1 (n1).prefix")
          for prefix in ("x", "/x/", "x//", "../", "a/../", "./", "x y/", "%2e/", "ü/", "*/", "x" * 600 + "/")),
    ],
)  # fmt: skip
def test_each_mistake_is_named(text, where):
    """One mistake is one problem, where it is; what is said of it holds no value that could be a secret."""
    found = problems(text)
    assert list(found) == [where]
    assert "hunter2" not in str(found)
    assert "pw@" not in str(found)
    assert "secret-key" not in str(found).replace("secret_key", "")


def test_a_path_that_is_none_is_told(tmp_path):
    """NUL, which a TOML file can write and no path can hold, is a problem of its place and no traceback."""
    file = tmp_path / "backends.toml"
    pair = 'credentials = { access_key_file = "a\\u0000", secret_key_file = "b\\u0000" }'
    file.write_text(f'default = "b"\n[backends.b]\nendpoint = "http://s"\n{pair}')
    environ = {"MINIO_ROOT_USER": "rootaccess", "MINIO_ROOT_PASSWORD": "root-secret", "MINIO_GW_BACKENDS": str(file)}
    with pytest.raises(ConfigErrors) as errors:
        load_config("gateway", {}, "", environ, Path.read_text, lambda _: [])
    where = "MINIO_GW_BACKENDS: backends.b.credentials"
    assert {one.setting for one in errors.value.problems} == {
        f"{where}.access_key_file",
        f"{where}.secret_key_file",
        where,
    }


def test_every_problem_is_told_at_once():
    """A file with many mistakes is mended in one go."""
    text = (
        GOOD.replace('"root"', '"rot"')
        .replace('"lab"\n', "1\n", 1)
        .replace('"acme-*"', '"acme"')
        .replace('"teams/a/"', '"teams"')
    )
    assert set(problems(text, {})) == {
        "backends.main.credentials", "backends.lab.credentials", "backends.lab.region", "buckets 3 (logs-*).bucket",
        "buckets 2 (team).prefix",
    }  # fmt: skip


def test_a_key_that_is_nearly_right_is_corrected():
    """The remedy for an unknown key is the known one that looks like it."""
    assert "did you mean region?" in problems(f'default = "b"\n{BACKEND}regoin = "x"')["backends.b.regoin"]


SHARED = BACKEND + "".join(
    f'[[buckets]]\nname = "n{i}"\nbackend = "b"\nbucket = "x"\nprefix = "{prefix}"\nSHARED\n'
    for i, prefix in ((1, "p/"), (2, "p/q/"))
)


def test_overlapping_places_must_be_declared_shared():
    """Two names for one place are refused, unless both say so."""
    assert "policy" in problems(SHARED.replace("SHARED\n", ""))["buckets 2 (n2)"]
    assert "buckets 2 (n2)" in problems(SHARED.replace("SHARED", "shared = true", 1).replace("SHARED", ""))
    assert problems(SHARED.replace("SHARED", "shared = true")) == {}


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    """Nothing but problems comes of a file that is none."""
    _, found = load(text, {}, texts)
    assert found


def config(endpoint: str, environ: dict[str, str], text: str = GOOD):
    environ = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "root-password", **ENV, **environ}
    return load_config("gateway", {}, endpoint, environ, lambda path: FILES.get(str(path), text), lambda _: [])


def test_one_backend_stays_one_line():
    """Without MINIO_GW_BACKENDS there are no places at all."""
    assert config("http://s:1", {}).backends is None


def test_the_file_stands_in_place_of_the_endpoint():
    """MINIO_GW_BACKENDS is read where it says; ENDPOINT and the settings of the one backend are refused beside it."""
    assert list(config("", {"MINIO_GW_BACKENDS": "/etc/b.toml"}).backends.backends) == [
        "main",
        "archive",
        "lab",
        "files",
    ]
    with pytest.raises(ConfigErrors) as refused:
        config("http://s:1", {"MINIO_GW_BACKENDS": "/etc/b.toml", "MINIO_GW_BACKEND_REGION": "x"}, "")
    assert [p.setting for p in refused.value.problems] == [
        "ENDPOINT",
        "MINIO_GW_BACKEND_REGION",
        "MINIO_GW_BACKENDS: backends",
    ]


@pytest.mark.parametrize(("command", "wrong"), [("server", ["MINIO_GW_BACKENDS"]), ("admin", [])])
def test_the_file_is_for_the_gateway(command, wrong):
    """A server has its own store, and says so; the admin command needs no backend at all."""
    environ = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "root-password", "MINIO_GW_BACKENDS": "/etc/b.toml"}
    try:
        load_config(command, {}, "/data", environ, lambda _: "not toml", lambda _: [])
        found = []
    except ConfigErrors as error:
        found = [problem.setting for problem in error.problems]
    assert found == wrong
