"""What a look at the machine finds: real sockets, real certificates, real folders; and no false alarm."""

from __future__ import annotations

import datetime
import os
import socket
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.processes.preflight import check
from gateway.settings import backends_file
from gateway.settings.config import load
from gateway.settings.sts_settings import TlsIdentity
from iam.model import Secret
from iam.store import EtcdSettings
from sts.ldap_settings import LdapSettings, Transport
from tests.servers.processes import free_port


@pytest.fixture
def config(tmp_path):
    """A configuration without a problem."""
    environ = {
        "MINIO_ROOT_USER": "rootaccess", "MINIO_ROOT_PASSWORD": "root-secret", "MINIO_CERTS_DIR": str(tmp_path / "certs"),
        "MINIO_ADDRESS": f"127.0.0.1:{free_port()}",
    }  # fmt: skip
    return load("gateway", {}, "http://127.0.0.1:9", environ, Path.read_text, lambda _: [])


async def found(config) -> dict[str, str]:
    """Return the problems by setting."""
    problems = await check(config)
    assert all(problem.text and problem.remedy for problem in problems)
    return {problem.setting: problem.text for problem in problems}


@contextmanager
def listener(family=socket.AF_INET, host="127.0.0.1"):
    """Somebody else's listener; yields its port."""
    with socket.socket(family) as one:
        one.bind((host, 0))
        one.listen()
        yield one.getsockname()[1]


def key_pair(folder: Path, *, password: bytes | None = None, names=("public.crt", "private.key")) -> None:
    """Write a self-signed certificate and its key."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    (folder / names[0]).write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    (folder / names[1]).write_bytes(pem)


async def test_nothing_wrong_is_no_problem(config):
    """A free address, no certificates, a backend that is away: nothing to report."""
    assert await found(config) == {}


async def test_a_port_in_use_is_told(config):
    """Another listener on the port, also one that shares it, is a mistake: the operator chose a second port by accident."""
    with listener() as port:
        assert "in use" in (await found(replace(config, port=port)))["--address"]
        assert "--address" in await found(replace(config, host="", port=port))


async def test_the_probe_lets_go(config):
    """The look at the port does not take it: the server can bind it right after."""
    await found(config)
    with socket.socket() as one:
        one.bind((config.host, config.port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a" * 64 + ".test", ".."])
async def test_an_address_of_nobody_here_is_told(config, host):
    """An address of another machine, a name that cannot be found and one that is none are problems, not tracebacks."""
    assert set(await found(replace(config, host=host))) == {"--address"}


@pytest.mark.parametrize("name", ["public.crt", "private.key"])
async def test_half_a_key_pair_is_told(config, name):
    """A certificate without its key, or the other way round, must not mean plain HTTP."""
    config.certs_dir.mkdir()
    (config.certs_dir / name).write_text("x")
    assert "without the other half" in (await found(config))["--certs-dir"]


async def test_a_folder_that_cannot_be_looked_into_is_told(config, tmp_path):
    """Whether TLS is wanted is then not known: a problem, and neither a traceback nor plain HTTP; so is a file in its place."""
    (tmp_path / "file").write_text("x")
    for folder in (
        tmp_path / "file",
        tmp_path / ("x" * 300),
    ):  # root may look into any folder, but not at too long a name
        assert set(await found(replace(config, certs_dir=folder))) == {"--certs-dir"}


async def test_a_key_pair_is_tried(config):
    """A pair that works is none; another key's certificate, text and a pair behind a passphrase are problems."""
    key_pair(config.certs_dir)
    assert await found(config) == {}
    good = (config.certs_dir / "private.key").read_bytes()
    key_pair(config.certs_dir)
    (config.certs_dir / "private.key").write_bytes(good)
    assert "mismatch" in (await found(config))["--certs-dir"].lower()
    key_pair(config.certs_dir, password=b"hunter2")
    assert set(await found(config)) == {"--certs-dir"}
    (config.certs_dir / "public.crt").write_text("no certificate")
    assert set(await found(config)) == {"--certs-dir"}


async def test_every_certificate_is_looked_at(config, tmp_path):
    """The backend's, etcd's and the directory's CAs, etcd's client pair and the listener's own are all told at once, each by its name."""
    config.certs_dir.mkdir()
    (config.certs_dir / "public.crt").write_text("x")
    key_pair(tmp_path, names=("c.pem", "k.pem"))
    (tmp_path / "k.pem").write_text("no key")
    etcd = EtcdSettings(
        (f"https://127.0.0.1:{free_port()}",), client_cert=tmp_path / "c.pem", client_cert_key=tmp_path / "k.pem",
        ca_file=tmp_path / "gone.pem", timeout=0.2,
    )  # fmt: skip
    backend = replace(config.backend, ca_file=tmp_path / "k.pem")
    ldap = LdapSettings(
        "ldap", 636, Transport.LDAPS, "cn=l", Secret("s"), ("dc=x",), "(uid=%s)", ca_file=tmp_path / "k.pem"
    )
    assert set(await found(replace(config, etcd=etcd, backend=backend, ldap=ldap))) >= {
        "--certs-dir", "MINIO_ETCD_CLIENT_CERT", "MINIO_GW_ETCD_CA", "MINIO_GW_BACKEND_CA", "MINIO_GW_LDAP_CA",
    }  # fmt: skip


