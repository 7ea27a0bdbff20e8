"""What happens to the job if real processes are killed or people clear and mark tasks."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from tests.harness.datasets import store_dataset

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SECONDS = 90
JOB = "/fine-tune/jobs/*"
JOBS = "/fine-tune/jobs"


class Run:
    """One run of a DAG, and the job that it creates."""

    def __init__(self, system, dag):
        self.system = system
        self.api = system.api
        self.dag_id = f"atai_{dag}"
        self.name = f"{dag}-{uuid.uuid4().hex[:8]}"
        self.until(lambda: self.api.dag(self.dag_id), f"Airflow knows {self.dag_id}")
        self.api.unpause(self.dag_id)
        self.run_id = self.api.trigger(self.dag_id, {"name": self.name})

    def until(self, condition, what):
        return self.system.processes.wait_until(condition, what, SECONDS)

    def task(self, task_id="fine_tune"):
        return self.api.tasks(self.dag_id, self.run_id).get(task_id) or {}

    def reaches(self, *states, task_id="fine_tune"):
        self.until(lambda: self.task(task_id).get("state") in states, f"{task_id} of {self.name}: {states}")
        return self.task(task_id)

    def jobs(self):
        return [job for job in self.system.emulator.jobs() if job["name"] == self.name]

    def job_statuses(self):
        return [job["status"] for job in self.jobs()]

    def waits_in_the_triggerer(self):
        self.reaches("deferred")
        (job,) = self.jobs()
        path = f"*{JOBS}/{job['id']}"
        self.system.emulator.clear_requests()
        self.until(lambda: self.system.emulator.requests("GET", path), "the triggerer polls the job")

    def kill_task_process(self):
        process = psutil.Process(self.task()["pid"])
        os.kill(process.pid, signal.SIGKILL)

    def posts(self):
        return len(self.system.emulator.requests("POST", f"*{JOBS}"))

    def stops_and_cancels(self):
        """Return the last segment of every stop and cancel request, in order."""
        return [entry["path"].rpartition("/")[2] for entry in self.system.emulator.requests("PUT")]


@pytest.fixture
def start(system):
    system.emulator.reset()
    store_dataset(system.emulator)
    return lambda dag: Run(system, dag)


class TestWorkerIsKilled:
    def test_before_the_post_only_the_next_try_creates_a_job(self, system, start):
        system.emulator.add_fault(method="GET", path=JOB, effect="delay", delay=120, count=1)
        run = start("create")
        run.until(lambda: system.emulator.requests("GET", f"*{JOB}"), "the task looks for its job")
        run.reaches("running")
        run.kill_task_process()
        assert run.reaches("success")["try_number"] == 2
        assert (len(run.jobs()), run.posts()) == (1, 1)

    def test_before_the_response_the_next_try_adopts_the_job(self, system, start):
        system.emulator.add_fault(method="POST", path=JOBS, effect="delay", delay=120, count=1)
        run = start("create")
        run.until(run.jobs, "the service has created the job")
        run.kill_task_process()
        assert run.reaches("success")["try_number"] == 2
        assert (len(run.jobs()), run.posts()) == (1, 1)
        assert run.api.xcom(run.dag_id, run.run_id, "fine_tune") == run.jobs()[0]["id"]

    def test_before_the_deferral_the_next_try_adopts_the_job(self, system, start):
        gate = Path(system.airflow.environment["ATAI_TEST_GATE"])
        gate.touch()
        run = start("held")
        run.until(gate.with_suffix(".reached").exists, "the task is about to defer")
        run.kill_task_process()
        gate.unlink()
        run.reaches("deferred")
        system.emulator.advance(3600)
        assert run.reaches("success")["try_number"] == 2
        assert (run.job_statuses(), run.posts()) == (["COMPLETED"], 1)
        assert "so that nobody pays for a second one" in run.api.log(run.dag_id, run.run_id, "fine_tune", 2)


class TestWaitSurvivesTheKillOf:
    def ends_in_the_first_try(self, run):
        run.system.emulator.advance(3600)
        assert run.reaches("success")["try_number"] == 1
        assert (run.job_statuses(), run.posts(), run.stops_and_cancels()) == (["COMPLETED"], 0, [])

    def test_the_triggerer(self, system, start):
        run = start("cancel")
        run.waits_in_the_triggerer()
        system.airflow.kill_component("triggerer")
        system.airflow.start_component("triggerer")
        self.ends_in_the_first_try(run)

    def test_one_of_two_triggerers(self, system, start):
        run = start("cancel")
        run.waits_in_the_triggerer()
        arguments = [sys.executable, "-m", "airflow", *system.airflow.components["triggerer"]]
        system.processes.start("second-triggerer", arguments, system.airflow.environment)
        try:
            system.airflow.kill_component("triggerer")
            system.emulator.clear_requests()
            self.ends_in_the_first_try(run)
        finally:
            system.processes.children.pop("second-triggerer").stop()
            system.airflow.start_component("triggerer")

    def test_the_scheduler(self, system, start):
        run = start("cancel")
        run.waits_in_the_triggerer()
        system.airflow.kill_component("scheduler")
        system.airflow.start_component("scheduler")
        self.ends_in_the_first_try(run)

    def test_the_service(self, system, start):
        run = start("cancel")
        run.waits_in_the_triggerer()
        system.restart_emulator()
        self.ends_in_the_first_try(run)


class TestPersonActsOnTask:
    def test_cleared_task_resumes_its_job(self, system, start):
        run = start("cancel")
        run.waits_in_the_triggerer()
        run.api.clear(run.dag_id, run.run_id, "fine_tune")
        run.until(lambda: run.task()["try_number"] == 2, "the next try begins")
        run.waits_in_the_triggerer()
        system.emulator.advance(3600)
        run.reaches("success")
        assert (run.job_statuses(), run.posts(), run.stops_and_cancels()) == (["COMPLETED"], 0, [])

    @pytest.mark.parametrize(
        "row",
        [
            ("failed", "cancel", ["cancel"], "CANCELLED"),
            ("failed", "stop", ["stop"], "STOPPED"),
            ("failed", "leave", [], "RUNNING"),
            ("success", "cancel", ["cancel"], "CANCELLED"),
        ],
    )
    def test_marked_deferred_task_gets_its_kill_action(self, system, start, row):
        mark, action, asked, status = row
        run = start(action)
        run.waits_in_the_triggerer()
        system.emulator.advance(60)
        run.api.mark(run.dag_id, run.run_id, "fine_tune", mark)
        run.reaches(mark)
        done = "left as it is" if action == "leave" else "Asked the service to"
        run.until(
            lambda: done in run.api.log(run.dag_id, run.run_id, "fine_tune"),
            "the trigger has logged its kill action",
        )
        run.until(lambda: run.job_statuses() == [status], f"the job is {status}")
        assert run.stops_and_cancels() == asked

    def test_task_marked_failed_on_the_worker_cancels_its_job(self, system, start):
        run = start("on_worker")
        run.reaches("running")
        run.until(lambda: len(run.jobs()) == 1, "the job exists")
        run.api.mark(run.dag_id, run.run_id, "fine_tune", "failed")
        run.until(lambda: run.job_statuses() == ["CANCELLED"], "the job is cancelled")
        assert run.reaches("failed")["try_number"] == 1

    def test_drained_worker_leaves_the_job_to_the_next_try(self, system, start):
        run = start("on_worker")
        run.reaches("running")
        run.until(lambda: len(run.jobs()) == 1, "the job exists")
        supervisor = psutil.Process(run.task()["pid"]).parent()
        assert supervisor is not None
        supervisor.terminate()
        run.until(
            lambda: "left to the next try" in run.api.log(run.dag_id, run.run_id, "fine_tune"),
            "on_kill has run",
        )
        run.kill_task_process()
        run.until(lambda: run.task()["try_number"] == 2, "the next try begins")
        run.reaches("running")
        system.emulator.advance(3600)
        assert run.reaches("success")["try_number"] == 2
        assert (run.job_statuses(), run.posts(), run.stops_and_cancels()) == (["COMPLETED"], 1, [])


class TestTimeouts:
    @pytest.mark.parametrize(("dag", "asked"), [("timeout", ["stop"]), ("execution_timeout", ["cancel"])])
    def test_timeout_takes_the_timeout_action(self, system, start, dag, asked):
        run = start(dag)
        assert run.reaches("failed")["try_number"] == 1
        assert run.stops_and_cancels() == asked
        assert len(run.jobs()) == 1
        assert f"Asked the service to {asked[0]}" in run.api.log(run.dag_id, run.run_id, "fine_tune")


class TestSensorWithoutWorkers:
    def test_sensor_starts_and_ends_in_the_triggerer(self, system, start):
        run = start("zero_workers")
        run.reaches("deferred", task_id="wait")
        run.until(lambda: system.emulator.requests("GET", f"*{JOB}")[1:], "the triggerer polls the job")
        system.emulator.advance(3600)
        wait = run.reaches("success", task_id="wait")
        run.reaches("success", task_id="use")
        (job,) = run.jobs()
        path = job["inference_config_path"]
        assert run.api.xcom(run.dag_id, run.run_id, "wait")["inference_config_path"] == path
        assert run.api.xcom(run.dag_id, run.run_id, "use") == path
        # A task that ran on a worker has a process id and a host.
        assert (wait["pid"], wait["hostname"], wait["try_number"]) == (None, "", 1)

    def test_failed_job_fails_the_sensor_at_once_whatever_its_retries(self, system, start):
        system.emulator.set_outcome("FAILED", at=3)
        run = start("zero_workers")
        assert run.reaches("failed", "up_for_retry", task_id="wait")["state"] == "failed"
        assert run.task("wait")["try_number"] == 1
        assert run.job_statuses() == ["FAILED"]

    def test_soft_fail_skips_the_sensor_at_its_timeout(self, system, start):
        run = start("zero_workers_soft")
        run.reaches("skipped", task_id="wait")
        assert run.stops_and_cancels() == []
        assert len(run.jobs()) == 1

    def test_mapped_sensors_wait_for_their_own_jobs(self, system, start):
        from airflow_provider_atai.api.client import AtaiClient
        from airflow_provider_atai.api.fine_tune import FineTuneApi

        with AtaiClient(base_url=system.emulator.base_url, api_key=system.emulator.api_key) as client:
            dataset = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
            for number in (1, 2):
                FineTuneApi(client).create(name="m", datasets=[dataset], job_id=f"mapped-job-{number}")
        system.emulator.advance(3600)
        run = start("mapped")
        for number in (0, 1):
            run.reaches("success", task_id=f"wait[{number}]")
