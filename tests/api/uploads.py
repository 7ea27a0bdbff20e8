"""A small file that is uploaded in parts, and what the emulator saw of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_atai.api.upload import SourceChangedError

if TYPE_CHECKING:
    from airflow_provider_atai.api.files import FilesApi, StoredFile
    from airflow_provider_atai.emulator.control import EmulatorControl

CONTENT = b"0123456789abcdefghij"
PART_SIZE = 6
PARTS = [CONTENT[start : start + PART_SIZE] for start in range(0, len(CONTENT), PART_SIZE)]


class Source:
    """A file in memory that can change or break at will."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.opened = 0
        self.changed = False
        self.on_open: Callable[[Source], None] = lambda source: None

    def open(self) -> BinaryIO:
        self.opened += 1
        self.on_open(self)
        return io.BytesIO(self.content)

    def check_unchanged(self) -> None:
        if self.changed:
            raise SourceChangedError("it changed")


def send(api: FilesApi, source: Source | None = None, **changes: Any) -> StoredFile:
    """Send the file, one part after the other unless ``threads`` says otherwise."""
    arguments: dict[str, Any] = {
        "file_id": "a.txt",
        "file_type": "text/plain",
        "num_bytes": len(CONTENT),
        "threads": 1,
    }
    return api.upload(source or Source(), **{**arguments, **changes})


def content_of(api: FilesApi, file_id: str = "a.txt") -> bytes:
    content = io.BytesIO()
    api.download(file_id, content)
    return content.getvalue()


def calls(emulator: EmulatorControl) -> list[str]:
    """Return the method and the last step of the path of every request to the service and to its storage."""
    return [f"{entry['method']} {entry['path'].rpartition('/')[2]}" for entry in emulator.requests()]


def puts(emulator: EmulatorControl) -> list[str]:
    return [entry["path"].rpartition("/")[2] for entry in emulator.requests(method="PUT", path="/_storage/*")]
