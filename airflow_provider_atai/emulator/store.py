"""The SQLite database under the data directory: everything that has to survive a kill."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The numbers of faults and requests are never given again, not even after a reset: whoever holds an old
# number must not read or write another row.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS organisations (
    uuid TEXT PRIMARY KEY, key_hash TEXT NOT NULL UNIQUE, position INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    pk INTEGER PRIMARY KEY, org TEXT NOT NULL, id TEXT NOT NULL, uuid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL, config TEXT NOT NULL, file_uids TEXT NOT NULL, status TEXT NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, born REAL NOT NULL, plan TEXT NOT NULL,
    next_at REAL, life TEXT NOT NULL, checkpoint_seconds REAL NOT NULL, outcome TEXT NOT NULL,
    inference_config_path TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_id ON jobs (org, id);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (org, status, pk);
CREATE INDEX IF NOT EXISTS jobs_by_next ON jobs (next_at) WHERE next_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS outcomes (
    pk INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS files (
    pk INTEGER PRIMARY KEY, org TEXT NOT NULL, file_id TEXT NOT NULL, file_uid TEXT NOT NULL UNIQUE,
    file_type TEXT NOT NULL, num_bytes INTEGER NOT NULL, attributes TEXT NOT NULL,
    state TEXT NOT NULL, ingested_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS files_by_id ON files (org, file_id, state);
CREATE INDEX IF NOT EXISTS files_by_state ON files (org, state, pk);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, org TEXT NOT NULL, file_id TEXT NOT NULL, file_uid TEXT NOT NULL,
    file_type TEXT NOT NULL, num_bytes INTEGER NOT NULL, part_size INTEGER NOT NULL,
    part_base INTEGER NOT NULL, state TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS uploads_by_file ON uploads (org, file_id, state);
CREATE TABLE IF NOT EXISTS upload_parts (
    upload_id TEXT NOT NULL, number INTEGER NOT NULL, etag TEXT, num_bytes INTEGER, token TEXT,
    PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS faults (
    pk INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, seen INTEGER NOT NULL, fired INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS requests (
    pk INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
    query TEXT NOT NULL, status INTEGER, fault INTEGER, body TEXT
);
"""
_Values = Sequence[Any] | Mapping[str, Any]
_EMPTIED_BY_RESET = ("jobs", "outcomes", "files", "uploads", "upload_parts", "faults", "requests")
_SETTINGS_KEPT_BY_RESET = ("signing_secret", "start_keys", "start_scale")


class DataDirInUseError(Exception):
    """Another emulator uses the data directory."""


class Store:
    """
    One connection to the database, used by the server's event loop alone.

    :param data_dir: an existing folder.
    :raises DataDirInUseError: if another emulator has it.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._lock = (data_dir / "lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise DataDirInUseError(f"another emulator uses the data directory {data_dir}") from None
        # The event loop may run in another thread than the one that builds the application.
        self._connection = sqlite3.connect(
            data_dir / "emulator.sqlite3", isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # This survives a kill of the process; only a crash of the machine can lose the last writes.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def all(self, statement: str, values: _Values = ()) -> list[sqlite3.Row]:
        """Return every row of a query."""
        return self._connection.execute(statement, values).fetchall()

    def first(self, statement: str, values: _Values = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        row: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
        return row

    def write(self, statement: str, values: _Values = ()) -> sqlite3.Cursor:
        """Execute one statement that changes something."""
        return self._connection.execute(statement, values)

    def insert(self, table: str, **values: Any) -> int:
        """Insert one row and return its number."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        cursor = self.write(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return cursor.lastrowid or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Make everything in the block happen, or nothing. The block must not await.

        A block inside another one is a part of it.
        """
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def setting(self, name: str) -> Any:
        """Return a stored setting, or None."""
        row = self.first("SELECT value FROM settings WHERE name = ?", (name,))
        return None if row is None else json.loads(row["value"])

    def set_setting(self, name: str, value: Any) -> None:
        """Store a setting, which is anything that JSON can hold."""
        self.write("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def empty(self) -> None:
        """Forget everything except the organisations, the options of the start, and the signing secret."""
        with self.transaction():
            for table in _EMPTIED_BY_RESET:
                self.write(f"DELETE FROM {table}")
            marks = ", ".join("?" * len(_SETTINGS_KEPT_BY_RESET))
            self.write(f"DELETE FROM settings WHERE name NOT IN ({marks})", _SETTINGS_KEPT_BY_RESET)

    def close(self) -> None:
        """Close the connection, and free the data directory."""
        self._connection.close()
        # Closing alone does not unlock the file while a forked process has it open, too.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._lock.close()
