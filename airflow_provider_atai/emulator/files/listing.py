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


# The files of an organisation that pass a filter.
_PASSING = """FROM files WHERE org = :org AND state = 'current'
    AND (:file_type IS NULL OR file_type = :file_type) AND (:file_uid IS NULL OR file_uid = :file_uid)"""


class FileFilter(BaseModel):
    """Only files of this MIME type, and only the file with this uid."""

    file_type: str | None = None
    file_uid: str | None = None


class ShardQuery(BaseModel):
    """Which stretch of how many files; -1 means all files."""

    shard_index: WholeNumber = Field(-1, ge=-1)
    max_items_per_shard: WholeNumber = Field(-1, ge=-1, le=_LARGEST_PAGE)


class PageQuery(BaseModel):
    """How many files, after the cursor at a page's end or before the one at its beginning."""

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
    rows = store.all(f"SELECT * {_PASSING} ORDER BY pk", {"org": org, **filters.model_dump()})
    shard, size = query.shard_index, query.max_items_per_shard
    if shard >= 0 and size >= 0:
        rows = rows[shard * size : (shard + 1) * size]
    return [files.metadata(row) for row in rows]


def page(store: Store, files: Files, org: str, filters: FileFilter, query: PageQuery) -> dict[str, Any]:
    """Return a page as the official client reads it, newest file first."""
    if query.after is not None and query.before is not None:
        raise invalid("after and before exclude each other")
    values = {"org": org, **filters.model_dump()}
    backwards = query.before is not None
    position = _position(query.before if backwards else query.after)
    comparison, order = (">", "ASC") if backwards else ("<", "DESC")
    beyond = "" if position is None else f"AND pk {comparison} {position}"
    statement = f"SELECT * {_PASSING} {beyond} ORDER BY pk {order} LIMIT {query.limit or _DEFAULT_PAGE}"
    rows = store.all(statement, values)
    if backwards:
        rows.reverse()

    def has(comparison: str, edge: Sequence[sqlite3.Row]) -> bool:
        statement = f"SELECT 1 {_PASSING} AND pk {comparison} :pk"
        return bool(edge) and store.first(statement, {**values, "pk": edge[0]["pk"]}) is not None

    older, newer = has("<", rows[-1:]), has(">", rows[:1])
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
