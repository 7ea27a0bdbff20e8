"""The lists: a sweep, the earlier runs of a task, and all jobs."""

from __future__ import annotations

import pytest

from tests.ui.conftest import add_task, record, statuses

pytestmark = pytest.mark.ui


def add(dag_id, job_id, *names, run_id=None, task_id="fine_tune", map_index=-1, role="create"):
    xcoms = {"atai_job": record(job_id, role=role), "atai_statuses": statuses(job_id, *names)}
    return add_task(dag_id, run_id, task_id, map_index, xcoms=xcoms, state="success")


def get(web, path):
    answer = web.client("viewer").get(f"/atai/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(page):
    return [row["job_id"] for row in page["jobs"]]


def test_the_jobs_of_a_sweep(web, dag_id, no_readings):
    for index in range(3):
        add(dag_id, f"{dag_id}-{index}", "REGISTERED", "COMPLETED", run_id="sweep", map_index=index)
    add(dag_id, f"{dag_id}-other", "COMPLETED", run_id="another")
    page = get(web, f"dags/{dag_id}/jobs?run_id=sweep")
    assert ids(page) == [f"{dag_id}-{index}" for index in range(3)]
    assert {row["status"] for row in page["jobs"]} == {"COMPLETED"}


def test_a_sensor_that_waits_for_a_job_of_the_run_is_not_another_job(web, dag_id, no_readings):
    add(dag_id, f"{dag_id}-1", "COMPLETED", run_id="r", task_id="fine_tune")
    add(dag_id, f"{dag_id}-1", "COMPLETED", run_id="r", task_id="wait", role="wait")
    add(dag_id, f"{dag_id}-2", "COMPLETED", run_id="r", task_id="wait_for_other", role="wait")
    page = get(web, f"dags/{dag_id}/jobs?run_id=r")
    assert [row["task_id"] for row in page["jobs"]] == ["fine_tune", "wait_for_other"]


def test_the_earlier_runs_of_a_task_page_by_page(web, dag_id, no_readings):
    for number in range(12):
        add(dag_id, f"{dag_id}-{number}", "COMPLETED")
    found, before = [], ""
    for _ in range(4):
        page = get(web, f"dags/{dag_id}/jobs?task_id=fine_tune&limit=5{before}")
        found += ids(page)
        if page["next_before"] is None:
            break
        before = f"&before={page['next_before'].replace('+', '%2B')}"
    assert found == [f"{dag_id}-{number}" for number in reversed(range(12))]


def test_a_dag_offers_its_tasks(web, dag_id, no_readings):
    add(dag_id, f"{dag_id}-1", "COMPLETED", task_id="small")
    add(dag_id, f"{dag_id}-2", "COMPLETED", task_id="large")
    page = get(web, f"dags/{dag_id}/jobs")
    assert (page["tasks"], page["task_id"]) == (["large", "small"], "large")
    assert ids(get(web, f"dags/{dag_id}/jobs?task_id=small")) == [f"{dag_id}-1"]
    assert get(web, f"dags/{dag_id}/jobs?task_id=unknown")["jobs"] == []


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("active", ["RUNNING", "ODD", "STOPPING"]),
        ("completed", ["COMPLETED"]),
        ("failed", ["FAILED"]),
        ("cancelled", ["CANCELLED"]),
        ("stopped", ["STOPPED"]),
    ],
)
def test_the_list_is_filtered_by_state(web, dag_id, no_readings, state, kept):
    names = ("RUNNING", "COMPLETED", "FAILED", "CANCELLED", "STOPPED", "ODD", "STOPPING")
    for name in names:
        add(dag_id, f"{dag_id}-{name}", "REGISTERED", name)
    page = get(web, f"jobs?state={state}&limit=100")
    mine = {row["job_id"] for row in page["jobs"] if row["dag_id"] == dag_id}
    assert mine == {f"{dag_id}-{name}" for name in kept}


def test_the_list_shows_each_job_once_page_by_page(web, dag_id, no_readings):
    for number in range(25):
        add(dag_id, f"{dag_id}-{number}", "COMPLETED")
    found, before = [], ""
    while True:
        page = get(web, f"jobs?limit=10{before}")
        found += [row["job_id"] for row in page["jobs"] if row["dag_id"] == dag_id]
        if page["next_before"] is None:
            break
        before = f"&before={page['next_before'].replace('+', '%2B')}"
    assert found == [f"{dag_id}-{number}" for number in reversed(range(25))]


def test_active_jobs_are_looked_up(web, dag_id, job, atai_emulator):
    add(dag_id, job.id, "REGISTERED")
    for _ in range(3):
        (row,) = [row for row in get(web, "jobs")["jobs"] if row["dag_id"] == dag_id]
        assert (row["status"], row["stale"]) == ("RUNNING", False)
    assert len(atai_emulator.requests(path=f"*/fine-tune/jobs/{job.id}")) == 1


def test_a_slow_service_makes_the_list_older_not_slower(web, dag_id, job, atai_emulator, monkeypatch):
    from airflow_provider_atai.ui import list_routes

    monkeypatch.setattr(list_routes, "_REFRESH_SECONDS", 0.05)
    atai_emulator.add_fault(path=f"**/fine-tune/jobs/{job.id}", effect="delay", delay=1.0, count=None)
    add(dag_id, job.id, "REGISTERED")
    (row,) = [row for row in get(web, "jobs")["jobs"] if row["dag_id"] == dag_id]
    assert (row["status"], row["stale"]) == ("REGISTERED", True)


@pytest.mark.parametrize("query", ["state=x", "limit=0", "limit=1000", "before=soon", "limit=x"])
def test_a_wrong_question_is_refused(web, query):
    assert web.client("viewer").get(f"/atai/v1/jobs?{query}").status_code == 422
