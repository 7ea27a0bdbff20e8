from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from airflow_provider_atai import retries
from airflow_provider_atai.compat.sdk import (
    SHOWS_PLUGIN_TABS,
    TRIGGERERS_RUN_WHOLE_TASKS,
    WORKERS_PUSH_LINKS,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseHook,
    base_url,
)
from airflow_provider_atai.errors import (
    FineTuneJobCancelledError,
    FineTuneJobFailedError,
    FineTuneJobNoModelError,
    FineTuneJobStoppedError,
    FineTuneJobTimeoutError,
    FineTuneJobUnreachableError,
)
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.waiting.policy import Ending
from airflow_provider_atai.waiting.result import WaitResult
from tests.harness.datasets import store_dataset
from tests.harness.task_instance import TaskInstance, TaskStateStore
from tests.harness.task_life import TaskLife

SUMMARY = {
    "job_id": "job-1",
    "status": "STOPPED",
    "duration_seconds": None,
    "metrics": None,
    "inference_config_path": None,
}
MODES = {"poke": {"mode": "poke"}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}
if TRIGGERERS_RUN_WHOLE_TASKS:
    MODES["start_from_trigger"] = {"start_from_trigger": True}


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


@pytest.fixture(params=[name for name in MODES if name not in ("poke", "reschedule")])
def deferred(request):
    return MODES[request.param]


@pytest.fixture
def job(atai_emulator, clock):
    """A job that takes eleven minutes."""
    return AtaiHook().fine_tune.create(name="pump-states", datasets=[store_dataset(atai_emulator)])


def wait_for(job, mode, **arguments):
    def build():
        return FineTuneJobSensor(
            task_id="wait", job_id=job.id, **{"timeout": 3600, "poke_interval": 60, **mode, **arguments}
        )

    return TaskLife(build, max_tries=arguments.get("retries", 0)).run_try()


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


# outcome, the sensor's arguments, why the task ends, its state, the same with soft_fail
ENDINGS = [
    ("FAILED", {}, FineTuneJobFailedError, "failed", "failed"),
    ("CANCELLED", {}, FineTuneJobCancelledError, "failed", "failed"),
    ("STOPPED", {}, FineTuneJobStoppedError, "failed", "failed"),
    ("STOPPED", {"accept_stopped": True}, None, "success", "success"),
    ("STARTING", {}, FineTuneJobTimeoutError, "failed", "skipped"),
    ("PAUSED", {}, FineTuneJobTimeoutError, "failed", "skipped"),
    ("UNKNOWN", {}, FineTuneJobTimeoutError, "failed", "skipped"),
]


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("row", ENDINGS, ids=lambda row: row[0])
def test_the_outcome_follows_from_how_the_job_ends(atai_emulator, job, mode, row, soft_fail):
    ending, arguments, error, state, soft_state = row
    atai_emulator.set_outcome(ending, job_id=job.id)
    outcome = wait_for(job, mode, soft_fail=soft_fail, retries=2, **arguments)

    assert outcome.state == (soft_state if soft_fail else state)
    if error is None:
        assert outcome.value["status"] == ending
        return
    assert type(outcome.error.__cause__) is error
    assert job.id in str(outcome.error)
    assert "retried" in str(outcome.error)
    # Airflow retries neither of the two, whatever ``retries`` says.
    expected = AirflowSensorTimeout if error is FineTuneJobTimeoutError else AirflowFailException
    assert type(outcome.error) is (AirflowSkipException if outcome.state == "skipped" else expected)


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_job_stopped_before_it_had_a_checkpoint_is_never_a_success(atai_emulator, job, mode, soft_fail):
    atai_emulator.set_outcome("STOPPED", job_id=job.id, at="STARTING")
    outcome = wait_for(job, mode, accept_stopped=True, soft_fail=soft_fail, retries=2)
    assert (outcome.state, type(outcome.error.__cause__)) == ("failed", FineTuneJobStoppedError)
    assert "metrics name no checkpoint" in str(outcome.error)


def test_an_inference_config_shows_that_a_stopped_job_left_something(atai_emulator, job, mode):
    atai_emulator.set_outcome("STOPPED", job_id=job.id, at="STARTING", inference_config=True)
    assert wait_for(job, mode, accept_stopped=True).state == "success"


