"""The envelope around every secret in the store: AES-256-GCM, with the record's kind and name as associated data; and the proof of records.

One data key seals all of them, and what is derived from it proves that a gateway of this store wrote a record (decision 0018). It is
stored wrapped by a master key, which comes from MINIO_GW_MASTER_KEY or else from the root pair, so that rotating those wraps one
small thing anew and no gateway that runs notices. There is no default key (trap 67).
NIST SP 800-38D: nonces are random, 96 bits, and one data key seals far fewer than 2^32 texts. Randomness is passed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from iam.records import Kind, SealRecord

_NONCE = 12  # bytes
#: Begins the id of a data key whose store holds nothing without a proof. The id is bound to each wrap, so that none can be put in its place.
_PROVED = "p1-"


class CannotOpen(Exception):
    """The bytes were not sealed by our data key for this record, or there is no data key."""


@dataclass(frozen=True, slots=True)
class Master:
    """A key that wraps the data key."""

    id: str
    key: bytes = field(repr=False)


def master_of(text: str, purpose: str) -> Master:
    """Derive a master key from the operator's text; `purpose` keeps keys of different origins apart.

    scrypt first (RFC 7914), so that the wrapped key cannot be used to guess a weak text cheaply; then HKDF (RFC 5869).
    """
    seed = hashlib.scrypt(text.encode(), salt=b"minio-gw master v1 " + purpose.encode(), n=2**14, r=8, p=5)
    return Master(_expand(seed, b"id")[:8].hex(), _expand(seed, b"wrap")[:32])


def _expand(seed: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA512(), length=64, salt=None, info=b"minio-gw master v1 " + purpose).derive(seed)


def _proof_key(data_key: bytes) -> bytes:
    return HKDF(SHA512(), length=32, salt=None, info=b"minio-gw proof v1").derive(data_key)


class Seal:
    """Seals and opens, once it has learnt the data key. `masters`: the one in force first, then those being replaced."""

    def __init__(
        self, masters: tuple[Master, ...], random: Callable[[int], bytes], *, believes_older: bool = False
    ) -> None:
        self._masters = masters
        self._believes_older = believes_older  # stores that were founded before records were proved
        self._random = random
        self._key = b""
        self._data: AESGCM | None = None
        self._proof = b""
        self.demands_proof = True  # nothing is believed before the data key says that its store is older than proofs
        self.record: SealRecord | None = None  # the last one that was opened
        self.trouble = "the store's data key is not known yet"

    @property
    def is_known(self) -> bool:
        """Whether the data key is known."""
        return self._data is not None

    def learn(self, record: SealRecord) -> None:
        """Take the data key out of its wrap, with whichever master key fits."""
        key = self._unwrapped(record)
        if key is None:
            self.trouble = "the store's secrets are sealed with another master key or root pair"
            return
        if not (record.id.startswith(_PROVED) or self._believes_older):
            self.trouble = "the store was founded before records were proved; MINIO_GW_UNPROVED_RECORDS=on believes it as it stands"
            return
        if self._key and key != self._key:
            self.trouble = "another data key was put into the store; a restart would take it"
            return
        self.record, self.trouble = record, ""
        self.demands_proof = record.id.startswith(_PROVED)
        if not self._key:
            self._key, self._data, self._proof = key, AESGCM(key), _proof_key(key)

    def create(self, now: int) -> SealRecord:
        """Return a new data key, wrapped."""
        return self._wrapped(SealRecord(_PROVED + self._random(8).hex()), self._random(32), now)

    def renewed(self, record: SealRecord, now: int) -> SealRecord | None:
        """Return the record as it should be: wrapped by the key in force, and by others only while they are being replaced.

        None when it is so already, or when nobody here can open it. A wrap that is younger than ours is left: it is the work of
        those who know the next key already.
        """
        key, mine = self._unwrapped(record), self._masters[0].id
        if key is None:
            return None
        if mine not in record.wraps:
            return self._wrapped(record, key, now)
        known = {master.id for master in self._masters}
        since = record.wraps[mine][0]
        kept = {name: wrap for name, wrap in record.wraps.items() if name in known or wrap[0] > since}
        return replace(record, wraps=kept) if len(kept) < len(record.wraps) else None

    def seal(self, kind: Kind, name: str, text: bytes) -> str:
        """Return the sealed text in base64. Raises CannotOpen without a data key."""
        if self._data is None:
            raise CannotOpen(self.trouble)
        nonce = self._random(_NONCE)
        return base64.b64encode(nonce + self._data.encrypt(nonce, text, _about(kind, name))).decode()

    def open(self, kind: Kind, name: str, sealed: str) -> bytes:
        """Return the text that was sealed for this very record. Raises CannotOpen."""
        if self._data is None:
            raise CannotOpen(self.trouble)
        try:
            data = base64.b64decode(sealed, validate=True)
            return self._data.decrypt(data[:_NONCE], data[_NONCE:], _about(kind, name))
        except (InvalidTag, ValueError):
            raise CannotOpen("it was not sealed by this store's data key for this record") from None

    def prove(self, kind: Kind, name: str, record: bytes) -> bytes:
        """Return the proof, in base64, that who knows the data key wrote this record. Raises CannotOpen without one."""
        if not self._proof:
            raise CannotOpen(self.trouble)
        return base64.b64encode(hmac.digest(self._proof, _about(kind, name) + b"\0" + record, "sha256"))

    def is_proved(self, kind: Kind, name: str, record: bytes, proof: bytes) -> bool:
        """Return whether this is the record's proof."""
        return bool(self._proof) and hmac.compare_digest(self.prove(kind, name, record), proof)

    def _unwrapped(self, record: SealRecord) -> bytes | None:
        for master in self._masters:
            if master.id not in record.wraps:
                continue
            wrapped = record.wraps[master.id][1]
            try:
                return AESGCM(master.key).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], record.id.encode())
            except (InvalidTag, ValueError):
                continue
        return None

    def _wrapped(self, record: SealRecord, key: bytes, now: int) -> SealRecord:
        master, nonce = self._masters[0], self._random(_NONCE)
        wrap = nonce + AESGCM(master.key).encrypt(nonce, key, record.id.encode())
        wraps: Mapping[str, tuple[int, bytes]] = {**record.wraps, master.id: (now, wrap)}
        return replace(record, wraps=wraps)


def _about(kind: Kind, name: str) -> bytes:
    return f"{kind}/{name}".encode(errors="surrogatepass")
