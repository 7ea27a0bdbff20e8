"""The list of files in its two shapes: a bare array in shards, and pages with cursors."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from airflow_provider_atai.emulator.errors import invalid
from airflow_provider_atai.emulator.files.files import Files
from airflow_provider_atai.emulator.store import Store
from airflow_provider_atai.emulator.strict_input import WholeNumber

_DEFAULT_PAGE = 100
_LARGEST_PAGE = 1000


class FileFilter(BaseModel):
    """
    :param file_type: only files of this MIME type.
    :param file_uid: only the file with this uid.
    """

    file_type: str | None = None
    file_uid: str | None = None

    def condition(self, org: str) -> tuple[str, list[str]]:
        """Return the SQL condition for an organisation's files that pass, and its values."""
        conditions, values = ["org = ?", "state = 'current'"], [org]
        for column, value in (("file_type", self.file_type), ("file_uid", self.file_uid)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        return " AND ".join(conditions), values


class ShardQuery(BaseModel):
    """
    :param shard_index: which stretch of ``max_items_per_shard`` files; -1 means all of them.
    :param max_items_per_shard: files in a stretch; -1 means all of them.
    """

    shard_index: WholeNumber = Field(-1, ge=-1)
    max_items_per_shard: WholeNumber = Field(-1, ge=-1, le=_LARGEST_PAGE)


class PageQuery(BaseModel):
    """
    :param limit: files in a page. Default: 100.
    :param after: the cursor at a page's end.
    :param before: the cursor at a page's beginning. Not together with ``after``.
    """

    limit: WholeNumber | None = Field(None, ge=1, le=_LARGEST_PAGE)
    after: str | None = None
    before: str | None = None

    @property
    def is_asked_for(self) -> bool:
        """Whether the request has one of these parameters: the array has none of them."""
        return any(value is not None for value in (self.limit, self.after, self.before))


def sharded(
    store: Store, files: Files, org: str, filters: FileFilter, query: ShardQuery
) -> list[dict[str, Any]]:
    """Return the documented array, oldest file first."""
    condition, values = filters.condition(org)
    rows = store.all(f"SELECT * FROM files WHERE {condition} ORDER BY pk", values)
    shard, size = query.shard_index, query.max_items_per_shard
    if shard >= 0 and size >= 0:
        rows = rows[shard * size : (shard + 1) * size]
    return [files.metadata(row) for row in rows]


def page(store: Store, files: Files, org: str, filters: FileFilter, query: PageQuery) -> dict[str, Any]:
    """
    Return a page as the official client reads it, newest file first.

    :raises RefusedError: 400 for both cursors, or for one that the emulator did not make.
    """
    if query.after is not None and query.before is not None:
        raise invalid("after and before exclude each other")
    backwards = query.before is not None
    position = _position(query.before if backwards else query.after)
    condition, values = filters.condition(org)

    def exists(comparison: str, edge: Sequence[sqlite3.Row]) -> bool:
        statement = f"SELECT 1 FROM files WHERE {condition} AND pk {comparison} ?"
        return bool(edge) and store.first(statement, (*values, edge[0]["pk"])) is not None

    comparison, order = (">", "ASC") if backwards else ("<", "DESC")
    beyond = "" if position is None else f"AND pk {comparison} {position}"
    rows = store.all(
        f"SELECT * FROM files WHERE {condition} {beyond} ORDER BY pk {order} LIMIT ?",
        (*values, query.limit or _DEFAULT_PAGE),
    )
    if backwards:
        rows.reverse()
    older, newer = exists("<", rows[-1:]), exists(">", rows[:1])
    return {
        "data": [files.metadata(row) for row in rows],
        "has_more": newer if backwards else older,
        "next_cursor": _cursor(rows[-1]["pk"]) if older else None,
        "prev_cursor": _cursor(rows[0]["pk"]) if newer else None,
    }


def _cursor(pk: int) -> str:
    return base64.urlsafe_b64encode(f"file:{pk}".encode()).decode()


def _position(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        kind, _, number = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        if kind == "file":
            return int(number)
    except ValueError:
        pass
    raise invalid("invalid cursor")
