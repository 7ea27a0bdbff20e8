from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_atai.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseHook,
)
from airflow_provider_atai.errors import (
    FineTuneJobCancelledError,
    FineTuneJobFailedError,
    FineTuneJobNoModelError,
    FineTuneJobStoppedError,
    FineTuneJobUnreachableError,
)
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from tests.harness.datasets import store_dataset
from tests.harness.task_instance import TaskInstance, TaskStateStore
from tests.harness.task_life import TaskLife

MODES = {"poke": {"mode": "poke"}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


@pytest.fixture
def job(atai_emulator, clock):
    """A job that takes eleven minutes."""
    return AtaiHook().fine_tune.create(name="pump-states", datasets=[store_dataset(atai_emulator)])


def wait_for(job, mode, **arguments):
    def build():
        return FineTuneJobSensor(
            task_id="wait", job_id=job.id, poke_interval=60, **{"timeout": 3600, **mode, **arguments}
        )

    return TaskLife(build).run_try()


def test_a_secrets_backend_that_fails_for_a_while_is_an_outage(job, mode, monkeypatch):
    failures = iter([OSError("the vault is sealed")] * 3)

    def failing(get):
        for failure in failures:
            raise failure
        return get

    for name in ("get_connection", "aget_connection"):
        found = getattr(BaseHook, name, None)
        if found is not None:
            monkeypatch.setattr(
                BaseHook, name, classmethod(lambda cls, *a, get=found, **named: failing(get)(*a, **named))
            )
    assert wait_for(job, mode).state == "success"
    assert list(failures) == []


def test_an_execution_timeout_bounds_the_wait_but_of_a_rescheduled_sensor_each_poke(job, mode):
    outcome = wait_for(job, mode, execution_timeout=timedelta(minutes=5))
    assert outcome.state == ("success" if mode == {"mode": "reschedule"} else "failed")


def test_a_retry_counts_its_timeout_from_the_first_try(mode):
    started = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    store = TaskStateStore()

    def deadline(now):
        sensor = FineTuneJobSensor(task_id="wait", job_id="job-1", retries=2, timeout=60, **mode)
        ti = TaskInstance(task_id="wait")
        ti.max_tries, ti.first_reschedule = 2, started
        return sensor._limits({"ti": ti, "task_state_store": store}, now).deadline

    assert deadline(started) == deadline(started + timedelta(hours=1)) == started + timedelta(seconds=60)


def test_a_completed_job_is_a_success(job, mode):
    outcome = wait_for(job, mode)
    assert outcome.error is None
    assert outcome.state == "success"
    assert outcome.value["job_id"] == job.id
    assert outcome.value["status"] == "COMPLETED"
    assert outcome.value["inference_config_path"].startswith("s3://")
    assert outcome.value["duration_seconds"] == pytest.approx(640, abs=5)
    assert outcome.value["metrics"]["loss"] > 0


# outcome, the sensor's arguments, what is raised, whether Airflow tries again, the same with soft_fail
ENDINGS = [
    ("FAILED", {}, FineTuneJobFailedError, "up_for_retry", "up_for_retry"),
    ("CANCELLED", {}, FineTuneJobCancelledError, "up_for_retry", "up_for_retry"),
    ("STOPPED", {}, FineTuneJobStoppedError, "up_for_retry", "up_for_retry"),
    ("STOPPED", {"accept_stopped": True}, None, "success", "success"),
    ("STARTING", {}, AirflowSensorTimeout, "failed", "skipped"),
    ("PAUSED", {}, AirflowSensorTimeout, "failed", "skipped"),
    ("UNKNOWN", {}, AirflowSensorTimeout, "failed", "skipped"),
]


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("row", ENDINGS, ids=lambda row: row[0])
def test_the_outcome_follows_from_how_the_job_ends(atai_emulator, job, mode, row, soft_fail):
    ending, arguments, error, state, soft_state = row
    atai_emulator.set_outcome(ending, job_id=job.id)
    outcome = wait_for(job, mode, soft_fail=soft_fail, **arguments)

    assert outcome.state == (soft_state if soft_fail else state)
    if outcome.state != "skipped" and error is not None:
        assert type(outcome.error) is error
        assert job.id in str(outcome.error)
        assert "retr" in str(outcome.error)
    if error is None:
        assert outcome.value["status"] == ending


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_completed_job_without_a_model_fails(atai_emulator, job, mode, soft_fail):
    atai_emulator.set_outcome("COMPLETED", job_id=job.id, inference_config=False)
    outcome = wait_for(job, mode, soft_fail=soft_fail)
    assert outcome.state == "up_for_retry"
    assert type(outcome.error) is FineTuneJobNoModelError


@pytest.mark.parametrize("soft_fail", [False, True])
def test_an_outage_longer_than_the_tolerance_fails(atai_emulator, job, mode, soft_fail):
    atai_emulator.add_fault(path="/fine-tune/**", effect="answer", status=503, count=None)
    outcome = wait_for(job, mode, soft_fail=soft_fail)
    assert outcome.state == "up_for_retry"
    assert type(outcome.error) is FineTuneJobUnreachableError
    assert "may still run and bill" in str(outcome.error)


def test_an_outage_shorter_than_the_tolerance_is_ridden_out(atai_emulator, job, mode):
    atai_emulator.add_fault(path="/fine-tune/**", effect="answer", status=503, count=5)
    assert wait_for(job, mode).state == "success"


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_fails_at_once(atai_emulator, job, mode, status, soft_fail):
    fault = atai_emulator.add_fault(path="/fine-tune/**", effect="answer", status=status, count=None)
    outcome = wait_for(job, mode, soft_fail=soft_fail)
    assert outcome.state == "failed"
    assert type(outcome.error) is AirflowFailException
    # Once with the key as read, once more with the key read afresh.
    assert atai_emulator.fired(fault) == 2


def test_a_rotated_key_is_read_again(atai_emulator, job, mode, clock, monkeypatch):
    def rotate():
        clock.on_sleep.clear()
        atai_emulator.set_api_key("sk_rotated")
        monkeypatch.setenv(
            "AIRFLOW_CONN_ATAI_DEFAULT",
            atai_emulator.connection_json.replace(atai_emulator.api_key, "sk_rotated"),
        )

    clock.on_sleep.append(rotate)
    assert wait_for(job, mode).state == "success"


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_missing_job_fails_at_once(atai_emulator, job, mode, soft_fail):
    atai_emulator.reset()
    outcome = wait_for(job, mode, soft_fail=soft_fail)
    assert outcome.state == "failed"
    assert type(outcome.error) is AirflowFailException
    assert "is not known to the service" in str(outcome.error)


@pytest.mark.parametrize("job_id", ["None", "", "[]"])
def test_a_rendered_value_that_is_not_a_job_id_fails(atai_emulator, job, mode, job_id):
    def build():
        sensor = FineTuneJobSensor(task_id="wait", job_id="{{ later }}", **mode)
        sensor.job_id = job_id
        return sensor

    assert TaskLife(build).run_try().state == "failed"


@pytest.mark.parametrize("ending", ["FAILED", "STARTING"])
def test_never_fail_turns_every_failure_into_a_skip(atai_emulator, job, mode, ending):
    atai_emulator.set_outcome(ending, job_id=job.id)
    assert wait_for(job, mode, never_fail=True).state == "skipped"


def test_silent_fail_does_not_swallow_the_end_of_the_job(atai_emulator, job, mode):
    atai_emulator.set_outcome("FAILED", job_id=job.id)
    outcome = wait_for(job, mode, silent_fail=True)
    assert type(outcome.error) is FineTuneJobFailedError


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_trigger_that_breaks_fails_the_task(soft_fail):
    sensor = FineTuneJobSensor(task_id="wait", job_id="job-1", deferrable=True, soft_fail=soft_fail)
    with pytest.raises(Exception, match="may still run") as raised:
        sensor.resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["boom"]}, {})
    assert "Skip" not in type(raised.value).__name__
    assert "boom" in str(raised.value)


