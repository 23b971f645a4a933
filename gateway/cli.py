"""The command line: argv -> Config -> run.

minio-gw [FLAGS] gateway s3 [FLAGS] [ENDPOINT]
minio-gw [FLAGS] server [FLAGS] DIR
minio-gw admin sessions list|revoke ACCESS_KEY [--json]
minio-gw settings
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway import __version__
from gateway.config import SETTINGS, Config, ConfigErrors, Problem, load, markdown_table
from gateway.supervisor import WORKER_MARK, supervise

_T = TypeVar("_T")
_SWITCHES = frozenset({"--quiet", "--json"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0 done, 1 failed, 2 wrong usage or configuration."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(words)
    if options.command == "settings":
        print(markdown_table())
        return 0
    try:
        config = _config(options)
    except ConfigErrors as errors:
        more = _run(_preflight(errors.partial)) if errors.partial and options.command != "admin" else []
        return _report([*errors.problems, *more], as_json=bool(options.json))
    _logging(config)
    if options.command == "admin":
        from gateway import admin  # noqa: PLC0415 - the other commands need none of it

        return _run(admin.run(config, tuple(options.words), as_json=bool(options.json)))
    return _serve(config, words)


def _serve(config: Config, words: list[str]) -> int:
    worker = WORKER_MARK in os.environ
    if not worker:
        problems = _run(_preflight(config))
        if problems:
            return _report(problems, as_json=config.json)
        _banner(config)
    if config.command == "server":
        return _run(_server(config))
    if config.workers > 1 and not worker:
        return _run(supervise(config, words))
    from gateway.app import serve  # noqa: PLC0415 - aiohttp and botocore only where they serve

    _run(serve(config, reuse_port=worker))
    return 0


async def _preflight(config: Config) -> list[Problem]:
    from gateway.preflight import check  # noqa: PLC0415

    return await check(config)


async def _server(config: Config) -> int:
    """Run the store on DIR and the gateway in front of it."""
    from gateway.app import serve  # noqa: PLC0415
    from gateway.store_server import StoreServer, StoreServerError  # noqa: PLC0415

    directory = (config.server_dir or Path()).resolve()
    try:
        store = StoreServer(directory)
        await store.start()
    except (StoreServerError, OSError) as error:
        return _report([Problem("DIR", str(error), "see the message")], as_json=config.json)
    backend = replace(config.backend, endpoint=store.endpoint, addressing="path", static=store.credentials)
    behind = replace(config, backend=backend, data_dir=config.data_dir or directory / ".minio-gw")
    try:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(store.keep())
            await serve(behind)
            keeping.cancel()
    finally:
        await store.stop()
    return 0


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run on uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ImportError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _config(options: argparse.Namespace) -> Config:
    given = {s.flag: getattr(options, s.flag[2:].replace("-", "_"), None) for s in SETTINGS if s.flag}
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


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for setting in SETTINGS:
        if setting.flag:
            names = [setting.flag, "-S"] if setting.flag == "--certs-dir" else [setting.flag]
            text = f"{setting.help} ({setting.names[0]}; default {setting.default})"
            if setting.flag in _SWITCHES:
                shared.add_argument(*names, action="store_true", help=text)
            else:
                shared.add_argument(*names, metavar=setting.flag[2:].upper(), help=text)
    parser = argparse.ArgumentParser(
        "minio-gw", description="S3 gateway with identity federation.", parents=[shared], epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("--version", "-v", action="version", version=f"minio-gw {__version__}")
    parser.set_defaults(json=None)
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
    admin = _sub(commands, "admin", "look after a running gateway's sessions", shared).add_subparsers(
        dest="area", required=True, metavar="AREA"
    )
    sessions = _sub(admin, "sessions", "list or revoke sessions", shared).add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    _sub(sessions, "list", "list the sessions that have not expired", shared).set_defaults(words=["sessions", "list"])
    revoke = _sub(sessions, "revoke", "refuse a session on every gateway from now on", shared)
    revoke.add_argument(
        "words", metavar="ACCESS_KEY", type=lambda key: ["sessions", "revoke", key], help="the session's access key"
    )
    commands.add_parser("settings", help="print every setting as a table (Markdown)")
    return parser


def _sub(commands: Any, name: str, text: str, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", parents=[shared], epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    return parser


def _settings_help() -> str:
    lines = [f"  {s.names[0]:<38} {s.help}" + (f" [{s.default}]" if s.default else "") for s in SETTINGS]
    return "environment:\n" + "\n".join(lines)


def _logging(config: Config) -> None:
    form = (
        '{"level":"%(levelname)s","time":"%(asctime)s","message":"%(message)s"}'
        if config.json
        else "%(asctime)s %(levelname)s %(message)s"
    )
    logging.basicConfig(level=logging.WARNING if config.quiet else logging.INFO, format=form, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("aiobotocore").setLevel(logging.WARNING)


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
            print(f"minio-gw: {problem.setting} {problem.text}. Remedy: {problem.remedy}.", file=sys.stderr)
    return 2


def _banner(config: Config) -> None:
    """Say what is served; never a secret."""
    if config.quiet or config.json:
        return
    host = config.host or "127.0.0.1"
    scheme = "https" if (config.certs_dir / "public.crt").exists() else "http"
    store = (
        "etcd " + ", ".join(config.etcd.endpoints)
        if config.etcd
        else str(config.data_dir or "in memory: sessions are known to this gateway only")
    )
    identity = (config.openid.config_url or config.openid.jwks_url) if config.openid else "no OpenID provider"
    print(f"minio-gw {__version__}\nEndpoint: {scheme}://{host}:{config.port}\nAccessKey: {config.root.access_key_id}")
    print(
        f"Region: {config.region or 'any'}\nBackend: {config.server_dir or config.backend.endpoint}\nIdentity: {identity}"
    )
    print(f"Policy: {config.opa.url if config.opa else 'IAM policies'}\nStore: {store}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
