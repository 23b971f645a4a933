"""Completion, as shells do it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import cli
from gateway.commands.completion import SHELLS, places, script

FOUND = {place.path: place for place in places(cli._parser())}


def bash(folder: Path, line: str) -> set[str]:
    """Return what a real bash offers at the end of a line."""
    program = f"""
        {script("bash", cli._parser())}
        COMP_WORDS=({line}); case {line!r} in *" ") COMP_WORDS+=("") ;; esac
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _minio_gw; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return _said(["bash", "--norc", "-uc", program], folder)


def fish(folder: Path, line: str) -> set[str]:
    """Return what a real fish offers at the end of a line."""
    program = f"{script('fish', cli._parser())}\ncomplete -C '{line}'"
    return {said.split("\t")[0] for said in _said(["fish", "--no-config", "-c", program], folder)}


def zsh(folder: Path, line: str) -> set[str]:
    """Return what zsh's function offers; what would show it is replaced by what prints it."""
    program = f"""
        compadd() {{ shift; for one in "$@"; do [[ $one == "${{words[CURRENT]}}"* ]] && print -r -- $one; done; true }}
        _files() {{ print -rl -- "${{words[CURRENT]}}"*(N) }}
        {script("zsh", cli._parser())}
        words=({line}); case {line!r} in *" ") words+=("") ;; esac
        CURRENT=${{#words}}; _minio_gw
    """
    return _said(["zsh", "-fc", program], folder)


def _said(argv: list[str], folder: Path) -> set[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split("\n")) - {""}


ASK = {"bash": bash, "fish": fish, "zsh": zsh}


@pytest.fixture
def folder(tmp_path):
    """A folder with a file."""
    (tmp_path / "policy.json").touch()
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_every_word_is_offered(shell, folder):
    """Commands, areas, verbs, flags and files, each where it may stand; after second names, too."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    offered = lambda line: ASK[shell](folder, line)  # noqa: E731
    assert offered("minio-gw ") == {"gateway", "server", "admin", "completion", "settings"}
    assert offered("minio-gw admin ") == {
        "user",
        "group",
        "policy",
        "service-account",
        "session",
        "key",
        "explain",
        "export",
        "import",
    }
    assert offered("minio-gw admin --json user ") == {"add", "list", "info", "enable", "disable", "remove"}
    assert offered("minio-gw admin sessions re") == {"revoke"}
    assert offered("minio-gw admin user add --gen") == {"--generate"}
    assert offered("minio-gw admin policy put name pol") == {"policy.json"}
    assert offered("minio-gw admin user add x --new-secret-file po") == {"policy.json"}
    assert offered("minio-gw admin import m") == {"minio"}


@pytest.mark.parametrize("path", sorted(FOUND), ids=" ".join)
def test_every_place_is_the_parser_s(path):
    """What is offered after some words is what the parser takes there: its help names all of it."""
    place = FOUND[path]
    assert place.commands or place.flags
    assert "--help" in place.flags
    assert place.valued <= set(place.flags)


def test_bash_has_every_place():
    """The script of bash knows each place: a real bash tells its commands."""
    program = script("bash", cli._parser()) + "\n".join(
        f'_minio_gw_place {" ".join(("", *path))!r}; echo "$commands|$flags"' for path in FOUND
    )
    done = subprocess.run(["bash", "--norc", "-ec", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [f"{' '.join(p.commands)}|{' '.join(p.flags)}" for p in FOUND.values()]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(shell):
    """`minio-gw completion SHELL` needs no configuration and no gateway."""
    argv = [sys.executable, "-m", "gateway.cli", "completion", shell]
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        argv, cwd=Path(__file__).parents[4], env=environ, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == script(shell, cli._parser()) + "\n"
