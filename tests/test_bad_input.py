"""The worst services, networks and arguments: errors that a DAG author can read, and nothing hangs."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import traceback

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_atai.compat.sdk import AirflowFailException
from airflow_provider_atai.errors import (
    AtaiConnectionError,
    AtaiError,
    AtaiResponseError,
    AtaiServerError,
    AtaiTimeoutError,
    FineTuneJobUnreachableError,
)
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.operators.datasets import DeleteDatasetOperator, UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator, StopFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.api.conftest import drip, endless, http_answer, serve, silence
from tests.harness.datasets import store_dataset
from tests.harness.task_life import TaskLife

pytestmark = pytest.mark.timeout(120)

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
NOT_FOUND = http_answer(404, '{"errors": [{"code": "NOT_FOUND", "message": "Job not found"}]}')
DRIPPING = JSON_HEAD + b"Content-Length: 9999\r\n\r\n"
DEPTHS = ("requests", "urllib3", "http.client", "ssl", "socket", "json", "zlib", "asyncio")


def connect(monkeypatch, host, **extra):
    document = {"conn_type": "atai", "host": host, "password": "sk_hidden", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps(document))


@pytest.fixture
def service(monkeypatch, clock):
    """A service that responds as scripted; the connection's timeout is a quarter of a second."""
    for server in serve():
        connect(monkeypatch, server.base_url, timeout=0.25)
        yield server


def create():
    return CreateFineTuneJobOperator(task_id="create", name="j", datasets=[TRAIN], job_id="job-1")


def stop():
    return StopFineTuneJobOperator(task_id="stop", job_id="job-1")


def sensor(**arguments):
    return FineTuneJobSensor(task_id="wait", job_id="job-1", timeout=9000, poke_interval=300, **arguments)


def deferred_sensor():
    return sensor(deferrable=True)


def assert_fit_to_be_read(error):
    """Check that every error in the visible chain, and the place that raised it, is Airflow's or ours."""
    seen: BaseException | None = error
    while seen is not None:
        assert type(seen).__module__.partition(".")[0] in ("airflow", "airflow_provider_atai", "builtins")
        assert not isinstance(seen, (KeyError, AttributeError, TypeError, AssertionError, OSError))
        frames = traceback.extract_tb(seen.__traceback__)
        raised_in = frames[-1].filename if frames else ""
        assert not any(f"/{depth}/" in raised_in or f"/{depth}.py" in raised_in for depth in DEPTHS)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    text = str(error)
    assert text.strip()
    assert len(text) < 2000
    assert "sk_hidden" not in text
    assert not any(
        depth in text for depth in ("HTTPConnectionPool", "JSONDecodeError", "NoneType", "object at 0x")
    )


