"""The words of `minio-gw admin`."""

from __future__ import annotations

import pytest

from gateway import cli
from gateway.commands.parser import AREAS, COMMANDS


def test_no_two_commands_have_the_same_words():
    """Every command can be reached, and every area has some."""
    words = [command.words for command in COMMANDS]
    assert len(words) == len(set(words))
    assert {first for first, *rest in words if rest} == set(AREAS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.words))
def test_every_command_has_its_help(command, capsys):
    """It says what the command does, the flags of all, and the variables; asking is no failure and needs no gateway."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["admin", *command.words, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert command.help in text[0].lower() + text[1:] or command.help[1:] in text
    for word in (
        "--url",
        "--ca",
        "--access-key",
        "--secret-key-file",
        "--json",
        "MINIO_GW_ADMIN_URL",
        "AWS_SESSION_TOKEN",
    ):
        assert word in text


def test_no_secret_is_an_argument():
    """What is secret is asked for by a file only: everybody on a machine sees its arguments."""
    names = {name for command in COMMANDS for one in (*command.arguments, *command.choice) for name in one.names}
    secret = {name for name in names if any(word in name for word in ("secret", "password", "passphrase", "token"))}
    assert secret
    assert all(name.endswith("-file") for name in secret)


@pytest.mark.parametrize(
    "words",
    [[], ["user"], ["user", "add"], ["nothing"], ["policy", "attach", "x"], ["policy", "attach", "x", "--user", "a", "--group", "b"],
     ["user", "add", "x", "--generate", "--new-secret-file", "f"], ["user", "list", "more"], ["import"], ["import", "minio"],
     ["service-account", "add", "--expires", "soon"], ["explain", "--context", "x"], ["user", "add", "x", "--secret-key", "s"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_ends_with_2(words, capsys):
    """A command that is none, or lacks a word, or has one too many, is told so."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["admin", *words])
    assert ended.value.code == 2
    assert "usage: minio-gw" in capsys.readouterr().err


@pytest.mark.parametrize(("area", "aliases"), [(name, aliases) for name, (_, aliases) in AREAS.items() if aliases])
def test_second_names(area, aliases):
    """What mc and we of old call an area leads to the same commands."""
    verb = next(
        command
        for command in COMMANDS
        if command.words[0] == area and not [a for a in command.arguments if not a.names[0].startswith("-")]
    )
    for name in (area, *aliases):
        assert cli._parser().parse_args(["admin", name, verb.words[1]]).run is verb.run
