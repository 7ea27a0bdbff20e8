"""The parts of a direct upload: what they have to be, and how they become a file."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_atai.emulator.errors import RefusedError, invalid, missing

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Part:
    """
    One part of an upload.

    :param number: as the client sees it.
    :param offset: where it begins in the file, in bytes.
    :param length: its size in bytes.
    """

    number: int
    offset: int
    length: int


def parts_of(row: sqlite3.Row) -> list[Part]:
    """Return the parts that an upload has to have."""
    size, total, base = row["part_size"], row["num_bytes"], row["part_base"]
    return [
        Part(base + index, offset, min(size, total - offset))
        for index, offset in enumerate(range(0, total, size))
    ]


def check_parts(parts: Sequence[Part], tokens: Mapping[int, str], stored: Mapping[int, sqlite3.Row]) -> None:
    """
    Refuse to make a file of parts that do not fit.

    :param tokens: what the client says of the parts.
    :param stored: what storage has of them: ``etag`` and ``num_bytes``.
    :raises RefusedError: 400.
    """
    for part in parts:
        if part.number not in tokens:
            raise missing(f"Missing part {part.number}: it was neither checkpointed nor sent now")
        content = stored.get(part.number)
        if content is None or content["etag"] is None or content["etag"] != unquoted(tokens[part.number]):
            raise invalid(f"Part {part.number} was not uploaded, or not with this part_token")
        if content["num_bytes"] != part.length:
            raise RefusedError(
                400,
                "invalid_file_size",
                f"Part {part.number} has {content['num_bytes']} bytes; it should have {part.length}",
            )


def unquoted(token: str) -> str:
    """Return a part token without the quotes that some clients strip from the ETag and others keep."""
    return token.strip('"')


def check_numbers(parts: Mapping[int, Part] | set[int], numbers: Sequence[int] | Mapping[int, str]) -> None:
    """
    Refuse numbers that no part has.

    :raises RefusedError: 400.
    """
    for number in numbers:
        if number not in parts:
            raise invalid(f"There is no part {number}")


def part_file(number: int, etag: str) -> str:
    """
    Return the name of the file that holds a part.

    It has the ETag in it: a part that is sent again must not change what the database says of the first.
    """
    return f"{number}-{etag}"


def assemble(folder: Path, names: Sequence[str]) -> Path:
    """Put files in a folder together, and return where the whole lies. Blocks as long as it takes."""
    if len(names) == 1:
        return folder / names[0]
    assembled = folder / "assembled"
    with assembled.open("wb") as target:
        for name in names:
            with (folder / name).open("rb") as source:
                shutil.copyfileobj(source, target, _CHUNK)
    return assembled
