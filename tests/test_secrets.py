"""The API key and the signatures of presigned URLs stay secret, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from unittest import mock

import pytest
import requests

from airflow_provider_atai.compat import sdk
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.operators.datasets import UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator, StopFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.harness.task_life import TaskLife

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
JOBS = "/fine-tune/jobs"
SIGNATURE = "X-Emulator-Signature"


@pytest.fixture
def log(caplog, capfd):
    """Everything that is logged or printed at DEBUG, including the HTTP libraries' lines."""
    http = logging.getLogger("urllib3")
    level = http.level
    http.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)

    def read():
        return caplog.text + "".join(capfd.readouterr())

    yield read
    http.setLevel(level)


def create(**arguments):
    return CreateFineTuneJobOperator(task_id="create", name="j", datasets=[TRAIN], **arguments)


def told(error):
    """Return what a person sees of an error: the whole chain with its notes."""
    return "".join(traceback.format_exception(error)) + repr(error) + "".join(getattr(error, "__notes__", ()))


@pytest.fixture
def masked():
    with mock.patch.object(sdk, "mask_secret", autospec=True) as mask_secret:
        yield lambda: {call.args[0] for call in mask_secret.call_args_list}


class TestMasking:
    def test_a_key_of_the_connection_is_masked(self, emulator, masked):
        assert AtaiHook().client
        assert masked() == {emulator.api_key}

    def test_a_key_of_the_environment_is_masked(self, emulator, masked, monkeypatch):
        connection = {"conn_type": "atai", "host": emulator.base_url}
        monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("ATAI_API_KEY", "sk_of_the_environment")
        assert AtaiHook().client
        assert masked() == {"sk_of_the_environment"}

    def test_a_proxy_is_masked_because_of_its_password(self, emulator, masked, monkeypatch):
        proxy = "http://user:hidden@proxy.example:3128"
        document = {**json.loads(emulator.connection_json), "extra": {"proxy": proxy}}
        monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps(document))
        hook = AtaiHook()
        assert hook.client
        assert proxy in masked()
        assert "hidden" not in repr(hook.settings) + repr(hook.client)

    def test_a_key_is_masked_in_the_triggerer(self, emulator, masked):
        hook = AtaiHook()
        asyncio.run(hook.aload_settings())
        assert masked() == {emulator.api_key}

    @pytest.mark.parametrize("waits", [{}, {"deferrable": True}], ids=["worker", "triggerer"])
    def test_a_rotated_key(self, emulator, masked, monkeypatch, clock, waits):
        def rotate():
            if emulator.jobs():
                clock.on_sleep.clear()
                emulator.set_api_key("sk_rotated")
                document = {**json.loads(emulator.connection_json), "password": "sk_rotated"}
                monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps(document))

        clock.on_sleep.append(rotate)
        outcome = TaskLife(lambda: create(wait_for_completion=True, **waits)).run_try()
        assert outcome.state == "success"
        assert masked() == {emulator.api_key, "sk_rotated"}


