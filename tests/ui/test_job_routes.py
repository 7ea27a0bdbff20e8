"""What the routes of one task's job say, whatever the service, the XComs and the database hold."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from airflow_provider_atai.ui.readings import Readings
from tests.ui.conftest import add_task, record, statuses

pytestmark = pytest.mark.ui

JOBS = "**/fine-tune/jobs/**"
METRICS = "**/fine-tune/jobs/*/metrics"


def answers(emulator, content, path=METRICS):
    return emulator.add_fault(
        path=path, effect="answer", status=200, count=None, body="json", content=content
    )


def get(web, path):
    answer = web.client("viewer").get(path)
    assert answer.status_code == 200, answer.text
    # Strictly: NaN and infinity are not JSON.
    return json.loads(answer.text, parse_constant=pytest.fail)


def test_a_training_job(web, task, job):
    page = get(web, f"{task}/job")
    shown = page["job"]
    assert (shown["job_id"], shown["status"], shown["active"], shown["stale"]) == (
        job.id,
        "RUNNING",
        True,
        False,
    )
    assert shown["datasets"][0]["file_ids"] == ["train.csv"]
    assert shown["inference_config_path"] is None
    assert page["remote"]["state"] == "ok"
    assert [entry["status"] for entry in page["timeline"]] == ["REGISTERED", "RUNNING"]
    assert (page["explanation"], page["disagreement"]) == (None, None)
    assert page["poll_seconds"] > 0


def test_a_finished_job(web, dag_id, job, atai_emulator):
    atai_emulator.advance(3600)
    path = add_task(dag_id, state="success", xcoms={"atai_job": record(job.id)})
    page = get(web, f"{path}/job")
    assert (page["job"]["status"], page["job"]["active"]) == ("COMPLETED", False)
    assert page["job"]["inference_config_path"]
    created, updated = (datetime.fromisoformat(page["job"][key]) for key in ("created_at", "updated_at"))
    assert page["job"]["seconds"] == (updated - created).total_seconds()
    assert page["poll_seconds"] == 0
    assert page["actions"]["stop"]["reason"] == "The job is over."


def test_a_task_that_has_not_noticed_the_end_is_watched_on(web, task, atai_emulator):
    atai_emulator.advance(3600)
    page = get(web, f"{task}/job")
    assert "has not noticed yet" in page["disagreement"]
    assert page["poll_seconds"] > 0


def test_training_is_quiet_since_its_last_step_was_first_seen(job, atai_emulator, monkeypatch):
    from airflow_provider_atai.ui import service

    monkeypatch.setattr(service, "_metrics", Readings(max_age=0.0))
    first, second = (service.read_metrics("atai_default", job.id).step_seen_at for _ in range(2))
    assert first == second
    atai_emulator.advance(200)
    assert service.read_metrics("atai_default", job.id).step_seen_at > second


def test_a_failed_job_says_why_and_what_a_retry_will_do(web, dag_id, job, atai_emulator):
    atai_emulator.set_outcome("FAILED", job_id=job.id, at=0)
    path = add_task(dag_id, state="failed", xcoms={"atai_job": record(job.id)})
    why = get(web, f"{path}/job")["explanation"]
    assert "FAILED. It no longer runs" in why["what"]
    assert why["retry"] == "A retry of this task starts a new job, which is paid for again."


def test_a_task_without_a_job(web, dag_id):
    running, ended = add_task(dag_id), add_task(dag_id, state="success")
    assert get(web, f"{running}/job")["job"] is None
    assert get(web, f"{running}/job")["poll_seconds"] > 0
    assert get(web, f"{ended}/job")["poll_seconds"] == 0
    assert get(web, f"{ended}/metrics")["records"] == 0


def test_a_mapped_task(web, dag_id, job):
    path = add_task(dag_id, map_index=3, xcoms={"atai_job": record(job.id)})
    assert get(web, f"{path}/job?map_index=3")["job"]["job_id"] == job.id
    assert web.client("viewer").get(f"{path}/job").status_code == 404


@pytest.mark.parametrize("run_id", ["scheduled__2026-11-23T12:00:00+00:00", "a b", "a/b", "<script>"])
def test_any_run_has_a_path(web, dag_id, job, run_id):
    from urllib.parse import quote

    add_task(dag_id, run_id, xcoms={"atai_job": record(job.id)})
    path = f"/atai/v1/dags/{dag_id}/runs/{quote(run_id, safe='')}/tasks/fine_tune"
    assert get(web, f"{path}/job")["task"]["run_id"] == run_id
    assert get(web, f"/atai/v1/dags/{dag_id}/jobs?run_id={quote(run_id, safe='')}")["jobs"]


@pytest.mark.parametrize(
    "value",
    [
        *(None, 5, "x", "{", [], {}, {"job_id": "j"}, {"job_id": "..", "atai_conn_id": "atai_default"}),
        *({"job_id": 5, "atai_conn_id": "atai_default"}, {"job_id": "j", "atai_conn_id": 5}),
        {"__classname__": "elsewhere.Reference", "__data__": "s3://bucket/xcom"},
    ],
)
def test_a_record_that_cannot_be_read_is_no_job(web, dag_id, value):
    path = add_task(dag_id, xcoms={"atai_job": value})
    assert get(web, f"{path}/job")["job"] is None


def test_a_record_that_was_stored_as_text_is_read(web, dag_id, job):
    path = add_task(dag_id, xcoms={"atai_job": json.dumps(record(job.id))})
    assert get(web, f"{path}/job")["job"]["job_id"] == job.id


@pytest.mark.parametrize(
    "value", [None, 5, "x", {"job_id": "another", "statuses": []}, {"statuses": [{"status": 5}]}]
)
def test_a_history_that_cannot_be_read_is_empty(web, dag_id, job, value):
    path = add_task(dag_id, xcoms={"atai_job": record(job.id), "atai_statuses": value})
    assert [entry["status"] for entry in get(web, f"{path}/job")["timeline"]][-1] == "RUNNING"


def test_ten_tabs_make_one_call(web, task, job, atai_emulator):
    atai_emulator.clear_requests()
    tabs = [web.client("viewer") for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda tab: tab.get(f"{task}/job").json()["job"]["status"], tabs))
        points = list(pool.map(lambda tab: tab.get(f"{task}/metrics").json()["records"], tabs))
    assert found == ["RUNNING"] * 10
    assert len(set(points)) == 1
    assert len(atai_emulator.requests(path=f"*/fine-tune/jobs/{job.id}")) == 1
    assert len(atai_emulator.requests(path=f"*/fine-tune/jobs/{job.id}/metrics")) == 1


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [(500, "errors", "unreachable"), (401, "errors", "refused"), (404, "errors", "not_found")],
)
def test_a_service_that_does_not_answer(web, task, job, atai_emulator, status, body, state):
    atai_emulator.add_fault(path=JOBS, status=status, body=body, count=None)
    page = get(web, f"{task}/job")
    assert page["remote"]["state"] == state
    assert page["remote"]["detail"]
    # What the task has recorded is still there.
    assert (page["job"]["status"], page["job"]["stale"]) == ("RUNNING", True)
    assert page["job"]["datasets"]
    assert get(web, f"{task}/metrics")["remote"]["state"] == state


def test_a_service_that_answers_again(web, task, job, atai_emulator, no_readings):
    from airflow_provider_atai.ui import service

    fault = atai_emulator.add_fault(path=JOBS, status=503, body="errors", count=1)
    assert get(web, f"{task}/job")["remote"]["state"] == "unreachable"
    assert atai_emulator.fired(fault) == 1
    service._jobs._max_age = 0
    try:
        assert get(web, f"{task}/job")["remote"]["state"] == "ok"
    finally:
        service._jobs._max_age = 4.0


def test_a_connection_that_airflow_does_not_know(web, dag_id, job):
    path = add_task(dag_id, xcoms={"atai_job": record(job.id, atai_conn_id="missing_one")})
    page = get(web, f"{path}/job")
    assert page["remote"]["state"] == "no_connection"
    assert page["actions"]["stop"]["allowed"] is False


def test_a_hundred_thousand_records_are_reduced(web, task, job, atai_emulator):
    records = [{"step": n, "loss": 1 + (n == 77_777) * 50, "wall_time_sec": n} for n in range(100_000)]
    answers(atai_emulator, {"last_checkpoint_step": 99_999, "metrics": records})
    answer = web.client("viewer").get(f"{task}/metrics")
    page = answer.json()
    loss = page["series"]["loss"]
    assert (page["records"], loss["total"]) == (100_000, 100_000)
    assert len(loss["value"]) <= 1000
    assert max(loss["value"]) == 51
    assert len(answer.content) < 100_000
    assert len(page["checkpoints"]) == 50


@pytest.mark.parametrize(
    ("record_", "unusable"),
    [
        ({"step": 1, "loss": "NaN"}, 1),
        ({"step": 1, "loss": None}, 0),
        ({"step": "one", "loss": 1}, 1),
        ({"step": 1, "loss": [1]}, 1),
        ({"step": 1, "loss": True}, 1),
        ({"step": 1, "loss": 10**400}, 1),
        ({}, 0),
    ],
)
def test_a_record_with_anything_in_it(web, task, job, atai_emulator, record_, unusable):
    answers(atai_emulator, {"last_checkpoint_step": 2, "metrics": [record_, {"step": 2, "loss": 0.5}]})
    page = get(web, f"{task}/metrics")
    assert page["unusable"] == unusable
    assert page["series"]["loss"]["value"][-1] == 0.5


def test_a_status_that_is_markup_stays_text(web, task, job, atai_emulator):
    answers(atai_emulator, {"id": job.id, "status": "<script>alert(1)</script>", "name": "<b>x</b>"}, JOBS)
    page = get(web, f"{task}/job")
    assert page["job"]["status"] == "<script>alert(1)</script>"
    assert page["job"]["active"] is True


def test_an_action_that_the_service_refuses(web, task, job, atai_emulator):
    atai_emulator.add_fault(path="**/stop", status=409, body="errors", count=None)
    answer = web.client("user").post(f"{task}/stop", json={"job_id": job.id})
    assert answer.status_code == 409
    assert "does not stop the job" in answer.json()["detail"]


def test_an_action_that_may_have_been_taken(web, task, job, atai_emulator):
    atai_emulator.add_fault(path="**/cancel", status=503, body="errors", count=None)
    answer = web.client("user").post(f"{task}/cancel", json={"job_id": job.id})
    assert answer.status_code == 502
    assert "unclear" in answer.json()["detail"]


def test_after_an_action_the_status_is_read_again(web, task, job):
    assert get(web, f"{task}/job")["job"]["status"] == "RUNNING"
    answer = web.client("user").post(f"{task}/cancel", json={"job_id": job.id})
    assert answer.json()["status"] == "CANCELLED"
    assert get(web, f"{task}/job")["job"]["status"] == "CANCELLED"


def test_an_estimate_comes_from_earlier_jobs(web, dag_id, job, atai_emulator):
    names = ("REGISTERED", *["RUNNING"] * 30, "COMPLETED")
    add_task(dag_id, xcoms={"atai_job": record("before"), "atai_statuses": statuses("before", *names)})
    path = add_task(dag_id, xcoms={"atai_job": record(job.id)})
    estimate = get(web, f"{path}/job")["estimate"]
    assert estimate["from_jobs"] == 1
    # The earlier one took 31 minutes; this one runs for 200 seconds.
    assert 1500 < estimate["seconds_left"] <= 31 * 60
