"""The log of requests. It holds no secrets."""

from __future__ import annotations

import json
import sqlite3
from urllib.parse import parse_qsl, urlencode

from airflow_provider_atai.emulator.clock import microseconds, real_now
from airflow_provider_atai.emulator.files.parts import SIGNATURE
from airflow_provider_atai.emulator.store import Store

_KEPT = 100_000
_PRUNE_EVERY = 1_000


class RequestLog:
    """The newest requests, without those to the controls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, method: str, path: str, query: str, fault: int | None) -> int:
        """Log a request before it is carried out, and return its number."""
        pk = self._store.insert(
            "requests", time=real_now(), method=method, path=path, query=_unsigned(query), fault=fault
        )
        if pk % _PRUNE_EVERY == 0:
            self._store.write("DELETE FROM requests WHERE pk <= ?", (pk - _KEPT,))
        return pk

    def end(self, pk: int, status: int | None, body: bytes | None) -> None:
        """Add the status of the answer (None: the connection was dropped) and the request's JSON body."""
        text = None if not body else body.decode("utf-8", errors="replace")
        self._store.write("UPDATE requests SET status = ?, body = ? WHERE pk = ?", (status, text, pk))

    def as_json(self) -> str:
        """Return the log as a JSON array, oldest first."""
        rows = self._store.all("SELECT * FROM requests ORDER BY pk")
        return f"[{','.join(_entry(row) for row in rows)}]"

    def clear(self) -> None:
        """Forget every request."""
        self._store.write("DELETE FROM requests")


def _unsigned(query: str) -> str:
    if SIGNATURE not in query:
        return query
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, "removed" if name == SIGNATURE else value) for name, value in pairs])


def _entry(row: sqlite3.Row) -> str:
    fields = ("method", "path", "query", "status", "fault", "body")
    entry = {"time": microseconds(row["time"])} | {name: row[name] for name in fields}
    if row["body"] is not None:
        try:
            return json.dumps(entry | {"body": json.loads(row["body"])}, allow_nan=False)
        except (ValueError, RecursionError):
            # The body is not JSON, or only Python takes it for JSON: it stays the text that came.
            pass
    return json.dumps(entry)
