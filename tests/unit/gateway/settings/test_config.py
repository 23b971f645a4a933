"""Configuration: where a setting comes from, what is refused, and that everything is said at once and nothing leaks."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.settings.config import BackendSettings, Config, ConfigErrors, OpaConfig, load, shown
from gateway.settings.sts_settings import TlsIdentity
from gateway.settings.table import OPA_PAIRS, ROOT_PAIRS, SETTINGS
from iam.model import Credentials, Secret
from iam.policy import CANNED
from iam.store import EtcdSettings
from sts.ldap_settings import LdapSettings, Transport
from sts.settings import OpenIdSettings, PluginSettings

STORE = "http://store.test:9000"
ROOT = {"MINIO_ROOT_USER": "rootaccess", "MINIO_ROOT_PASSWORD": "root-secret", "HOME": "/home/somebody"}
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
#: Words in which no environment variable can be wrong: no NUL.
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def loaded(
    command="gateway", endpoint=STORE, *, flags=None, files=None, folder=(), root=ROOT, **environ: str
) -> Config:
    """Load from these words only; `files` are texts by path, or the errors that reading them raises."""

    def read(path: Path) -> str:
        found = (files or {}).get(str(path), FileNotFoundError(2, "No such file or directory"))
        if isinstance(found, Exception):
            raise found
        return found

    def look(path: Path) -> list[Path]:
        if isinstance(folder, Exception):
            raise folder
        return [path / name for name in folder]

    return load(command, flags or {}, endpoint, {**root, **environ}, read, look)


def problems(*args, **settings) -> dict[str, str]:
    """Return what is wrong, by setting."""
    with pytest.raises(ConfigErrors) as errors:
        loaded(*args, **settings)
    assert all(problem.text and problem.remedy for problem in errors.value.problems)
    return {problem.setting: problem.text for problem in errors.value.problems}


def test_every_default():
    """Without a word from the operator but the root pair this is the configuration, whole."""
    assert loaded(endpoint="") == Config(
        command="gateway", host="", port=9000, certs_dir=Path("/home/somebody/.minio/certs"), quiet=False, json=False,
        workers=1, root=Credentials("rootaccess", Secret("root-secret")), region="", domains=(),
        backend=BackendSettings("https://s3.amazonaws.com", "us-east-1", "virtual", "root"),
        openids=(), opa=None, etcd=None, data_dir=None, policies=CANNED,
        anonymous_policies=(), trusted_proxies=(), max_inflight=2048, drain=30.0, server_dir=None, metrics_public=False,
        head_timeout=30.0, body_timeout=120.0, backend_connections=1024, backend_timeout=300.0,
    )  # fmt: skip


def test_every_setting_has_its_place():
    """Every variable that is read arrives where it belongs."""
    found = loaded(
        MINIO_ADDRESS="127.0.0.1:9001", MINIO_CERTS_DIR="/certs", MINIO_GW_QUIET="on", MINIO_GW_JSON="true",
        MINIO_GW_WORKERS="3", MINIO_REGION="eu-west-1", MINIO_DOMAIN="S3.example.test, other.test",
        MINIO_IAM_JWKS_URL="https://idp/jwks", MINIO_IDENTITY_OPENID_CONFIG_URL="https://idp/config",
        MINIO_IDENTITY_OPENID_CLIENT_ID="cid", MINIO_IDENTITY_OPENID_CLAIM_NAME="roles",
        MINIO_IDENTITY_OPENID_CLAIM_PREFIX="x-", MINIO_GW_OPENID_LEEWAY="300",
        MINIO_IDENTITY_OPENID_CLAIM_USERINFO="on", MINIO_GW_OPENID_CA="/o.pem", MINIO_GW_OPENID_ISSUER="https://idp",
        MINIO_GW_OPENID_AUDIENCES="one, two", MINIO_GW_OPENID_SUBJECTS="s*", MINIO_GW_OPENID_TYP="at+jwt",
        MINIO_GW_OPENID_CARRIED_CLAIMS="groups", MINIO_IAM_OPA_URL="http://opa/v1",
        MINIO_IAM_OPA_AUTHTOKEN="Bearer word", MINIO_GW_OPA_TIMEOUT="0.5", MINIO_GW_OPA_RAW_HEADERS="1",
        MINIO_GW_OPA_EXISTING_TAGS="on", MINIO_GW_LOOP="asyncio", MINIO_GW_MAX_CONNECTIONS="9",
        MINIO_ETCD_ENDPOINTS="http://a:2379,b:2379", MINIO_ETCD_PATH_PREFIX="team/", MINIO_ETCD_CLIENT_CERT="/c.pem",
        MINIO_ETCD_CLIENT_CERT_KEY="/k.pem", MINIO_GW_ETCD_CA="/ca.pem", MINIO_GW_ETCD_USERNAME="u",
        MINIO_GW_ETCD_PASSWORD="p", MINIO_GW_DATA_DIR="~/data", MINIO_GW_POLICY_DIR="/policies",
        MINIO_GW_ANONYMOUS_POLICY="readonly, mine", MINIO_GW_BACKEND_CREDENTIALS="chain",
        MINIO_GW_BACKEND_REGION="eu-central-1", MINIO_GW_BACKEND_ADDRESSING="virtual", MINIO_GW_BACKEND_CA="/b.pem",
        MINIO_GW_BACKEND_CONNECTIONS="9", MINIO_IDENTITY_LDAP_SERVER_ADDR="ldap:1", MINIO_IDENTITY_LDAP_LOOKUP_BIND_DN="cn=l",
        MINIO_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD="w", MINIO_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN="dc=x",
        MINIO_IDENTITY_LDAP_USER_DN_SEARCH_FILTER="(uid=%s)",  # the others are in test_ldap_config.py
        MINIO_GW_MAX_INFLIGHT="7", MINIO_GW_DRAIN="1.5", MINIO_GW_TRUSTED_PROXIES="10.0.0.0/8, ::1",
        MINIO_PROMETHEUS_AUTH_TYPE="public", MINIO_READ_HEADER_TIMEOUT="5s", MINIO_IDLE_TIMEOUT="0.5", MINIO_GW_BACKEND_TIMEOUT="60s",
        MINIO_IDENTITY_TLS_ENABLE="on", MINIO_GW_CLIENT_CA="/clients", MINIO_IDENTITY_PLUGIN_URL="https://hook/x",
        MINIO_IDENTITY_PLUGIN_AUTH_TOKEN="hook word", MINIO_IDENTITY_PLUGIN_ROLE_POLICY="mine,readonly",
        MINIO_IDENTITY_PLUGIN_ROLE_ID="r1", MINIO_GW_SESSION_TOKENS="sealed",
        MINIO_GW_ADMIN_URL="http://gw", MINIO_GW_ADMIN_CA="/ca.pem",
        files={"/policies/mine.json": POLICY}, folder=["mine.json", "readme.txt"],
    )  # fmt: skip
    assert set(found.policies) == {*CANNED, "mine"}
    expected = Config(
        command="gateway", host="127.0.0.1", port=9001, certs_dir=Path("/certs"), quiet=True, json=True, workers=3,
        root=found.root, region="eu-west-1", domains=("s3.example.test", "other.test"),
        backend=BackendSettings(STORE, "eu-central-1", "virtual", "chain", Path("/b.pem")),
        ldap=LdapSettings("ldap", 1, Transport.LDAPS, "cn=l", Secret("w"), ("dc=x",), "(uid=%s)"),
        openids=(OpenIdSettings(
            "https://idp/jwks", "https://idp/config", "cid", "roles", "x-", Path("/o.pem"), 300, issuer="https://idp",
            audiences=("one", "two"), subjects=("s*",), types=("at+jwt",), userinfo=True, carried=("groups",),
        ),),
        loop="asyncio", max_connections=9,
        opa=OpaConfig("http://opa/v1", Secret("Bearer word"), 0.5, True, existing_tags=True),
        etcd=EtcdSettings(("http://a:2379", "http://b:2379"), "team/", Path("/c.pem"), Path("/k.pem"), Path("/ca.pem"),
                          "u", Secret("p")),
        data_dir=Path("/home/somebody/data"), policies=found.policies, anonymous_policies=("readonly", "mine"),
        trusted_proxies=("10.0.0.0/8", "::1"), max_inflight=7, drain=1.5, metrics_public=True,
        head_timeout=5.0, body_timeout=0.5, backend_connections=9, backend_timeout=60.0,
        tls_identity=TlsIdentity(Path("/clients")), session_tokens="sealed",
        plugin=PluginSettings("https://hook/x", ("mine", "readonly"), Secret("hook word"), "r1"),
    )  # fmt: skip
    for field in dataclasses.fields(Config):
        assert getattr(found, field.name) == getattr(expected, field.name), field.name


def test_flags_win_over_the_environment_and_that_over_the_file():
    """Three layers, the nearest to the operator's fingers wins, and an older name nearer by beats a newer one behind."""
    files = {"/env": "MINIO_ADDRESS=:9003\nMINIO_REGION_NAME=file\nMINIO_GW_DRAIN=3"}
    found = loaded(
        flags={"--address": ":9001"}, files=files, MINIO_CONFIG_ENV_FILE="/env", MINIO_ADDRESS=":9002",
        MINIO_REGION="environment",
    )  # fmt: skip
    assert (found.port, found.region, found.drain) == (9001, "environment", 3)


