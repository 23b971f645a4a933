"""The session keys of the store's view, as a Keyring: which of them mints now, which open sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from iam.records import KeyRecord
from iam.view import IamView
from sts.sessions import Keyring, SessionKey


class Keys:
    """Gives the keyring of the view as it is at the moment of the question. `now` gives epoch seconds."""

    def __init__(self, view: Callable[[], IamView], now: Callable[[], int]) -> None:
        self._view, self._now = view, now
        self._records: Mapping[str, KeyRecord] | None = None
        self._ring = Keyring("", {})
        self._until = 0

    def __call__(self) -> Keyring:
        """Return the keyring; the same object for as long as the keys and their turns are."""
        records, now = self._view().keys, self._now()
        if records is not self._records or now >= self._until:
            self._ring, self._until = keyring_of(records, now)
            self._records = records
        return self._ring


def keyring_of(records: Mapping[str, KeyRecord], now: int) -> tuple[Keyring, int]:
    """Return the keyring at a time, and until when it is that one. The youngest key whose time has come mints.

    When no key's time has come (the first one was made by a gateway whose clock is ahead of ours), the next one mints already.
    """
    ordered = sorted(records.values(), key=lambda key: (key.active_at, key.kid))
    active = [key.kid for key in ordered if key.active_at <= now]
    pending = [key.active_at for key in ordered if key.active_at > now]
    keys = {key.kid: SessionKey(key.kid, key.signing, key.derivation) for key in ordered}
    current = active[-1] if active else ordered[0].kid if ordered else ""
    return Keyring(current, keys), min(pending, default=2**53)
