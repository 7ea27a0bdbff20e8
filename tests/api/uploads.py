"""A small file that is uploaded in parts, and what the emulator received of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from airflow_provider_atai.api import client, part_sending
from airflow_provider_atai.api.upload import upload
from airflow_provider_atai.datasets import store
from airflow_provider_atai.errors import SourceChangedError

CONTENT = b"0123456789abcdefghij"
PART_SIZE = 6
PARTS = [CONTENT[start : start + PART_SIZE] for start in range(0, len(CONTENT), PART_SIZE)]

METADATA: dict[str, Any] = {
    "file_id": "a.jsonl",
    "file_uid": "fil_32b6x7g3nt8q4vwmnf73rc9cqb",
    "is_valid": True,
    "file_type": "application/x-ndjson",
    "num_bytes": 16,
    "file_status": "FILE_STATUS_REGISTERED",
    "file_attributes": {},
}
PART = {"part_number": 0, "url": "https://s3/x?X-Amz-Signature=secret", "offset": 0, "length": 16}


class Source:
    """
    A text file in memory that can change or break at will.

    :param num_bytes: the announced size, which ``content`` need not have.
    """

    file_type = "text/plain"

    def __init__(self, content=CONTENT, *, num_bytes=None):
        self.content = content
        self.num_bytes = len(CONTENT) if num_bytes is None else num_bytes
        self.opened = 0
        self.changed = False
        self.on_open: Callable[[Source], None] = lambda source: None

    def open(self):
        self.opened += 1
        self.on_open(self)
        return io.BytesIO(self.content)

    def check_unchanged(self):
        if self.changed:
            raise SourceChangedError("it changed")


def replace_sleep(monkeypatch, sleep):
    """Let the waits of API calls and uploads go through ``sleep``."""
    stand_in = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    for module in (client, part_sending, store):
        monkeypatch.setattr(module, "time", stand_in)


def send(api, source=None, **changes):
    """Send the file, one part at a time unless ``threads`` says otherwise."""
    return upload(api, source or Source(), **{"file_id": "a.txt", "threads": 1, **changes})


def content_of(api, file_id="a.txt"):
    return b"".join(api.stream(file_id))


def calls(emulator):
    """Return the method and the last step of the path of every request to the service and to its storage."""
    return [f"{entry['method']} {entry['path'].rpartition('/')[2]}" for entry in emulator.requests()]


def puts(emulator):
    return [entry["path"].rpartition("/")[2] for entry in emulator.requests(method="PUT", path="/_storage/*")]
