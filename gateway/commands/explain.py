"""`minio-gw admin explain …`: why somebody is allowed or refused something."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from gateway.commands.client import AdminClient
from gateway.commands.command import Command, Shown, argument
from gateway.commands.endpoint import Unusable
from gateway.printable import plain_lines


def explain(client: AdminClient, options: Namespace) -> Shown:
    """Explain what a key may do now, or a refused request."""
    if options.request_id:
        if options.key or options.anonymous or options.action or options.context:
            raise Unusable("a past request is explained by its id alone")
        found = client.ours("GET", "/explain", request_id=options.request_id)
        return Shown(found, plain_lines(found["words"]))
    if bool(options.key) == options.anonymous or not options.action:
        raise Unusable("name a key by --as, or say --anonymous, and an action; or give --request-id")
    context: dict[str, list[str]] = {}
    for name, value in options.context or ():
        context.setdefault(name, []).append(value)
    asked = {"as": options.key} if options.key else {"anonymous": True}
    asked |= {"action": options.action, "resource": options.resource or "", "context": context}
    found = client.ours("POST", "/explain", asked)
    return Shown(found, plain_lines(found["words"]))


def fact(text: str) -> tuple[str, str]:
    """Return a condition key and its value, of KEY=VALUE. For argparse."""
    name, equals, value = text.partition("=")
    if not equals or ":" not in name:
        raise ArgumentTypeError(f"{text!r} is not KEY=VALUE, as in aws:SourceIp=10.0.0.1")
    return name, value


COMMANDS = (
    Command(
        ("explain",), "say why a key is allowed or refused something, or why a request was refused", explain,
        (argument("action", nargs="?", metavar="ACTION", help="s3:GetObject, admin:ListUsers, …"),
         argument("resource", nargs="?", metavar="RESOURCE", help="bucket or bucket/key"),
         argument("--as", dest="key", metavar="ACCESS_KEY", help="of a user, a service account, a session or root"),
         argument("--anonymous", action="store_true", help="of who has no key"),
         argument("--context", type=fact, action="append", metavar="KEY=VALUE",
                  help="a fact of the request, as aws:SourceIp=10.0.0.1 or s3:prefix=a/; may be given again"),
         argument("--request-id", metavar="ID", help="the x-amz-request-id of a refusal")),
    ),
)  # fmt: skip
