"""The files: records in the database, contents under the data directory."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_atai.emulator.clock import JobClock, real_now
from airflow_provider_atai.emulator.errors import RefusedError, not_found
from airflow_provider_atai.emulator.ids import type_id
from airflow_provider_atai.emulator.settings import Life
from airflow_provider_atai.emulator.store import Store

_CHUNK = 1024 * 1024


class Files:
    """
    The files of every organisation.

    :param on_lost: called with the uid of a file that is overwritten or deleted, in the same transaction.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], JobClock],
        life: Callable[[], Life],
        on_lost: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._life = life
        self._on_lost = on_lost
        self._folder = store.data_dir / "files"
        self._folder.mkdir(exist_ok=True)

    def now(self) -> float:
        """Return what the job clock shows."""
        return self._clock().at(real_now())

    def find(self, org: str, file_id: str) -> sqlite3.Row | None:
        """Return the row of the file that has a name now, or None."""
        return self._store.first(
            "SELECT * FROM files WHERE org = ? AND file_id = ? AND state = 'current'", (org, file_id)
        )

    def find_uid(self, org: str, file_uid: str) -> sqlite3.Row | None:
        """Return the row of a file that is not deleted or overwritten, or None."""
        return self._store.first(
            "SELECT * FROM files WHERE org = ? AND file_uid = ? AND state = 'current'", (org, file_uid)
        )

    def required(self, org: str, file_id: str) -> sqlite3.Row:
        """
        Return the row of the file that has a name now.

        :raises RefusedError: 404.
        """
        row = self.find(org, file_id)
        if row is None:
            raise not_found(f"File not found: {file_id}")
        return row

    def add(
        self,
        org: str,
        *,
        file_id: str,
        file_type: str,
        content: Path,
        attributes: dict[str, Any],
        file_uid: str | None = None,
    ) -> sqlite3.Row:
        """
        Take over a finished file and return its row. What had the name before is orphaned.

        :param content: a file within the data directory, which the caller removes afterwards.
        :param file_uid: the uid that the client was told; default: a new one.
        """
        file_uid = file_uid or type_id("fil")
        before = self.find(org, file_id)
        num_bytes = content.stat().st_size
        target = self._folder / file_uid
        # A second name for the content, not a move: a kill before the row is written loses nothing.
        target.unlink(missing_ok=True)
        target.hardlink_to(content)
        with self._store.transaction():
            if before is not None:
                self._store.write("UPDATE files SET state = 'orphaned' WHERE pk = ?", (before["pk"],))
                self._on_lost(before["file_uid"])
            self._store.insert(
                "files",
                org=org,
                file_id=file_id,
                file_uid=file_uid,
                file_type=file_type,
                num_bytes=num_bytes,
                attributes=json.dumps(attributes),
                state="current",
                ingested_at=self.now() + self._life().ingest,
            )
        if before is not None:
            self._remove(before["file_uid"])
        return self.required(org, file_id)

    def delete(self, org: str, file_id: str) -> sqlite3.Row:
        """
        Delete a file and return its row as it was.

        :raises RefusedError: 404.
        """
        row = self.required(org, file_id)
        with self._store.transaction():
            self._store.write("UPDATE files SET state = 'deleted' WHERE pk = ?", (row["pk"],))
            self._on_lost(row["file_uid"])
        self._remove(row["file_uid"])
        return row

    def content(self, org: str, file_id: str) -> Path:
        """
        Return where a file's content lies.

        :raises RefusedError: 404 when there never was such a file, 400 when it is deleted or still uploading.
        """
        row = self.find(org, file_id)
        if row is not None:
            return self._folder / str(row["file_uid"])
        gone = "SELECT 1 FROM files WHERE org = ? AND file_id = ? AND state = 'deleted'"
        coming = "SELECT 1 FROM uploads WHERE org = ? AND file_id = ? AND state != 'completed'"
        for statement, what in ((coming, "still uploading"), (gone, "deleted")):
            if self._store.first(statement, (org, file_id)) is not None:
                raise RefusedError(400, "invalid_parameter", f"File {file_id} is {what}")
        raise not_found(f"File not found: {file_id}")

    def metadata(self, row: sqlite3.Row) -> dict[str, Any]:
        """Return a file as the metadata endpoints show it."""
        ingested = row["ingested_at"] <= self.now()
        return {
            "file_id": row["file_id"],
            "file_uid": row["file_uid"],
            "is_valid": True,
            "file_type": row["file_type"],
            "num_bytes": row["num_bytes"],
            "file_status": "FILE_STATUS_INGESTED" if ingested else "FILE_STATUS_REGISTERED",
            "file_attributes": _attributes(row, ingested=ingested),
            "ingested": ingested,
            "file_index": 0,
            "file_tags": [],
        }

    def empty(self) -> None:
        """Remove every content."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def _remove(self, file_uid: str) -> None:
        (self._folder / file_uid).unlink(missing_ok=True)


def read_attributes(path: Path, file_type: str) -> dict[str, Any]:
    """Return what ingestion finds out about a file: the shape of a CSV, nothing about other types."""
    if file_type != "text/csv":
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        headers = next(csv.reader(file), [])
    with path.open("rb") as file:
        lines, last = 0, b"\n"
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    rows = lines + (last != b"\n") - 1
    return {"num_rows": max(0, rows), "num_columns": len(headers), "column_headers": headers}


def _attributes(row: sqlite3.Row, *, ingested: bool) -> dict[str, Any]:
    if not ingested:
        return {"metadata_status": "not_extracted"}
    return {"metadata_status": "extracted", **json.loads(row["attributes"])}
