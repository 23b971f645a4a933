"""Exit statuses, and what is told of failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.processes import ROOT, ROOT_PASSWORD, ROOT_USER, until
from tests.servers.recording import RecordingBackend


def command(gateway, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "MINIO_ROOT_USER": ROOT_USER,
        "MINIO_ROOT_PASSWORD": ROOT_PASSWORD,
        "MINIO_GW_ADMIN_URL": gateway.endpoint,
        **env,
    }
    argv = [sys.executable, "-m", "gateway.cli", "admin", *words]
    return subprocess.run(argv, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_as_a_user_runs_it(gateway):
    """A process of its own: 0 and the answer; 1 and the reason with its request id; 2 and the remedy."""
    done = command(gateway, "key", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "KEY ID        MADE (UTC)            MINTS FROM (UTC)"
    refused = command(gateway, "user", "info", "none-such")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(
        "minio-gw admin: The specified user does not exist. (XMinioAdminNoSuchUser, request "
    )
    unusable = command(gateway, "key", "list", MINIO_ROOT_USER="")
    assert (unusable.returncode, unusable.stdout) == (2, "")
    assert "Remedy: set MINIO_ROOT_USER" in unusable.stderr


def test_a_denied_action_is_told_with_its_request(admin):
    """A user without rights is refused by every command; the log names the action, the answer only the request."""
    admin.become(*admin.user("powerless"))
    told = admin.refused("key", "rotate")
    assert (told["level"], told["code"], told["status"]) == ("error", "AccessDenied", 403)
    assert told["message"] == "Access Denied."
    logged = lambda: [line for line in admin.gateway.process.text.splitlines() if told["requestId"] in line]  # noqa: E731
    until(logged, "the line is in the log")
    lines = [json.loads(line) for line in logged()]
    assert [(line["operation"], line["access_key_id"], line["status"]) for line in lines] == [
        ("admin:RotateSessionKey", "powerless", 403)
    ]


def test_a_hostile_error_stays_on_its_line(admin):
    """What a server that is no gateway says does not speak to the terminal, and cannot look like a second line."""
    hostile = json.dumps(
        {"Code": "X\x1b[2J", "Message": "bad\n\x1b]0;title\x07minio-gw admin: done", "RequestId": "\u202eid"}
    )
    server = RecordingBackend(
        f"HTTP/1.1 403 No\r\nContent-Type: application/json\r\nContent-Length: {len(hostile)}\r\n\r\n{hostile}".encode()
    )
    status, out, err = admin.run("key", "list", "--url", server.endpoint)
    server.close()
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_flags_stand_anywhere(admin, place):
    """--json and --url are the command's wherever they are written."""
    words = ["key", "list"]
    words[place:place] = ["--json", "--url", admin.gateway.endpoint]
    admin.environ.setenv("MINIO_GW_ADMIN_URL", "http://127.0.0.1:9")
    status, out, _ = admin.run(*words)
    assert status == 0
    assert json.loads(out)["keys"]


def test_nothing_secret_is_printed(admin):
    """Neither an answer nor an error shows the secret key that signs."""
    for words in (["user", "list"], ["user", "info", "none-such"], ["key", "list", "--url", "http://127.0.0.1:9"]):
        _, out, err = admin.run(*words)
        assert ROOT_PASSWORD not in out + err


def written_to(gateway, out, *words: str, **env: str) -> tuple[int, str]:
    """Run a command whose answer goes to a file; return its status and what it says of failures."""
    environ = {
        "MINIO_ROOT_USER": ROOT_USER, "MINIO_ROOT_PASSWORD": ROOT_PASSWORD, "MINIO_GW_ADMIN_URL": gateway.endpoint, **env,
    }  # fmt: skip
    argv = [sys.executable, "-m", "gateway.cli", "admin", *words]
    done = subprocess.run(
        argv, env=environ, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, check=False, timeout=120
    )
    return done.returncode, done.stderr


def test_who_stops_reading_ends_the_command_quietly(gateway):
    """As with every program: `| head` leaves no traceback, and the status of SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        assert written_to(gateway, nobody, "user", "list") == (141, "")


def test_an_answer_that_cannot_be_written_is_told(gateway):
    """A full disk: what was asked for is done, and that nobody was told of it is said."""
    with Path("/dev/full").open("wb") as full:
        status, told = written_to(gateway, full, "user", "list")
    assert status == 1
    assert told == "minio-gw admin: it is done, but the answer cannot be written: No space left on device\n"


def test_a_terminal_of_another_encoding_is_answered(gateway, admin, tmp_path):
    """What its encoding has not is escaped as in JSON; an export is the same document."""
    admin("policy", "attach", "readonly", "--user", "custom:j\u00fcrgen\U0001f600")
    try:
        for words, shown in (
            (("policy", "entities"), r"custom:j\u00fcrgen\ud83d\ude00"),
            (("export", "--clear"), r'"subject": "custom:j\u00fcrgen\ud83d\ude00"'),
        ):
            with (tmp_path / words[0]).open("wb") as out:
                assert written_to(gateway, out, *words, PYTHONIOENCODING="ascii") == (0, "")
            assert shown in (tmp_path / words[0]).read_text("ascii")
        assert json.loads((tmp_path / "export").read_text("ascii"))["format"] == "minio-gw iam"
    finally:
        admin("policy", "detach", "readonly", "--user", "custom:j\u00fcrgen\U0001f600")
