"""Data for jobs to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl


def store_dataset(emulator: EmulatorControl, name: str = "train.csv") -> dict[str, Any]:
    """Put a small file into the emulator, and return an entry for a job's datasets."""
    response = requests.post(
        f"{emulator.base_url}/files",
        headers={"Authorization": f"Bearer {emulator.api_key}"},
        files={"file": (name, b"time,pressure\n0,1.5\n", "text/csv")},
        timeout=30,
    )
    response.raise_for_status()
    return {"name": "training-set", "split": "train", "file_ids": [response.json()["file_id"]]}
