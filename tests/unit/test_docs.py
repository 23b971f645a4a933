"""The command lines in the documentation are commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gateway.cli import _parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINE = re.compile(r"^ {4}(?:\$ )?minio-gw (.*)$|`minio-gw ([^`]*)`", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """Return (page, words) of each command; a whole line or in back-ticks, without comments and continued lines."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        found += [(page.name, (m[1] or m[2]).partition(" #")[0].strip()) for m in _LINE.finditer(text)]
    return [(page, words) for page, words in found if words and not re.search(r"[…|\[]|\.\.\.", words)]


def test_there_are_commands():
    """The search finds the pages' commands: it would otherwise hold whatever they say."""
    assert len(commands()) > 20


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda text: text[:50])
def test_a_command_is_one(page, words, capsys):
    """The command line's own parser takes it, or misses nothing but its arguments."""
    status = None
    try:
        _parser().parse_args(shlex.split(words))
    except SystemExit as ended:
        status = ended.code
    assert not status or "are required" in capsys.readouterr().err, f"{page}: minio-gw {words}"