async def test_the_cas_of_clients_are_looked_at(config, tmp_path):
    """A file or a folder of PEM certificates is taken; one that is missing, empty or no certificate is told by its setting."""
    key_pair(tmp_path, names=("ca.pem", "ca.key"))
    (tmp_path / "empty").mkdir()
    for good in (tmp_path, tmp_path / "ca.pem"):
        assert await found(replace(config, tls_identity=TlsIdentity(good))) == {}
    for bad in (tmp_path / "empty", tmp_path / "none", tmp_path / "ca.key"):
        assert "cannot be used" in (await found(replace(config, tls_identity=TlsIdentity(bad))))["MINIO_GW_CLIENT_CA"]


async def test_a_good_bundle_is_no_problem(config, tmp_path):
    """A file of PEM certificates is taken."""
    key_pair(tmp_path, names=("ca.pem", "ca.key"))
    assert await found(replace(config, backend=replace(config.backend, ca_file=tmp_path / "ca.pem"))) == {}


@pytest.mark.parametrize("host", ["", "127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_an_endpoint_that_is_this_gateway_is_told(config, host, name):
    """However it is written, the gateway's own address as the store would send every request back for ever."""
    backend = replace(config.backend, endpoint=f"http://{name}:{config.port}")
    assert "this gateway itself" in (await found(replace(config, host=host, backend=backend)))["ENDPOINT"]


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:{other}", "http://192.0.2.1:{port}", "http://no.such.host.invalid:{port}"]
)
async def test_other_endpoints_are_not(config, endpoint):
    """Another port here, the same port elsewhere and a name that nobody knows are no loop."""
    url = endpoint.format(port=config.port, other=free_port())
    for host in ("", "127.0.0.1"):
        assert "ENDPOINT" not in await found(replace(config, host=host, backend=replace(config.backend, endpoint=url)))


async def test_the_data_folder_is_made_for_this_user_alone(config, tmp_path):
    """A folder that is missing is made, readable by nobody else, and nothing is left in it."""
    folder = tmp_path / "deep" / "data"
    assert await found(replace(config, data_dir=folder)) == {}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


async def test_a_data_folder_that_cannot_be_written_is_told(config, tmp_path):
    """A file in the folder's place, and a folder that forbids it, are problems of that setting."""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert set(await found(replace(config, data_dir=place))) == {"MINIO_GW_DATA_DIR"}
    if os.geteuid():  # root may write everywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        assert set(await found(replace(config, data_dir=tmp_path / "closed"))) == {"MINIO_GW_DATA_DIR"}


async def test_an_etcd_that_does_not_answer_is_told(config):
    """An etcd that is not there, or is something else, is a problem before anybody is served."""
    away = EtcdSettings((f"http://127.0.0.1:{free_port()}",), timeout=0.2)
    assert set(await found(replace(config, etcd=away))) == {"MINIO_ETCD_ENDPOINTS"}
    with listener() as port:
        silent = EtcdSettings((f"http://127.0.0.1:{port}",), timeout=0.2)
        assert set(await found(replace(config, etcd=silent))) == {"MINIO_ETCD_ENDPOINTS"}


async def test_everything_is_told_at_once(config, tmp_path):
    """One look finds every problem: nobody mends one only to learn of the next."""
    (tmp_path / "file").write_text("x")
    config.certs_dir.mkdir()
    (config.certs_dir / "public.crt").write_text("x")
    with listener() as port:
        etcd = EtcdSettings((f"http://127.0.0.1:{free_port()}",), timeout=0.2)
        backend = replace(config.backend, endpoint=f"http://127.0.0.1:{port}")
        bad = replace(config, port=port, backend=backend, etcd=etcd, data_dir=tmp_path / "file")
        assert set(await found(bad)) == {
            "--address",
            "--certs-dir",
            "ENDPOINT",
            "MINIO_GW_DATA_DIR",
            "MINIO_ETCD_ENDPOINTS",
        }


SEVERAL = """
default = "good"
[backends.good]
endpoint = "http://127.0.0.1:9"
credentials = "root"
[backends.self]
endpoint = "http://localhost:{port}"
credentials = "root"
[backends.other]
endpoint = "https://store.test"
credentials = "root"
ca = "{ca}"
[[buckets]]
name = "a1"
backend = "self"
[[buckets]]
name = "b1"
backend = "other"
"""


async def test_every_backend_is_looked_at(config, tmp_path):
    """Of several backends the one that is this gateway itself, and the one whose certificates cannot be read, are named."""
    text = SEVERAL.format(port=config.port, ca=tmp_path / "missing.pem")
    backends, wrong = backends_file.load(text, {}, lambda *_: "")
    assert wrong == []
    assert set(await found(replace(config, backends=backends))) == {
        "MINIO_GW_BACKENDS: backends.self.endpoint", "MINIO_GW_BACKENDS: backends.other.ca",
    }  # fmt: skip
