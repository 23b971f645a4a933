"""The command line: argv -> Config -> run. Exit status: 0 done, 1 failed, 2 wrong usage or configuration.

minio-gw [FLAGS] gateway s3 [FLAGS] [ENDPOINT]
minio-gw [FLAGS] server [FLAGS] DIR
minio-gw admin user|group|policy|service-account|session|key|explain|export|import … [--json]
minio-gw completion bash|zsh|fish
minio-gw settings
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway import __version__, build
from gateway.backends.endpoints import Problem, shown
from gateway.processes.inheritance import Inheritance
from gateway.processes.supervisor import WORKER_MARK, supervise
from gateway.settings import former
from gateway.settings.config import Config, ConfigErrors, load
from gateway.settings.table import SETTINGS, markdown_table
from iam.store import StoreError
from sts.ldap_settings import LdapSettings, Transport
from sts.settings import OpenIdSettings

if TYPE_CHECKING:
    from gateway.processes.store_server import StoreServer

_T = TypeVar("_T")
_SWITCHES = frozenset({"--quiet", "--json"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    _open_standard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    options = _parser(admin="admin" in words or "completion" in words).parse_args(words)
    if options.command in {"settings", "completion"}:
        print(markdown_table() if options.command == "settings" else _completion(options.shell))
        return 0
    if options.command == "admin":
        from gateway.commands.run import run  # noqa: PLC0415 - the other commands need none of it

        return run(options, as_json=_wants_json(options))
    try:
        config = _config(options)
    except ConfigErrors as errors:
        # Not of a worker, which would find its parent at the address.
        partial = None if WORKER_MARK in os.environ else errors.partial
        more = asyncio.run(_preflight(partial)) if partial else []
        return _report([*errors.problems, *more], as_json=_wants_json(options))
    _logging(config)
    return _serve(config, words)


def _open_standard_streams() -> None:
    """Open what somebody has closed (`>&-`) on nothing: a client's socket would get the number, and then what is meant for the log."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - for as long as we live


def _completion(shell: str) -> str:
    from gateway.commands.completion import script  # noqa: PLC0415 - as above

    return script(shell, _parser(admin=True))


def _serve(config: Config, words: list[str]) -> int:
    inherited = Inheritance.read(os.environ[WORKER_MARK]) if WORKER_MARK in os.environ else None
    if inherited is None:
        problems = asyncio.run(_preflight(config))
        if problems:
            return _report(problems, as_json=config.json)
        with suppress(OSError):  # a disk that is full must not keep a gateway from serving; the log says the rest
            _banner(config)
        for line in config.former:
            logging.getLogger("minio_gw").warning("not used: %s", line)
    status = 0
    try:
        if config.command == "server":
            status = _run(_server(config), config.loop)
        elif config.workers > 1 and inherited is None:
            status = asyncio.run(supervise(config, words))
        else:
            from gateway.processes.process import serve  # noqa: PLC0415 - aiohttp and botocore only where they serve

            _run(serve(config, inherited), config.loop)
    except* (OSError, StoreError) as group:
        for error in _leaves(group):
            logging.getLogger("minio_gw").error("%s", error)  # noqa: TRY400 - its text says it; no trace
        status = 1
    return status


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    inner = [_leaves(e) if isinstance(e, BaseExceptionGroup) else [e] for e in group.exceptions]
    return [error for errors in inner for error in errors]


async def _preflight(config: Config) -> list[Problem]:
    from gateway.processes.preflight import check  # noqa: PLC0415

    return await check(config)


async def _server(config: Config) -> int:
    """Run the store on DIR and the gateway in front of it; the store outlives the gateway's drain."""
    from gateway.processes.process import serve  # noqa: PLC0415
    from gateway.processes.store_server import StoreServer, StoreServerError  # noqa: PLC0415

    directory = (config.server_dir or Path()).resolve()
    try:
        store = StoreServer(directory)
    except (StoreServerError, OSError) as error:
        return _report([Problem("DIR", str(error), "see the message")], as_json=config.json)
    try:
        if not await _started(store):
            return 0
        backend = replace(config.backend, endpoint=store.endpoint, addressing="path", static=store.credentials)
        behind = replace(config, backend=backend, data_dir=config.data_dir or directory / ".minio-gw")
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(store.keep())
            await serve(behind)
            keeping.cancel()
    except StoreServerError as error:
        return _report([Problem("DIR", str(error), "see the message")], as_json=config.json)
    finally:
        await store.stop()
    return 0