# What the service does, the error of a single call, and words of its message.
ANSWERS = {
    "silence": (silence, AtaiTimeoutError, "within 0.25 s"),
    "headers that drip": (drip(b"HTTP/1.1 200 OK\r\nX: "), AtaiTimeoutError, "within 0.25 s"),
    "a body that drips": (
        drip(DRIPPING + b" ", after=len(DRIPPING)),
        AtaiTimeoutError,
        "within 0.25 s",
    ),
    "no HTTP": (b"220 mail.example ESMTP\r\n", AtaiConnectionError, "was lost"),
    "nothing": (b"", AtaiConnectionError, "was lost"),
    "half a status line": (b"HTTP/1.1 2", AtaiConnectionError, "was lost"),
    "a bad chunk": (
        JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n",
        AtaiConnectionError,
        "was lost",
    ),
    "a gzip that is none": (
        http_answer(200, b"plain", Content_Encoding="gzip"),
        AtaiConnectionError,
        "cannot be decompressed",
    ),
    "a gzip bomb": (
        http_answer(200, gzip.compress(bytes(80_000_000), 1), Content_Encoding="gzip"),
        AtaiError,
        # On a busy machine the timeout may come before the size limit.
        "",
    ),
    "ten megabytes of HTML": (
        http_answer(200, b"<html>" + b"x" * 10_000_000, content_type="text/html"),
        AtaiError,
        "",
    ),
    "an endless redirect": (
        http_answer(302, Location="/v0.5/fine-tune/jobs/job-1"),
        AtaiResponseError,
        "was redirected (HTTP 302)",
    ),
    "a redirect to a file": (
        http_answer(302, Location="file:///etc/passwd"),
        AtaiResponseError,
        "no key was sent there",
    ),
    "a number too long for Python": (
        http_answer(200, b"1" * 5000),
        AtaiResponseError,
        "not with JSON",
    ),
    "a byte order mark": (http_answer(200, b"\xef\xbb\xbf{}"), AtaiResponseError, "not with JSON"),
    "NaN as status": (
        http_answer(200, '{"id": "job-1", "status": NaN}'),
        AtaiResponseError,
        "whose status is",
    ),
    "half a character as id": (
        http_answer(200, '{"id": "\\ud800", "status": "RUNNING"}'),
        AtaiResponseError,
        "whose id is",
    ),
    "a status of line breaks": (
        http_answer(200, '{"id": "job-1", "status": "\\n\\n"}'),
        AtaiResponseError,
        "whose status is",
    ),
    "a Retry-After of a thousand years": (
        http_answer(503, "", Retry_After="31536000000"),
        AtaiServerError,
        "HTTP 503",
    ),
    "a negative Retry-After": (http_answer(503, "", Retry_After="-5"), AtaiServerError, "HTTP 503"),
    "a Retry-After that is no number": (http_answer(503, "", Retry_After="nan"), AtaiServerError, "HTTP 503"),
    "an infinite Retry-After": (http_answer(503, "", Retry_After="inf"), AtaiServerError, "HTTP 503"),
    "a Retry-After in the past": (
        http_answer(503, "", Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
        AtaiServerError,
        "HTTP 503",
    ),
    "a status code of its own": (http_answer(799, "{}"), AtaiServerError, "HTTP 799"),
    "an error as a page": (
        http_answer(500, "<title>Traceback</title>" + "<p>x" * 100_000, content_type="text/html"),
        AtaiServerError,
        "Traceback",
    ),
    "an error of many entries": (
        http_answer(500, json.dumps({"errors": [{"message": "x" * 10_000}] * 1000})),
        AtaiServerError,
        "HTTP 500",
    ),
}
TOO_LONG_TO_READ = {"an error of many entries"}


@pytest.mark.parametrize("name", ANSWERS)
class TestAnswers:
    def check(self, name, error):
        _, expected, says = ANSWERS[name]
        assert isinstance(error, expected)
        assert says in str(error)
        if name not in TOO_LONG_TO_READ:
            assert_fit_to_be_read(error)

    def test_a_bad_response_to_the_lookup_is_retried_without_a_post(self, service, name):
        service.answer(ANSWERS[name][0])
        outcome = TaskLife(create).run_try()
        assert outcome.state == "up_for_retry"
        self.check(name, outcome.error)
        assert {request.method for request in service.requests} == {"GET"}

    def test_bad_responses_to_the_creation_bound_the_posts(self, service, name):
        # The lookups find no job, so the POST is repeated, a bounded number of times.
        service.answer(*[NOT_FOUND, ANSWERS[name][0]] * 4, NOT_FOUND)
        outcome = TaskLife(create).run_try()
        assert outcome.state == "up_for_retry"
        self.check(name, outcome.error)
        assert [request.method for request in service.requests] == ["GET", "POST"] * 4 + ["GET"]

    def test_a_bad_response_to_a_stop_is_retried(self, service, name):
        service.answer(ANSWERS[name][0])
        outcome = TaskLife(stop).run_try()
        assert outcome.state == "up_for_retry"
        self.check(name, outcome.error)
        assert "may still run and bill" in "".join(outcome.error.__notes__)


@pytest.mark.parametrize("build", [sensor, deferred_sensor], ids=["worker", "triggerer"])
@pytest.mark.parametrize("name", ["silence", "a body that drips", "a gzip that is none", "NaN as status"])
def test_a_bad_response_to_every_poll_is_an_outage(service, name, build):
    service.answer(ANSWERS[name][0])
    outcome = TaskLife(build).run_try()
    assert outcome.state == "up_for_retry"
    assert type(outcome.error) is FineTuneJobUnreachableError
    assert ANSWERS[name][2] in str(outcome.error)
    assert_fit_to_be_read(outcome.error)


def test_an_endless_response_is_cut_off(service, monkeypatch):
    connect(monkeypatch, service.base_url, timeout=60)
    service.answer(endless(JSON_HEAD + b"\r\n", b" " * 1_000_000))
    outcome = TaskLife(create).run_try()
    assert outcome.state == "up_for_retry"
    assert "more than 67108864 bytes" in str(outcome.error)
    assert_fit_to_be_read(outcome.error)


def test_no_key_follows_a_redirect(service, monkeypatch):
    for elsewhere in serve():
        elsewhere.answer(http_answer(200, '{"id": "job-1", "status": "COMPLETED"}'))
        service.answer(http_answer(307, Location=f"{elsewhere.root_url}/v0.5/fine-tune/jobs/job-1"))
        outcome = TaskLife(create).run_try()
        assert "no key was sent there" in str(outcome.error)
        assert elsewhere.requests == []


@pytest.mark.parametrize("verify", [None, "/no/such/bundle.pem"])
def test_a_certificate_that_nobody_vouches_for(monkeypatch, clock, tmp_path, verify):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    for server in serve(context):
        connect(monkeypatch, server.base_url, timeout=5, **({"verify": verify} if verify else {}))
        for build in (create, sensor):
            outcome = TaskLife(build).run_try()
            assert outcome.state == "up_for_retry"
            assert ("CA bundle" if verify else "self-signed") in str(outcome.error)
            assert_fit_to_be_read(outcome.error)
        works, message = AtaiHook().test_connection()
        assert not works
        assert "TLS certificate was not accepted" in message
        assert server.requests == []


def self_signed(folder):
    import datetime

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    # Also valid in travelled time.
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2049, 1, 1, tzinfo=datetime.UTC))
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        ({"password": ""}, "has no API key"),
        ({"password": "sk hidden key"}, "not shown here"),
        ({"password": "sk_hidden\x00"}, "not shown here"),
        ({"password": "schlüssel"}, "not shown here"),
        ({"extra": {"timeout": "soon"}}, "timeout"),
        ({"extra": {"timeout": -1}}, "timeout"),
        ({"extra": {"timeout": "nan"}}, "timeout"),
        ({"extra": {"verify": 7}}, "verify"),
        ({"extra": {"retries": 3}}, "unknown extras: retries"),
        ({"extra": {"console_url_template": "https://x"}}, "{job_id}"),
        ({"extra": ["timeout"]}, "must be a JSON object"),
        ({"host": "https://host:99999"}, "cannot be read"),
        ({"host": "https://ho st"}, "space"),
    ],
)
@pytest.mark.parametrize("build", [create, sensor, deferred_sensor], ids=["create", "worker", "triggerer"])
def test_a_connection_that_cannot_be_used(monkeypatch, clock, connection, says, build):
    document = {"conn_type": "atai", "host": "http://127.0.0.1:1", "password": "sk_hidden", **connection}
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps(document))
    outcome = TaskLife(build).run_try()
    assert (outcome.state, type(outcome.error)) == ("failed", AirflowFailException)
    assert says in str(outcome.error)
    assert "hidden" not in str(outcome.error).replace("not shown", "")
    assert_fit_to_be_read(outcome.error)


