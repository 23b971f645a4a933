"""The listener's certificates: public.crt and private.key of the certs folder, and one pair per folder DOMAIN beneath it.

A pair that changes on disk is used for the next handshake; connections that stand go on with what they have. Each pair is read
into a context of its own, and takes the place of the one before only when that succeeds: a half-written pair, or one whose halves
do not match, changes nothing and is told once. `context` is what the listener holds; which pair a handshake gets is chosen when
its ClientHello is there, by the server name: the folder of that name, else of the nearest parent domain, else the folder's own.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

LOOK = 2.0  # seconds between two looks at the files
CERTIFICATE, KEY = "public.crt", "private.key"
_Stamp = tuple[tuple[int, int, int], ...]
_log = logging.getLogger("minio_gw.certificates")


class Certificates:
    """The pairs in force. Raises OSError when a pair cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps = dict(_stamps(folder))
        self._contexts = {domain: _read(folder / domain) for domain in self._stamps}
        self.context = self._contexts[""]
        self.context.sni_callback = self._choose

    def refresh(self) -> bool:
        """Read what has changed; return whether everything that is there is in force."""
        found = dict(_stamps(self._folder))
        renewed = [self._renew(domain, stamp) for domain, stamp in found.items() if stamp != self._stamps.get(domain)]
        for domain in self._stamps.keys() - found.keys():
            _log.warning("the certificate of %s is gone; the last one stays in force", domain or "the certs folder")
        self._stamps = found
        return all(renewed)

    async def watch(self) -> None:
        """Look at the files, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            self.refresh()

    def _renew(self, domain: str, stamp: _Stamp) -> bool:
        folder = self._folder / domain
        try:
            made = _read(folder)
            if dict(_stamps(self._folder)).get(domain) != stamp:
                return False  # it was written to while it was read; the next look finds it changed again
        except OSError as error:
            _log.error("%s; the one before it stays in force", error)
            return False
        self._contexts[domain] = made
        _log.info("the certificate in %s is in force", folder)
        return True

    def _choose(self, handshake: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        domain = (name or "").lower()
        while domain and domain not in self._contexts:
            domain = domain.partition(".")[2]
        handshake.context = self._contexts[domain]


def listener_certificates(folder: Path) -> Certificates | None:
    """Return the certificates of a folder that has some, None where the listener speaks plain HTTP."""
    return Certificates(folder) if "" in dict(_stamps(folder)) else None


def _stamps(folder: Path) -> Iterator[tuple[str, _Stamp]]:
    """Return each whole pair's domain ("" for the folder's own) and what changes when its files do."""
    for domain in ["", *_domains(folder)]:
        try:
            stats = [(folder / domain / name).stat() for name in (CERTIFICATE, KEY)]
        except OSError:
            continue
        yield domain, tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)


def _domains(folder: Path) -> list[str]:
    """Return the folders beneath; those of which Kubernetes makes a volume (`..data`) are none of ours."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []  # no folder, or none that can be read at this moment: what is in force stays so


def _read(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A password, so that OpenSSL does not ask the terminal for one.
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    except OSError as error:
        raise OSError(f"the certificate in {folder} cannot be used: {error.strerror or error}") from error
    return context
