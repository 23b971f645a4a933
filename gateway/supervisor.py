"""`--workers N`: a parent that keeps N gateway processes on one port (SO_REUSEPORT) and replaces one that dies.

Without a store of their own they share one in a private temporary folder, so that a session revoked at one is revoked at
all. A worker that cannot start at all ends everything, with its own status.
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

from gateway.config import Config

#: Marks a child. Not a setting: nobody but the parent sets it.
WORKER_MARK = "_MINIO_GATEWAY_WORKER"
WRONG_CONFIGURATION = 2  # the status of a worker that need not be tried again
_QUICK = 2.0  # seconds; a worker that lives less long could not start
_TRIES = 5  # quick ends in a row
_LONGEST_PAUSE = 5.0
_BEYOND_DRAIN = 10.0  # seconds a worker may take beyond its drain
_log = logging.getLogger("minio_gw.supervisor")


async def supervise(config: Config, argv: Sequence[str]) -> int:
    """Run the workers until SIGTERM or SIGINT; return the exit status."""
    shared = None if config.etcd or config.data_dir else tempfile.mkdtemp(prefix="minio-gw-")
    environ = {**os.environ, WORKER_MARK: "1"}
    if shared:
        environ["MINIO_GW_DATA_DIR"] = shared
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(_keep(argv, environ, stop, config.drain)) for _ in range(config.workers)]
        return max(worker.result() for worker in workers)
    finally:
        if shared:
            shutil.rmtree(shared, ignore_errors=True)


async def _keep(argv: Sequence[str], environ: Mapping[str, str], stop: asyncio.Event, drain: float) -> int:
    """Keep one worker running until told to stop; return the status that the parent ends with."""
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli", *argv, env=environ)
        status = await _until(process, stop, drain + _BEYOND_DRAIN)
        if stop.is_set():
            return 0
        failures = failures + 1 if time.monotonic() - began < _QUICK else 0
        if status == WRONG_CONFIGURATION or failures >= _TRIES:
            _log.error("a worker cannot start (status %s)", status)
            stop.set()
            return status if status > 0 else 1  # a signal's number is negative, and must not look like success
        _log.error("a worker ended with status %s; it is replaced", status)
        await _stopped_within(stop, min(0.1 * 2**failures, _LONGEST_PAUSE))
    return 0


async def _until(process: asyncio.subprocess.Process, stop: asyncio.Event, bound: float) -> int:
    """Wait for the process, or for the order to stop: it is handed on, and after the bound enforced."""
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(process.wait())
        asked = group.create_task(stop.wait())
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
