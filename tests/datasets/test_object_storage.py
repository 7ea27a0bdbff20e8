"""Datasets in S3, read with Airflow's own provider and connection from a server that speaks S3."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi
from airflow_provider_atai.compat.sdk import AirflowFailException
from airflow_provider_atai.datasets import sources
from airflow_provider_atai.errors import RetryableError
from airflow_provider_atai.operators.datasets import UploadDatasetOperator
from tests.api.uploads import replace_sleep

pytest.importorskip("airflow.providers.amazon", reason="make object-storage has Airflow's provider for S3")
boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

MIB = 1024 * 1024
LINES = b"".join(b'{"n": %d, "text": "%s"}\n' % (number, b"x" * 80) for number in range(100_000))
PATH = "s3://storage@bucket/data/train.jsonl"


class Storage:
    """An S3 server in a thread of this process, its only bucket, and the requests that it received."""

    def __init__(self):
        from werkzeug.serving import make_server

        self.requests: list[dict[str, str]] = []
        self.on_request: Callable[[dict[str, str]], None] = lambda request: None
        self._application = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        self.s3.create_bucket(Bucket="bucket")

    def put(self, content, key="data/train.jsonl"):
        self.s3.put_object(Bucket="bucket", Key=key, Body=content)
        self.requests.clear()

    def ranges(self):
        """Return how many bytes each range request asked for."""
        asked = [re.fullmatch(r"bytes=(\d+)-(\d+)", one["range"]) for one in self.requests if one["range"]]
        return [int(found[2]) - int(found[1]) + 1 for found in asked if found]

    def close(self):
        self.s3.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ, start_response):
        request = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "range": environ.get("HTTP_RANGE", ""),
        }
        self.requests.append(request)
        self.on_request(request)
        return self._application(environ, start_response)


@pytest.fixture(scope="module")
def server():
    storage = Storage()
    yield storage
    storage.close()


@pytest.fixture
def storage(server, atai_emulator, monkeypatch):
    """A bucket behind the Airflow connection ``storage``."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {"endpoint_url": server.url, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_STORAGE", json.dumps(connection))
    replace_sleep(monkeypatch, lambda seconds: None)
    yield server
    server.on_request = lambda request: None
    for entry in server.s3.list_objects_v2(Bucket="bucket").get("Contents", ()):
        server.s3.delete_object(Bucket="bucket", Key=entry["Key"])


def upload(path=PATH):
    dataset: dict[str, Any] = UploadDatasetOperator(task_id="upload", path=path, name="training-set").execute(
        {}
    )
    return dataset


def stored(emulator, file_id):
    with AtaiClient(base_url=emulator.base_url, api_key=emulator.api_key) as client:
        return b"".join(FilesApi(client).stream(file_id))


def test_a_file_is_read_in_ranges_and_sent_in_parts(storage, atai_emulator, monkeypatch):
    monkeypatch.setattr(sources, "StagedSource", None)
    storage.put(LINES)
    atai_emulator.set_switches(part_size=3 * MIB)
    dataset = upload()
    (file_id,) = dataset["file_ids"]
    assert stored(atai_emulator, file_id) == LINES
    assert len(atai_emulator.requests("PUT", "/_storage/*")) == -(-len(LINES) // (3 * MIB))
    # Once for the hash and once for the parts, never the whole file at once.
    asked = storage.ranges()
    assert max(asked) < 9 * MIB
    assert 2 * len(LINES) <= sum(asked) < 4 * len(LINES)
    assert {one["method"] for one in storage.requests} <= {"HEAD", "GET"}


def test_a_file_that_is_already_stored_is_read_once(storage, atai_emulator):
    storage.put(LINES)
    first = upload()
    storage.requests.clear()
    assert upload() == first
    assert len(atai_emulator.requests("POST", "*/initiate")) == 1
    assert sum(storage.ranges()) < 2 * len(LINES)


def test_several_files_make_one_dataset(storage, atai_emulator):
    storage.put(b'{"a": 1}\n', "one.jsonl")
    storage.put(b'{"a": 2}\n', "two.jsonl")
    dataset = upload(["s3://storage@bucket/one.jsonl", "s3://storage@bucket/two.jsonl"])
    assert [stored(atai_emulator, one) for one in dataset["file_ids"]] == [b'{"a": 1}\n', b'{"a": 2}\n']


@pytest.mark.parametrize("other", [LINES.replace(b"x", b"y"), LINES[:-200]], ids=["same size", "shorter"])
def test_a_file_that_changes_while_it_is_sent_is_refused(storage, atai_emulator, other):
    storage.put(LINES)
    atai_emulator.set_switches(part_size=3 * MIB)
    begun = threading.Event()
    # Several threads read parts. Without the lock, a second one could change the file of the next test.
    one_at_a_time = threading.Lock()

    def change_once_parts_are_read(request):
        if not request["range"]:
            return
        with one_at_a_time:
            if not begun.is_set() and atai_emulator.requests("POST", "*/initiate"):
                begun.set()
                storage.s3.put_object(Bucket="bucket", Key="data/train.jsonl", Body=other)

    storage.on_request = change_once_parts_are_read
    with pytest.raises(AirflowFailException, match="changed"):
        upload()
    assert begun.is_set()
    assert atai_emulator.files() == []
    assert atai_emulator.state()["unfinished_uploads"] == 0


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("s3://storage@bucket/data/other.jsonl", "does not exist"),
        ("s3://storage@no-such-bucket/train.jsonl", "does not exist"),
        ("s3://storage@bucket/data.jsonl", "is a directory"),
    ],
)
def test_a_missing_file_bucket_or_a_directory_is_refused(storage, atai_emulator, path, says):
    storage.put(LINES)
    storage.put(b"x", "data.jsonl/part-0")
    with pytest.raises(AirflowFailException, match=says):
        upload(path)
    assert atai_emulator.requests() == []


def test_bad_lines_are_reported_before_anything_is_sent(storage, atai_emulator):
    storage.put(LINES[:1000] + b"\n{]\n")
    with pytest.raises(AirflowFailException, match="not JSON"):
        upload()
    assert atai_emulator.requests() == []


def test_an_unreachable_store_is_retryable(storage, monkeypatch):
    connection = json.loads(os.environ["AIRFLOW_CONN_STORAGE"])
    connection["extra"] |= {
        "endpoint_url": "http://127.0.0.1:1",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    # Airflow keeps the file system of a connection for the whole process.
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps(connection))
    with pytest.raises(RetryableError, match="could not be inspected"):
        upload(PATH.replace("storage@", "down@"))
