"""What went wrong in released providers of other services, each as a test that it does not go wrong here."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging

import pytest

from airflow_provider_atai import errors
from airflow_provider_atai.compat.sdk import AirflowFailException, AirflowSensorTimeout
from airflow_provider_atai.errors import AtaiResponseError, FineTuneJobFailedError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.harness.airflow_names import AirflowException
from tests.harness.task_instance import TaskInstance
from tests.harness.task_life import TaskLife

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
JOBS = "/fine-tune/jobs"


def create(**arguments):
    return CreateFineTuneJobOperator(task_id="fine_tune", name="j", datasets=[TRAIN], **arguments)


def waiting(**arguments):
    return create(wait_for_completion=True, deferrable=True, **arguments)


def context():
    ti = TaskInstance(task_id="fine_tune")
    return {"ti": ti, "run_id": "run"}


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, {"ending": "running"}, "error", True])
def test_a_deferred_task_is_not_green_for_an_event_without_an_end(event):
    sensor = FineTuneJobSensor(task_id="wait", job_id="job-1", deferrable=True)
    for task in (sensor, waiting(job_id="job-1")):
        with pytest.raises(AtaiResponseError, match="may still run"):
            task.resume_execution("execute_complete", {"event": event, "job_id": "job-1"}, context())


def test_a_sensor_does_not_resume_at_poke(emulator):
    job = AtaiHook().fine_tune.create(name="j", datasets=[TRAIN])
    resumed_at = []

    def build():
        sensor = FineTuneJobSensor(task_id="wait", job_id=job.id, deferrable=True)
        resume = sensor.resume_execution
        sensor.resume_execution = lambda method, *rest: resumed_at.append(method) or resume(method, *rest)
        return sensor

    assert TaskLife(build).run_try().state == "success"
    assert resumed_at == ["execute_complete"]


def test_a_failed_job_raises_its_own_error(emulator):
    emulator.set_outcome("FAILED")
    assert type(TaskLife(waiting).run_try().error) is FineTuneJobFailedError


def test_a_job_of_many_hours_is_not_given_up_by_default(emulator):
    emulator.set_life(running=12 * 3600)
    assert TaskLife(waiting).run_try().state == "success"


def test_a_retry_after_a_name_clash_makes_no_second_job(emulator):
    emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
    emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, skip=1, count=4)
    life = TaskLife(create)
    assert life.run_try().state == "up_for_retry"
    assert life.run_try().state == "success"
    assert len(emulator.jobs()) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_one_failed_poll_does_not_end_the_wait_or_the_job(emulator, status):
    emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=status, skip=2, count=1)
    outcome = TaskLife(waiting).run_try()
    assert outcome.state == "success"
    assert emulator.requests(method="PUT") == []


def test_a_restart_does_not_renew_the_deadline(emulator):
    _, first = FineTuneJobTrigger(job_id="job-1", deadline="2026-11-23T12:00:00+00:00").serialize()
    _, second = FineTuneJobTrigger(**first).serialize()
    assert second["deadline"] == first["deadline"] == "2026-11-23T12:00:00+00:00"


def test_a_blocked_call_does_not_block_the_event_loop(atai_emulator):
    atai_emulator.add_fault(path=f"{JOBS}/**", effect="delay", delay=3, count=1)

    async def run():
        trigger = asyncio.create_task(anext(FineTuneJobTrigger(job_id="missing").run()))
        loop, longest = asyncio.get_running_loop(), 0.0
        last = loop.time()
        while not trigger.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, loop.time() - last), loop.time()
        return longest, (await trigger).payload

    longest, payload = asyncio.run(run())
    assert longest < 1
    assert payload["ending"] == "not_found"


@pytest.mark.parametrize("status", ["PAUSED", "UNKNOWN", "", None])
def test_an_unknown_status_is_not_a_success(emulator, status):
    content = {"id": "job-1", "name": "j", "status": status}
    emulator.add_fault(
        method="GET", path=f"{JOBS}/*", effect="answer", status=200, body="json", content=content, count=None
    )
    outcome = TaskLife(
        lambda: FineTuneJobSensor(task_id="wait", job_id="job-1", deferrable=True, timeout=600)
    ).run_try()
    assert outcome.state in ("failed", "up_for_retry")


def test_a_kill_does_not_wait_for_confirmation(emulator):
    task = create(kill_action="stop")
    TaskLife(lambda: task).run_try()
    emulator.clear_requests()
    task.on_kill()
    assert [entry["method"] for entry in emulator.requests()] == ["PUT"]
    assert emulator.jobs()[0]["status"] == "STOPPING"


def test_nothing_secret_goes_to_the_triggerer_or_into_templates(emulator):
    outcome = TaskLife(waiting).run_try()
    rendered = [getattr(create(), name) for name in create().template_fields]
    assert emulator.api_key not in json.dumps([outcome.trigger_kwargs, rendered, outcome.xcoms])
    assert emulator.root_url not in json.dumps(outcome.trigger_kwargs)


def test_two_waits_in_one_process_share_no_state(emulator):
    emulator.set_outcome("FAILED", name="one")
    one = TaskLife(
        lambda: CreateFineTuneJobOperator(
            task_id="one", name="one", datasets=[TRAIN], wait_for_completion=True
        )
    )
    other = TaskLife(
        lambda: CreateFineTuneJobOperator(
            task_id="other", name="other", datasets=[TRAIN], wait_for_completion=True
        )
    )
    assert type(one.run_try().error) is FineTuneJobFailedError
    assert other.run_try().state == "success"


def test_no_xcom_is_pushed_without_do_xcom_push(emulator):
    assert TaskLife(lambda: waiting(do_xcom_push=False)).run_try().xcoms == {}


@pytest.mark.parametrize("mode", [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}])
def test_a_sensors_timeout_is_airflows_own_error_in_every_mode(emulator, mode):
    job = AtaiHook().fine_tune.create(name="j", datasets=[TRAIN])
    outcome = TaskLife(
        lambda: FineTuneJobSensor(task_id="wait", job_id=job.id, timeout=120, **mode)
    ).run_try()
    assert type(outcome.error) is AirflowSensorTimeout


def test_no_error_derives_from_airflow_exception():
    ours = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Exception)]
    assert len(ours) > 15
    assert not any(issubclass(one, AirflowException) for one in ours)


class Lines(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record):
        self.text += self.format(record) + "\n"


def test_the_key_is_in_no_log_error_or_repr(emulator, capfd):
    """Log everything at DEBUG, HTTP libraries too, while the service echoes the key."""
    lines = Lines()
    http = logging.getLogger("urllib3")
    http.addHandler(lines)
    http.setLevel(logging.DEBUG)
    try:
        echo = {"errors": [{"code": "bad", "message": f"Your key {emulator.api_key} is fine"}]}
        emulator.add_fault(
            method="POST", path=JOBS, effect="answer", status=400, body="json", content=echo, count=1
        )
        outcome = TaskLife(create).run_try()
        TaskLife(waiting).run_try()
    finally:
        http.setLevel(logging.NOTSET)
        http.removeHandler(lines)
    assert type(outcome.error) is AirflowFailException
    assert "Your key *** is fine" in str(outcome.error)
    hook = AtaiHook()
    shown = [
        repr(hook),
        repr(hook.client),
        repr(hook.settings),
        str(outcome.error),
        repr(outcome.error.__cause__),
    ]
    logged = lines.text + "".join(capfd.readouterr())
    assert "Created fine-tune job" in logged
    assert f"/v0.5{JOBS}" in lines.text
    assert emulator.api_key not in "".join([*shown, logged, json.dumps(emulator.requests())])
