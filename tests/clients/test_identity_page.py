"""docs/identity.md: the command lines of the ways in are run as they stand there, with this test's names in place of the page's."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.test_sts import hooked as hooked  # noqa: PLC0414 - fixtures
from tests.clients.test_sts import secure as secure  # noqa: PLC0414

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/identity.md").read_text()
CREDENTIALS = re.compile(
    r"<AccessKeyId>[0-9A-Z]{20}</AccessKeyId><SecretAccessKey>.{40}</SecretAccessKey><SessionToken>"
)


def command(name: str, **instead: str) -> str:
    """Return the command behind a mark of the page, with texts of it replaced."""
    found = re.search(rf"<!-- run: {name} -->\n((?:    .*\n)+)", PAGE)
    assert found, f"the page has no command {name}"
    text = found[1]
    for old, new in instead.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def run(text: str, folder: Path, **env: str) -> str:
    done = subprocess.run(
        ["sh", "-c", text], cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=env or None
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on this machine")
def test_a_certificate_by_hand(secure):
    """The page's curl with a certificate prints three credentials."""
    pair = secure.ca.pair(secure.folder / "page.pem", ("backup",))
    told = run(
        command("certificate", **{"ca.pem": secure.trust, "backup.pem": str(pair), "https://gateway.example.org:9000": secure.endpoint}),
        secure.folder,
    )  # fmt: skip
    assert CREDENTIALS.search(told), told


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on this machine")
def test_a_custom_token_by_hand(hooked, tmp_path):
    """The page's curl with a token that the service vouches for prints three credentials."""
    server, _ = hooked
    (tmp_path / "token-file").write_text("opaque")
    told = run(
        command("custom", **{"https://gateway.example.org:9000": server.endpoint, "idmp-portal": "idmp-hook"}), tmp_path
    )
    assert CREDENTIALS.search(told), told


def test_a_role_by_the_aws_cli(gateway, tmp_path):
    """The page's aws command turns permanent keys into a session."""
    from tests.servers.processes import ROOT_PASSWORD, ROOT_USER

    aws = ROOT / ".venv-awscli/bin/aws"
    if not aws.exists():
        pytest.skip("the aws cli is not beside this clone")
    told = run(
        command("role", **{"aws sts": f"{aws} sts", "https://gateway.example.org:9000": gateway.endpoint}), tmp_path,
        AWS_ACCESS_KEY_ID=ROOT_USER, AWS_SECRET_ACCESS_KEY=ROOT_PASSWORD, PATH="/usr/bin:/bin", HOME=str(tmp_path),
    )  # fmt: skip
    assert '"SessionToken"' in told
