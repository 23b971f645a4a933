"""docs/administration.md: every example in it, in its order, has the output that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gateway.commands.parser import COMMANDS
from tests.servers.processes import GatewayProcess
from tests.servers.recording import RecordingBackend

DOCUMENT = Path(__file__).parents[4] / "docs" / "administration.md"
#: What is another one at each run.
VARIES = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-31T12:00:00Z"),
    (r"\b(?=[0-9A-Z]*[A-Z])[0-9A-Z]{20}\b", "ACCESSKEYOFTWENTYCHR"),
    (r"(?<=[\s\"])[A-Za-z0-9+]{40}(?=[\s\"])", "SecretKeyOfFortyCharactersWhichIsMadeHere"),
    (r"\b[0-9A-F]{16}\b", "18EC5C2553100A10"),
    (r"\b[0-9a-f]{12}\b", "352469eb5b26"),
)


def settled(text: str) -> str:
    """Return a text with what varies replaced, and without the spaces that follow from it."""
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def examples() -> list[tuple[str, str]]:
    """Return commands and their output, as the document shows them."""
    blocks = re.findall(r"^```console\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    shown = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in shown]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A gateway of which nothing is known yet."""
    backend = RecordingBackend()
    server = GatewayProcess(tmp_path_factory.mktemp("documented"), backend.endpoint).start()
    yield server
    server.close()
    backend.close()


def test_every_example_is_true(fresh, admin, tmp_path):
    """Run one after the other against a fresh gateway, the commands print what the document says."""
    admin.environ.setenv("MINIO_GW_ADMIN_URL", fresh.endpoint)
    admin.environ.chdir(tmp_path)
    policy = re.search(r"^```json\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)[1]
    for name, text in (
        ("secret", "the-secret-of-alice\n"),
        ("passphrase", "correct horse battery\n"),
        ("photos.json", policy),
    ):
        admin.file(name, text)
    for command, output in examples():
        program, area, *words = shlex.split(command)
        assert (program, area) == ("minio-gw", "admin")
        _, out, err = admin.run(*words)
        assert settled(out + err) == settled(output), command


def test_every_command_is_in_the_document():
    """No command is left out."""
    text = DOCUMENT.read_text()
    for command in COMMANDS:
        *area, verb = command.words
        assert verb in text, command.words
        assert " ".join(area) in text
