"""What tests of stores, views and changes need around them: a codec that knows a data key, and changes of a store."""

from __future__ import annotations

import hashlib
import os
import time

from iam.changes import Changes
from iam.codec import Codec
from iam.policy import CANNED
from iam.records import Kind
from iam.seal import Seal, master_of
from iam.view import IamView
from sts.sessions import Keyring, SessionKey

MASTER = master_of("a master key of the tests", "test")


def a_codec() -> Codec:
    """Return a codec with a data key of its own."""
    seal = Seal((MASTER,), os.urandom)
    seal.learn(seal.create(int(time.time())))
    return Codec(seal)


CODEC = a_codec()


def proved(kind: Kind, name: str, value: bytes, codec: Codec = CODEC) -> bytes:
    """Return bytes that end a JSON object with the proof that this store's gateways wrote them; others as they are."""
    if not value.endswith(b"}"):
        return value
    return value[:-1] + b',"proof":"' + codec.seal.prove(kind, name, value) + b'"}'


def a_keyring(text: str) -> Keyring:
    """Return a keyring of one key, another one for each text."""
    parts = [hashlib.sha512(f"{text} {purpose}".encode()).digest() for purpose in ("kid", "signing", "derivation")]
    key = SessionKey(parts[0][:6].hex(), parts[1], parts[2])
    return Keyring(key.kid, {key.kid: key})


def changes(store, view=IamView, seen=None, *, codec=CODEC, now=time.time, root="ROOTKEY", given=CANNED) -> Changes:
    """Return the changes of a store."""

    async def nothing(revision: int) -> None:
        pass

    return Changes(store, codec, view, seen or nothing, now, root=root, given=given)


async def revoke(store, name: str, *, now: float | None = None):
    """Revoke a recorded session."""
    return await changes(store, now=time.time if now is None else lambda: now).revoke_session(name)


def revocations(snapshot):
    """Return the revocations of a snapshot, decoded."""
    return tuple(CODEC.decode(row.kind, row.name, row.value) for row in snapshot.rows if row.kind is Kind.REVOCATION)
