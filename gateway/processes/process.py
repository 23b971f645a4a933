"""One gateway process, from its listener to its last answer: start order, signals, what is reloaded in place, drain.

SIGTERM and SIGINT drain: no new connections, running requests finish within the bound. SIGHUP looks at the TLS certificates at
once; they are also looked at every few seconds. Everything else that can change needs a new process (`supervisor`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time

from gateway import __version__
from gateway.app import Application
from gateway.processes.certificates import Certificates, listener_certificates
from gateway.processes.descriptors import connections_within, raise_limit
from gateway.processes.inheritance import Inheritance
from gateway.settings.config import Config
from gateway.wire.plane import GRACE

LOADED_WITHIN = 5.0  # seconds that a listener waits for the first IAM view, unless another process serves meanwhile
_POLL = 0.05
_log = logging.getLogger("minio_gw.process")


async def serve(config: Config, inherited: Inheritance | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises OSError, StoreError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if inherited is not None:
        asyncio.get_running_loop().add_reader(inherited.parent, _orphaned, inherited.parent, stop)
    limit = raise_limit()
    certificates = listener_certificates(config.certs_dir, config.tls_identity.ca if config.tls_identity else None)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _hang_up, certificates)
    application = Application(config, config.max_connections or connections_within(limit, config.max_inflight))
    try:
        await application.store.open()
        await _serve(application, config, certificates, inherited, stop)
    finally:
        await application.close()


async def _serve(
    application: Application,
    config: Config,
    certificates: Certificates | None,
    inherited: Inheritance | None,
    stop: asyncio.Event,
) -> None:
    """Listen until told to stop, then drain."""
    async with asyncio.TaskGroup() as background:
        owned = [background.create_task(application.watcher.run()), background.create_task(application.keeper.run())]
        if certificates is not None:
            owned.append(background.create_task(certificates.watch()))
        await _loaded(application, stop, None if inherited and inherited.takes_over else LOADED_WITHIN)
        if not stop.is_set():
            listeners = await _listen(application, config, certificates, inherited)
            _settle_memory()
            _log.info("minio-gw %s serves on port %s", __version__, config.port)
            if inherited is not None:
                owned.append(background.create_task(_tell(application, inherited)))
            await stop.wait()
            for listener in listeners:
                listener.close()
            await _drained(application, config.drain, at_least=GRACE if certificates else _POLL)
        for task in owned:
            task.cancel()


async def _tell(application: Application, inherited: Inheritance) -> None:
    """Tell the parent that this worker serves, knows what is revoked, and has its keys."""
    await application.keeper.founded()
    inherited.say_ready()


async def _loaded(application: Application, stop: asyncio.Event, within: float | None) -> None:
    """Wait for the first view, which knows what is revoked, and for the keys; or for the order to stop, or until the bound."""
    async with asyncio.TaskGroup() as group:
        waiting = {group.create_task(application.keeper.founded()), group.create_task(stop.wait())}
        await asyncio.wait(waiting, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


async def _listen(
    application: Application, config: Config, certificates: Certificates | None, inherited: Inheritance | None
) -> list[asyncio.Server]:
    plane, tls = application.plane, certificates.context if certificates else None
    if inherited is None:
        return [await plane.listen(config.host or None, config.port, tls=tls)]
    return [await plane.listen_on(one, tls=tls) for one in inherited.listeners()]


def _orphaned(parent: int, stop: asyncio.Event) -> None:
    """End when the parent has: nobody would replace, reload or stop this worker, and the port would be taken for the next parent."""
    asyncio.get_running_loop().remove_reader(parent)
    _log.error("the parent is gone: this worker drains and ends")
    stop.set()


def _settle_memory() -> None:
    """Let go of what starting needed, and spare the collector what stays for good."""
    gc.collect()
    gc.freeze()


def _hang_up(certificates: Certificates | None) -> None:
    """Reload in place what can be: the certificates."""
    if certificates is None:
        _log.info(
            "SIGHUP: nothing to reload without TLS; other settings are read at the start (with --workers: by a new worker)"
        )
    elif certificates.refresh():
        _log.info("SIGHUP: the TLS certificates on disk are in force")


async def _drained(application: Application, bound: float, at_least: float) -> None:
    """Wait until nobody is connected and no request runs, within the bound; handshakes that nobody counts have a moment."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < bound:  # looked at only while ending
        application.plane.drain()
        if waited > at_least and not (application.plane.clients or application.desk.inflight):
            return
        await asyncio.sleep(_POLL)
