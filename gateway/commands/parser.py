"""The words of `minio-gw admin …`: one table of commands, one parser made of it."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path
from typing import Any

from gateway.commands import explain, groups, keys, policies, portability, service_accounts, sessions, users
from gateway.commands.command import Argument, Command, seconds

COMMANDS: tuple[Command, ...] = tuple(
    chain.from_iterable(
        area.COMMANDS for area in (users, groups, policies, service_accounts, sessions, keys, explain, portability)
    )
)
#: What the words before a command are about; the second names are those of `mc` or of our own past.
AREAS = {
    "user": ("users with permanent keys", ("users",)),
    "group": ("groups of users", ("groups",)),
    "policy": ("policies, and who has them", ("policies",)),
    "service-account": ("permanent keys that act for somebody", ("service-accounts", "svcacct")),
    "session": ("temporary credentials", ("sessions",)),
    "key": ("the keys of session tokens", ("keys",)),
    "import": ("take users, groups, policies and service accounts from elsewhere", ()),
}
_ENVIRONMENT = """environment (flags win):
  MINIO_GW_ADMIN_URL
      the gateway, as http://host:port; else the one that MINIO_ADDRESS and MINIO_CERTS_DIR make on this machine
  MINIO_GW_ADMIN_CA
      CA certificates that sign the gateway's (PEM); else the system's
  MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN
      who calls; each of MinIO's may end in _FILE, and stand in MINIO_CONFIG_ENV_FILE
  MINIO_REGION_NAME
      the region of the signature (default us-east-1)"""


def add_admin(commands: Any) -> None:
    """Add `admin` and all that follows it to the commands of a parser."""
    shared = _shared()
    admin = _parser(commands, "admin", "administrate a running gateway", shared)
    areas = admin.add_subparsers(dest="area", required=True, metavar="AREA")
    found: dict[str, Any] = {}
    for command in COMMANDS:
        *before, verb = command.words
        if before and before[0] not in found:
            text, aliases = AREAS[before[0]]
            area = _parser(areas, before[0], text, shared, aliases)
            found[before[0]] = area.add_subparsers(dest="verb", required=True, metavar="VERB")
        _add(_parser(found[before[0]] if before else areas, verb, command.help, shared), command)


def _add(parser: argparse.ArgumentParser, command: Command) -> None:
    for one in command.arguments:
        _argument(parser, one)
    if command.choice:
        group = parser.add_mutually_exclusive_group(required=command.must_choose)
        for one in command.choice:
            _argument(group, one)
    parser.set_defaults(run=command.run)


def _argument(parser: Any, one: Argument) -> None:
    parser.add_argument(*one.names, **one.options)


def _shared() -> argparse.ArgumentParser:
    """Return the flags of every command: where the gateway is, who calls, and how the answer is told."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--url", metavar="URL", help="the gateway, as https://host:9000")
    shared.add_argument("--ca", type=Path, metavar="FILE", help="CA certificates that sign the gateway's (PEM)")
    shared.add_argument("--access-key", metavar="KEY", help="who calls")
    shared.add_argument("--secret-key-file", type=Path, metavar="FILE", help="file with the secret key of --access-key")
    shared.add_argument("--session-token-file", type=Path, metavar="FILE", help="file with its session token")
    shared.add_argument("--region", metavar="REGION", help="the region of the signature")
    shared.add_argument("--timeout", type=seconds, metavar="SECONDS", help="how long an answer may take (default 30)")
    shared.add_argument("--json", action="store_true", help="answer with one JSON document")
    return shared


def _parser(
    commands: Any, name: str, text: str, shared: argparse.ArgumentParser, aliases: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", parents=[shared], epilog=_ENVIRONMENT, aliases=aliases,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    return parser
