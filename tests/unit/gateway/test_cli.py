"""The command line: its exit statuses, its help, and what it prints for people and for programs. In this process."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, redirect_stderr

import pytest

from gateway import __version__, build, cli
from gateway.processes.supervisor import WORKER_MARK
from gateway.settings.config import Problem
from gateway.settings.table import SETTINGS, markdown_table
from tests.servers.processes import free_port, http_status, until

SECRET = "hunter2-hunter2"
COMMANDS = [
    ["gateway"], ["gateway", "s3"], ["server"],
]  # fmt: skip


@pytest.fixture(autouse=True)
def environ(monkeypatch, tmp_path):
    """An environment with a root pair, and nothing else of ours or AWS's."""
    for name in os.environ:
        if name.startswith(("MINIO_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MINIO_ROOT_USER", "rootaccess")
    monkeypatch.setenv("MINIO_ROOT_PASSWORD", SECRET)
    monkeypatch.setenv("MINIO_CERTS_DIR", str(tmp_path / "certs"))
    return monkeypatch


@pytest.fixture(autouse=True)
def logs():
    """The root logger as it was, whatever a command makes of it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


def config(*argv: str):
    return cli._config(cli._parser().parse_args(argv))


@contextmanager
def told_to_stop(port: int):
    """Send this process SIGTERM as soon as it serves on the port."""

    def stop() -> None:
        until(lambda: http_status(f"http://127.0.0.1:{port}/minio/health/live") == 200, "served", 20)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("words", [[], *COMMANDS], ids=" ".join)
def test_every_help_is_complete(words, capsys):
    """Each command explains every variable and, where it takes flags, every flag; asking for help is no failure."""
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for setting in SETTINGS:
        assert all(name in text for name in setting.names)
        assert setting.flag in text


def test_the_version(capsys):
    """--version says which program this is."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"minio-gw {__version__} ({build()})\n"


@pytest.mark.parametrize(
    "words",
    [[], ["gateway"], ["gateway", "azure"], ["server"], ["admin"], ["completion"], ["completion", "tcsh"],
     ["gateway", "s3", "a", "b"], ["gateway", "s3", "--adress", ":1"], ["nothing"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_ends_with_2(words, capsys):
    """A command that is none, lacks a word or has one too many is told so on stderr: status 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: minio-gw" in capsys.readouterr().err


def test_settings_are_printed_without_a_configuration(environ, capsys):
    """`minio-gw settings` prints the README's table, also where nothing is configured."""
    environ.delenv("MINIO_ROOT_USER")
    assert cli.main(["settings"]) == 0
    assert capsys.readouterr().out == markdown_table() + "\n"


@pytest.mark.parametrize(
    "words",
    [["--address", ":9001", "--quiet", "--json", "gateway", "s3", "http://store:1"],
     ["gateway", "--address", ":9001", "--json", "s3", "--quiet", "http://store:1"],
     ["gateway", "s3", "http://store:1", "--json", "--quiet", "--address", ":9001"],
     ["--address", ":9009", "--json", "gateway", "s3", "--address=:9001", "--quiet", "http://store:1"]],
)  # fmt: skip
def test_flags_may_stand_anywhere(words):
    """Before, between and behind the words of the command a flag means the same; the last one wins."""
    found = config(*words)
    assert (found.port, found.quiet, found.json, found.backend.endpoint) == (9001, True, True, "http://store:1")


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("flag", [setting.flag for setting in SETTINGS if setting.flag])
def test_no_flag_is_lost(flag, place):
    """Every flag has its effect wherever it stands: no command forgets what was said before it."""
    words = ["gateway", "s3", "http://store:1"]
    values = {"--address": [":9"], "--workers": ["9"], "--certs-dir": ["/9"]}
    assert config(*words[:place], flag, *values.get(flag, []), *words[place:]) != config(*words)


def test_the_commands_make_their_configurations(tmp_path):
    """The endpoint is the gateway's, the folder the server's; without an endpoint it is AWS."""
    assert config("gateway", "s3").backend.endpoint == "https://s3.amazonaws.com"
    assert config("server", str(tmp_path)).server_dir == tmp_path
    assert config("-S", "/certs", "server", "/d").certs_dir.as_posix() == "/certs"


def test_everything_wrong_is_told_at_once(environ, capsys):
    """The configuration's problems and the machine's come in one run, each with its name and its remedy: status 2."""
    environ.setenv("MINIO_GW_DRAIN", "long")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert cli.main(["gateway", "s3", "--address", address, "ftp://store"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert {line.split()[1] for line in lines} == {"MINIO_GW_DRAIN", "ENDPOINT", "--address"}
    assert all(line.startswith("minio-gw: ") and " Remedy: " in line for line in lines)


def test_a_new_worker_tells_what_is_wrong_and_nothing_else(environ, capsys):
    """A reload with a wrong setting names that setting alone: that the address is taken, by the parent, is as it should be."""
    environ.setenv("MINIO_GW_DRAIN", "long")
    environ.setenv(WORKER_MARK, "3;4;5;1")
    with socket.socket() as parent:
        parent.bind(("127.0.0.1", 0))
        parent.listen()
        assert cli.main(["gateway", "s3", "--address", f"127.0.0.1:{parent.getsockname()[1]}", "http://store:1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.split()[1] == "MINIO_GW_DRAIN"


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_problems_are_told_to_programs(environ, capsys, how):
    """With JSON wanted, by the flag or by its variable, each problem is one JSON object on a line."""
    environ.delenv("MINIO_ROOT_PASSWORD")
    if how == "variable":
        environ.setenv("MINIO_GW_JSON", "on")
    words = ["--json"] if how == "flag" else []
    assert cli.main([*words, "gateway", "s3", "--address", f"127.0.0.1:{free_port()}"]) == 2
    (document,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (document["level"], document["setting"]) == ("fatal", "MINIO_ROOT_PASSWORD")
    assert set(document) == {"level", "setting", "message", "remedy"}


def test_trap_54_no_secret_is_printed(environ, capsys):
    """Neither the banner nor a report of problems shows a secret, be it in a URL."""
    environ.setenv("MINIO_IAM_OPA_URL", f"http://127.0.0.1/opa?token={SECRET}")
    environ.setenv("MINIO_IAM_OPA_AUTHTOKEN", SECRET)
    environ.setenv("MINIO_IAM_JWKS_URL", f"http://user:{SECRET}@127.0.0.1/jwks#{SECRET}")
    cli._banner(config("gateway", "s3"))
    environ.setenv("MINIO_GW_DRAIN", "long")
    assert cli.main(["gateway", "s3", "--address", f"127.0.0.1:{free_port()}"]) == 2
    out, err = capsys.readouterr()
    assert "Policy: http://127.0.0.1/opa" in out
    assert SECRET not in out + err


def test_the_banner_says_what_is_served(capsys, environ):
    """Endpoint, access key, backend, store and policy; nothing when the log is quiet or for programs."""
    cli._banner(config("gateway", "s3", "--address", "[::1]:9001", "http://store:1"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"minio-gw {__version__} ({build()})"
    assert {
        "Endpoint: http://[::1]:9001",
        "AccessKey: rootaccess",
        "Backend: http://store:1",
        "Policy: IAM policies",
    } <= set(lines)
    assert "in memory" in lines[-1]
    cli._banner(config("gateway", "s3", "--quiet"))
    cli._banner(config("gateway", "s3", "--json"))
    assert capsys.readouterr().out == ""
    environ.setenv("MINIO_ETCD_ENDPOINTS", "a:1,b:2")
    cli._banner(config("gateway", "s3"))
    assert "Store: etcd http://a:1, http://b:2" in capsys.readouterr().out


def test_a_gateway_serves_until_it_is_told(capsys):
    """The command serves, ends with 0 after SIGTERM, and leaves its port."""
    port = free_port()
    with told_to_stop(port):
        assert cli.main(["gateway", "s3", "--address", f"127.0.0.1:{port}", "http://127.0.0.1:9"]) == 0
    assert f"Endpoint: http://127.0.0.1:{port}" in capsys.readouterr().out
    assert http_status(f"http://127.0.0.1:{port}/minio/health/live") == 0


def test_a_listener_that_fails_ends_with_1(environ, caplog):
    """A port that is taken after it was looked at ends with 1 and one line that says why, not with a traceback."""

    async def looked_at_before(_: object) -> list[Problem]:
        return []

    environ.setattr(cli, "_preflight", looked_at_before)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert cli.main(["gateway", "s3", "--address", address, "http://127.0.0.1:9"]) == 1
    (told,) = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert "in use" in told.getMessage()
    assert told.exc_info is None


@pytest.mark.parametrize(("wanted", "module"), [("auto", "uvloop"), ("uvloop", "uvloop"), ("asyncio", "asyncio")])
def test_the_loop_is_the_settings(wanted, module):
    """`auto` and `uvloop` run on uvloop where it is installed, `asyncio` on asyncio's own loop."""

    async def mine() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert cli._run(mine(), wanted) == module


def test_without_uvloop_asyncio_serves(monkeypatch, caplog):
    """Where uvloop is not installed asyncio's loop serves; who asked for uvloop is told."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    async def mine() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert cli._run(mine(), "auto") == "asyncio"
    assert not caplog.records
    assert cli._run(mine(), "uvloop") == "asyncio"
    assert "uvloop is not installed" in caplog.text


def test_a_folder_that_is_none_ends_with_2(tmp_path, capsys):
    """`server FILE` is a wrong DIR: status 2, and the file is as it was."""
    (tmp_path / "file").write_text("mine")
    address = f"127.0.0.1:{free_port()}"
    assert cli.main(["--quiet", "server", "--address", address, str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("minio-gw: DIR ")
    assert (tmp_path / "file").read_text() == "mine"


def test_admin_needs_no_settings_of_a_gateway(environ, capsys):
    """Where nothing is configured it is said who could call; a gateway that is not there is named, and is no crash."""
    environ.delenv("MINIO_ROOT_USER")
    assert cli.main(["admin", "key", "list"]) == 2
    assert "Remedy: set MINIO_ROOT_USER" in capsys.readouterr().err
    environ.setenv("MINIO_ROOT_USER", "rootaccess")
    environ.setenv("MINIO_ADDRESS", "127.0.0.1:9")
    assert cli.main(["admin", "key", "list", "--json"]) == 1
    told = json.loads(capsys.readouterr().err)
    assert "http://127.0.0.1:9 cannot be reached" in told["message"]


def test_who_serves_does_not_load_the_commands():
    """The parser of a server has the word and none of the modules behind it."""
    with pytest.raises(SystemExit):
        cli._parser(admin=False).parse_args(["admin", "key", "list"])
    assert "administrate a running gateway" in cli._parser(admin=False).format_help()


def test_completion_is_printed_without_a_configuration(environ, capsys):
    """`minio-gw completion SHELL` prints a script, also where nothing is configured."""
    environ.delenv("MINIO_ROOT_USER")
    assert cli.main(["completion", "bash"]) == 0
    assert "complete -o filenames -F _minio_gw minio-gw" in capsys.readouterr().out


def test_reports_keep_their_order(capsys):
    """Problems are told in the order in which they were found."""
    wrong = [Problem(name, "is wrong", "mend it") for name in ("B", "A")]
    assert cli._report(wrong, as_json=False) == 2
    assert capsys.readouterr().err == "minio-gw: B is wrong. Remedy: mend it.\nminio-gw: A is wrong. Remedy: mend it.\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_log_lines(as_json):
    """Lines carry UTC and their level; as JSON whatever the message holds is one line, with the traceback inside."""
    out = io.StringIO()
    logging.getLogger().handlers.clear()
    with redirect_stderr(out):
        cli._logging(config("gateway", "s3", *(["--json"] if as_json else [])))
    try:
        raise ZeroDivisionError("a\nb")
    except ZeroDivisionError:
        logging.getLogger("minio_gw").exception("two\nlines")
    text = out.getvalue()
    if as_json:
        (document,) = map(json.loads, text.splitlines())
        assert (document["level"], document["message"]) == ("error", "two\nlines")
        assert "ZeroDivisionError" in document["error"]
        assert document["time"].endswith("Z")
    else:
        assert text[10] == "T"
        assert "Z ERROR two" in text


@pytest.mark.parametrize(
    "words",
    [["--console-address", ":9001"], ["-C", "/etc/minio"], ["--config-dir=/etc/minio"], ["--anonymous"], ["--compat"], ["--no-compat"],
     ["--idle-timeout", "30s"], ["--read-header-timeout", "5s"], ["--shutdown-timeout", "5s"], ["--listeners", "2"]],
    ids=lambda words: words[0],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 2, 3])
def test_the_command_line_of_minio_starts(words, place):
    """A flag of `minio gateway s3` that changes nothing here is taken at every place, and told."""
    command = ["gateway", "s3", "http://store:1"]
    found = config(*command[:place], *words, *command[place:])
    assert found.backend.endpoint == "http://store:1"
    assert len(found.former) == 1


def test_what_is_not_used_is_told_before_serving(environ, caplog, monkeypatch):
    """The start names what was set for MinIO and counts for nothing, also to who wants errors only."""
    monkeypatch.setattr(cli, "_preflight", lambda _: asyncio.sleep(0, []))
    monkeypatch.setattr(cli, "_run", lambda work, _: work.close())
    environ.setenv("MINIO_CACHE_DRIVES", "/mnt/cache")
    with caplog.at_level("WARNING"):
        assert cli.main(["gateway", "s3", "--quiet", "http://store:1"]) == 0
    assert "not used: MINIO_CACHE_DRIVES: nothing is cached" in caplog.text