@pytest.mark.parametrize("text", ["Trigger timeout", "Trigger/execution timeout"])
@pytest.mark.parametrize(
    ("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)]
)
def test_a_trigger_that_airflow_timed_out_is_a_sensor_timeout(text, soft_fail, error):
    sensor = FineTuneJobSensor(task_id="wait", job_id="job-1", deferrable=True, soft_fail=soft_fail)
    with pytest.raises(error, match="job-1 had not finished at its deadline"):
        sensor.resume_execution("__fail__", {"error": text}, {})


def test_the_sensor_never_acts_on_the_job(atai_emulator, job, mode):
    wait_for(job, mode, timeout=120)
    assert atai_emulator.requests(method="PUT", path="*/fine-tune/*") == []
    assert atai_emulator.jobs()[0]["status"] == "RUNNING"


def test_only_a_deferrable_sensor_defers(job):
    assert wait_for(job, MODES["deferrable"]).deferrals == 1
    assert wait_for(job, MODES["poke"]).deferrals == 0


def test_a_rescheduled_sensor_is_rescheduled_after_each_poke(job):
    outcome = wait_for(job, MODES["reschedule"])
    assert outcome.reschedules == pytest.approx(11, abs=1)


@pytest.mark.parametrize("job_id", ["", "x" * 65, "a/b", None])
def test_a_wrong_job_id_fails_when_the_dag_is_parsed(job_id):
    with pytest.raises(ValueError, match="job_id"):
        FineTuneJobSensor(task_id="wait", job_id=job_id)