def test_a_stopped_job_whose_metrics_cannot_be_read_is_polled_again(atai_emulator, job, mode):
    atai_emulator.set_outcome("STOPPED", job_id=job.id)
    atai_emulator.add_fault(path="/fine-tune/jobs/*/metrics", effect="answer", status=503, count=None)
    outcome = wait_for(job, mode, accept_stopped=True)
    assert (outcome.state, type(outcome.error)) == ("up_for_retry", FineTuneJobStoppedError)
    assert "unclear whether it has a checkpoint. A retry of this sensor polls" in str(outcome.error)
    assert wait_for(job, mode).state == "failed"

    atai_emulator.clear_faults()
    assert wait_for(job, mode, accept_stopped=True).state == "success"


def test_a_worker_reads_the_metrics_that_the_trigger_could_not_read(atai_emulator, job):
    atai_emulator.set_outcome("STOPPED", job_id=job.id)
    atai_emulator.advance(3600)
    event = WaitResult(Ending.STOPPED, job.id, status="STOPPED", summary=SUMMARY).to_event()
    sensor = FineTuneJobSensor(task_id="wait", job_id=job.id, deferrable=True, accept_stopped=True)
    context = {"ti": TaskInstance(task_id="wait")}
    assert sensor.resume_execution("execute_complete", {"event": event}, context) == SUMMARY

    atai_emulator.add_fault(path="/fine-tune/jobs/*/metrics", effect="answer", status=503, count=None)
    with pytest.raises(FineTuneJobStoppedError, match="unclear whether it has a checkpoint"):
        sensor.resume_execution("execute_complete", {"event": event}, context)


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


@pytest.mark.parametrize("body", ["html", "empty"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_by_a_gateway_is_an_outage(atai_emulator, job, mode, status, body):
    fault = atai_emulator.add_fault(path="/fine-tune/**", effect="answer", status=status, body=body, count=5)
    assert wait_for(job, mode).state == "success"
    assert atai_emulator.fired(fault) == 5
    atai_emulator.add_fault(path="/fine-tune/**", effect="answer", status=status, body=body, count=None)
    outcome = wait_for(job, mode)
    assert outcome.state == "up_for_retry"
    assert type(outcome.error) is FineTuneJobUnreachableError


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


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"], indirect=True)
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
    assert type(outcome.error.__cause__) is FineTuneJobFailedError


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_trigger_that_breaks_fails_the_task(soft_fail):
    sensor = FineTuneJobSensor(task_id="wait", job_id="job-1", deferrable=True, soft_fail=soft_fail)
    with pytest.raises(Exception, match="may still run") as raised:
        sensor.resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["boom"]}, {})
    assert "Skip" not in type(raised.value).__name__
    assert "boom" in str(raised.value)


class TestAirflowsOwnTimeout:
    """No triggerer had room for the trigger, so nobody has looked at the job."""

    @pytest.fixture(params=[False, True], ids=["hard", "soft"])
    def resume(self, request, job):
        sensor = FineTuneJobSensor(
            task_id="wait", job_id=job.id, deferrable=True, soft_fail=request.param, retries=2
        )

        def resume(text="Trigger timeout"):
            ti = TaskInstance(task_id="wait")
            return sensor.resume_execution("__fail__", {"error": text}, {"ti": ti})

        resume.late = AirflowSkipException if request.param else AirflowSensorTimeout
        return resume

    def test_a_completed_job_is_a_success(self, atai_emulator, resume):
        atai_emulator.advance(3600)
        summary = resume()
        assert summary["status"] == "COMPLETED"
        assert summary["inference_config_path"].startswith("s3://")
        assert summary["metrics"]["loss"] > 0

    def test_a_failed_job_fails_the_task(self, atai_emulator, job, resume):
        atai_emulator.set_outcome("FAILED", job_id=job.id)
        atai_emulator.advance(3600)
        with pytest.raises(AirflowFailException, match=f"{job.id} FAILED"):
            resume()

    @pytest.mark.parametrize("text", ["Trigger timeout", "Trigger/execution timeout"])
    def test_an_active_job_is_late(self, job, resume, text):
        with pytest.raises(resume.late, match=f"{job.id} had not finished at its deadline.*REGISTERED"):
            resume(text)

    def test_a_job_whose_model_does_not_show_yet_is_polled_again(self, atai_emulator, job, resume):
        atai_emulator.set_outcome("COMPLETED", job_id=job.id, inference_config=False)
        atai_emulator.advance(650)
        with pytest.raises(FineTuneJobNoModelError, match="polls the same job again"):
            resume()

    def test_a_job_that_cannot_be_read_is_late_and_may_bill(self, atai_emulator, job, resume):
        atai_emulator.add_fault(path="/fine-tune/**", effect="answer", status=503, count=None)
        with pytest.raises(resume.late, match=r"could not be read at its deadline .*503.* may still run"):
            resume()

    def test_a_blip_decides_nothing(self, atai_emulator, resume):
        atai_emulator.advance(3600)
        atai_emulator.add_fault(path="/fine-tune/**", effect="answer", status=503, count=2)
        assert resume()["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("arguments", "polls"),
    [
        ({}, 12),
        # At 0, 1, 2, 4, 8 and 16 minutes.
        ({"exponential_backoff": True}, 6),
        # At 0, 1, 2, 4, 6, 8, 10 and 12 minutes.
        ({"exponential_backoff": True, "max_wait": timedelta(minutes=2)}, 8),
        ({"exponential_backoff": True, "max_wait": 30}, 23),
        ({"max_wait": 30}, 12),
    ],
)
def test_a_growing_interval_holds_in_the_triggerer_too(atai_emulator, job, deferred, arguments, polls):
    assert wait_for(job, deferred, **arguments).state == "success"
    asked = atai_emulator.requests(method="GET", path=f"*/jobs/{job.id}")
    assert len(asked) == pytest.approx(polls, abs=1)


