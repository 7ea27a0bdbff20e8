"""Rules that make the emulator misbehave, and how often each rule fired."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from airflow_provider_atai.emulator.settings import LARGEST_INTEGER, Count, Duration
from airflow_provider_atai.emulator.store import Store

Effect = Literal["answer", "drop_before", "drop_after", "drop_midway", "truncate", "merge", "delay"]
BodyKind = Literal[
    "errors", "detail", "detail_list", "old_error", "html", "empty", "json", "url_expired", "token_expired"
]
# What a header can hold.
_HeaderText = Annotated[str, Field(pattern=r"^[ -~]*$")]
_Method = Literal["*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _upper_case(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class FaultRule(BaseModel):
    """
    One rule: which requests it hits, how many of them, and what happens to them.

    :param method: an HTTP method, or ``*``.
    :param path: a pattern for the path, with or without the API's prefix: ``*`` stands for one segment or
        a part of it, ``**`` for any number of segments, including none.
    :param skip: how many matching requests to let through first.
    :param count: how many requests to hit after those; None for all.
    :param effect: what happens; ``docs/emulator.md`` lists the effects and the kinds of ``body``.
    :param status: the HTTP status of ``answer``. Default: 403 for ``url_expired``, 400 for ``token_expired``,
        else 503. HTTP has no body for 204 and 304, so such an answer has none.
    :param body: the shape of the body of ``answer``.
    :param content: any JSON; an object for ``merge``.
    :param code: the error's code in ``errors`` and ``old_error``.
    :param message: the error's text.
    :param retry_after: the Retry-After header of any answer that is sent: seconds, or an HTTP date.
    :param delay: real seconds between the effect and the answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Annotated[_Method, BeforeValidator(_upper_case)] = "*"
    path: str = "**"
    skip: Count = 0
    count: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] | None = 1
    effect: Effect = "answer"
    status: int | None = Field(None, ge=200, le=599)
    body: BodyKind = "errors"
    content: Any = None
    code: str = "internal_logic_error"
    message: str = "The emulator was told to answer this"
    retry_after: int | float | _HeaderText | None = None
    delay: Duration = 0

    @field_validator("path")
    @classmethod
    def _may_match(cls, path: str) -> str:
        if not path.startswith(("/", "**")):
            raise ValueError("the path must begin with / or **")
        if "?" in path or "#" in path:
            raise ValueError("the pattern is for the path alone, without a query; * also matches a ?")
        return path

    @model_validator(mode="after")
    def _merges_an_object(self) -> Self:
        if self.effect == "merge" and not isinstance(self.content, dict):
            raise ValueError("merge needs an object as content")
        return self

    def matches(self, method: str, path: str) -> bool:
        """Return whether the rule is about a request, whatever its counts say."""
        if self.method not in ("*", method):
            return False
        pattern = re.compile(_expression(self.path))
        return any(pattern.fullmatch(text) for text in (path, re.sub(r"^/(v[0-9.]+|api)(?=/)", "", path)))


class Faults:
    """The rules in the order of their addition. The first one that applies to a request wins."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, rule: FaultRule) -> int:
        """Add a rule and return its number."""
        return self._store.insert("faults", rule=rule.model_dump_json(), seen=0, fired=0)

    def remove(self, pk: int | None = None) -> None:
        """Remove one rule, or all."""
        self._store.write("DELETE FROM faults WHERE ? IS NULL OR pk = ?", (pk, pk))

    def take(self, method: str, path: str) -> tuple[int, FaultRule] | None:
        """Return the rule that hits a request, with its number, and count the hit."""
        for row in self._rows():
            rule = FaultRule.model_validate_json(row["rule"])
            is_used_up = rule.count is not None and row["fired"] >= rule.count
            if is_used_up or not rule.matches(method, path):
                continue
            hit = row["seen"] >= rule.skip
            self._store.write(
                "UPDATE faults SET seen = seen + 1, fired = fired + ? WHERE pk = ?", (hit, row["pk"])
            )
            if hit:
                return row["pk"], rule
        return None

    def described(self) -> list[dict[str, Any]]:
        """Return the rules, and how often each of them fired."""
        return [
            {"id": row["pk"], "fired": row["fired"], "rule": json.loads(row["rule"])} for row in self._rows()
        ]

    def _rows(self) -> list[sqlite3.Row]:
        return self._store.all("SELECT * FROM faults ORDER BY pk")


def _expression(pattern: str) -> str:
    pieces = re.split(r"(/\*\*(?=/|$)|\*\*|\*)", pattern)
    special = {"/**": "(?:/.*)?", "**": ".*", "*": "[^/]*"}
    return "".join(special.get(piece, re.escape(piece)) for piece in pieces)
