"""Whether the ways in can be used now, for operators: asked in the background, so that nobody's probe waits for a directory.

A gateway whose identity provider is away still serves everybody who has credentials: this is told, and makes no gateway unready.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from sts.proof import WayIn

MOMENT = 0.2  # seconds that who asks waits for an answer; one that takes longer is told the next time
_log = logging.getLogger("minio_gw.sts")


class Readiness:
    """What the ways in, by STS action, said of themselves last."""

    def __init__(self, ways: Mapping[str, WayIn]) -> None:
        self._ways = ways
        self._said: dict[WayIn, str | None] = {}
        self._asked: dict[WayIn, asyncio.Task[None]] = {}

    async def unready(self) -> list[str]:
        """Return the actions for which somebody who is needed does not answer; of whom nobody knows yet, none."""
        for way in self._ways.values():
            if way not in self._asked:
                self._asked[way] = asyncio.get_running_loop().create_task(self._ask(way))
        await asyncio.wait(self._asked.values(), timeout=MOMENT)
        return sorted(action for action, way in self._ways.items() if self._said.get(way))

    async def _ask(self, way: WayIn) -> None:
        """Ask once, and write a change in the log."""
        try:
            says = await way.ready()
        except Exception as error:  # noqa: BLE001 - whatever it is, that way cannot be used
            says = f"{type(error).__name__}: {error}"[:300]
        finally:
            del self._asked[way]
        if says != self._said.get(way):
            _log.warning("%s", says or f"{type(way).__name__}: everybody answers again")
        self._said[way] = says

    async def close(self) -> None:
        """Ask no more."""
        asked = list(self._asked.values())
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
