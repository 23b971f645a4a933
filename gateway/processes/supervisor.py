"""`--workers N`: a parent that keeps N gateway processes on one port, replaces one that dies, and renews all on SIGHUP.

Each worker has a place: listening sockets of its own (SO_REUSEPORT: the kernel spreads connections over the places), which the
parent holds. Without a store of their own the workers share one in a private temporary folder, so that a session revoked at one
is revoked at all.

SIGHUP starts the same command anew in one place after the other. The new worker reads every file again, and only when it serves
is the old one of its place told to drain; both accept from the same sockets meanwhile, so no connection is refused or lost. A new
worker that cannot start ends the reload: the old ones go on. At the first start such a worker ends everything, with its own status.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from socket import socket

from gateway.processes.inheritance import Inheritance, listen
from gateway.settings.config import Config

#: Marks a child, and says what it inherits. Not a setting: nobody but the parent sets it.
WORKER_MARK = "_MINIO_GATEWAY_WORKER"
WRONG_CONFIGURATION = 2  # the status of a worker that need not be tried again
READY_WITHIN = 60.0  # seconds a new worker may take to serve before a reload is given up
_QUICK = 2.0  # seconds; a worker that lives less long could not start
_TRIES = 5  # quick ends in a row
_LONGEST_PAUSE = 5.0
_BEYOND_DRAIN = 10.0  # seconds a worker may take beyond its drain
_log = logging.getLogger("minio_gw.supervisor")


async def supervise(config: Config, argv: Sequence[str]) -> int:
    """Run the workers until SIGTERM or SIGINT; return the exit status."""
    shared = None if config.etcd or config.data_dir else tempfile.mkdtemp(prefix="minio-gw-")
    environ = {**os.environ, **({"MINIO_GW_DATA_DIR": shared} if shared else {})}
    places: list[Place] = []
    try:
        places += [Place(listen(config.host, config.port)) for _ in range(config.workers)]
        return await Supervisor(places, argv, environ, config.drain).run()
    finally:
        for place in places:
            place.close()
        if shared:
            shutil.rmtree(shared, ignore_errors=True)


@dataclass(eq=False, slots=True)
class Worker:
    """One process. `leave` orders it to end; `serves` is told by itself."""

    process: asyncio.subprocess.Process
    began: float
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def settled(self, within: float) -> bool:
        """Return whether it serves, once that is known."""
        async with asyncio.TaskGroup() as group:
            waiting = {group.create_task(event.wait()) for event in (self.serves, self.ended, self.leave)}
            await asyncio.wait(waiting, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        return self.serves.is_set() and not self.ended.is_set()


@dataclass(eq=False, slots=True)
class Place:
    """Listening sockets, and the worker that accepts from them."""

    sockets: list[socket]
    worker: Worker | None = None
    served: bool = False  # some worker of this place has served
    failures: int = 0  # quick ends in a row

    def close(self) -> None:
        """Close the sockets."""
        for one in self.sockets:
            one.close()


class Supervisor:
    """The parent's work."""

    def __init__(self, places: Sequence[Place], argv: Sequence[str], environ: Mapping[str, str], drain: float) -> None:
        self._places = places
        self._argv = argv
        self._environ = environ
        self._bound = drain + _BEYOND_DRAIN
        self._living: set[Worker] = set()
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._status = 0
        self._life = (-1, -1)  # a pipe: its end tells the workers that this process is gone, however it went
        self._group: asyncio.TaskGroup

    async def run(self) -> int:
        """Keep every place filled until told to stop; return the exit status."""
        self._life = os.pipe()
        try:
            return await self._run()
        finally:
            for number in self._life:
                os.close(number)

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        async with asyncio.TaskGroup() as self._group:
            reloading = self._group.create_task(self._reloads())
            for place in self._places:
                await self._fill(place)
            await self._stop.wait()
            reloading.cancel()
            for place in self._places:
                place.close()  # whom nobody will accept is refused now, and may ask elsewhere, instead of waiting for the drain's end
            for worker in self._living:
                worker.leave.set()
        return self._status

    async def _fill(self, place: Place) -> None:
        """Start the worker of an empty place, as soon as the system has room for one; a reload may have filled it meanwhile."""
        before = place.worker
        while not self._stop.is_set():
            try:
                started = await self._start(place, takes_over=False)
            except OSError as error:
                _log.error("no worker can be started: %s", error)
                await _stopped_within(self._stop, _LONGEST_PAUSE)
                continue
            if place.worker is before:
                place.worker = started
            else:
                started.leave.set()
            return

    async def _start(self, place: Place, *, takes_over: bool) -> Worker:
        reading, writing = os.pipe()
        inherited = Inheritance(tuple(one.fileno() for one in place.sockets), writing, self._life[0], takes_over)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.cli", *self._argv,
                env={**self._environ, WORKER_MARK: str(inherited)}, pass_fds=(*inherited.sockets, writing, inherited.parent),
            )  # fmt: skip
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        worker = Worker(process, time.monotonic())
        self._living.add(worker)
        if self._stop.is_set():
            worker.leave.set()
        asyncio.get_running_loop().add_reader(reading, _heard, reading, place, worker)
        self._group.create_task(self._tend(place, worker))
        return worker

    async def _tend(self, place: Place, worker: Worker) -> None:
        """Watch a worker until its end, and replace it when nobody has ordered that."""
        status = await _until(worker.process, worker.leave, self._bound)
        worker.ended.set()
        self._living.discard(worker)
        if worker.leave.is_set() or place.worker is not worker:
            return
        quick = not worker.serves.is_set() or time.monotonic() - worker.began < _QUICK
        place.failures = place.failures + 1 if quick else 0
        if not place.served and (status == WRONG_CONFIGURATION or place.failures >= _TRIES):
            _log.error("a worker cannot start (status %s)", status)
            self._status = status if status > 0 else 1  # a signal's number is negative, and must not look like success
            self._stop.set()
            return
        _log.error("a worker ended with status %s; it is replaced", status)
        await _stopped_within(self._stop, min(0.1 * 2**place.failures, _LONGEST_PAUSE))
        if place.worker is worker and not self._stop.is_set():  # no reload has filled the place meanwhile
            await self._fill(place)

    async def _reloads(self) -> None:
        """Renew the workers each time that SIGHUP asks for it; what is asked meanwhile is done once, afterwards."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            _log.info("SIGHUP: every worker is replaced by a new one")
            for place in self._places:
                if not await self._renew(place):
                    break
            else:
                _log.info("the reload is done")

    async def _renew(self, place: Place) -> bool:
        """Replace a place's worker by a new one that serves; return whether there was one."""
        try:
            new = await self._start(place, takes_over=True)
        except OSError as error:
            _log.error("no new worker can be started (%s); the reload ends here", error)
            return False
        if not await new.settled(READY_WITHIN):
            new.leave.set()
            if not self._stop.is_set():
                _log.error("a new worker cannot serve (status %s); the reload ends here, the workers before it go on",
                           new.process.returncode)  # fmt: skip
            return False
        old, place.worker = place.worker, new
        place.failures = 0
        if old is not None:
            old.leave.set()
        return True


def _heard(reading: int, place: Place, worker: Worker) -> None:
    """Take what a worker says of itself: a byte when it serves, the end of the pipe when it is gone."""
    if os.read(reading, 1):
        worker.serves.set()
        place.served = True
    asyncio.get_running_loop().remove_reader(reading)
    os.close(reading)


async def _until(process: asyncio.subprocess.Process, leave: asyncio.Event, bound: float) -> int:
    """Wait for the process, or for the order to end: it is handed on, and after the bound enforced."""
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(process.wait())
        asked = group.create_task(leave.wait())
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not ended.done():
                with suppress(ProcessLookupError):  # it ended at this moment
                    process.send_signal(number)
                await asyncio.wait({ended}, timeout=bound)
        asked.cancel()
    return ended.result()


async def _stopped_within(stop: asyncio.Event, seconds: float) -> None:
    """Pause, but not after the order to stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
