"""Jobs become what their outcome says."""

from __future__ import annotations

import pytest
import requests

from airflow_provider_atai.emulator.control import EmulatorControlError


@pytest.mark.parametrize(
    "status", ["COMPLETED", "FAILED", "STOPPED", "CANCELLED", "STARTING", "UNKNOWN", "ODD"]
)
def test_outcome_without_id_or_name_is_for_the_next_job_only(service, status):
    service.control.set_outcome(status)
    jobs = [service.created(), service.created()]
    service.control.advance(9999)
    assert [service.job(job["id"])["status"] for job in jobs] == [status, "COMPLETED"]


def test_outcomes_for_next_jobs_queue_up(service):
    service.control.set_outcome("FAILED")
    service.control.set_outcome("CANCELLED")
    jobs = [service.created() for _ in range(3)]
    service.control.advance(9999)
    assert [service.job(job["id"])["status"] for job in jobs] == ["FAILED", "CANCELLED", "COMPLETED"]


def test_outcome_by_id_works_before_and_after_the_creation(service):
    service.control.set_outcome("FAILED", job_id="a")
    service.created(id="a")
    service.created(id="b")
    service.control.set_outcome("STOPPED", job_id="b", at="FINALIZING")
    service.control.advance(9999)
    assert [service.job(job_id)["status"] for job_id in "ab"] == ["FAILED", "STOPPED"]


def test_outcome_by_name_is_for_all_jobs_of_the_name(service):
    service.created(id="a", name="x")
    service.created(id="b", name="y")
    service.control.set_outcome("FAILED", name="x")
    service.created(id="c", name="x")
    service.control.advance(9999)
    assert [service.job(job_id)["status"] for job_id in "abc"] == ["FAILED", "COMPLETED", "FAILED"]


def test_latest_outcome_for_an_id_wins(service):
    service.control.set_outcome("FAILED", job_id="a")
    service.control.set_outcome("STARTING", job_id="a")
    service.created(id="a")
    service.control.advance(9999)
    assert service.job("a")["status"] == "STARTING"
    service.control.set_outcome("COMPLETED", job_id="a", inference_config=False)
    record = service.job("a")
    assert (record["status"], record["inference_config_path"]) == ("COMPLETED", None)


@pytest.mark.parametrize(
    ("at", "seconds", "status"),
    [("STARTING", 14, "STARTING"), ("STARTING", 16, "FAILED"), (40, 39, "RUNNING"), (40, 41, "FAILED")],
)
def test_outcome_happens_at_its_moment(service, at, seconds, status):
    service.control.set_outcome("FAILED", at=at)
    job = service.created()
    service.control.advance(seconds)
    assert service.job(job["id"])["status"] == status


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED", "RUNNING", "ODD"])
def test_outcome_can_happen_at_the_creation(service, status):
    service.control.set_outcome(status, at=0)
    job = service.created()
    assert job["status"] == service.job(job["id"])["status"] == status
    assert bool(job["inference_config_path"]) == (status == "COMPLETED")


def test_unlisted_status_shows_for_a_while(service):
    service.control.set_outcome("PREEMPTED", for_seconds=100)
    job = service.created()
    seen = []
    for seconds in (330, 90, 20, 300):
        service.control.advance(seconds)
        seen.append(service.job(job["id"])["status"])
    assert seen == ["PREEMPTED", "PREEMPTED", "RUNNING", "COMPLETED"]


def test_stuck_job_can_be_stopped_unless_it_is_stuck_in_stopping(service):
    for job_id, status in (("a", "STARTING"), ("b", "STOPPING")):
        service.control.set_outcome(status, job_id=job_id)
        service.created(id=job_id)
    service.control.advance(10)
    for job_id in "ab":
        assert service("PUT", f"/fine-tune/jobs/{job_id}/stop").json()["status"] == "STOPPING"
    service.control.advance(9999)
    assert [service.job(job_id)["status"] for job_id in "ab"] == ["STOPPED", "STOPPING"]
    assert service("PUT", "/fine-tune/jobs/b/cancel").json()["status"] == "CANCELLED"


