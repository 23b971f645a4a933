"""Carries out a command of `minio-gw admin`: its answer goes to the standard output, what went wrong to the standard error.

Exit status: 0 done, 1 refused or not reached, 2 wrong usage or settings; 130 broken off by SIGINT, 141 done, but nobody reads on.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from typing import Any

from gateway.commands.client import AdminClient, Refused
from gateway.commands.endpoint import Unusable, endpoint
from gateway.printable import plain


def run(options: Namespace, *, as_json: bool) -> int:
    """Carry out the command that the options name; return the exit status."""
    try:
        client = AdminClient(endpoint(options))
        try:
            shown = options.run(client, options)
        finally:
            client.close()
    except Unusable as error:
        return _failed({"message": str(error)}, 2, as_json=as_json)
    except KeyboardInterrupt:
        return 130  # as shells say it: 128 and the number of SIGINT
    except Refused as error:
        return _failed(_told(error), 1, as_json=as_json)
    return _answered(json.dumps(shown.document) if as_json else shown.text, as_json=as_json)


def _answered(text: str, *, as_json: bool) -> int:
    """Write an answer; return the exit status. What was asked for is done, whoever reads of it or not."""
    try:
        print(encodable(text, sys.stdout.encoding or "utf-8"), flush=True)
    except BrokenPipeError:  # `| head`
        _let_go()
        return 141  # as shells say it: 128 and the number of SIGPIPE
    except OSError as error:
        _let_go()
        text = f"it is done, but the answer cannot be written: {error.strerror}"
        return _failed({"message": text}, 1, as_json=as_json)
    return 0


def encodable(text: str, encoding: str) -> str:
    """Return a text in which what an encoding does not have is written as JSON escapes it, so that an export stays one."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
    return text


def _let_go() -> None:
    """Let nothing more be written, not what is left over either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: Refused) -> dict[str, Any]:
    return {"message": error.text, "code": error.code, "requestId": error.request_id, "status": error.status}


def _failed(told: dict[str, Any], status: int, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"level": "error", **told}), file=sys.stderr)
        return status
    code, request_id = told.get("code"), told.get("requestId")
    more = ", ".join(filter(None, (code, f"request {request_id}" if request_id else "")))
    print(plain(f"minio-gw admin: {told['message']}{more and f' ({more})'}"), file=sys.stderr)
    return status
