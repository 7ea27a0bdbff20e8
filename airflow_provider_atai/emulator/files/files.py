"""The files: records in the database, contents under the data directory."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_atai.emulator.clock import real_now
from airflow_provider_atai.emulator.errors import RefusedError, invalid, not_found
from airflow_provider_atai.emulator.ids import type_id
from airflow_provider_atai.emulator.settings import Conditions
from airflow_provider_atai.emulator.store import Store

_CHUNK = 1024 * 1024
PROXY_TYPES = ("image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json")
DIRECT_TYPES = (*PROXY_TYPES, "application/x-ndjson")


class Files:
    """
    The files of every organisation. A method for one file raises RefusedError if there is none (404).

    :param on_lost: called with the uid of a file that is overwritten or deleted, in the same transaction.
    """

    def __init__(self, store: Store, conditions: Conditions, *, on_lost: Callable[[str], None]) -> None:
        self._store = store
        self._conditions = conditions
        self._on_lost = on_lost
        self._folder = store.data_dir / "files"
        self._folder.mkdir(exist_ok=True)

    def find(self, org: str, file_id: str, *, column: str = "file_id") -> sqlite3.Row | None:
        """Return the row of the current file with this ``file_id`` (or ``file_uid``), or None."""
        return self._store.first(
            f"SELECT * FROM files WHERE org = ? AND {column} = ? AND state = 'current'", (org, file_id)
        )

    def required(self, org: str, file_id: str) -> sqlite3.Row:
        """Return the row of the current file with this name."""
        row = self.find(org, file_id)
        if row is None:
            raise not_found(f"File not found: {file_id}")
        return row

    def all(self) -> list[sqlite3.Row]:
        """Return the rows of the files of all organisations, oldest first."""
        return self._store.all("SELECT * FROM files WHERE state = 'current' ORDER BY pk")

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
        Take over a finished file and return its row. A file that had the name before is orphaned.

        :param content: a file in the data directory; the caller removes it afterwards.
        :param file_uid: the uid that the client was told. Default: a new one.
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
                ingested_at=self._now() + self._conditions.life.ingest,
            )
        if before is not None:
            self._remove(before["file_uid"])
        return self.required(org, file_id)

    def delete(self, org: str, file_id: str) -> sqlite3.Row:
        """Delete a file and return its last row."""
        row = self.required(org, file_id)
        with self._store.transaction():
            self._store.write("UPDATE files SET state = 'deleted' WHERE pk = ?", (row["pk"],))
            self._on_lost(row["file_uid"])
        self._remove(row["file_uid"])
        return row

    def content(self, org: str, file_id: str) -> Path:
        """Return the path of a file's content. A file that is deleted or still uploading is refused (400)."""
        row = self.find(org, file_id)
        if row is not None:
            return self._folder / str(row["file_uid"])
        gone = "SELECT 1 FROM files WHERE org = ? AND file_id = ? AND state = 'deleted'"
        coming = "SELECT 1 FROM uploads WHERE org = ? AND file_id = ? AND state != 'completed'"
        for statement, what in ((coming, "still uploading"), (gone, "deleted")):
            if self._store.first(statement, (org, file_id)) is not None:
                raise invalid(f"File {file_id} is {what}")
        raise not_found(f"File not found: {file_id}")

    def metadata(self, row: sqlite3.Row) -> dict[str, Any]:
        """Return a file as the metadata endpoints show it."""
        ingested = row["ingested_at"] <= self._now()
        found_out = {"metadata_status": "extracted", **json.loads(row["attributes"])}
        return {
            "file_id": row["file_id"],
            "file_uid": row["file_uid"],
            "is_valid": True,
            "file_type": row["file_type"],
            "num_bytes": row["num_bytes"],
            "file_status": "FILE_STATUS_INGESTED" if ingested else "FILE_STATUS_REGISTERED",
            "file_attributes": found_out if ingested else {"metadata_status": "not_extracted"},
            "ingested": ingested,
            "file_index": 0,
            "file_tags": [],
        }

    def _now(self) -> float:
        return self._conditions.clock.at(real_now())

    def _remove(self, file_uid: str) -> None:
        (self._folder / file_uid).unlink(missing_ok=True)


def base_name(filename: str) -> str:
    """Return the file id for a file name: its last segment. A name without a last segment is a 400."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    if name in ("", ".", ".."):
        raise invalid(f"Not a file name: {filename!r}")
    return name


def unsupported_type(file_type: str) -> RefusedError:
    """Return the refusal of a file type, in the documented words."""
    # They name x-ndjson even if POST /files refuses that type.
    supported = f"Supported types: {', '.join(DIRECT_TYPES)}"
    return RefusedError(400, "invalid_file_type", f"Unsupported file type: {file_type}", suggestion=supported)


def read_attributes(path: Path, file_type: str) -> dict[str, Any]:
    """Return what ingestion finds out about a file: the shape of a CSV, nothing for other types."""
    if file_type != "text/csv":
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        start = io.StringIO(file.read(_CHUNK), newline="")
    try:
        headers = next(csv.reader(start), [])
    except csv.Error:
        # Such as a field of more than 128 KiB.
        return {}
    with path.open("rb") as file:
        lines, last = 0, b"\n"
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    rows = lines + (last != b"\n") - 1
    return {"num_rows": max(0, rows), "num_columns": len(headers), "column_headers": headers}
