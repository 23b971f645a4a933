"""Whether the ways in can be used: told without anybody waiting for a directory."""

from __future__ import annotations

import asyncio
import logging

from sts import readiness
from sts.readiness import Readiness


class Way:
    """A way in that says of itself what it is told to, once it may."""

    def __init__(self, says: str | Exception | None = None) -> None:
        self.says = says
        self.may = asyncio.Event()
        self.asked = 0

    async def ready(self) -> str | None:
        """Answer."""
        self.asked += 1
        await self.may.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def quick(says: str | Exception | None = None) -> Way:
    """Return one that answers at once."""
    way = Way(says)
    way.may.set()
    return way


async def test_the_actions_of_who_does_not_answer_are_told():
    """All actions of a way that cannot be used are named, of the others none; a way is asked once for all of its actions."""
    away, there, broken = quick("the provider is away"), quick(), quick(ValueError("a mistake"))
    ways = Readiness({"B": away, "A": away, "C": there, "D": broken})
    assert await ways.unready() == ["A", "B", "D"]
    assert away.asked == 1
    away.says = broken.says = None
    assert await ways.unready() == []


async def test_nobody_waits_for_a_slow_one(monkeypatch):
    """Who asks has an answer in a moment; the slow one is not asked again meanwhile, and what it says is told once it is known."""
    monkeypatch.setattr(readiness, "MOMENT", 0.01)
    slow, away = Way("the directory is away"), quick("away")
    ways = Readiness({"Slow": slow, "Away": away})
    assert await ways.unready() == ["Away"]
    assert await ways.unready() == ["Away"]
    assert (slow.asked, away.asked) == (1, 2)
    slow.may.set()
    assert await ways.unready() == ["Away", "Slow"]


async def test_changes_are_in_the_log(caplog):
    """The log has the reason when somebody stops answering, and that it ended: once each, not at every probe."""
    caplog.set_level(logging.INFO, "minio_gw.sts")
    way = quick("LDAP: refused")
    ways = Readiness({"A": way})
    for says in ("LDAP: refused", "LDAP: refused", None, None):
        way.says = says
        await ways.unready()
    assert [record.getMessage() for record in caplog.records] == ["LDAP: refused", "Way: everybody answers again"]


async def test_closing_asks_no_more(monkeypatch):
    """A look that nobody answered ends with the process."""
    monkeypatch.setattr(readiness, "MOMENT", 0.01)
    ways = Readiness({"A": Way()})
    await ways.unready()
    await ways.close()
    assert len(asyncio.all_tasks()) == 1