def test_the_first_of_two_names_wins():
    """Within one layer the newer of MinIO's names counts; an empty value is none."""
    names = {"MINIO_REGION_NAME": "new", "MINIO_REGION": "old", "MINIO_SITE_REGION": "other"}
    assert loaded(**names).region == "new"
    assert loaded(**names | {"MINIO_REGION_NAME": ""}).region == "old"


@pytest.mark.parametrize(("user", "password"), ROOT_PAIRS)
def test_a_pair_is_taken_whole(user, password):
    """The user of one family never goes with the password of the other: the missing half is said to be missing."""
    other_user, other_password = next(pair for pair in ROOT_PAIRS if pair[0] != user)
    environ = {user: "one-access", other_password: "other-secret"}
    assert set(problems(root={}, **environ)) <= {password, other_user}
    files = {"/env": f"{other_user}=other-access\n{other_password}=other-secret"}
    nearer = {user: "one-access", password: "one-secret"}
    found = loaded(root={}, files=files, MINIO_CONFIG_ENV_FILE="/env", **nearer)
    assert (found.root.access_key_id, found.root.secret.reveal()) == ("one-access", "one-secret")


def test_a_token_stays_with_its_url():
    """A policy service never gets the token that was meant for another one."""
    found = loaded(MINIO_IAM_OPA_URL="http://opa/", MINIO_POLICY_PLUGIN_AUTH_TOKEN="Bearer other")
    assert found.opa.auth_token is None
    both = {"MINIO_POLICY_PLUGIN_URL": "http://plugin/", "MINIO_IAM_OPA_AUTHTOKEN": "Bearer opa"}
    found = loaded(MINIO_IAM_OPA_URL="http://opa/", **both)
    assert (found.opa.url, found.opa.auth_token) == ("http://plugin/", None)


