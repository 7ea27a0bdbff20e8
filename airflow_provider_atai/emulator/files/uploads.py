"""Direct-to-cloud uploads: parts arrive in any order, and completing makes them a file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_atai.emulator.clock import real_now, whole_seconds
from airflow_provider_atai.emulator.errors import conflict, not_found
from airflow_provider_atai.emulator.files.files import Files, read_attributes
from airflow_provider_atai.emulator.files.parts import (
    Part,
    assemble,
    check_numbers,
    check_parts,
    part_file,
    parts_of,
    presigned_query,
)
from airflow_provider_atai.emulator.ids import type_id
from airflow_provider_atai.emulator.settings import Conditions
from airflow_provider_atai.emulator.store import Store


class Uploads:
    """
    The direct uploads of every organisation.

    A method for one upload raises RefusedError: 404 if it is unknown or aborted, 409 if it is completed, and
    400 for the number of a part that it does not have.

    :param secret: signs the part URLs.
    """

    def __init__(self, store: Store, files: Files, conditions: Conditions, *, secret: str) -> None:
        self._store = store
        self._files = files
        self._conditions = conditions
        self._secret = secret
        self._folder = store.data_dir / "uploads"
        self._folder.mkdir(exist_ok=True)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def exclusive(self, upload_id: str) -> asyncio.Lock:
        """Return the lock under which the calls on one upload are carried out, one after the other."""
        # complete() awaits: without the lock, another call could see a half-assembled file.
        return self._locks.setdefault(upload_id, asyncio.Lock())

    def initiate(
        self, org: str, *, filename: str, file_type: str, num_bytes: int, resume: bool
    ) -> tuple[sqlite3.Row, bool]:
        """Return the row of a new or resumed upload, and whether it is resumed. A taken name is a 409."""
        taken = conflict(f"File already exists: {filename}")
        if self._files.find(org, filename) is not None:
            raise taken
        unfinished = self._store.first(
            "SELECT * FROM uploads WHERE org = ? AND file_id = ? AND state != 'completed'", (org, filename)
        )
        if unfinished is not None:
            if unfinished["state"] == "assembling":
                raise taken
            if resume and (unfinished["file_type"], unfinished["num_bytes"]) == (file_type, num_bytes):
                return unfinished, True
            if self._conditions.switches.initiate_over_unfinished == "conflict":
                raise taken
            self.abort(org, unfinished["id"])
        upload_id = type_id("upl")
        # The folder comes first: an upload without one could never take a part.
        self._upload_folder(upload_id).mkdir()
        self._store.insert(
            "uploads",
            id=upload_id,
            org=org,
            file_id=filename,
            file_uid=type_id("fil"),
            file_type=file_type,
            num_bytes=num_bytes,
            part_size=self._conditions.switches.part_size,
            part_base=self._conditions.switches.part_number_base,
            state="open",
        )
        return self.open(org, upload_id), False

    def open(self, org: str, upload_id: str) -> sqlite3.Row:
        """Return the row of an unfinished upload."""
        row = self._required(org, upload_id)
        if row["state"] != "open":
            raise conflict(f"Upload {upload_id} is already completed")
        return row

    def initiated(self, row: sqlite3.Row, root_url: str, *, is_resume: bool) -> dict[str, Any]:
        """Return the answer to an initiate: the fields of both generations of the API."""
        parts, done = parts_of(row), self._tokens(row["id"])
        expires = self._expires()
        return {
            "upload_id": row["id"],
            "file_uid": row["file_uid"],
            "file_name": row["file_id"],
            "strategy": "simple" if len(parts) == 1 else "multipart",
            "total_bytes": row["num_bytes"],
            "num_parts": len(parts),
            "part_size": row["part_size"],
            "is_resume": is_resume,
            "parts": [
                self._described(row, part, root_url, expires)
                for part in parts.values()
                if part.number not in done
            ],
            "expires_at": whole_seconds(expires),
        }

    def part_urls(self, row: sqlite3.Row, root_url: str, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return fresh URLs in the order of the request."""
        parts = parts_of(row)
        check_numbers(parts, numbers)
        expires = self._expires()
        return [self._described(row, parts[number], root_url, expires) for number in numbers]

    def receive(self, upload_id: str, number: int, etag: str, content: Path) -> None:
        """Keep the content of a part. It is a file in the data directory, and it is moved."""
        num_bytes = content.stat().st_size
        folder = self._upload_folder(upload_id)
        before = self._store.first(
            "SELECT etag FROM upload_parts WHERE upload_id = ? AND number = ?", (upload_id, number)
        )
        content.rename(folder / part_file(number, etag))
        self._store.write(
            "INSERT INTO upload_parts (upload_id, number, etag, num_bytes) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET etag = excluded.etag, num_bytes = excluded.num_bytes",
            (upload_id, number, etag, num_bytes),
        )
        if before is not None and before["etag"] not in (None, etag):
            (folder / part_file(number, before["etag"])).unlink(missing_ok=True)

    def checkpoint(self, row: sqlite3.Row, tokens: Mapping[int, str]) -> None:
        """Remember the tokens of parts, so that a resumed upload leaves these parts out."""
        check_numbers(parts_of(row), tokens)
        with self._store.transaction():
            for number, token in tokens.items():
                self._store.write(
                    "INSERT INTO upload_parts (upload_id, number, token) VALUES (?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET token = excluded.token",
                    (row["id"], number, token),
                )

    async def complete(self, row: sqlite3.Row, tokens: Mapping[int, str]) -> sqlite3.Row:
        """
        Make the file out of the parts, and return its row. The caller holds the upload's lock.

        :raises RefusedError: 400 if a part is missing or has another token or size than it should have;
            404 if the upload was forgotten meanwhile; 409 if the name was taken meanwhile.
        """
        upload_id, parts = row["id"], parts_of(row)
        check_numbers(parts, tokens)
        rows = self._store.all("SELECT * FROM upload_parts WHERE upload_id = ?", (upload_id,))
        stored = {part["number"]: part for part in rows}
        check_parts(parts.values(), {**self._tokens(upload_id), **tokens}, stored)
        self._check_free(row)
        self._set_state(upload_id, "assembling")
        folder = self._upload_folder(upload_id)
        names = [part_file(number, stored[number]["etag"]) for number in parts]
        try:
            assembled = await asyncio.to_thread(assemble, folder, names)
            attributes = await asyncio.to_thread(read_attributes, assembled, row["file_type"])
            # Meanwhile a reset may have come, or a file of this name through the service.
            self._required(row["org"], upload_id)
            self._check_free(row)
            file = self._files.add(
                row["org"],
                file_id=row["file_id"],
                file_type=row["file_type"],
                content=assembled,
                attributes=attributes,
                file_uid=row["file_uid"],
            )
        except BaseException as error:
            self._set_state(upload_id, "open")
            if isinstance(error, FileNotFoundError):
                # A reset removes the parts, too.
                self._required(row["org"], upload_id)
            raise
        self._set_state(upload_id, "completed")
        # A part that is sent once more may be arriving in this folder.
        shutil.rmtree(folder, ignore_errors=True)
        return file

    def abort(self, org: str, upload_id: str) -> None:
        """Forget an unfinished upload, which frees its name."""
        row = self.open(org, upload_id)
        with self._store.transaction():
            self._store.write("DELETE FROM uploads WHERE id = ?", (row["id"],))
            self._store.write("DELETE FROM upload_parts WHERE upload_id = ?", (row["id"],))
        shutil.rmtree(self._upload_folder(upload_id), ignore_errors=True)

    def recover(self) -> None:
        """Settle the uploads whose completion a kill has cut off, and remove leftovers."""
        self._store.write(
            "UPDATE uploads SET state = 'completed' "
            "WHERE state = 'assembling' AND file_uid IN (SELECT file_uid FROM files)"
        )
        self._store.write("UPDATE uploads SET state = 'open' WHERE state = 'assembling'")
        unfinished = {row["id"] for row in self._store.all("SELECT id FROM uploads WHERE state = 'open'")}
        for leftover in self._folder.iterdir():
            if leftover.is_file():
                leftover.unlink()
            elif leftover.name not in unfinished:
                shutil.rmtree(leftover)
        for leftover in self._folder.glob("*/incoming-*"):
            leftover.unlink()

    def incoming(self, upload_id: str) -> Path | None:
        """Return the folder that takes an upload's parts, or None if the upload is not open."""
        row = self._store.first("SELECT 1 FROM uploads WHERE id = ? AND state = 'open'", (upload_id,))
        return None if row is None else self._upload_folder(upload_id)

    def _required(self, org: str, upload_id: str) -> sqlite3.Row:
        row = self._store.first("SELECT * FROM uploads WHERE id = ? AND org = ?", (upload_id, org))
        if row is None:
            raise not_found(f"Upload not found: {upload_id}", code="upload_not_found")
        return row

    def _check_free(self, row: sqlite3.Row) -> None:
        if self._files.find(row["org"], row["file_id"]) is not None:
            raise conflict(f"File already exists: {row['file_id']}")

    def _described(self, row: sqlite3.Row, part: Part, root_url: str, expires: float) -> dict[str, Any]:
        query = presigned_query(self._secret, row["id"], part.number, expires)
        return {
            "part_number": part.number,
            "url": f"{root_url}/_storage/{row['id']}/{part.number}?{query}",
            "offset": part.offset,
            "length": part.length,
            "expires_at": whole_seconds(expires),
        }

    def _expires(self) -> float:
        return real_now() + self._conditions.switches.presigned_url_seconds

    def _tokens(self, upload_id: str) -> dict[int, str]:
        rows = self._store.all(
            "SELECT number, token FROM upload_parts WHERE upload_id = ? AND token IS NOT NULL", (upload_id,)
        )
        return {row["number"]: row["token"] for row in rows}

    def _set_state(self, upload_id: str, state: str) -> None:
        self._store.write("UPDATE uploads SET state = ? WHERE id = ?", (state, upload_id))

    def _upload_folder(self, upload_id: str) -> Path:
        return self._folder / upload_id
