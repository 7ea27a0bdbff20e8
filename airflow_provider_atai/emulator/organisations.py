"""The organisations and their API keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from airflow_provider_atai.emulator.ids import type_id
from airflow_provider_atai.emulator.settings import DEFAULT_API_KEY
from airflow_provider_atai.emulator.store import Store


class Organisations:
    """
    One organisation for each API key. Only hashes of the keys are stored.

    :param keys: the keys at the start. Empty means those of the last start, or else the default key.
    """

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self._store = store
        if keys or store.setting("start_keys") is None:
            hashes = [_hash(key) for key in dict.fromkeys(keys or (DEFAULT_API_KEY,))]
            with store.transaction():
                store.set_setting("start_keys", hashes)
                self.restore()

    def restore(self) -> None:
        """Give every organisation the key that it had at the start."""
        with self._store.transaction():
            # First take all keys away: one may have moved from one organisation to another.
            self._store.write("UPDATE organisations SET key_hash = uuid")
            for position, key_hash in enumerate(self._store.setting("start_keys")):
                self._give(key_hash, position)

    def set_key(self, key: str, position: int = 0) -> None:
        """
        Give an organisation another key. Its last one is refused from then on.

        :param position: 0 for the first organisation, which always exists.
        :raises ValueError: if another organisation has this key.
        """
        owner = self._store.first("SELECT position FROM organisations WHERE key_hash = ?", (_hash(key),))
        if owner is not None and owner["position"] != position:
            raise ValueError("Another organisation has this key")
        self._give(_hash(key), position)

    def of_header(self, authorization: str) -> str | None:
        """Return the organisation's uuid for an Authorization header, or None if the key is unknown."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        row = self._store.first("SELECT uuid FROM organisations WHERE key_hash = ?", (_hash(key.strip()),))
        return None if row is None else str(row["uuid"])

    def _give(self, key_hash: str, position: int) -> None:
        row = self._store.first("SELECT uuid FROM organisations WHERE position = ?", (position,))
        uuid = type_id("org") if row is None else row["uuid"]
        self._store.write("INSERT OR REPLACE INTO organisations VALUES (?, ?, ?)", (uuid, key_hash, position))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