# Every shape of an error body, with the key in it.
ECHOES = {
    "errors": {
        "body": "json",
        "content": {"errors": [{"code": "KEY", "message": "KEY", "suggestion": "KEY"}]},
    },
    "error_uid": {"body": "json", "content": {"errors": [{"message": "x", "error_uid": "KEY"}]}},
    "detail": {"body": "json", "content": {"detail": "Key KEY is wrong"}},
    "detail list": {"body": "json", "content": {"detail": [{"loc": ["KEY"], "msg": "KEY", "type": "KEY"}]}},
    "old error": {"body": "json", "content": {"error": {"code": "KEY", "message": "KEY"}}},
    "unknown shape": {"body": "json", "content": {"KEY": ["KEY"]}},
    "page": {"body": "html", "message": "KEY"},
}


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_an_echoed_key_is_redacted(emulator, log, name, status):
    echo = json.loads(json.dumps(ECHOES[name]).replace("KEY", emulator.api_key))
    emulator.add_fault(path=f"{JOBS}/**", effect="answer", status=status, count=None, **echo)
    emulator.add_fault(path=JOBS, effect="answer", status=status, count=None, **echo)
    tasks = {
        "create": create,
        "stop": lambda: StopFineTuneJobOperator(task_id="stop", job_id="job-1"),
        "sensor": lambda: FineTuneJobSensor(task_id="wait", job_id="job-1", timeout=9000),
        "deferred": lambda: FineTuneJobSensor(task_id="wait", job_id="job-1", timeout=9000, deferrable=True),
    }
    for build in tasks.values():
        outcome = TaskLife(build).run_try()
        assert outcome.error is not None
        assert emulator.api_key not in told(outcome.error)
    assert emulator.api_key not in AtaiHook().test_connection()[1]
    assert emulator.api_key not in log()


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://127.0.0.1:1", "http://[::1"]
)
def test_an_unreachable_service_does_not_reveal_the_key(emulator, log, monkeypatch, host):
    document = {**json.loads(emulator.connection_json), "host": host}
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps(document))
    outcome = TaskLife(create).run_try()
    assert emulator.api_key not in told(outcome.error)
    assert emulator.api_key not in AtaiHook().test_connection()[1]
    assert emulator.api_key not in log()


def test_errors_carry_no_key_to_another_process(emulator):
    emulator.add_fault(path=f"{JOBS}/**", effect="answer", status=403, message=emulator.api_key, count=None)
    with pytest.raises(Exception, match="403") as raised:
        AtaiHook().fine_tune.get("job-1")
    assert emulator.api_key.encode() not in pickle.dumps(raised.value)
    assert all(emulator.api_key not in str(vars(one)) for one in (raised.value, *raised.value.details))


def test_airflow_stores_no_key(emulator, log, monkeypatch):
    monkeypatch.setenv("ATAI_API_KEY", emulator.api_key)
    task = create(wait_for_completion=True, deferrable=True, timeout=3600)
    outcome = TaskLife(lambda: task).run_try()
    assert outcome.state == "success"
    rendered = {name: getattr(task, name) for name in task.template_fields}
    stored = json.dumps([outcome.trigger_kwargs, outcome.xcoms, rendered])
    trigger = FineTuneJobTrigger(**outcome.trigger_kwargs)
    for text in (stored, repr(task), repr(trigger), str(vars(trigger)), log()):
        assert emulator.api_key not in text


def test_a_failing_upload_reveals_neither_key_nor_signature(emulator, log, tmp_path, monkeypatch):
    emulator.set_switches(part_size=64)
    faults = [
        {"method": "PUT", "effect": "answer", "status": 500, "count": 2},
        {"method": "PUT", "effect": "drop_after", "count": 1},
        {"method": "PUT", "effect": "answer", "body": "url_expired", "count": 1},
        {"method": "PUT", "effect": "answer", "status": 400, "count": None},
    ]
    for number, fault in enumerate(faults):
        emulator.clear_faults()
        emulator.add_fault(path="/**", skip=1, **fault)
        path = tmp_path / f"train{number}.jsonl"
        path.write_text('{"a": 1}\n' * 40)
        outcome = TaskLife(
            lambda: UploadDatasetOperator(task_id="upload", path=str(path), name="training-set")  # noqa: B023
        ).run_try()
        if outcome.error is not None:
            assert SIGNATURE not in told(outcome.error)
            assert emulator.api_key not in told(outcome.error)
    assert outcome.error is not None
    written = log()
    assert "train0-" in written
    assert SIGNATURE not in written
    assert emulator.api_key not in written


def test_the_emulators_request_log_hides_the_key(emulator):
    TaskLife(lambda: create(wait_for_completion=True)).run_try()
    # Somebody calls the service directly, with the key in a header.
    requests.get(
        f"{emulator.base_url}{JOBS}", headers={"Authorization": f"Bearer {emulator.api_key}"}, timeout=30
    )
    assert len(emulator.requests()) > 3
    assert emulator.api_key not in json.dumps(emulator.requests())