@pytest.mark.parametrize("order", ["newest_first", "oldest_first"])
def test_a_duplicate_id_in_the_list_does_not_end_the_wrong_wait(atai_emulator, order):
    """Several deferred waits share the list."""
    emulator = atai_emulator
    store_dataset(emulator)
    emulator.set_switches(duplicate_job_id="create_second", list_order=order)
    api = AtaiHook().fine_tune
    emulator.set_outcome("RUNNING")
    for job_id in ("job-1", "job-1", "job-2"):
        api.create(name="j", datasets=[TRAIN], job_id=job_id)
    emulator.advance(3600)

    async def wait():
        triggers = [FineTuneJobTrigger(job_id=job_id, poll_interval=0.05) for job_id in ("job-1", "job-2")]
        return await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))

    payloads = [event.payload for event in asyncio.run(wait())]
    assert [(one["job_id"], one["ending"]) for one in payloads] == [
        ("job-1", "completed"),
        ("job-2", "completed"),
    ]


@pytest.mark.parametrize(
    "metrics",
    [
        None,
        [],
        {},
        {"metrics": None},
        {"metrics": [None, 7, {"step": None}]},
        {"metrics": [{"step": -1, "loss": "NaN", "x" * 1000: {"deep": [1]}}], "last_checkpoint_step": "x"},
    ],
)
@pytest.mark.parametrize("build", [{}, {"deferrable": True}], ids=["worker", "triggerer"])
def test_metrics_never_decide_anything(emulator, metrics, build):
    emulator.add_fault(path="/fine-tune/jobs/*/metrics", status=200, body="json", content=metrics, count=None)
    job = AtaiHook().fine_tune.create(name="j", datasets=[TRAIN])
    outcome = TaskLife(
        lambda: FineTuneJobSensor(task_id="wait", job_id=job.id, poke_interval=60, **build)
    ).run_try()
    assert outcome.error is None
    assert outcome.value["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("path", "file_id", "says"),
    [
        ("", None, "path must be a string or a non-empty list"),
        ("/no/such/folder/train.jsonl", None, "does not exist"),
        ("{folder}", None, "suffixes"),
        ("{folder}/train.jsonl\x00", None, ""),
        ("nosuch://bucket/train.jsonl", None, ""),
        ("{file}", "../../etc/passwd.jsonl", "file_id"),
        ("{file}", "a/b.jsonl", "file_id"),
        ("{file}", "..", "file_id"),
        ("{file}", "x" * 300 + ".jsonl", "file_id"),
        ("{file}", "train.csv", "file_id"),
        ("{file}", "a\nb.jsonl", "file_id"),
    ],
)
def test_a_dataset_that_cannot_be_uploaded_is_never_sent(emulator, tmp_path, path, file_id, says):
    file = tmp_path / "train.jsonl"
    file.write_text('{"a": 1}\n')

    def build():
        task = UploadDatasetOperator(task_id="upload", path="{{ later }}", name="d", file_id="{{ later }}")
        task.path, task.file_id = path.format(folder=tmp_path, file=file), file_id
        return task

    emulator.clear_requests()
    outcome = TaskLife(build).run_try()
    assert (outcome.state, type(outcome.error)) == ("failed", AirflowFailException)
    assert says in str(outcome.error)
    assert emulator.requests() == []


@pytest.mark.parametrize("file_id", ["..", ".", "../files", "a/b", "a?b", "ünï.csv", "a b.csv", "%2e%2e"])
def test_a_file_id_never_deletes_another_file(emulator, file_id):
    def build():
        task = DeleteDatasetOperator(task_id="delete", file_ids="{{ later }}")
        task.file_ids = [file_id]
        return task

    outcome = TaskLife(build).run_try()
    assert [file["file_id"] for file in emulator.files()] == ["train.csv"]
    if outcome.error is not None:
        assert outcome.state == "failed"
        assert file_id in str(outcome.error)
