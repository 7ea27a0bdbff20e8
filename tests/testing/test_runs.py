"""The fixture run_dag: whole DAGs, as a user's test runs them, with nobody waiting for anything."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from airflow_provider_atai.compat.sdk import TRIGGERERS_RUN_WHOLE_TASKS
from airflow_provider_atai.operators.datasets import UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.testing import passing_time as passing_time_module
from airflow_provider_atai.testing.passing_time import passing_time

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

WAITS = {
    "poke": {},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
    "whole in the triggerer": {"start_from_trigger": True, "end_from_trigger": True},
}


@pytest.fixture(autouse=True)
def no_real_waiting(monkeypatch):
    """Fail a test whose own thread waits in real time."""
    real = passing_time_module._real_sleep

    def sleep(seconds):
        assert threading.current_thread() is not threading.main_thread(), f"waits for {seconds} s"
        real(seconds)

    monkeypatch.setattr(passing_time_module, "_real_sleep", sleep)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"a": 1}\n')
    return path


def training(file, **wait):
    """Return a DAG that uploads, creates, waits and uses the model."""
    with DAG("training", schedule=None, params={"name": "pumps"}, default_args={"retries": 0}) as dag:
        upload = UploadDatasetOperator(task_id="upload", path=str(file), name="training-set")
        job = CreateFineTuneJobOperator(task_id="create", name="{{ params.name }}", datasets=[upload.output])
        sensor = FineTuneJobSensor(task_id="wait", job_id=job.output, timeout=timedelta(hours=12), **wait)

        @task
        def use(summary):
            return summary["inference_config_path"]

        use(sensor.output)
    return dag


@pytest.mark.parametrize("wait", WAITS)
def test_a_run_goes_to_its_end_in_every_mode_of_waiting(run_dag, atai_emulator, file, wait):
    run = run_dag(training(file, **WAITS[wait]))
    assert run.state == "success"
    assert run.states == dict.fromkeys(("upload", "create", "wait", "use"), "success")
    (job,) = atai_emulator.jobs()
    assert job["status"] == "COMPLETED"
    assert run.xcom("create") == job["id"]
    assert run.xcom("wait")["duration_seconds"] == pytest.approx(640, abs=1)
    assert run.xcom("use") == job["inference_config_path"]
    # Polled once a minute, as in production.
    assert len(atai_emulator.requests("GET", f"*/{job['id']}")) < 20


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_operator_that_waits_goes_to_its_end(run_dag, atai_emulator, file, deferrable):
    with DAG("one_task", schedule=None) as dag:
        upload = UploadDatasetOperator(task_id="upload", path=str(file), name="training-set")
        CreateFineTuneJobOperator(
            task_id="create",
            name="pumps",
            datasets=[upload.output],
            wait_for_completion=True,
            deferrable=deferrable,
        )
    run = run_dag(dag)
    assert (run.state, run.xcom("create", "job")["status"]) == ("success", "COMPLETED")
    assert len(atai_emulator.jobs()) == 1


def test_a_failed_job_fails_the_run_and_what_comes_after_it(run_dag, atai_emulator, file):
    atai_emulator.set_outcome("FAILED")
    run = run_dag(training(file, deferrable=True))
    assert run.state == "failed"
    assert (run.states["wait"], run.states["use"]) == ("failed", "upstream_failed")
    assert run.xcom("use") is None
    assert [job["status"] for job in atai_emulator.jobs()] == ["FAILED"]


@pytest.mark.parametrize("wait", ["poke", "deferrable"])
def test_hours_until_a_timeout_pass_at_once(run_dag, atai_emulator, file, wait):
    atai_emulator.set_outcome("STARTING")
    run = run_dag(training(file, **WAITS[wait]))
    assert (run.state, run.states["wait"]) == ("failed", "failed")
    (job,) = atai_emulator.jobs()
    assert job["status"] == "STARTING"
    assert len(atai_emulator.requests("GET", f"*/{job['id']}")) > 700
    assert atai_emulator.state()["clock"]["job_time"] >= 12 * 3600


@pytest.mark.usefixtures("atai_emulator")
def test_a_retry_comes_as_late_as_in_production_but_at_once(run_dag):
    tried_at = []
    with DAG("flaky", schedule=None) as dag:

        @task(retries=1, retry_delay=timedelta(hours=1))
        def fails_once():
            tried_at.append(datetime.now(UTC))
            if len(tried_at) == 1:
                raise RuntimeError("not yet")

        fails_once()
    run = run_dag(dag)
    assert (run.state, run.tries) == ("success", {"fails_once": 2})
    assert timedelta(hours=1) <= tried_at[1] - tried_at[0] < timedelta(hours=1, minutes=1)


def test_conf_sets_the_params(run_dag, atai_emulator, file):
    run_dag(training(file, deferrable=True), conf={"name": "valves"})
    assert [job["name"] for job in atai_emulator.jobs()] == ["valves"]


def test_each_run_is_a_run_of_its_own_and_time_never_goes_back(run_dag, atai_emulator, file):
    dag = training(file, deferrable=True)
    assert [run_dag(dag).state for _ in range(2)] == ["success", "success"]
    first, second = atai_emulator.jobs()
    assert first["id"] != second["id"]
    assert second["created_at"] > first["updated_at"]
    assert len(atai_emulator.files()) == 1


def test_instances_of_a_mapped_task_are_told_apart(run_dag, file):
    with DAG("mapped", schedule=None) as dag:
        UploadDatasetOperator.partial(task_id="upload", name="n").expand(path=[str(file), str(file)])
    run = run_dag(dag)
    assert run.states == {"upload[0]": "success", "upload[1]": "success"}
    assert run.xcom("upload[1]")["name"] == "n"


def test_the_configured_database_is_left_alone(run_dag, file):
    from airflow import settings

    def connected_to():
        return str(settings.engine.url), os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")

    before = connected_to()
    seen = []
    with DAG("looks", schedule=None) as dag:

        @task
        def look():
            seen.append(connected_to())

        look()
    assert run_dag(dag).state == "success"
    assert seen[0] != before
    assert connected_to() == before
    with pytest.raises(TypeError, match="takes a DAG"):
        run_dag(training)
    with (
        mock.patch.object(type(dag), "test", side_effect=RuntimeError("broken")),
        pytest.raises(RuntimeError),
    ):
        run_dag(dag)
    assert connected_to() == before


def test_the_process_keeps_its_handler_of_signals(run_dag, file):
    before = signal.getsignal(signal.SIGTERM)
    assert run_dag(training(file, deferrable=True)).state == "success"
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_the_threads_of_a_run_travel():
    slept = []

    def sleep_a_little():
        before = time.monotonic()
        time.sleep(0.01)
        slept.append(time.monotonic() - before)

    now = datetime.now(UTC)
    with passing_time(now):
        for name in ("somebody", "atai-poll_0"):
            thread = threading.Thread(target=sleep_a_little, name=name)
            thread.start()
            thread.join()
        time.sleep(3600)
        assert datetime.now(UTC) - now >= timedelta(hours=1)
    assert datetime.now(UTC) - now < timedelta(hours=1)
    assert slept[0] >= 0.01


@pytest.mark.skipif(not TRIGGERERS_RUN_WHOLE_TASKS, reason="needs Airflow 3.3")
def test_nothing_is_left_for_a_worker_that_ends_in_the_triggerer(run_dag, file):
    run = run_dag(training(file, end_from_trigger=True))
    assert (run.state, run.xcom("wait")["status"]) == ("success", "COMPLETED")
