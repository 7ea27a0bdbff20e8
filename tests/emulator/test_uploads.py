"""An upload whose completion was cut off by a kill."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_atai.emulator.errors import RefusedError
from airflow_provider_atai.emulator.state import Emulator

CONTENT = b"0123456789ab"


class KilledError(BaseException):
    """Stands for the end of the process: nothing after it is carried out."""


def started(data_dir: Path) -> tuple[Emulator, str]:
    emulator = Emulator(data_dir)
    org = emulator.organisations.of_header("Bearer sk_emulator")
    assert org is not None
    return emulator, org


def uploaded(data_dir: Path, part_size: int) -> tuple[Emulator, str, str, dict[int, str]]:
    emulator, org = started(data_dir)
    emulator.change_switches({"part_size": part_size})
    row, _ = emulator.uploads.initiate(
        org, filename="a.txt", file_type="text/plain", num_bytes=12, resume=False
    )
    tokens = {}
    for number, offset in enumerate(range(0, 12, part_size)):
        piece = CONTENT[offset : offset + part_size]
        content = data_dir / "piece"
        content.write_bytes(piece)
        tokens[number] = hashlib.md5(piece).hexdigest()
        emulator.uploads.receive(row["id"], number, tokens[number], content)
    return emulator, org, row["id"], tokens


@pytest.mark.parametrize("part_size", [5, 12], ids=["several parts", "one part"])
@pytest.mark.parametrize("cut_before", ["the file is there", "the upload is over"])
def test_a_kill_in_the_middle_of_completing_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_size: int, cut_before: str
) -> None:
    emulator, org, upload_id, tokens = uploaded(tmp_path, part_size)
    write = emulator.store.write

    def killed(statement: str, values: Any = ()) -> Any:
        last = "INSERT INTO files" if cut_before == "the file is there" else "UPDATE uploads"
        if statement.startswith(last) and "assembling" not in values:
            raise KilledError
        return write(statement, values)

    monkeypatch.setattr(emulator.store, "write", killed)
    with pytest.raises(KilledError):
        asyncio.run(emulator.uploads.complete(emulator.uploads.open(org, upload_id), tokens))
    emulator.store.close()

    emulator, org = started(tmp_path)
    if cut_before == "the file is there":
        assert emulator.files.find(org, "a.txt") is None
        asyncio.run(emulator.uploads.complete(emulator.uploads.open(org, upload_id), tokens))
    with pytest.raises(RefusedError, match="already completed"):
        emulator.uploads.open(org, upload_id)
    assert emulator.files.content(org, "a.txt").read_bytes() == CONTENT
    emulator.store.close()