async def _started(store: StoreServer) -> bool:
    """Start the store; return False when told to stop meanwhile, before anybody else listens to signals."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting, stopping = loop.create_task(store.start()), loop.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
    return not stop.is_set()


def _run(work: Coroutine[Any, Any, _T], loop: str) -> _T:
    """Run on the loop of MINIO_GW_LOOP: `auto` is uvloop where it is installed, else asyncio's own."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop != "asyncio":
        try:
            import uvloop  # noqa: PLC0415

            factory = uvloop.new_event_loop
        except ImportError:
            if loop == "uvloop":
                logging.getLogger("minio_gw").warning("uvloop is not installed: asyncio's own loop serves")
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _config(options: argparse.Namespace) -> Config:
    given = {s.flag: getattr(options, s.flag[2:].replace("-", "_"), None) for s in SETTINGS if s.flag}
    given |= {flag: getattr(options, flag[2:].replace("-", "_"), None) for flag in former.FLAGS}
    flags = {flag: "on" if value is True else str(value) for flag, value in given.items() if value is not None}
    positional = getattr(options, "endpoint", None) or getattr(options, "dir", None) or ""
    return load(
        options.command,
        flags,
        positional,
        os.environ,
        lambda path: path.read_text("utf-8"),
        lambda path: sorted(path.iterdir()),
    )


def _parser(*, admin: bool = True) -> argparse.ArgumentParser:
    """Return the parser; who serves does not load the commands of `admin`."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for setting in SETTINGS:
        if setting.flag:
            names = [setting.flag, "-S"] if setting.flag == "--certs-dir" else [setting.flag]
            text = f"{setting.help} ({setting.names[0]}; default {setting.default})"
            if setting.flag in _SWITCHES:
                shared.add_argument(*names, action="store_true", help=text)
            else:
                shared.add_argument(*names, metavar=setting.flag[2:].upper(), help=text)
    _add_former(shared)
    parser = argparse.ArgumentParser(
        "minio-gw", description="S3 gateway with identity federation.", parents=[shared], epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("--version", "-v", action="version", version=f"minio-gw {__version__} ({build()})")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    kinds = _sub(commands, "gateway", "serve as a gateway", shared).add_subparsers(
        dest="kind", required=True, metavar="s3"
    )
    s3 = _sub(kinds, "s3", "in front of AWS S3, or of any S3 store", shared)
    s3.add_argument(
        "endpoint", nargs="?", metavar="ENDPOINT", help="the store's endpoint (default https://s3.amazonaws.com)"
    )
    server = _sub(commands, "server", "run a store (SeaweedFS) on a folder, with the gateway in front", shared)
    server.add_argument("dir", metavar="DIR", help="the folder that holds the data")
    if admin:
        from gateway.commands.parser import add_admin  # noqa: PLC0415 - as above

        add_admin(commands)
    else:
        commands.add_parser("admin", help="administrate a running gateway")
    completion = commands.add_parser(
        "completion", help="print a script that completes the words of minio-gw in a shell"
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell")
    commands.add_parser("settings", help="print every setting as a table (Markdown)")
    return parser


def _add_former(parser: argparse.ArgumentParser) -> None:
    """Take MinIO's flags that change nothing here, so that its command line still starts; the start says that they are not used."""
    for flag, valued in former.FLAGS.items():
        names = [flag, "-C"] if flag == "--config-dir" else [flag]
        if valued:
            parser.add_argument(*names, help=argparse.SUPPRESS)
        else:
            parser.add_argument(*names, action="store_true", help=argparse.SUPPRESS)


