"""The listener's certificates: public.crt and private.key of the certs folder, and one pair per folder DOMAIN beneath it.

A pair that changes on disk is used for the next handshake; connections that stand go on with what they have. Each pair is read
into a context of its own, and takes the place of the one before only when that succeeds: a half-written pair, or one whose halves
do not match, changes nothing, is told once and tried again at each look. `context` is what the listener holds; which pair a handshake gets is chosen when
its ClientHello is there, by the server name: the folder of that name, else of the nearest parent domain, else the folder's own.

Where client certificates prove identities they are asked for and not required. TLS verifies those that are shown, against the
operator's CAs and for the use by clients: a client that shows another one fails in its handshake, though it be for S3 only,
since Python's TLS cannot tell a bad certificate apart later. No session is resumed then: a resumed one would bring a
certificate that nobody verifies again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

LOOK = 2.0  # seconds between two looks at the files
CERTIFICATE, KEY = "public.crt", "private.key"
_PEM = frozenset({".pem", ".crt", ".cer"})
_Stamp = tuple[tuple[int, int, int], ...]
_log = logging.getLogger("minio_gw.certificates")


class Certificates:
    """The pairs in force, and the CAs of client certificates in `clients` (None: none are asked for).

    Raises OSError when a pair, or a CA, cannot be used.
    """

    def __init__(self, folder: Path, clients: Path | None = None) -> None:
        self._folder = folder
        self._clients = clients
        self._stamps = self._look()  # of what is in force
        self._told: dict[str, _Stamp] = {}  # of what could not be used
        self._contexts = {domain: _read(folder / domain, clients) for domain in self._stamps}
        self.context = self._contexts[""]
        self.context.sni_callback = self._choose

    def refresh(self) -> bool:
        """Read what has changed; return whether everything that is there is in force."""
        found = self._look()
        for domain in self._stamps.keys() - found.keys():
            _log.warning("the certificate of %s is gone; the last one stays in force", domain or "the certs folder")
            del self._stamps[domain]
        renewed = [self._renew(domain, stamp) for domain, stamp in found.items() if stamp != self._stamps.get(domain)]
        return all(renewed)

    async def watch(self) -> None:
        """Look at the files, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            self.refresh()

    def _look(self) -> dict[str, _Stamp]:
        """Return what changes when a pair does, or the CAs, which every pair's context holds."""
        authorities = _authority_stamps(self._clients)
        return {domain: (*stamp, *authorities) for domain, stamp in _stamps(self._folder)}

    def _renew(self, domain: str, stamp: _Stamp) -> bool:
        folder = self._folder / domain
        try:
            made = _read(folder, self._clients)
            if self._look().get(domain) != stamp:
                return False  # it was written to while it was read; the next look finds it changed again
        except OSError as error:
            if self._told.get(domain) != stamp:
                _log.error("%s; the one before it stays in force", error)
            self._told[domain] = stamp
            return False
        self._contexts[domain], self._stamps[domain] = made, stamp
        _log.info("the certificate in %s is in force", folder)
        return True

    def _choose(self, handshake: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        domain = (name or "").lower()
        while domain and domain not in self._contexts:
            domain = domain.partition(".")[2]
        handshake.context = self._contexts[domain]


def listener_certificates(folder: Path, clients: Path | None = None) -> Certificates | None:
    """Return the certificates of a folder that has some, None where the listener speaks plain HTTP."""
    return Certificates(folder, clients) if "" in dict(_stamps(folder)) else None


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


def client_authorities(path: Path) -> str:
    """Return the certificates (PEM) of a file, or of all files of a folder. Raises OSError when there is none to use."""
    try:
        text = "\n".join(file.read_text("ascii") for file in _authority_files(path))
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "no PEM certificates"
        raise OSError(f"the client CAs in {path} cannot be used: {why}") from error
    return text


def _authority_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in _PEM and file.is_file())


def _authority_stamps(path: Path | None) -> _Stamp:
    try:
        stats = [file.stat() for file in _authority_files(path)] if path else []
    except OSError:
        return ()
    return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)


def _read(folder: Path, clients: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients is not None:
        context.load_verify_locations(cadata=client_authorities(clients))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    try:
        # A password, so that OpenSSL does not ask the terminal for one.
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    except OSError as error:
        raise OSError(f"the certificate in {folder} cannot be used: {error.strerror or error}") from error
    return context
