"""Bodies that the caller's secret key encrypts (minio's madmin), opened and sealed off the event loop.

Each takes 64 MiB and some tens of milliseconds (Argon2id), so few are at work at once, few wait for their turn, and nobody whose
signature was not verified gets here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gateway.admin.errors import XMinioAdminConfigBadJSON
from gateway.errors import SlowDown
from iam import madmin
from iam.model import Secret

AT_ONCE = 2
WAITING = 64


class Sealer:
    """Opens and seals bodies in `AT_ONCE` threads of its own; when `WAITING` more wait for them, the next is told to slow down.

    A client that goes away does not make room for the next before its work is done.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "admin-bodies")
        self._in = 0

    async def open(self, secret: Secret, body: bytes) -> bytes:
        """Return what a body says, whose length was bounded when it was read. Raises XMinioAdminConfigBadJSON, SlowDown."""
        try:
            return await self._away(lambda: madmin.decrypt(secret.reveal(), body, limit=None))
        except madmin.Undecryptable as error:
            raise XMinioAdminConfigBadJSON(
                "The body was not encrypted with the secret key of the caller.", reason=f"body: {error}"
            ) from None

    async def seal(self, secret: Secret, document: bytes) -> bytes:
        """Return a document encrypted. Raises SlowDown."""
        return await self._away(lambda: madmin.encrypt(secret.reveal(), document, random=os.urandom))

    def close(self) -> None:
        """Take no more; what is at work ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _away(self, work: Callable[[], bytes]) -> bytes:
        if self._in >= AT_ONCE + WAITING:
            raise SlowDown(reason="too many encrypted bodies at once")
        self._in += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._in -= 1
