from __future__ import annotations

import itertools
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.file_records import StoredFile
from airflow_provider_atai.api.files import FilesApi
from airflow_provider_atai.datasets.files import inspect_file
from airflow_provider_atai.datasets.store import DatasetStore
from airflow_provider_atai.errors import FileNameTakenError
from tests.api.uploads import replace_sleep


def test_concurrent_tasks_that_store_the_same_file_all_succeed(atai_emulator, tmp_path, monkeypatch):
    # They wait for each other, so time has to pass.
    replace_sleep(monkeypatch, lambda seconds: time.sleep(0.1))
    atai_emulator.set_switches(part_size=2)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": 2}\n')
    file = inspect_file(str(path))

    def store(_):
        with AtaiClient(base_url=atai_emulator.base_url, api_key=atai_emulator.api_key) as client:
            dataset_store = DatasetStore(FilesApi(client), log=logging.getLogger(__name__))
            return dataset_store.ensure(file, content_addressed=True)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(store, range(8))) == {file.file_id}
    (stored,) = atai_emulator.files()
    assert (stored["file_id"], stored["num_bytes"]) == (file.file_id, file.num_bytes)


@pytest.mark.timeout(60)
def test_a_stored_file_that_does_not_end_is_another_file(tmp_path):
    class Endless(FilesApi):
        def metadata(self, file_id):
            return StoredFile(file_id, num_bytes=9)

        def stream(self, file_id):
            return itertools.repeat(b"x")

    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n')
    with AtaiClient(base_url="http://service.invalid", api_key="sk_1") as client:
        store = DatasetStore(Endless(client), log=logging.getLogger(__name__))
        with pytest.raises(FileNameTakenError, match=r"another file named b\.jsonl"):
            store.ensure(inspect_file(str(path), file_id="b.jsonl"), content_addressed=False)
