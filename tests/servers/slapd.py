"""A real directory: Debian's slapd on free loopback ports, plain (with StartTLS) and LDAPS, with people and groups of odd names.

slapd is looked for in `.tools/slapd` (deploy/tools/install-slapd.sh) and PATH; without it the test is skipped and says what
to run. `Slapd(folder)` runs until `close()`; it can be frozen, killed and started again on the same ports.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from iam.model import Secret
from sts.ldap_settings import LdapSettings, Transport
from tests.servers.certificates import certificate
from tests.servers.processes import free_port, until

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".tools" / "slapd"
SUFFIX = "dc=example,dc=org"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
ADMIN_DN, ADMIN_PASSWORD = f"cn=admin,{SUFFIX}", "admin-secret-of-the-tests"
LOOKUP_DN, LOOKUP_PASSWORD = f"cn=lookup,{SUFFIX}", "lookup-secret-of-the-tests"
USER_FILTER = "(&(objectClass=inetOrgPerson)(uid=%s))"
GROUP_FILTER = "(&(objectClass=groupOfNames)(member=%d))"
#: Of everybody whose password the tests do not say otherwise.
PASSWORD = "correct horse, battery (staple) *\\ \N{GREEK SMALL LETTER PI}"
LONG_PASSWORD = "0123456789" * 100
#: uid -> DN as an LDIF file has it: names with commas, Unicode, `*`, parentheses, backslashes, many parts.
USERS = {
    "alice": f"uid=alice,{PEOPLE}",
    "Bob": f"UID=Bob,{PEOPLE}",
    "comma": f"cn=Lister\\, David,{PEOPLE}",
    "jürgen": f"cn=Jürgen Müller,{PEOPLE}",
    "star*": f"cn=star\\2A (of the show),{PEOPLE}",
    "back\\slash": f"cn=back\\\\slash,{PEOPLE}",
    "plus": f"cn=Plus+sn=Two,{PEOPLE}",
    "locked": f"uid=locked,{PEOPLE}",
    "twin": f"uid=twin,{PEOPLE}",
    "guest": f"uid=guest,ou=guests,{SUFFIX}",
    "nopass": f"uid=nopass,{PEOPLE}",
    "slow": f"uid=slow,{PEOPLE}",
    "long" * 60: f"uid={'long' * 60},{PEOPLE}",
}
MEMBERS = {
    "readers": ("alice", "Bob", "jürgen"),
    "writers": ("alice", "comma", "star*", "back\\slash"),
    "Größe, (all) *": ("alice", "plus"),
    "nobody": ("guest",),
}
_CONF = """
include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath {modules}
moduleload back_mdb
moduleload memberof
moduleload ppolicy
moduleload argon2
TLSCACertificateFile {folder}/tls/public.crt
TLSCertificateFile {folder}/tls/public.crt
TLSCertificateKeyFile {folder}/tls/private.key
disallow bind_anon
database mdb
maxsize 67108864
suffix "{suffix}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
dbnosync
index objectClass,uid,member eq
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{lookup}" read by * none
overlay memberof
overlay ppolicy
"""


def command(name: str) -> str | None:
    """Return the path of one of OpenLDAP's programs, None where it is not."""
    for folder in (UNPACKED / "usr/sbin", UNPACKED / "usr/bin"):
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def environment() -> dict[str, str]:
    """Return what the unpacked programs need to find their libraries."""
    return {"PATH": os.defpath, "LD_LIBRARY_PATH": str(UNPACKED / "usr/lib/x86_64-linux-gnu"), "LDAPNOINIT": "1"}


