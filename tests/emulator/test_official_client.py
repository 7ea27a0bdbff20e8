"""The vendor's client from PyPI, unchanged, in the environment that ``ATAI_CLIENT_PYTHON`` names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

PYTHON = os.environ.get("ATAI_CLIENT_PYTHON", "")
SESSION = Path(__file__).with_name("official_client_session.py")


@pytest.mark.skipif(
    not PYTHON,
    reason="ATAI_CLIENT_PYTHON names no Python with the vendor's client, which does not fit beside Airflow",
)
def test_the_official_client_uploads_lists_downloads_and_deletes(service, tmp_path):
    service.control.set_switches(part_size=10_000)
    command = [PYTHON, str(SESSION), service.control.root_url, service.control.api_key, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert seen["version"] == "26.10.14.0"
    for call, file_id in (("proxy", "sample.csv"), ("base64", "note.txt"), ("direct", "lines.jsonl")):
        assert (seen[call]["is_valid"], seen[call]["file_id"]) == (True, file_id)
    assert seen["proxy_again"]["file_uid"] != seen["proxy"]["file_uid"]
    assert [numbers[:2] for numbers in seen["progress"]] == [[1, 3], [2, 3], [3, 3]]
    assert seen["direct_again"].startswith("ApiError")
    assert "File already exists: lines.jsonl" in seen["direct_again"]
    assert seen["ids"] == ["lines.jsonl", "note.txt", "sample.csv"]
    assert seen["metadata"]["file_uid"] == seen["direct"]["file_uid"]
    assert seen["metadata"]["file_type"] == "text/plain"
    assert seen["info"] == {}
    assert seen["download sample.csv"] is True
    assert seen["download lines.jsonl"] is True
    assert seen["deleted"] == ["sample.csv", "note.txt", "lines.jsonl"]
    assert seen["left"] == []
    assert "NOT_FOUND" in seen["deleted_again"]
    assert service.control.state()["unfinished_uploads"] == 0
