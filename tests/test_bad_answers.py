"""What a person on call sees if the service, the network or an argument is faulty."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_atai.compat.sdk import AirflowFailException
from airflow_provider_atai.errors import AtaiError, FineTuneJobError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.operators.datasets import UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator, StopFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from tests.harness.datasets import store_dataset
from tests.harness.task_life import TaskLife

pytestmark = pytest.mark.timeout(120)

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
RECORD = {"id": "job-1", "name": "j", "status": "COMPLETED", "inference_config_path": "s3://x"}


def answer(content, status=200, content_type="application/json"):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return status, {"Content-Type": content_type, "Content-Length": str(len(body))}, body


@contextmanager
def service(monkeypatch, scripted, *, tls=False, **extra):
    """Send one response to every request, and point ``atai_default`` there."""
    status, headers, body = scripted

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_everything(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if int(headers.get("Content-Length") or 0) != len(body):
                self.close_connection = True

        do_GET = do_POST = do_PUT = handle_everything  # noqa: N815

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host = f"http://127.0.0.1:{server.server_port}/v0.5"
    connect(monkeypatch, host, **extra)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def connect(monkeypatch, host, **extra):
    connection = {"conn_type": "atai", "host": host, "password": "sk_secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps(connection))


def wait(job_id="job-1", **arguments):
    def build():
        sensor = FineTuneJobSensor(
            task_id="wait", job_id="{{ later }}", timeout=7200, poke_interval=300, **arguments
        )
        sensor.job_id = job_id
        return sensor

    return TaskLife(build).run_try()


BAD_ANSWERS = {
    "an HTML page with 200": (answer(b"<html>Welcome</html>", content_type="text/html"), "not with JSON"),
    "an HTML page called JSON": (answer(b"<html>Welcome</html>"), "not with JSON"),
    "an empty 200": (answer(b""), "nothing instead of a job record"),
    "truncated JSON": (answer(b'{"id": "job-1", "sta'), "not with JSON"),
    "binary": (answer(b"\xff\xfe\x00\x01"), "not with JSON"),
    "deeply nested JSON": (answer(b"[" * 200_000), "not with JSON"),
    "a list": (answer([RECORD]), "a list instead of a job record"),
    "a number": (answer(42), "instead of a job record"),
    "null": (answer(None), "nothing instead of a job record"),
    "an empty object": (answer({}), "id is nothing"),
    "a null id": (answer({**RECORD, "id": None}), "id is nothing"),
    "an empty id": (answer({**RECORD, "id": ""}), "id is"),
    "a number as id": (answer({**RECORD, "id": 7}), "whose id is"),
    "another job's id": (answer({**RECORD, "id": "job-2"}), "answered with job 'job-2'"),
    "no status": (answer({"id": "job-1"}), "status is nothing"),
    "a null status": (answer({**RECORD, "status": None}), "status is nothing"),
    "a list as status": (answer({**RECORD, "status": ["COMPLETED"]}), "status is a list"),
    "a redirect to another host": (
        (302, {"Location": "http://other.example/", "Content-Length": "0"}, b""),
        "no key was sent there",
    ),
    "a redirect to itself": ((307, {"Location": "?", "Content-Length": "0"}, b""), "redirected"),
    "a body shorter than announced": (
        (200, {"Content-Type": "application/json", "Content-Length": "500"}, b'{"id"'),
        "lost",
    ),
    "a 500 with HTML": (answer(b"<html><title>Oops</title></html>", 500, "text/html"), "Oops"),
    "a 502 without a body": (answer(b"", 502), "HTTP 502"),
    "a 503 with Retry-After of a year": (
        (503, {"Retry-After": "31536000", "Content-Length": "0"}, b""),
        "HTTP 503",
    ),
    "a 503 with a Retry-After that is none": (
        (503, {"Retry-After": "soon", "Content-Length": "0"}, b""),
        "HTTP 503",
    ),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
@pytest.mark.parametrize("mode", [{}, {"deferrable": True}], ids=["worker", "triggerer"])
def test_what_makes_no_sense_is_an_outage_and_never_an_end(monkeypatch, clock, name, mode):
    scripted, says = BAD_ANSWERS[name]
    with service(monkeypatch, scripted):
        outcome = wait(**mode)
    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, FineTuneJobError)
    assert says in str(outcome.error)
    assert "may still run and bill" in str(outcome.error)
    assert "sk_secret" not in str(outcome.error)


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_no_job_is_posted_where_the_lookup_makes_no_sense(monkeypatch, clock, name):
    scripted, _ = BAD_ANSWERS[name]
    with service(monkeypatch, scripted):
        outcome = TaskLife(
            lambda: CreateFineTuneJobOperator(task_id="create", name="j", datasets=[TRAIN], job_id="job-1")
        ).run_try()
    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, AtaiError)
    assert "A retry looks for it before it creates one" in "".join(outcome.error.__notes__)


FINAL_ANSWERS = {
    "400": (answer({"errors": [{"code": "missing_parameter", "message": "Say more"}]}, 400), "Say more"),
    "401": (answer({"detail": "Invalid token"}, 401), "Invalid token"),
    "403": (answer({"detail": "Forbidden"}, 403), "Forbidden"),
    "404": (answer({"errors": [{"code": "NOT_FOUND", "message": "No job"}]}, 404), "is not known to"),
    "410": (answer(b"", 410), "HTTP 410"),
    "422": (answer({"detail": [{"loc": ["body", "id"], "msg": "too long"}]}, 422), "id: too long"),
}


@pytest.mark.parametrize("name", FINAL_ANSWERS)
def test_what_cannot_succeed_is_not_retried(monkeypatch, clock, name):
    scripted, says = FINAL_ANSWERS[name]
    with service(monkeypatch, scripted):
        outcome = wait()
    assert (outcome.state, type(outcome.error)) == ("failed", AirflowFailException)
    assert says in str(outcome.error)


GOOD_ENOUGH = {
    "unknown fields": {**RECORD, "priority": {"level": 3}},
    "no times": RECORD,
    "times that are none": {**RECORD, "created_at": "yesterday", "updated_at": 12},
    "a creation in the future": {**RECORD, "created_at": "2999-01-01T00:00:00Z", "updated_at": None},
    "a config that is none": {**RECORD, "config": "none"},
    "ten megabytes": {**RECORD, "notes": "x" * 10_000_000},
    "metrics that are none": {**RECORD, "metrics": "none"},
}


@pytest.mark.parametrize("name", GOOD_ENOUGH)
def test_what_is_odd_but_clear_is_taken(monkeypatch, clock, name):
    with service(monkeypatch, answer(GOOD_ENOUGH[name])):
        outcome = wait()
    assert outcome.error is None
    assert outcome.value["inference_config_path"] == "s3://x"


@pytest.mark.parametrize("status", ["PAUSED", "completed", "COMPLETED ", "SUCCEEDED", "完了", "x" * 10_000])
def test_a_status_that_nobody_documents_waits_for_the_deadline(monkeypatch, clock, status):
    with service(monkeypatch, answer({**RECORD, "status": status})):
        outcome = wait()
    assert outcome.state == "failed"
    assert "not finished at its deadline" in str(outcome.error)


def closed_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "extra", "says"),
    [
        (lambda: f"http://127.0.0.1:{closed_port()}", {}, "refuses the connection"),
        (lambda: "http://no-such-host.invalid/v0.5", {}, "no-such-host.invalid"),
        (lambda: "http://127.0.0.1", {"proxy": f"http://127.0.0.1:{closed_port()}"}, "proxy"),
    ],
    ids=["port closed", "no such host", "no such proxy"],
)
def test_a_service_out_of_reach(monkeypatch, clock, host, extra, says):
    connect(monkeypatch, host(), **extra)
    outcome = wait()
    assert outcome.state == "up_for_retry"
    assert says in str(outcome.error).lower()
    assert "may still run and bill" in str(outcome.error)


def test_plain_http_where_tls_is_expected(monkeypatch, clock):
    with service(monkeypatch, answer(RECORD)):
        host = json.loads(__import__("os").environ["AIRFLOW_CONN_ATAI_DEFAULT"])["host"]
        connect(monkeypatch, host.replace("http://", "https://"))
        outcome = wait()
        worked, message = AtaiHook().test_connection()
    assert outcome.state == "up_for_retry"
    assert not worked
    assert "the server speaks http, as the emulator does. Begin the host of the connection with" in message
    assert not isinstance(outcome.error, ssl.SSLError)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("ftp://api.example", "http"),
        ("http://user:secret@api.example", "Password"),
        ("http://api.example/v0.5?key=1", "query"),
        ("http://", "host"),
        ("http://[::1", "http"),
    ],
)
def test_a_host_that_is_none(monkeypatch, clock, host, says):
    connect(monkeypatch, host)
    outcome = wait()
    assert outcome.state == "failed"
    assert "secret@" not in str(outcome.error)


@pytest.mark.parametrize(
    "job_id",
    ["../files", "..", ".", "a/b", "a?b=1", "a#b", "a b", "a%2Fb", "a\nb", "None ", "x" * 65, 7],
)
@pytest.mark.parametrize("operator", [FineTuneJobSensor, StopFineTuneJobOperator])
def test_a_job_id_that_could_address_something_else_is_not_sent(atai_emulator, job_id, operator):
    def build():
        task = operator(task_id="t", job_id="{{ later }}")
        task.job_id = job_id
        return task

    outcome = TaskLife(build).run_try()
    assert (outcome.state, type(outcome.error)) == ("failed", AirflowFailException)
    assert "job_id" in str(outcome.error)
    assert atai_emulator.requests() == []


@pytest.mark.parametrize("job_id", ["jöb", "作业", "job:1", "job+1", "job@1"])
def test_an_odd_job_id_is_quoted(atai_emulator, job_id):
    store_dataset(atai_emulator)
    atai_emulator.pause()
    outcome = TaskLife(
        lambda: CreateFineTuneJobOperator(task_id="create", name="j", datasets=[TRAIN], job_id=job_id)
    ).run_try()
    assert outcome.error is None
    assert [job["id"] for job in atai_emulator.jobs()] == [job_id]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.jsonl", None, "does not exist"),
        ("empty.jsonl", b"", "is empty"),
        ("bad.jsonl", b'{"a": 1}\n{"a":\n', "line 2"),
        ("latin.jsonl", b'{"a": "\xe4"}\n', "UTF-8"),
        ("bad.json", b'{"a": 1', "JSON"),
        ("data.parquet", b"PAR1", "suffixes"),
        ("noname", b"x", "suffixes"),
    ],
)
def test_a_malformed_dataset_is_never_sent(atai_emulator, tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    def build():
        task = UploadDatasetOperator(task_id="upload", path="{{ later }}", name="training-set")
        task.path = str(path)
        return task

    outcome = TaskLife(build).run_try()
    assert (outcome.state, type(outcome.error)) == ("failed", AirflowFailException)
    assert says in str(outcome.error)
    assert atai_emulator.requests() == []
