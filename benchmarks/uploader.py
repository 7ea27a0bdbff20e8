"""
Upload one file and measure it: ``python uploader.py SUBJECT ROOT_URL KEY FILE``.

It prints JSON: the seconds of the upload, the growth of the peak memory in bytes, and the seconds of
checking the file, if the subject checks it. It also runs in the official client's environment, where the
project is not installed, so only functions import the project.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

_BLOCK = 1024 * 1024


class Memory:
    """Measures by how much the process's peak memory exceeds its memory at creation."""

    def __init__(self) -> None:
        # This resets the peak. getrusage would report the peak of the parent process.
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._peak()

    def growth(self) -> int:
        return self._peak() - self._before

    @staticmethod
    def _peak() -> int:
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
        return int(line.split()[1]) * 1024


def atai(root_url: str, key: str, path: str) -> dict[str, float]:
    """Send a file as UploadDatasetOperator does."""
    from airflow_provider_atai.api.client import AtaiClient
    from airflow_provider_atai.api.files import FilesApi
    from airflow_provider_atai.api.upload import upload
    from airflow_provider_atai.datasets.files import inspect_file
    from airflow_provider_atai.datasets.progress import UploadProgress

    memory, began = Memory(), time.perf_counter()
    file = inspect_file(path)
    checked = time.perf_counter()
    with AtaiClient(base_url=f"{root_url}/v0.5", api_key=key) as client:
        progress = UploadProgress(logging.getLogger("benchmark"), file.file_id)
        upload(FilesApi(client), file, file_id=file.file_id, on_progress=progress)
    return {
        "checking": checked - began,
        "seconds": time.perf_counter() - checked,
        "growth": memory.growth(),
    }


def official(root_url: str, key: str, path: str) -> dict[str, float]:
    """Send a file with the vendor's client, which does not check it."""
    from archetypeai.api_client import ArchetypeAI  # type: ignore[import-not-found]

    client = ArchetypeAI(key, api_endpoint=f"{root_url}/api")
    memory, began = Memory(), time.perf_counter()
    client.files.local.upload(path, use_proxy=False, allow_resume=True)
    return {"checking": 0.0, "seconds": time.perf_counter() - began, "growth": memory.growth()}


def copy(root_url: str, key: str, path: str) -> dict[str, float]:
    """Send a file over one socket as a bare HTTP request."""
    where = urlsplit(root_url)
    memory, began = Memory(), time.perf_counter()
    with (
        socket.create_connection((where.hostname, where.port)) as connection,
        Path(path).open("rb", buffering=0) as file,
    ):
        connection.sendall(
            f"PUT /copy HTTP/1.1\r\nContent-Length: {Path(path).stat().st_size}\r\n\r\n".encode()
        )
        while block := file.read(_BLOCK):
            connection.sendall(block)
        connection.recv(_BLOCK)
    return {"checking": 0.0, "seconds": time.perf_counter() - began, "growth": memory.growth()}


if __name__ == "__main__":
    subject = {"atai": atai, "official": official, "copy": copy}[sys.argv[1]]
    print(json.dumps(subject(*sys.argv[2:])))