def test_a_secret_may_be_in_a_file():
    """NAME_FILE names a file that holds the value; white space around it is not part of it."""
    found = loaded(
        root={}, MINIO_ROOT_USER="rootaccess", MINIO_ROOT_PASSWORD_FILE="/run/p", files={"/run/p": " a-secret\n"}
    )
    assert found.root.secret.reveal() == "a-secret"
    assert "MINIO_ROOT_PASSWORD_FILE" in problems(
        root={}, MINIO_ROOT_USER="rootaccess", MINIO_ROOT_PASSWORD_FILE="/gone"
    )


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=a", "a"), ("export K=a", "a"), ("  K = a  ", "a"), ('K="a b"', "a b"),
        ("K='a'", "a"), ("K='", "'"), ("K=a=b", "a=b"), ("# K=a", ""),
        ("\n\n", ""), ("K=", ""),
    ],
)  # fmt: skip
def test_lines_of_the_environment_file(line, value):
    """NAME=value, with or without export and quotes; # begins a comment."""
    text = line.replace("K", "MINIO_GW_MASTER_KEY_OLD")
    found = loaded(MINIO_CONFIG_ENV_FILE="/env", files={"/env": text}).old_masters
    assert [secret.reveal() for _, secret in found] == ([value] if value else [])


@pytest.mark.parametrize(
    "text",
    [
        "MINIO_REGION", "just words", "9=x", "=x", "AWS_ACCESS_KEY_ID=x", "export AWS_PROFILE=x",
        PermissionError(13, "Permission denied"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_bad_environment_file_is_told(text):
    """A line that is none, AWS's own variables, which aiobotocore would not see, and an unreadable file are problems."""
    assert set(problems(MINIO_CONFIG_ENV_FILE="/env", files={"/env": text})) == {"MINIO_CONFIG_ENV_FILE"}


def test_everything_is_told_at_once():
    """Every problem is in the one error, each under the name that the operator wrote."""
    found = problems(
        flags={"--workers": "none"}, root={"MINIO_ACCESS_KEY": "rootaccess"}, endpoint="ftp://store", MINIO_ADDRESS="nowhere",
        MINIO_GW_QUIET="maybe", MINIO_IAM_JWKS_URL="no url", MINIO_IAM_OPA_URL="no url", MINIO_ETCD_ENDPOINTS="http://",
        MINIO_GW_POLICY_DIR="/gone", folder=FileNotFoundError(2, "No such file or directory"),
        MINIO_GW_ANONYMOUS_POLICY="none", MINIO_GW_TRUSTED_PROXIES="nobody", MINIO_GW_DRAIN="-1",
    )  # fmt: skip
    assert set(found) == {
        "--workers", "MINIO_SECRET_KEY", "ENDPOINT", "MINIO_ADDRESS", "MINIO_GW_QUIET", "MINIO_IAM_JWKS_URL",
        "MINIO_IAM_OPA_URL", "MINIO_ETCD_ENDPOINTS", "MINIO_GW_POLICY_DIR", "MINIO_GW_ANONYMOUS_POLICY",
        "MINIO_GW_TRUSTED_PROXIES", "MINIO_GW_DRAIN",
    }  # fmt: skip


def test_names_of_ours_that_nobody_knows_are_refused():
    """A misspelled MINIO_GW_ name is told with the nearest one, be it in the environment or in the file."""
    far = "MINIO_GW_" + "X" * 60
    with pytest.raises(ConfigErrors) as errors:
        loaded(MINIO_GW_DRIAN="5", MINIO_CONFIG_ENV_FILE="/env", files={"/env": f"{far}=1"})
    remedies = {problem.setting: problem.remedy for problem in errors.value.problems}
    assert remedies == {"MINIO_GW_DRIAN": "did you mean MINIO_GW_DRAIN?", far: "remove it"}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("MINIO_ETCD_ENDPOINT", "MINIO_ETCD_ENDPOINTS"), ("MINIO_POLICY_PLUGIN_UR", "MINIO_POLICY_PLUGIN_URL"),
        ("MINIO_IDENTITY_LDAP_SERVER_ADRR", "MINIO_IDENTITY_LDAP_SERVER_ADDR"), ("MINIO_ROOT_PASWORD_FILE", "MINIO_ROOT_PASSWORD_FILE"),
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_ours_is_told(wrong, right):
    """A slip in one of MinIO's names does not quietly leave out a store, a policy service, a directory or a secret."""
    with pytest.raises(ConfigErrors) as errors:
        loaded(**{wrong: "http://h:1"})
    assert [(one.setting, one.remedy) for one in errors.value.problems] == [(wrong, f"did you mean {right}?")]


@pytest.mark.parametrize(
    "name",
    ["MINIO_SITE_NAME", "MINIO_PROMETHEUS_AUTH_TOKEN", "MINIO_PROMETHEUS_URL", "MINIO_ETCD_COREDNS_PATH", "MINIO_BROWSER", "MINIO_KMS_SECRET_KEY",
     "MINIO_POLICY_PLUGIN_ENABLE_HTTP2", "MINIO_POLICY_PLUGIN_COMMENT", "MINIO_IDENTITY_LDAP_COMMENT", "MINIO_OPTS", "MINIO_VOLUMES",
     "MINIO_IDENTITY_LDAP_STS_EXPIRY", "MINIO_CACHE_DRIVES", "MINIO_STORAGE_CLASS_STANDARD", "MINIO_SERVER_URL", "MINIO_UPDATE"],
)  # fmt: skip
def test_minios_other_names_are_left_alone(name):
    """What MinIO reads and we do not may stay in the environment of who comes from there: it is told, and changes nothing."""
    assert replace(loaded(**{name: "x"}), former=()) == loaded()


def test_a_name_that_is_no_path_is_no_second_value():
    """MinIO's images have such variables in their environment, and the files are in none of them."""
    assert loaded(MINIO_ROOT_USER_FILE="access_key", MINIO_ROOT_PASSWORD_FILE="secret_key") == loaded()


@pytest.mark.parametrize(
    "name", ["MINIO_GW_SERVICE_HOST", "MINIO_GW_SERVICE_PORT", "MINIO_GW_PORT", "MINIO_GW_PORT_9000_TCP_ADDR"]
)
def test_a_service_of_kubernetes_with_our_name_stops_no_start(name):
    """Kubernetes sets these in every container beside a Service called minio-gw."""
    assert loaded(**{name: "tcp://10.0.0.1:9000"}) == loaded()


def test_a_value_is_said_once():
    """A value and a file for it at one place are a problem, for nobody could tell which counts; in two places the stronger one counts."""
    files = {"/f": "other-secret", "/env": "MINIO_ROOT_PASSWORD_FILE=/f"}
    assert set(problems(MINIO_ROOT_PASSWORD_FILE="/f", files=files)) == {"MINIO_ROOT_PASSWORD_FILE"}
    assert loaded(MINIO_CONFIG_ENV_FILE="/env", files=files).root.secret.reveal() == "root-secret"


def test_a_list_that_names_nothing_is_told():
    """Endpoints of etcd that are all blank do not mean the embedded store."""
    assert set(problems(MINIO_ETCD_ENDPOINTS=" , ")) == {"MINIO_ETCD_ENDPOINTS"}


@pytest.mark.parametrize("token", [token for _, token in OPA_PAIRS])
def test_a_token_without_a_policy_service_is_told(token):
    """Who gives a token for a policy service does not mean that IAM policies decide."""
    found = problems(**{token: "hunter2"})
    assert set(found) == {token}
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("MINIO_GW_WORKERS", ["1", "256"], ["0", "257", "1.5", "", "-1", "x", "\u0661"]),
        ("MINIO_GW_OPA_TIMEOUT", ["0.05", "60"], ["0", "0.04", "61", "nan", "inf", "1e1"]),
        ("MINIO_GW_OPENID_LEEWAY", ["0", "300"], ["301", "-1", "1.5", "1 ", "+1"]),
        ("MINIO_GW_BACKEND_CONNECTIONS", ["1", "100000"], ["0", "100001", "2.0", ""]),
        ("MINIO_GW_MAX_INFLIGHT", ["1", "1000000"], ["0", "1000001", "1_0"]),
        ("MINIO_GW_MAX_CONNECTIONS", ["auto", "1", "1000000"], ["0", "1000001", "all"]),
        ("MINIO_GW_LOOP", ["auto", "uvloop", "asyncio"], ["epoll", "UVLOOP"]),
        ("MINIO_READ_HEADER_TIMEOUT", ["0.05", "30s", "1m", "86400"], ["0", "30ss", "1mm", "86401", "s"]),
        ("MINIO_IDLE_TIMEOUT", ["0.05", "30s", "86400"], ["0", "-1", "nan"]),
        ("MINIO_GW_BACKEND_TIMEOUT", ["0.05", "30s", "86400"], ["0", "-1", "nan"]),
        ("MINIO_GW_DRAIN", ["0", "0.5", "3600"], ["3601", "-0"]),
        ("MINIO_GW_QUIET", ["on", "OFF", "True", "0"], ["yes", "2"]),
        ("MINIO_GW_OPA_RAW_HEADERS", ["on", "off"], ["raw"]),
        ("MINIO_GW_OPA_EXISTING_TAGS", ["on", "off"], ["tags"]),
        ("MINIO_GW_BACKEND_CREDENTIALS", ["auto", "root", "chain"], ["Root", "none"]),
        ("MINIO_GW_BACKEND_ADDRESSING", ["auto", "path", "virtual"], ["host"]),
        ("MINIO_IDENTITY_TLS_ENABLE", ["on", "off"], ["yes"]),
        ("MINIO_IDENTITY_TLS_SKIP_VERIFY", ["off"], ["on", "maybe"]),
        ("MINIO_IDENTITY_PLUGIN_AUTH_TOKEN", ["Bearer x"], ["a\nb", "\u00e9"]),
        ("MINIO_IDENTITY_PLUGIN_ROLE_ID", ["x-1"], ["a/b", "a b", "x" * 65]),
        ("MINIO_GW_SESSION_TOKENS", ["readable", "sealed"], ["Sealed", "jwt"]),
        ("MINIO_PROMETHEUS_AUTH_TYPE", ["jwt", "public"], ["Public", "none", "public "]),
        ("MINIO_GW_TRUSTED_PROXIES", ["10.0.0.1/8", "::/0", " , "], ["10.0.0.0/33", "proxy"]),
        ("MINIO_REGION", ["us-east-1", "default", "a.b_c:1"], ["us-east-1 ", "eu/1", "a b", "a\nb", "a,b", "\u00fc", "x" * 65]),
        ("MINIO_GW_BACKEND_REGION", ["us-east-1", "default"], ["us-east-1 ", "eu/1", "a\r\nX: y", "\u00fc"]),
        ("MINIO_DOMAIN", ["s3.example.org, b", "S3.Example.Org", "x_y", "s3.example.org."], ["http://s3.example.org", "s3.example.org:9000", ".s3", "a b", "\u00fc.org"]),
        ("MINIO_ADDRESS", [":0", ":65535", "[::1]:9000", "host:1"], [":65536", "9000", "::1:9000", "a b:1", "host:"]),
    ],
)  # fmt: skip
def test_values_have_their_bounds(name, good, bad):
    """A value within the bounds is taken, one outside is a problem of that setting alone; empty means the default."""
    for value in good:
        assert loaded(**{name: value})
    for value in bad:
        if value:
            assert set(problems(**{name: value})) == {name}, value


@pytest.mark.parametrize("name", ["MINIO_GW_OPENID_LEEWAY", "MINIO_GW_OPA_TIMEOUT"])
def test_a_wrong_number_is_told_though_nobody_uses_it(name):
    """A setting of a part that is not configured is checked all the same: the day it is, nobody looks here."""
    assert set(problems(**{name: "soon"})) == {name}


def test_workers_need_one_port():
    """Many workers on port 0, or in front of one folder, cannot be."""
    assert set(problems(MINIO_GW_WORKERS="2", MINIO_ADDRESS=":0")) == {"MINIO_ADDRESS"}
    assert set(problems("server", "/data", MINIO_GW_WORKERS="2")) == {"MINIO_GW_WORKERS"}


@pytest.mark.parametrize("key", ["ab", "a/b/c", "a=bc", "a,bc", "a bc", "schlüssel", "a\nbc", "a" * 129])
def test_trap_16_unusual_root_keys_are_refused(key):
    """A root access key that breaks the credential scope of clients is refused when it is issued."""
    assert set(problems(root={}, MINIO_ROOT_USER=key, MINIO_ROOT_PASSWORD="root-secret")) == {"MINIO_ROOT_USER"}


def test_trap_67_there_is_no_default_root_pair():
    """Without a root pair the gateway does not start; `admin`, which signs nothing, needs none."""
    assert set(problems(root={})) == {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"}
    assert loaded("admin", "", root={}).root == Credentials("", Secret(""))
    assert set(problems("admin", "", root={}, MINIO_ROOT_USER="rootaccess")) == {"MINIO_ROOT_PASSWORD"}


def test_a_short_secret_is_refused():
    """A root secret key has eight characters at least."""
    root = {"MINIO_ROOT_USER": "rootaccess", "MINIO_ROOT_PASSWORD": "7 chars"}
    assert set(problems(root=root)) == {"MINIO_ROOT_PASSWORD"}


@pytest.mark.parametrize(
    ("endpoint", "url", "region", "addressing"),
    [
        ("", "https://s3.amazonaws.com", "us-east-1", "virtual"),
        ("https://s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com", "eu-west-1", "virtual"),
        ("https://s3-eu-west-1.amazonaws.com/", "https://s3-eu-west-1.amazonaws.com", "eu-west-1", "virtual"),
        ("https://s3.dualstack.us-gov-east-1.amazonaws.com", None, "us-gov-east-1", "virtual"),
        ("https://s3.cn-north-1.amazonaws.com.cn", None, "cn-north-1", "virtual"),
        ("store.test:9000", "https://store.test:9000", "us-east-1", "path"),
        ("http://[::1]:9000", None, "us-east-1", "path"),
        ("https://s3.eu-west-1.amazonaws.com.evil.test", None, "us-east-1", "path"),
    ],
)
def test_endpoints(endpoint, url, region, addressing):
    """An Amazon endpoint names its region and wants virtual hosts; every other store gets paths."""
    backend = loaded(endpoint=endpoint).backend
    assert (backend.endpoint, backend.region, backend.addressing) == (url or endpoint, region, addressing)


@pytest.mark.parametrize(
    "endpoint",
    ["ftp://store", "http://", "http://store/path", "http://store?x", "http://store#x", "http://user:hunter2@store",
     "http://store:0", "http://store:99999", "http://st ore", "http://störe"],
)  # fmt: skip
def test_what_is_no_endpoint(endpoint):
    """A path, a query, a user or another scheme is no endpoint; a password in it is not repeated."""
    assert "hunter2" not in problems(endpoint=endpoint)["ENDPOINT"]


def test_a_region_that_was_set_counts():
    """Who names the backend's region knows it better than the endpoint's name."""
    url = "https://s3.eu-west-1.amazonaws.com"
    assert loaded(endpoint=url, MINIO_GW_BACKEND_REGION="us-east-1").backend.region == "us-east-1"


@pytest.mark.parametrize("mark", ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_aws_variables_mean_the_chain(mark):
    """With any sign of AWS's chain the root pair stays at home, unless the operator says otherwise."""
    assert loaded(**{mark: "x"}).backend.credentials == "chain"
    assert loaded(**{mark: "x"}, MINIO_GW_BACKEND_CREDENTIALS="root").backend.credentials == "root"


@pytest.mark.parametrize(
    "endpoints", ["https://a:2379,b:2379", "http://a:2379/path", "http://u:p@a:2379", "ftp://a", "http://a:x", "a?b"]
)
def test_what_are_no_etcd_endpoints(endpoints):
    """Members are http or https URLs without a path, a query or a user, and all of one scheme."""
    assert set(problems(MINIO_ETCD_ENDPOINTS=endpoints)) == {"MINIO_ETCD_ENDPOINTS"}


@pytest.mark.parametrize("half", ["MINIO_ETCD_CLIENT_CERT", "MINIO_ETCD_CLIENT_CERT_KEY"])
def test_half_a_key_pair_is_told(half):
    """A client certificate without its key, or the other way round, is a problem of the one that is missing."""
    (missing,) = {"MINIO_ETCD_CLIENT_CERT", "MINIO_ETCD_CLIENT_CERT_KEY"} - {half}
    assert set(problems(MINIO_ETCD_ENDPOINTS="https://a:2379", **{half: "/x.pem"})) == {missing}


def test_broken_policies_are_told_with_their_files():
    """Each unreadable policy is told with its name; a name that exists nowhere is no anonymous policy."""
    with pytest.raises(ConfigErrors) as errors:
        loaded(MINIO_GW_POLICY_DIR="/p", folder=["a.json", "b.json"], files={"/p/a.json": "{"})
    assert [problem.text.partition(":")[0] for problem in errors.value.problems] == ["a.json", "b.json"]


def test_a_policy_of_the_folder_takes_the_canned_ones_place():
    """Two policies of one name: the operator's counts."""
    found = loaded(MINIO_GW_POLICY_DIR="/p", folder=["readwrite.json"], files={"/p/readwrite.json": POLICY})
    assert found.policies["readwrite"] != CANNED["readwrite"]


def test_the_partial_configuration_lacks_only_what_is_wrong():
    """What could be understood is there for further checks, beside the problems."""
    with pytest.raises(ConfigErrors) as errors:
        loaded(MINIO_GW_DRAIN="long", MINIO_ADDRESS=":9009")
    assert errors.value.partial.port == 9009


def test_trap_54_no_secret_is_in_a_repr_or_a_problem():
    """Neither a configuration nor what is wrong with it shows a secret."""
    secret = "hunter2-hunter2"
    found = loaded(
        root={"MINIO_ROOT_USER": "rootaccess", "MINIO_ROOT_PASSWORD": secret}, MINIO_IAM_OPA_URL="http://opa/",
        MINIO_IAM_OPA_AUTHTOKEN=secret, MINIO_ETCD_ENDPOINTS="a:1", MINIO_GW_ETCD_USERNAME="u", MINIO_GW_ETCD_PASSWORD=secret,
    )  # fmt: skip
    assert secret not in repr(found)
    with pytest.raises(ConfigErrors) as errors:
        loaded(MINIO_IAM_OPA_URL=f"http://u:{secret}@opa:x/", MINIO_IAM_OPA_AUTHTOKEN=f"{secret}\n",
               MINIO_IAM_JWKS_URL=f"ftp://idp/?key={secret}", MINIO_ETCD_ENDPOINTS=f"ftp://u:{secret}@a")  # fmt: skip
    assert secret not in str(errors.value) + repr(errors.value.problems)
    assert len(errors.value.problems) == 4


def test_trap_54_urls_with_a_user_are_refused_and_not_asked():
    """A policy service's is a problem; an etcd's is one too, and no further check gets it, which would name it in full."""
    with pytest.raises(ConfigErrors) as errors:
        loaded(MINIO_POLICY_PLUGIN_URL="http://u:hunter2@opa/", MINIO_ETCD_ENDPOINTS="http://u:hunter2@a:1,http://b:1")
    assert [problem.setting for problem in errors.value.problems] == ["MINIO_POLICY_PLUGIN_URL", "MINIO_ETCD_ENDPOINTS"]
    assert "hunter2" not in str(errors.value)
    assert errors.value.partial.etcd.endpoints == ("http://b:1",)


@given(st.sampled_from(["http://", "https://", "", "x://"]), WORDS, WORDS)
@example("http://", "\n", "")
@example("http://", "?", "")
def test_shown_urls_hide_their_users(scheme, before, after):
    """Whatever stands before an @, or behind ? and #, is not shown: also in a URL that is none."""
    assert "MARK" not in shown(f"{scheme}{before}MARK@host{after}")
    assert "MARK" not in shown(f"{scheme}user:MARK{before}MARK@host{after}")
    assert "MARK" not in shown(f"{scheme}host/{before}?MARK{after}#MARK")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://idp.test/realm", "https://idp.test/realm"),
        ("https://u:p@idp.test:8443/realm?x=y#z", "https://idp.test:8443/realm"),
        ("idp.test/x", "idp.test/x"),
        ("https://idp.test/?mail=a@b", "https://..."),
    ],
)
def test_shown_urls_say_the_rest(url, text):
    """Host, port and path are shown, where they can be told from a password."""
    assert shown(url) == text


@given(st.sampled_from(sorted({name for setting in SETTINGS for name in setting.names})), WORDS)
@example("MINIO_CERTS_DIR", "~nobody-of-that-name/certs")
@example("MINIO_ETCD_ENDPOINTS", "http://[")
@example("MINIO_ADDRESS", "[::::]:9000")
def test_any_value_is_taken_or_told(name, value):
    """No value of any variable ends in a traceback: it is a configuration, or a problem with a remedy."""
    try:
        found = loaded(**{name: value})
    except ConfigErrors as errors:
        found = errors.partial
    assert isinstance(found, Config)


def test_a_home_that_nobody_knows_is_told():
    """A folder of a user who does not exist is a problem of that setting."""
    assert set(problems(MINIO_GW_DATA_DIR="~nobody-of-that-name/data")) == {"MINIO_GW_DATA_DIR"}
