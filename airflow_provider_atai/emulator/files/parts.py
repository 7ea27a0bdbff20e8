"""The parts of a direct upload: their signed URLs, their checks, and how they become a file."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from airflow_provider_atai.emulator.errors import RefusedError, invalid, missing

EXPIRES = "X-Emulator-Expires"
SIGNATURE = "X-Emulator-Signature"
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Part:
    """One part of an upload: its number for the client, and its place in the file in bytes."""

    number: int
    offset: int
    length: int


def parts_of(row: sqlite3.Row) -> dict[int, Part]:
    """Return the parts that an upload must have, by number."""
    size, total, base = row["part_size"], row["num_bytes"], row["part_base"]
    return {
        base + index: Part(base + index, offset, min(size, total - offset))
        for index, offset in enumerate(range(0, total, size))
    }


def presigned_query(secret: str, upload_id: str, part_number: int, expires: float) -> str:
    """Return the query of a part's URL, which works without a key."""
    until = f"{expires:.6f}"
    return urlencode({EXPIRES: until, SIGNATURE: _signature(secret, upload_id, part_number, until)})


def is_signed(secret: str, upload_id: str, part_number: int, expires: str, signature: str) -> bool:
    """Return whether the emulator made a URL, expired or not."""
    expected = _signature(secret, upload_id, part_number, expires)
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))


def check_numbers(parts: Collection[int], numbers: Iterable[int]) -> None:
    """Refuse numbers that no part has (400)."""
    for number in numbers:
        if number not in parts:
            raise invalid(f"There is no part {number}")


def check_parts(parts: Iterable[Part], tokens: Mapping[int, str], stored: Mapping[int, sqlite3.Row]) -> None:
    """
    Refuse to complete an upload whose parts do not fit (400).

    :param tokens: the client's tokens of the parts.
    :param stored: what storage has of the parts: ``etag`` and ``num_bytes``.
    """
    for part in parts:
        if part.number not in tokens:
            raise missing(f"Missing part {part.number}: the request does not list it, and no checkpoint did")
        content = stored.get(part.number)
        if content is None or content["etag"] is None or content["etag"] != unquoted(tokens[part.number]):
            raise invalid(f"Part {part.number} was not uploaded, or not with this part_token")
        if content["num_bytes"] != part.length:
            message = f"Part {part.number} has {content['num_bytes']} bytes; it should have {part.length}"
            raise RefusedError(400, "invalid_file_size", message)


def unquoted(token: str) -> str:
    """Return a part token without quotes: some clients strip those of the ETag, others keep them."""
    return token.strip('"')


def part_file(number: int, etag: str) -> str:
    """Return the name of a part's file. With the ETag in it, a part that is sent again has another file."""
    return f"{number}-{etag}"


def assemble(folder: Path, names: Sequence[str]) -> Path:
    """Join files of a folder, and return the path of the whole. Blocks as long as that takes."""
    if len(names) == 1:
        return folder / names[0]
    assembled = folder / "assembled"
    with assembled.open("wb") as target:
        for name in names:
            with (folder / name).open("rb") as source:
                shutil.copyfileobj(source, target, _CHUNK)
    return assembled


def _signature(secret: str, upload_id: str, part_number: int, expires: str) -> str:
    text = f"{upload_id}/{part_number}/{expires}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
