"""Every secret of a whole story, looked for in all that two real gateways printed, answered to others and stored (trap 54)."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import re
import secrets as randomness
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from client_grants import get_token
from minio.error import MinioAdminException

from gateway.settings.config import KEY_MASTER
from iam.codec import Codec
from iam.keys import parse_record, records
from iam.records import DATA_KEY, Kind
from iam.seal import Seal, master_of
from tests.servers.etcd import Etcd
from tests.servers.fleet import Fleet, Refusal, administrator, issued
from tests.servers.leaks import leaks
from tests.servers.processes import ROOT, ROOT_USER, DevIssuer, GatewayProcess
from tests.servers.proxy import eventually
from tests.servers.slapd import LOOKUP_DN, LOOKUP_PASSWORD, PASSWORD, PEOPLE, USER_FILTER, USERS, Slapd, command

NAMES = (
    "root", "old-root", "master", "old-master", "user", "users-next", "account", "etcd", "etcd-root", "oidc-client",
    "plugin", "custom", "stranger", "in-url",
)  # fmt: skip
PREFIX = "story/"


class Webhook:
    """An identity plugin that vouches for the bearer of one token, and keeps its own authorization's value."""

    def __init__(self, token: str) -> None:
        seen: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append(self.headers["Authorization"])
                good = parse_qs(urlsplit(self.path).query).get("token") == [token]
                answer = {"user": "bot", "maxValiditySeconds": 3600} if good else {"reason": "unknown"}
                body = json.dumps(answer).encode()
                self.send_response(200 if good else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.seen = seen
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/check"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class World:
    """Random secrets, an etcd that asks for a password, a provider, a plugin, and all that anybody was told."""

    def __init__(self, folder: Path) -> None:
        # A slash and a plus, so that quoting changes them; recognisable, so that a finding names its secret.
        self.secrets: dict[str, str | bytes] = {n: f"{n}/{randomness.token_hex(12)}+x" for n in NAMES}
        self.told: list[tuple[str, bytes]] = []
        self.folder = folder
        self.etcd = Etcd(folder / "etcd", options=("--bcrypt-cost", "4"))
        self.etcd.start()
        self._ask_for_passwords()
        self.issuer = DevIssuer(folder / "issuer", f"app:{self['oidc-client']}:readwrite")
        self.webhook = Webhook(self["custom"])
        self.directory = Slapd(folder / "directory") if command("slapd") is not None else None
        self.secrets |= {"ldap-lookup": LOOKUP_PASSWORD, "ldap-user": PASSWORD} if self.directory else {}

    def __getitem__(self, name: str) -> str:
        return str(self.secrets[name])

    def settings(self) -> dict[str, str]:
        """Return a gateway's settings, with every secret that they can hold here."""
        return {
            "MINIO_ROOT_PASSWORD": self["root"], "MINIO_ROOT_USER_OLD": "oldroot", "MINIO_ROOT_PASSWORD_OLD": self["old-root"],
            "MINIO_GW_MASTER_KEY": self["master"], "MINIO_GW_MASTER_KEY_OLD": self["old-master"],
            "MINIO_ETCD_ENDPOINTS": self.etcd.endpoints[0], "MINIO_ETCD_PATH_PREFIX": PREFIX,
            "MINIO_GW_ETCD_USERNAME": "gateway", "MINIO_GW_ETCD_PASSWORD": self["etcd"],
            "MINIO_IDENTITY_OPENID_CONFIG_URL": self.issuer.urls["config"],
            "MINIO_IDENTITY_OPENID_CLIENT_SECRET": self["oidc-client"],
            "MINIO_IDENTITY_PLUGIN_URL": self.webhook.url, "MINIO_IDENTITY_PLUGIN_AUTH_TOKEN": self["plugin"],
            "MINIO_IDENTITY_PLUGIN_ROLE_POLICY": "readwrite", "MINIO_IDENTITY_PLUGIN_ROLE_ID": "story",
            "MINIO_PROMETHEUS_AUTH_TYPE": "public", **self._ldap(),
        }  # fmt: skip

    def _ldap(self) -> dict[str, str]:
        if self.directory is None:
            return {}
        return {
            "MINIO_GW_LDAP_CA": str(self.directory.ca), "MINIO_IDENTITY_LDAP_SERVER_ADDR": f"127.0.0.1:{self.directory.port}",
            "MINIO_IDENTITY_LDAP_SERVER_STARTTLS": "on", "MINIO_IDENTITY_LDAP_LOOKUP_BIND_DN": LOOKUP_DN,
            "MINIO_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD": LOOKUP_PASSWORD, "MINIO_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN": PEOPLE,
            "MINIO_IDENTITY_LDAP_USER_DN_SEARCH_FILTER": USER_FILTER,
        }  # fmt: skip

    def keep(self, where: str, data: str | bytes) -> None:
        """Keep what was told to somebody who must not have learnt a secret by it."""
        self.told.append((where, data.encode() if isinstance(data, str) else data))

    def session(self, name: str, session: Credentials | Refusal) -> Credentials:
        """Keep the secrets of a session: its secret key, its token and the token's signature alone."""
        assert isinstance(session, Credentials), session
        self.secrets[f"{name}: secret"] = session.secret_key
        self.secrets[f"{name}: token"] = session.token
        self.secrets[f"{name}: signature"] = session.token.rpartition(".")[2]
        return session

    def close(self) -> None:
        self.webhook.close()
        if self.directory:
            self.directory.close()
        self.issuer.close()
        self.etcd.kill(0)

    def pairs(self) -> Iterator[tuple[str, bytes]]:
        """Yield every key and value of etcd."""
        listed = json.loads(self.etcdctl("get", "", "--prefix", "-w", "json"))
        for pair in listed["kvs"]:
            key = base64.b64decode(pair["key"])
            yield f"etcd key {key!r}", key
            yield f"etcd value of {key!r}", base64.b64decode(pair["value"])

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield what etcd's files hold, its log too, without the zeros that they are made of."""
        for path in self.folder.joinpath("etcd").rglob("*"):
            if path.is_file():
                yield f"etcd's {path.name}", re.sub(rb"\0{16,}", b"\0", path.read_bytes())

    def keys_of_the_store(self) -> dict[str, bytes]:
        """Return the data key and the session keys, opened with the master key: nobody else can."""
        listed = json.loads(self.etcdctl("get", f"{records(PREFIX)}", "--prefix", "-w", "json"))
        rows = {
            parse_record(base64.b64decode(pair["key"]).decode().removeprefix(records(PREFIX))): base64.b64decode(
                pair["value"]
            )
            for pair in listed["kvs"]
        }
        seal = Seal((master_of(self["master"], KEY_MASTER),), randomness.token_bytes)
        codec = Codec(seal)
        data_key = seal._unwrapped(codec.decode(Kind.SEAL, DATA_KEY, rows[Kind.SEAL, DATA_KEY]))
        found = {"data key": data_key}
        for (kind, name), value in rows.items():
            if kind is Kind.KEY:
                key = codec.decode(kind, name, value)
                found |= {f"key {name}: signing": key.signing, f"key {name}: derivation": key.derivation}
        return found

    def etcdctl(self, *words: str) -> str:
        return self.etcd.etcdctl("--user", f"root:{self['etcd-root']}", *words)

    def _ask_for_passwords(self) -> None:
        for words in (
            ("user", "add", f"root:{self['etcd-root']}"), ("role", "add", "root"), ("user", "grant-role", "root", "root"),
            ("role", "add", "ours"), ("role", "grant-permission", "--prefix", "ours", "readwrite", PREFIX),
            ("user", "add", f"gateway:{self['etcd']}"), ("user", "grant-role", "gateway", "ours"), ("auth", "enable"),
        ):  # fmt: skip
            self.etcd.etcdctl(*words)


@pytest.fixture
def world(tmp_path):
    """Everything that the story needs, with secrets of its own."""
    made = World(tmp_path)
    yield made
    made.close()


async def users(world: World, fleet: Fleet, here, there) -> Credentials:
    """Make a user and an account, show them to others, change them, get calls wrong; return the user's keys."""
    root = Credentials(ROOT_USER, world["root"])
    admin = administrator(here, root)
    for call, given in ((admin.user_add, ("alice", world["user"])), (admin.user_add, ("mallory", world["stranger"]))):
        world.keep("user_add", await asyncio.to_thread(call, *given))
    world.keep("attach", await asyncio.to_thread(admin.attach_policy, ["readwrite"], "alice"))
    alice = Credentials("alice", world["user"])
    own = administrator(there, alice)
    made = json.loads(await asyncio.to_thread(own.add_service_account))["credentials"]
    world.secrets["generated account"] = made["secretKey"]
    given = await asyncio.to_thread(
        lambda: own.add_service_account(access_key="alicesbot", secret_key=world["account"])
    )
    assert json.loads(given)["credentials"]["secretKey"] == world["account"]
    for call in (admin.user_list, lambda: admin.user_info("alice"), lambda: admin.list_service_account("alice"),
                 lambda: admin.get_service_account("alicesbot"), admin.info, lambda: admin.get_policy_entities(["alice"], [], [])):  # fmt: skip
        world.keep("administration", await asyncio.to_thread(call))
    stranger = administrator(here, Credentials("mallory", world["stranger"]))
    for call in (lambda: stranger.user_info("alice"), lambda: stranger.get_service_account("alicesbot"), stranger.user_list,
                 lambda: administrator(here, Credentials("alice", "not-her-secret")).user_list()):  # fmt: skip
        with pytest.raises(MinioAdminException) as refused:
            await asyncio.to_thread(call)
        world.keep("refusal", refused.value._body)
    # A secret where none belongs: in a body that is refused, in a name, in a query.
    for path, body in (
        ("/sessions/revoke", {"secretKey": world["user"]}),
        ("/keys/withdraw", {"keyId": "aa", "password": world["user"]}),
    ):
        refusal = await fleet.admin(here, "POST", path, body, keys=root)
        assert isinstance(refusal, Refusal), path
    world.keep("a new secret", await asyncio.to_thread(admin.user_add, "alice", world["users-next"]))
    return Credentials("alice", world["users-next"])


async def sessions(world: World, fleet: Fleet, here, there, alice: Credentials) -> None:
    """Get sessions in every way there is, use them in every way, misuse them, end them."""
    token = get_token(world.issuer.urls["token"], "app", world["oidc-client"])["access_token"]
    world.secrets |= {"access token": token, "access token: signature": token.rpartition(".")[2]}
    made = [
        world.session("federated", await fleet.grant(here, token)),
        world.session("assumed", await fleet.assume(there, alice)),
    ]
    answer = await fleet.http.post(here.endpoint, data={
        "Action": "AssumeRoleWithCustomToken", "Version": "2011-06-15", "Token": world["custom"],
        "RoleArn": "arn:minio:iam:::role/idmp-story",
    })  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert world.webhook.seen == [world["plugin"]]
    for query in (
        {"Action": "AssumeRoleWithCustomToken", "Token": world["in-url"], "RoleArn": "arn:minio:iam:::role/idmp-story"},
        {"Action": "AssumeRoleWithClientGrants", "Token": token + "A"}, {"Action": "AssumeRoleWithClientGrants", "Secret": world["in-url"]},
        {"Action": "AssumeRoleWithLDAPIdentity", "LDAPUsername": "ann", "LDAPPassword": world["in-url"]},
        {"Action": "Nothing", "Token": token, "Password": world["in-url"]},
    ):  # fmt: skip
        refused = await fleet.http.post(there.endpoint, params=query)
        assert refused.status_code >= 400
        world.keep("STS refusal", refused.text)
    if world.directory:
        admin = administrator(here, Credentials(ROOT_USER, world["root"]))
        await asyncio.to_thread(lambda: admin.attach_policy_ldap(["readwrite"], user=USERS["alice"]))
        form = {
            "Action": "AssumeRoleWithLDAPIdentity",
            "Version": "2011-06-15",
            "LDAPUsername": "alice",
            "LDAPPassword": PASSWORD,
        }
        answer = await fleet.http.post(there.endpoint, data=form)
        assert answer.status_code == 200, answer.text
        made.append(world.session("ldap", issued(answer)))
    for session in made:
        await use(world, fleet, here, session)
        await use(world, fleet, there, session)
    root = Credentials(ROOT_USER, world["root"])
    world.keep("sessions", json.dumps(await fleet.admin(there, "GET", "/sessions", keys=root)))
    world.keep("keys", json.dumps(await fleet.admin(there, "GET", "/keys", keys=root)))
    world.keep("rotated", json.dumps(await fleet.admin(there, "POST", "/keys/rotate", keys=root)))
    await fleet.admin(here, "POST", "/sessions/revoke", {"accessKey": made[0].access_key}, keys=root)
    await fleet.listing(here, made[0])


async def use(world: World, fleet: Fleet, gateway, session: Credentials) -> None:
    """List, with a header and with a presigned URL; with a wrong secret; with a token that was broken, and with another's."""
    assert await fleet.listing(gateway, session) == ""
    await fleet.listing(gateway, Credentials(session.access_key, "wrong", session.token))
    await fleet.listing(gateway, Credentials(session.access_key, session.secret_key, session.token[:-4] + "AAAA"))
    await fleet.listing(gateway, Credentials("alice", world["users-next"], session.token))
    client = boto3.client(
        "s3", endpoint_url=gateway.endpoint, region_name="us-east-1", aws_access_key_id=session.access_key,
        aws_secret_access_key=session.secret_key, aws_session_token=session.token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    for bucket in ("nowhere", "no..where"):
        url = client.generate_presigned_url("list_objects_v2", {"Bucket": "nowhere"}).replace("nowhere", bucket)
        answer = await fleet.http.get(url)
        assert answer.status_code >= 400
        world.keep("presigned", answer.text)
    world.keep(
        "not HTTP", (await fleet.http.request("BREW", f"{gateway.endpoint}/?X-Amz-Security-Token={session.token}")).text
    )


async def trouble(world: World, fleet: Fleet, gateways) -> None:
    """Let records be unreadable that hold a secret in the clear, and etcd be away in the middle of calls."""
    junk = json.dumps({"version": 1, "secret": world["stranger"]})
    for kind in (
        "users/eve",
        "service-accounts/eves",
        "keys/junk",
        "seals/other",
        "epochs/eve",
        "attachments/user%2Feve",
    ):
        world.etcdctl("put", f"{records(PREFIX)}{kind}", junk)
        await eventually(lambda k=kind: all(k.partition("/")[0] in g.process.text for g in gateways), "told", 20)
        world.etcdctl("del", f"{records(PREFIX)}{kind}")
    token = get_token(world.issuer.urls["token"], "app", world["oidc-client"])["access_token"]
    await asyncio.to_thread(world.etcd.kill, 0)
    for gateway in gateways:
        refusal = await fleet.grant(gateway, token)
        assert refusal == Refusal(503, "ServiceUnavailable")
        refusal = await fleet.admin(gateway, "POST", "/keys/rotate", keys=Credentials(ROOT_USER, world["root"]))
        assert isinstance(refusal, Refusal)
    await asyncio.to_thread(world.etcd.start)


def arguments(process: int) -> bytes:
    """Return what every user of the machine may see of a process."""
    return Path(f"/proc/{process}/cmdline").read_bytes()


async def surfaces(world: World, fleet: Fleet, gateways) -> None:
    """Keep what health, metrics and the command line tell, a wrong configuration's report, and the processes' arguments."""
    for gateway in gateways:
        for path in ("/minio/health/live", "/minio/health/ready", "/minio/v2/metrics/cluster"):
            world.keep(path, (await fleet.status(gateway, path))[1])
        world.keep("arguments", arguments(gateway.process.popen.pid))
    wrong = world.settings() | {
        "MINIO_ETCD_ENDPOINTS": f"http://gateway:{world['in-url'].replace('/', '-')}@127.0.0.1:1", "MINIO_ROOT_PASSWORD": "short",
        "MINIO_GW_SHUTDOWN_TIMEOUT": world["root"], "MINIO_GW_ETCD_PASSWORD_FILE": "/nowhere",
        "MINIO_IDENTITY_PLUGIN_URL": f"ftp://u:{world['in-url'].replace('/', '-')}@x", "MINIO_GW_MASTER_KEY_OLD": "short",
    }  # fmt: skip
    world.secrets["in-endpoint"] = world["in-url"].replace("/", "-")
    for words, settings in (
        (["gateway", "s3", "http://127.0.0.1:1"], wrong), (["gateway", "s3", "--json", "http://127.0.0.1:1"], wrong),
        (["admin", "sessions", "list"], world.settings()), (["settings"], world.settings()), (["gateway", "s3", "--help"], world.settings()),
    ):  # fmt: skip
        program = [sys.executable, "-m", "gateway.cli", *words]
        done = await asyncio.to_thread(
            lambda c=program, s=settings: subprocess.run(
                c, capture_output=True, check=False, cwd=ROOT, timeout=60, env={"MINIO_ROOT_USER": ROOT_USER, **s}
            )
        )
        world.keep(" ".join(words), done.stdout + done.stderr)


async def test_trap_54_no_secret_of_a_whole_story_is_told_anywhere(world, weed):
    """Users, accounts, sessions, errors, outages, two kinds of logs: not one secret is printed, answered or stored in any form."""
    here = GatewayProcess(world.folder / "json", weed.endpoint, "--json", **world.settings())
    there = GatewayProcess(world.folder / "plain", weed.endpoint, **world.settings())
    try:
        await asyncio.to_thread(here.start)
        await asyncio.to_thread(there.start)
        async with Fleet() as fleet:
            alice = await users(world, fleet, here, there)
            await sessions(world, fleet, here, there, alice)
            await trouble(world, fleet, (here, there))
            await eventually(
                lambda: "is back" in here.process.text and "is back" in there.process.text, "etcd is back", 30
            )
            world.etcdctl("del", f"{records(PREFIX)}users/eve")
            await surfaces(world, fleet, (here, there))
    finally:
        here.close()
        there.close()
    assert len(here.process.text.splitlines()) > 40
    assert len(there.process.text.splitlines()) > 40
    for gateway in (here, there):
        world.keep("log of a gateway", gateway.process.text)
    secrets = world.secrets | world.keys_of_the_store()
    assert len(secrets) >= len(NAMES) + 3 * 2 + 2 + 3
    stored = [*world.pairs(), *world.files()]
    assert any("/sessions/" in where for where, _ in stored)
    # The test itself wrote one in the clear, and etcd's files remember it.
    found = leaks(secrets, world.told) | leaks({n: s for n, s in secrets.items() if n != "stranger"}, stored)
    assert found == set()
    # What would be found, had it been there.
    for name, form in (
        ("user", lambda s: s),
        ("data key", bytes.hex),
        ("assumed: token", lambda s: base64.b64encode(s.encode()).decode()),
    ):
        world.etcdctl("put", "planted", f'{{"x":"{form(secrets[name])}"}}')
        assert (name, "etcd value of b'planted'") in leaks(secrets, world.pairs())


@pytest.mark.parametrize("wrap", [
    "{}", "before {} after", '{{"password":"{}"}}', "http://x/?password={}&y", "'{}'",
])  # fmt: skip
def test_a_planted_secret_is_found_in_every_form(wrap):
    """The search that finds nothing in the story finds a secret in each form, and a part of no other."""
    secret, other = "pass/word+0123456789abcdef", "pass/word+fedcba9876543210"
    for form in (
        secret, quote(secret, safe=""), secret.encode().hex(), base64.b64encode(secret.encode()).decode(),
        base64.b64encode(b"a" + secret.encode() + b"z").decode(), base64.urlsafe_b64encode(b"ab" + secret.encode()).decode(),
        json.dumps(secret)[1:-1], base64.b64encode(base64.b64encode(secret.encode())).decode(),
    ):  # fmt: skip
        told = [("here", wrap.format(form).encode()), ("there", b"nothing at all")]
        assert leaks({"secret": secret, "other": other}, told) == {("secret", "here")}