@pytest.mark.parametrize("interval", [0, 0.001])
def test_the_interval_is_at_least_a_second(atai_emulator, job, mode, interval):
    wait_for(job, mode, poke_interval=interval, timeout=20)
    assert 19 <= len(atai_emulator.requests(method="GET", path=f"*/jobs/{job.id}")) <= 22


@pytest.mark.parametrize(
    "arguments",
    [
        {"timeout": timedelta.max},
        {"timeout": 1e12},
        {"poke_interval": timedelta.max},
        {"execution_timeout": timedelta.max},
        {"execution_timeout": timedelta()},
    ],
)
def test_a_time_that_nothing_can_wait_for_fails_when_the_dag_is_parsed(arguments, mode):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be .* at most 365 days"):
        FineTuneJobSensor(task_id="wait", job_id="job-1", **mode, **arguments)


def test_a_timeout_of_zero_means_one_look(atai_emulator, job, mode):
    assert wait_for(job, mode, timeout=0).state == "failed"
    assert len(atai_emulator.requests(method="GET", path=f"*/jobs/{job.id}")) <= 2


def test_the_links_to_the_job_are_on_the_sensor(atai_emulator, job, mode, monkeypatch):
    connection = atai_emulator.connection_json.replace(
        "{", '{"extra": {"console_url_template": "https://console.example/{job_id}"}, ', 1
    )
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", connection)
    page = f"https://console.example/{job.id}"
    xcoms = wait_for(job, mode).xcoms
    # Airflow before 3.1.1 has no tab that the first could open.
    tab = f"{base_url().rstrip('/')}/dags/dag/runs/run/tasks/wait/plugin/atai-job"
    links = (tab, page) if SHOWS_PLUGIN_TABS else (page, None)
    assert (xcoms.get("_link_FineTuneJobLink"), xcoms.get("_link_FineTuneJobConsoleLink")) == links

    sensor = FineTuneJobSensor(task_id="wait", job_id=job.id)
    sensor.execute({"ti": TaskInstance(task_id="wait")})
    if WORKERS_PUSH_LINKS:
        # The worker pushes what the links return at the end of every process.
        pushed = [link.get_link(sensor, ti_key=None) for link in sensor.operator_extra_links]
        assert pushed == [url or "" for url in links]


def test_before_the_job_is_known_there_is_no_link():
    sensor = FineTuneJobSensor(task_id="wait", job_id="job-1")
    assert not any(link.url_of(sensor) for link in sensor.operator_extra_links)


@pytest.mark.parametrize(
    ("ending", "says"),
    [("FAILED", "no longer runs"), ("STARTING", "had not finished at its deadline"), ("COMPLETED", None)],
)
def test_the_log_has_one_error_line_with_the_sentence_that_matters(atai_emulator, job, mode, ending, says):
    atai_emulator.set_outcome(ending, job_id=job.id)
    with mock.patch.object(retries, "log_of", autospec=True) as log_of:
        outcome = wait_for(job, mode)
    lines = [call.args[1] for call in log_of.return_value.error.call_args_list]
    assert lines == ([] if says is None else [str(outcome.error)])
    assert says is None or says in lines[0]


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


def test_a_task_instead_of_its_output_is_refused_when_the_dag_is_parsed():
    upstream = FineTuneJobSensor(task_id="upstream", job_id="job-1")
    with pytest.raises(ValueError, match=r"is the task 'upstream' itself.*job_id=upstream\.output"):
        FineTuneJobSensor(task_id="wait", job_id=upstream)