class Slapd:
    """One running slapd with USERS and MEMBERS in it."""

    def __init__(self, folder: Path) -> None:
        if command("slapd") is None or command("ldapadd") is None:
            pytest.skip("no slapd here; deploy/tools/install-slapd.sh fetches it where apt-get is")
        (folder / "data").mkdir(parents=True)
        certificate(folder / "tls", "slapd of the tests")
        self.folder, self.ca = folder, folder / "tls" / "public.crt"
        self.port, self.tls_port = free_port(), free_port()
        (folder / "slapd.conf").write_text(_conf(folder))
        self.start()
        self.add(_people())

    def start(self) -> None:
        """Start it (again) and wait until it accepts connections."""
        urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
        with (self.folder / "slapd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [command("slapd"), "-f", str(self.folder / "slapd.conf"), "-h", urls, "-d", "0"],
                stdout=log, stderr=log, env=environment(),
            )  # fmt: skip
        until(lambda: self.process.poll() is not None or _accepts(self.tls_port), "slapd accepts connections")
        assert self.process.poll() is None, (self.folder / "slapd.log").read_text()

    def add(self, ldif: str) -> None:
        """Add entries, as an operator would."""
        self.run("ldapadd", "-D", ADMIN_DN, "-w", ADMIN_PASSWORD, text=ldif)

    def run(self, program: str, *words: str, text: str = "") -> str:
        """Run one of OpenLDAP's clients against it and return what it prints."""
        done = subprocess.run(
            [command(program), "-x", "-H", f"ldap://127.0.0.1:{self.port}/", *words],
            input=text, capture_output=True, text=True, env=environment(), timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def freeze(self) -> None:
        """SIGSTOP: the kernel still accepts, nobody answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait(20)

    def settings(self, **changes) -> LdapSettings:
        """Return settings that reach it over LDAPS, with these changes."""
        values = {
            "host": "127.0.0.1", "port": self.tls_port, "transport": Transport.LDAPS, "lookup_bind_dn": LOOKUP_DN,
            "lookup_bind_password": Secret(LOOKUP_PASSWORD), "user_base_dns": (PEOPLE,), "user_filter": USER_FILTER,
            "group_base_dns": (GROUPS,), "group_filter": GROUP_FILTER, "ca_file": self.ca,
        }  # fmt: skip
        return LdapSettings(**values | changes)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _base() -> Path:
    return UNPACKED if (UNPACKED / "usr/sbin/slapd").exists() else Path("/")


def _conf(folder: Path) -> str:
    return _CONF.format(
        folder=folder, schema=_base() / "etc/ldap/schema", modules=_base() / "usr/lib/ldap", suffix=SUFFIX,
        admin=ADMIN_DN, password=ADMIN_PASSWORD, lookup=LOOKUP_DN,
    )  # fmt: skip


def entry(dn: str, *classes: str, **attributes: str | tuple[str, ...]) -> str:
    """Return one entry as LDIF."""
    lines = [f"dn: {dn}", *(f"objectClass: {name}" for name in classes)]
    for name, values in attributes.items():
        lines += [f"{name}: {value}" for value in ((values,) if isinstance(values, str) else values)]
    return "\n".join(lines) + "\n\n"


def person(uid: str, dn: str, **more: str | tuple[str, ...]) -> str:
    """Return a person as LDIF; the RDN's attributes are the entry's too."""
    names = {
        part.partition("=")[0].lower(): part.partition("=")[2] for part in dn.split(",ou=", maxsplit=1)[0].split("+")
    }
    plain = {name: _plain(value) for name, value in names.items()}
    values = {"cn": uid, "sn": uid, "userPassword": PASSWORD} | plain | {"uid": uid} | more
    return entry(dn, "inetOrgPerson", **{name: value for name, value in values.items() if value})


def _plain(value: str) -> str:
    return value.replace("\\2A", "*").replace("\\,", ",").replace("\\\\", "\\")


def _hashed(password: str) -> str:
    """Return a password as slapd keeps slow ones."""
    words = [command("slappasswd"), "-o", f"module-path={_base() / 'usr/lib/ldap'}", "-o", "module-load=argon2",
             "-h", "{ARGON2}", "-s", password]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, env=environment(), check=True).stdout.strip()


def _people() -> str:
    top = entry(SUFFIX, "dcObject", "organization", dc="example", o="Example")
    units = "".join(entry(f"ou={ou},{SUFFIX}", "organizationalUnit", ou=ou) for ou in ("people", "groups", "guests"))
    lookup = entry(LOOKUP_DN, "organizationalRole", "simpleSecurityObject", cn="lookup", userPassword=LOOKUP_PASSWORD)
    policy = entry(f"cn=lockout,{SUFFIX}", "device", "pwdPolicy", cn="lockout", pwdAttribute="userPassword",
                   pwdLockout="TRUE", pwdMaxFailure="3")  # fmt: skip
    more = {
        "locked": {"pwdPolicySubentry": f"cn=lockout,{SUFFIX}"}, "nopass": {"userPassword": ""},
        "alice": {"mail": ("alice@example.org", "a@example.org"), "jpegPhoto:": "/9j/"},
        "slow": {"userPassword": _hashed(PASSWORD)}, "long" * 60: {"userPassword": LONG_PASSWORD},
    }  # fmt: skip
    people = "".join(person(uid, dn, **more.get(uid, {})) for uid, dn in USERS.items())
    people += person("twin", f"cn=second twin,{PEOPLE}")
    groups = "".join(
        entry(f"cn={name.replace(',', chr(92) + ',')},{GROUPS}", "groupOfNames", cn=name, member=tuple(USERS[m] for m in members))
        for name, members in MEMBERS.items()
    )  # fmt: skip
    return top + units + lookup + policy + people + groups
