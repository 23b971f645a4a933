"""`--workers N`: a parent that keeps N gateway processes on one port (SO_REUSEPORT) and replaces one that dies."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence

from gateway.config import Config

#: Marks a child. Not a setting: nobody but the parent sets it.
WORKER_MARK = "_MINIO_GATEWAY_WORKER"
_QUICK = 2.0  # a worker that lives less long than this could not start
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
            workers = [group.create_task(_keep(argv, environ, stop)) for _ in range(config.workers)]
        return max(worker.result() for worker in workers)
    finally:
        if shared:
            shutil.rmtree(shared, ignore_errors=True)


async def _keep(argv: Sequence[str], environ: dict[str, str], stop: asyncio.Event) -> int:
    """Keep one worker running; a configuration error (status 2) or a start that never works ends it all."""
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli", *argv, env=environ)
        status = await _until(process, stop)
        if stop.is_set():
            return 0
        failures = failures + 1 if time.monotonic() - began < _QUICK else 0
        _log.error("a worker ended with status %s; it is replaced", status)
        if status == 2 or failures >= 5:
            stop.set()
            return status or 1
        await asyncio.sleep(min(0.1 * 2**failures, 5))
    return 0


async def _until(process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    """Wait for the process, or for the order to stop, which is handed on."""
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(process.wait())
        asked = group.create_task(stop.wait())
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.send_signal(signal.SIGTERM)
            await ended
        asked.cancel()
    return ended.result()