def _sub(commands: Any, name: str, text: str, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", parents=[shared], epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    return parser


def _settings_help() -> str:
    """Return every variable with its default, as the end of every help."""
    lines = [
        f"  {', '.join(s.names)}\n      {s.help}" + (f" (default {s.default})" if s.default else "") for s in SETTINGS
    ]
    lines.append("  AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_WEB_IDENTITY_TOKEN_FILE and the rest of AWS's chain\n"
                 "      the backend's credentials, when any of them is set (see MINIO_GW_BACKEND_CREDENTIALS)")  # fmt: skip
    return "environment (flags win; with several names the first wins):\n" + "\n".join(lines)


class _JsonLines(logging.Formatter):
    """One JSON object per line, whatever the message holds."""

    def format(self, record: logging.LogRecord) -> str:
        document = {"level": record.levelname.lower(), "time": _utc(record.created), "message": record.getMessage()}
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return json.dumps(document)


class _Lines(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        return _utc(record.created)


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _logging(config: Config) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if config.json else _Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING if config.quiet else logging.INFO, handlers=[handler])
    for name in ("httpx", "botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _wants_json(options: argparse.Namespace) -> bool:
    """Return whether problems are told as JSON lines: asked before there is a Config."""
    return hasattr(options, "json") or os.environ.get("MINIO_GW_JSON", "").lower() in {"on", "true", "1"}


def _report(problems: Sequence[Problem], *, as_json: bool) -> int:
    """Print every problem with its variable's name and the remedy."""
    for problem in problems:
        if as_json:
            print(
                json.dumps(
                    {"level": "fatal", "setting": problem.setting, "message": problem.text, "remedy": problem.remedy}
                ),
                file=sys.stderr,
            )
        else:
            end = "" if problem.remedy.endswith("?") else "."
            print(f"minio-gw: {problem.setting} {problem.text}. Remedy: {problem.remedy}{end}", file=sys.stderr)
    return 2


def _banner(config: Config) -> None:
    """Say what is served; never a secret."""
    if config.quiet or config.json:
        return
    tls = all((config.certs_dir / name).exists() for name in ("public.crt", "private.key"))
    host = f"[{config.host}]" if ":" in config.host else config.host or "127.0.0.1"
    lines = {
        "Endpoint": f"{'https' if tls else 'http'}://{host}:{config.port}",
        "AccessKey": config.root.access_key_id,
        "Region": config.region or "any",
        "Backend": config.server_dir
        or (", ".join(config.backends.backends) if config.backends else config.backend.endpoint),
        **_identity_lines(config),
        "Policy": shown(config.opa.url) if config.opa else "IAM policies",
        "Store": _store_text(config),
    }
    print(f"minio-gw {__version__} ({build()})")
    print("\n".join(f"{name}: {value}" for name, value in lines.items()), flush=True)


def _identity_lines(config: Config) -> dict[str, str]:
    """Say whose tokens are believed, and the ARN of every role, which its callers need."""
    lines = {"Identity": ", ".join(map(_provider_text, config.openids)) or "no OpenID provider"}
    for one in config.openids:
        if one.role_policies:
            lines[f"Role {one.provider}"] = one.role_arn(config.region)
    if config.ldap:
        lines["LDAP"] = _directory_text(config.ldap)
    return lines


def _directory_text(one: LdapSettings) -> str:
    unproved = "" if one.verify or one.transport is Transport.PLAIN else ", its certificate is not verified"
    return f"{one.host}:{one.port} ({one.transport}{unproved})"


def _provider_text(one: OpenIdSettings) -> str:
    text = shown(one.config_url or one.jwks_url)
    return text if one.accepted else f"{text} (tokens for any audience)"


def _store_text(config: Config) -> str:
    if config.etcd:
        return "etcd " + ", ".join(config.etcd.endpoints)
    if config.data_dir or config.server_dir:
        return str(config.data_dir or (config.server_dir or Path()) / ".minio-gw")
    return "in memory: sessions are known to this gateway only"


if __name__ == "__main__":
    sys.exit(main())
