"""What tasks tell their job's page, on real Airflow processes, while the job runs and after it has ended."""

from __future__ import annotations

from datetime import datetime

import pytest
import requests

from airflow_provider_atai.compat.sdk import (
    SHOWS_PLUGIN_TABS,
    TRIGGERERS_PUSH_XCOMS,
    TRIGGERERS_RUN_WHOLE_TASKS,
)
from tests.harness.datasets import store_dataset
from tests.system.test_faults import Run

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not SHOWS_PLUGIN_TABS, reason="This Airflow has no tab that shows a job"),
]

LINK = "Fine-tune job"


class Page:
    """What Airflow's API tells about a task instance."""

    def __init__(self, run, task_id="fine_tune", map_index=-1):
        self.run = run
        self.of = (run.dag_id, run.run_id, task_id)
        self.map_index = map_index

    def xcom(self, key):
        """Return an XCom, None if there is none."""
        try:
            return self.run.api.xcom(*self.of, key, self.map_index)
        except requests.HTTPError as error:
            if error.response.status_code == 404:
                return None
            raise

    @property
    def job(self):
        return self.xcom("atai_job")

    @property
    def statuses(self):
        entries = (self.xcom("atai_statuses") or {}).get("statuses", [])
        times = [datetime.fromisoformat(entry["at"]) for entry in entries]
        assert times == sorted(times)
        return [entry.get("status") or f"outage {entry['outage']}" for entry in entries]

    def shows(self, *statuses):
        self.run.until(lambda: self.statuses == list(statuses), f"the page of {self.of} shows {statuses}")

    @property
    def link(self):
        return self.run.api.links(*self.of, self.map_index)[LINK]

    def address(self, *mapped):
        dag_id, run_id, task_id = self.of
        path = ("dags", dag_id, "runs", requests.utils.quote(run_id, safe=""), "tasks", task_id, *mapped)
        return f"{self.run.system.airflow.url}/{'/'.join(path)}/plugin/atai-job"


@pytest.fixture
def start(system):
    system.emulator.reset()
    # Nothing changes but what a test changes.
    system.emulator.pause()
    store_dataset(system.emulator)
    return lambda dag: Run(system, dag)


def test_a_deferred_task_tells_of_its_job_while_it_runs(system, start):
    run = start("cancel")
    run.waits_in_the_triggerer()
    page, (job,) = Page(run), run.jobs()
    record = page.job
    assert (record["job_id"], record["atai_conn_id"], record["role"]) == (job["id"], "atai_default", "create")
    assert (record["name"], record["kill_action"], record["waits"]) == (run.name, "cancel", True)
    assert record["datasets"][0]["file_ids"] == ["train.csv"]
    assert page.link == page.address()
    # The address leads to Airflow's UI, which is the same page for every path.
    assert system.api.session.get(page.link, timeout=30).status_code == 200
    assert page.statuses == ["REGISTERED"]
    assert f"Job {job['id']} can be watched at {page.link}" in run.api.log(*page.of)

    system.emulator.advance(60)
    if TRIGGERERS_PUSH_XCOMS:
        page.shows("REGISTERED", "RUNNING")
    assert run.task()["state"] == "deferred"
    system.emulator.add_fault(method="GET", path="/fine-tune/jobs/*", effect="answer", status=503, count=2)
    if TRIGGERERS_PUSH_XCOMS:
        page.shows("REGISTERED", "RUNNING", "outage began", "outage ended")

    system.emulator.advance(3600)
    run.reaches("success")
    seen = [status for status in page.statuses if "outage" not in status]
    assert (seen[0], seen[-1]) == ("REGISTERED", "COMPLETED")
    assert page.link == page.address()
    assert page.job == record


