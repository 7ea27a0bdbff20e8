"""What a task on its worker tells of its job, in every way of creating and waiting."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import partial

import pytest

from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS, WORKERS_PUSH_LINKS
from airflow_provider_atai.links.fine_tune import links_of, tab_url
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from tests.harness.datasets import store_dataset
from tests.harness.task_instance import TaskInstance, TaskStateStore
from tests.harness.task_life import TaskLife

WAITS = {
    "not at all": {},
    "on the worker": {"wait_for_completion": True},
    "deferred": {"wait_for_completion": True, "deferrable": True},
}
MODES = {"poke": {}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}


@pytest.fixture
def dataset(atai_emulator, clock):
    return store_dataset(atai_emulator)


@pytest.fixture
def console(atai_emulator, monkeypatch):
    template = '{"extra": {"console_url_template": "https://console.example/{job_id}"}, '
    connection = atai_emulator.connection_json.replace("{", template, 1)
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", connection)
    return "https://console.example"


@pytest.fixture
def pushes(monkeypatch):
    """The key of every XCom that is pushed, in order."""
    keys = []
    push = TaskInstance.xcom_push

    def counted(ti, key, value):
        keys.append(key)
        push(ti, key, value)

    monkeypatch.setattr(TaskInstance, "xcom_push", counted)
    return keys


def create(dataset, **arguments):
    def build():
        return CreateFineTuneJobOperator(
            task_id="task", name="pump-states", datasets=[dataset], poll_interval=60, **arguments
        )

    return TaskLife(build, max_tries=1)


def names(xcoms):
    return [entry.get("status") or entry["outage"] for entry in xcoms["atai_statuses"]["statuses"]]


@pytest.mark.parametrize("waits", WAITS)
def test_a_created_job_is_recorded(atai_emulator, dataset, waits):
    outcome = create(dataset, model="Newton::c2_4_7b_251215a172f6d7", **WAITS[waits]).run_try()
    record = outcome.xcoms["atai_job"]
    expected = {
        "job_id": outcome.value,
        "atai_conn_id": "atai_default",
        "role": "create",
        "name": "pump-states",
        "model": "Newton::c2_4_7b_251215a172f6d7",
        "datasets": [dataset],
        "try_number": 1,
        "waits": waits != "not at all",
        "accept_stopped": False,
        "reattach": True,
        "own_id": False,
        "kill_action": "cancel",
        "timeout_action": "stop",
    }
    assert {key: record[key] for key in expected} == expected
    assert set(record) - set(expected) == {"created_at", "known_at"}


@pytest.mark.parametrize("waits", ["on the worker", "deferred"])
def test_the_statuses_of_a_job_are_told_to_its_end(atai_emulator, dataset, waits):
    seen = names(create(dataset, **WAITS[waits]).run_try().xcoms)
    assert (seen[0], seen[-1]) == ("REGISTERED", "COMPLETED")
    assert "RUNNING" in seen
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
@pytest.mark.parametrize("waits", ["on the worker", "deferred"])
def test_a_failed_task_has_told_of_its_job(atai_emulator, dataset, waits, status):
    atai_emulator.set_outcome(status)
    outcome = create(dataset, **WAITS[waits]).run_try()
    assert outcome.state != "success"
    assert names(outcome.xcoms)[-1] == status
    assert outcome.xcoms["atai_job"]["job_id"] == outcome.xcoms["atai_statuses"]["job_id"]


def test_an_outage_is_told(atai_emulator, dataset):
    atai_emulator.add_fault(
        method="GET", path="/fine-tune/jobs/*", effect="answer", status=503, skip=2, count=3
    )
    assert {"began", "ended"} <= set(names(create(dataset, **WAITS["on the worker"]).run_try().xcoms))


@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_records_the_job_that_it_waits_for(atai_emulator, dataset, mode):
    job_id = create(dataset).run_try().value

    def build():
        return FineTuneJobSensor(task_id="task", job_id=job_id, poke_interval=60, **MODES[mode])

    xcoms = TaskLife(build).run_try().xcoms
    record = xcoms["atai_job"]
    assert (record["job_id"], record["role"], record["waits"]) == (job_id, "wait", True)
    assert (record["datasets"], record["kill_action"], record["reattach"]) == (None, None, None)
    assert names(xcoms)[-1] == "COMPLETED"


def test_a_task_that_pushes_no_xcoms_tells_nothing(atai_emulator, dataset):
    assert create(dataset, do_xcom_push=False, **WAITS["deferred"]).run_try().xcoms == {}


def test_its_link_leads_to_the_console_instead_of_an_empty_tab(atai_emulator, dataset, console):
    outcome = create(dataset, do_xcom_push=False, **WAITS["deferred"]).run_try()
    assert outcome.xcoms == {"_link_FineTuneJobLink": f"{console}/{outcome.value}"}


@pytest.mark.parametrize("waits", WAITS)
def test_a_status_costs_one_xcom_and_the_rest_is_pushed_once(atai_emulator, dataset, console, pushes, waits):
    seen = names(create(dataset, **WAITS[waits]).run_try().xcoms)
    # The first poll tells two of them: the creation, and the status since.
    assert pushes.count("atai_statuses") <= len(seen)
    assert {pushes.count(key) for key in pushes if key != "atai_statuses"} == {1}
    assert pushes.index("atai_job") == pushes.index("return_value") + 1


def test_what_was_seen_goes_on_in_a_try_that_adopts_the_job(atai_emulator, dataset):
    life = create(dataset, **WAITS["on the worker"])
    life._store = TaskStateStore()
    atai_emulator.add_fault(
        method="GET", path="/fine-tune/jobs/*", effect="answer", status=404, skip=3, count=1
    )
    first = life.run_try()
    second = life.run_try()
    statuses = [attempt.xcoms["atai_statuses"]["statuses"] for attempt in (first, second)]
    assert statuses[1][: len(statuses[0])] == statuses[0]
    assert names(second.xcoms)[-1] == "COMPLETED"
    assert (first.xcoms["atai_job"]["try_number"], second.xcoms["atai_job"]["try_number"]) == (1, 2)


def test_what_was_seen_begins_anew_for_another_job(atai_emulator, dataset):
    atai_emulator.set_outcome("FAILED")
    life = create(dataset, **WAITS["on the worker"])
    life._store = TaskStateStore()
    first = life.run_try()
    atai_emulator.set_outcome("COMPLETED")
    second = life.run_try()
    assert first.xcoms["atai_statuses"]["job_id"] != second.xcoms["atai_statuses"]["job_id"]
    assert "FAILED" not in names(second.xcoms)


def rescheduled(dataset, job_id, store=None):
    def build():
        return FineTuneJobSensor(task_id="task", job_id=job_id, poke_interval=60, mode="reschedule")

    return TaskLife(build, store=store).run_try()


def test_a_rescheduled_sensor_tells_since_when_it_has_waited(atai_emulator, dataset):
    job_id = create(dataset).run_try().value
    outcome = rescheduled(dataset, job_id)
    ended = outcome.xcoms["atai_statuses"]["statuses"][-1]["at"]
    known_at = datetime.fromisoformat(outcome.xcoms["atai_job"]["known_at"])
    if hasattr(TaskInstance, "get_first_reschedule_date") and WORKERS_PUSH_LINKS:
        assert datetime.fromisoformat(ended) - known_at > timedelta(minutes=10)
    # Without a store, what earlier pokes have seen went with their XComs.
    assert names(outcome.xcoms)[-1] == "COMPLETED"


def test_a_rescheduled_sensor_remembers_what_it_has_seen_if_airflow_has_a_store(atai_emulator, dataset):
    job_id = create(dataset).run_try().value
    outcome = rescheduled(dataset, job_id, TaskStateStore())
    assert outcome.reschedules > 5
    assert names(outcome.xcoms) == ["REGISTERED", "RUNNING", "COMPLETED"]


@pytest.mark.skipif(not SHOWS_PLUGIN_TABS, reason="This Airflow has no tab to watch the job in")
def test_a_rescheduled_sensor_logs_the_address_once(atai_emulator, dataset, caplog, capsys):
    job_id = create(dataset).run_try().value
    caplog.clear()
    capsys.readouterr()
    rescheduled(dataset, job_id)
    assert (caplog.text + capsys.readouterr().out).count("can be watched at") == 1


@pytest.mark.parametrize("map_index", [0, 7])
def test_a_mapped_task_has_its_own_page(atai_emulator, dataset, map_index):
    life = create(dataset)
    life._map_index = map_index
    xcoms = life.run_try().xcoms
    if SHOWS_PLUGIN_TABS:
        assert xcoms["_link_FineTuneJobLink"].endswith(f"/tasks/task/mapped/{map_index}/plugin/atai-job")
    assert xcoms["atai_job"]["job_id"] == xcoms["return_value"]


class Refusing(TaskInstance):
    """Takes the XComs that the task is for, and no others."""

    def xcom_push(self, key, value):
        if key not in ("return_value", "job"):
            raise RuntimeError(f"no room for {key}")
        super().xcom_push(key, value)


def test_an_airflow_that_takes_no_record_fails_no_task(atai_emulator, dataset):
    task = CreateFineTuneJobOperator(task_id="task", name="n", datasets=[dataset], wait_for_completion=True)
    ti = Refusing()
    assert task.execute({"ti": ti}) == ti.xcoms["return_value"]


@pytest.mark.parametrize(
    ("ids", "path"),
    [
        ({}, "dags/dag/runs/run/tasks/task"),
        ({"map_index": 3}, "dags/dag/runs/run/tasks/task/mapped/3"),
        (
            {"dag_id": "d-1", "run_id": "scheduled__2026-11-23T12:00:00+00:00", "task_id": "group.task"},
            "dags/d-1/runs/scheduled__2026-11-23T12%3A00%3A00%2B00%3A00/tasks/group.task",
        ),
        ({"run_id": "a/b?c#d e<"}, "dags/dag/runs/a%2Fb%3Fc%23d%20e%3C/tasks/task"),
    ],
)
@pytest.mark.parametrize("base_url", ["https://airflow.example/air", "https://airflow.example/air/", ""])
def test_the_tab_has_an_address(ids, path, base_url):
    expected = f"{base_url.rstrip('/')}/{path}/plugin/atai-job"
    assert tab_url(TaskInstance(**ids), base_url) == expected


def test_the_links_with_and_without_a_tab():
    console = "https://console.example/job-1"
    tab = tab_url(TaskInstance(), "https://a")
    links = partial(links_of, TaskInstance(), "https://a")
    assert links(console, has_tab=True) == {"job_page_url": tab, "job_console_url": console}
    assert links(None, has_tab=True) == {"job_page_url": tab}
    assert links(console, has_tab=False) == {"job_page_url": console}
    assert links(None, has_tab=False) == {}


@pytest.mark.skipif(not SHOWS_PLUGIN_TABS, reason="This Airflow has no tab to watch the job in")
def test_the_log_says_where_the_job_can_be_watched(atai_emulator, dataset, caplog, capsys):
    outcome = create(dataset).run_try()
    logged = caplog.text + capsys.readouterr().out
    assert logged.count(f"Job {outcome.value} can be watched at ") == 1


def test_the_record_is_json(atai_emulator, dataset):
    outcome = create(dataset).run_try()
    assert json.loads(json.dumps(outcome.xcoms["atai_job"])) == outcome.xcoms["atai_job"]