@pytest.mark.parametrize("before", [5, 330], ids=["before it stops by itself", "while it shows STOPPING"])
@pytest.mark.parametrize("at", [None, "RUNNING"])
def test_stop_ends_a_job_that_only_shows_stopping_for_a_while(service, before, at):
    service.control.set_outcome("STOPPING", at=at, for_seconds=10)
    service.created(id="a")
    service.control.advance(before)
    assert service("PUT", "/fine-tune/jobs/a/stop").json()["status"] == "STOPPING"
    service.control.advance(9 if before == 5 else 4)
    assert service.job("a")["status"] == "STOPPING"
    service.control.advance(2)
    assert service.job("a")["status"] == "STOPPED"
    service.control.advance(9999)
    assert service.job("a")["status"] == "STOPPED"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("FAILED", "FAILED"),
        ("CANCELLED", "CANCELLED"),
        ("COMPLETED", "COMPLETED"),
        ("STOPPED", "STOPPED"),
        ("STARTING", "STOPPED"),
        ("UNKNOWN", "STOPPED"),
    ],
)
def test_outcome_after_a_stop_cannot_make_the_job_run_again(service, outcome, status):
    service.created(id="a")
    service.control.advance(100)
    service("PUT", "/fine-tune/jobs/a/stop")
    service.control.set_outcome(outcome, job_id="a")
    assert service.job("a")["status"] == "STOPPING"
    service.control.advance(5)
    assert service.job("a")["status"] == status
    service.control.advance(9999)
    assert service.job("a")["status"] == status


def test_terminal_outcome_ends_a_job_that_is_stuck_in_stopping(service):
    service.control.set_outcome("STOPPING", at=0)
    service.created(id="a")
    service.control.set_outcome("STOPPED", job_id="a", inference_config=True)
    record = service.job("a")
    assert (record["status"], bool(record["inference_config_path"])) == ("STOPPED", True)


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"status": "RUNNING", "for_seconds": 30}, [200, 400, 600, 800, 1000]),
        ({"status": "COMPLETED", "at": 35}, [200, 400, 600, 800, 1000]),
        ({"status": "RUNNING", "for_seconds": 3000}, [200, 400, 600, 800, 1000]),
        # It was never RUNNING.
        ({"status": "COMPLETED", "at": 10}, []),
        ({"status": "FAILED", "at": 25 + 130}, [200]),
    ],
)
@pytest.mark.parametrize("created_first", [False, True])
def test_completed_training_has_all_checkpoints_however_short_it_was(
    service, arguments, steps, created_first
):
    if created_first:
        service.created(id="a")
    service.control.set_outcome(job_id="a", **arguments)
    if not created_first:
        service.created(id="a")
    service.control.advance(9999)
    metrics = service("GET", "/fine-tune/jobs/a/metrics").json()["metrics"]
    assert [record["step"] for record in metrics] == steps


def test_stopping_a_short_training_keeps_its_checkpoints(service):
    service.control.set_outcome("RUNNING", for_seconds=30)
    service.created(id="a")
    service.control.advance(25 + 20)
    before = service("GET", "/fine-tune/jobs/a/metrics").json()
    assert before["last_checkpoint_step"] == 600
    service("PUT", "/fine-tune/jobs/a/stop")
    service.control.advance(9999)
    assert service("GET", "/fine-tune/jobs/a/metrics").json() == before


@pytest.mark.parametrize("change", ['"at": -1', '"for_seconds": -1', '"at": 1e999', '"for_seconds": 1e999'])
def test_outcome_with_an_impossible_moment_is_refused(service, change):
    url = f"{service.control.root_url}/_emulator/outcomes"
    body = f'{{"outcome": {{"status": "UNKNOWN", {change}}}}}'
    assert requests.post(url, data=body, headers={"Content-Type": "application/json"}).status_code == 422
    service.created(id="a")
    service.control.advance(9999)
    assert service.job("a")["status"] == "COMPLETED"


@pytest.mark.parametrize(
    "arguments", [{"status": "FAILED", "at": "LATER"}, {"status": "FAILED", "job_id": "a", "name": "b"}]
)
def test_impossible_outcome_is_refused(service, arguments):
    with pytest.raises(EmulatorControlError, match="HTTP 400"):
        service.control.set_outcome(**arguments)
    job = service.created()
    service.control.advance(9999)
    assert service.job(job["id"])["status"] == "COMPLETED"