def test_a_failed_task_keeps_what_it_has_told(system, start):
    system.emulator.set_outcome("CANCELLED", at=60)
    run = start("create_and_fail")
    run.waits_in_the_triggerer()
    system.emulator.advance(3600)
    run.reaches("failed")
    page, (job,) = Page(run), run.jobs()
    assert page.job["job_id"] == job["id"]
    assert page.statuses[-1] == "CANCELLED"
    assert page.link == page.address()


def test_each_job_of_a_sweep_has_its_own_page(system, start):
    run = start("sweep")
    for number in (0, 1):
        run.reaches("deferred", task_id=f"fine_tune[{number}]")
    pages = [Page(run, map_index=number) for number in (0, 1)]
    jobs = {job["config"]["model"]: job["id"] for job in run.jobs()}
    assert len(jobs) == 2
    for number, page in enumerate(pages):
        assert jobs[page.job["model"]] == page.job["job_id"]
        assert page.link == page.address("mapped", str(number))
    system.emulator.advance(3600)
    for number, page in enumerate(pages):
        run.reaches("success", task_id=f"fine_tune[{number}]")
        assert page.statuses[-1] == "COMPLETED"


def test_a_sensor_tells_of_its_job_in_every_mode(system, start):
    run = start("in_modes")
    pages = {mode: Page(run, task_id=mode) for mode in ("poke", "reschedule", "deferred")}
    run.reaches("success")
    (job,) = run.jobs()
    # A rescheduled sensor has no XComs for a moment at each poke.
    for mode, page in pages.items():
        run.until(lambda page=page: page.job, f"the {mode} sensor has told of its job")
        if mode != "deferred" or TRIGGERERS_PUSH_XCOMS:
            run.until(lambda page=page: page.statuses == ["REGISTERED"], f"the {mode} sensor tells a status")
    system.emulator.advance(60)
    for mode, page in pages.items():
        if mode != "deferred" or TRIGGERERS_PUSH_XCOMS:
            run.until(lambda page=page: page.statuses[1:] == ["RUNNING"], f"the {mode} sensor tells it")
    system.emulator.advance(3600)
    for mode, page in pages.items():
        run.reaches("success", task_id=mode)
        assert (page.job["job_id"], page.job["role"]) == (job["id"], "wait")
        assert page.statuses[-1] == "COMPLETED"
        assert page.link == page.address()
        assert run.api.log(*page.of).count("can be watched at") == 1


@pytest.mark.skipif(not TRIGGERERS_RUN_WHOLE_TASKS, reason="Every task begins on a worker")
def test_a_sensor_without_workers_tells_of_its_job(system, start):
    run = start("zero_workers")
    run.reaches("deferred", task_id="wait")
    page = Page(run, task_id="wait")
    run.until(lambda: page.job, "the trigger has told of the job")
    run.until(lambda: page.link == page.address(), "the trigger has pushed the link")
    page.shows("REGISTERED")
    system.emulator.advance(60)
    page.shows("REGISTERED", "RUNNING")
    system.emulator.advance(3600)
    run.reaches("success", task_id="wait")
    # No end waits for it.
    page.shows("REGISTERED", "RUNNING", "COMPLETED")


def test_a_task_that_is_tried_again_goes_on_telling_of_its_job(system, start):
    run = start("cancel")
    run.waits_in_the_triggerer()
    system.emulator.advance(60)
    page = Page(run)
    if TRIGGERERS_PUSH_XCOMS:
        page.shows("REGISTERED", "RUNNING")
    began = page.xcom("atai_statuses")["statuses"]
    run.api.clear(run.dag_id, run.run_id, "fine_tune")
    run.until(lambda: run.task()["try_number"] == 2, "the next try begins")
    run.until(lambda: (page.job or {}).get("try_number") == 2, "it tells of the job")
    system.emulator.advance(3600)
    run.reaches("success")
    assert page.statuses[-1] == "COMPLETED"
    # Airflow has cleared what only the trigger had seen.
    assert page.xcom("atai_statuses")["statuses"][0] == began[0]
