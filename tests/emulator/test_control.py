from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import time_machine

from airflow_provider_atai import __version__
from airflow_provider_atai.emulator.control import EmulatorControl, EmulatorControlError


def test_state(service: Any) -> None:
    service.created()
    service("PUT", f"/fine-tune/jobs/{service.created()['id']}/cancel")
    service.initiate("b.jsonl")
    service.control.add_fault()
    state = service.control.state()
    clock = state.pop("clock")
    assert state == {
        "version": __version__,
        "base_url": service.control.base_url,
        "jobs": {"CANCELLED": 1, "REGISTERED": 1},
        "files": 1,
        "unfinished_uploads": 1,
        "faults": 1,
    }
    assert (clock["scale"], clock["paused"]) == (1, True)


def test_the_fixture_sets_the_connection(atai_emulator: EmulatorControl) -> None:
    assert atai_emulator.connection_json == os.environ["AIRFLOW_CONN_ATAI_DEFAULT"]
    assert json.loads(atai_emulator.connection_json) == {
        "conn_type": "atai",
        "host": atai_emulator.base_url,
        "password": "sk_emulator",
    }
    assert atai_emulator.base_url == f"{atai_emulator.root_url}/v0.5"


@pytest.mark.parametrize(
    ("upper", "lower", "listed"),
    [
        (None, None, ""),
        ("a.test", None, "a.test,"),
        ("a.test", "b.test", "b.test,a.test,"),
        (None, "*", None),
    ],
)
def test_the_fixture_keeps_its_traffic_from_a_proxy(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    upper: str | None,
    lower: str | None,
    listed: str | None,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for name, value in (("NO_PROXY", upper), ("no_proxy", lower)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    control = request.getfixturevalue("atai_emulator")
    assert requests.get(f"{control.base_url}/no-such", timeout=30).status_code == 401
    expected = "*" if listed is None else f"{listed}127.0.0.1"
    assert (os.environ["NO_PROXY"], os.environ["no_proxy"]) == (expected, expected)


def test_reset_forgets_everything(service: Any) -> None:
    control = service.control
    service.created()
    service.initiate("b.jsonl")
    control.set_outcome("FAILED")
    control.set_outcome("FAILED", name="pump-states")
    control.set_switches(create_status=201)
    control.set_life(running=1)
    control.set_time_scale(50)
    control.add_fault(skip=100)
    control.set_api_key("sk_other")
    control.reset()
    state = control.state()
    assert (state["jobs"], state["files"], state["unfinished_uploads"], state["faults"]) == ({}, 0, 0, 0)
    assert (state["clock"]["scale"], state["clock"]["paused"]) == (1, False)
    assert (control.jobs(), control.files(), control.faults(), control.requests()) == ([], [], [], [])
    control.pause()
    service.upload()
    answer = service.create()
    assert answer.status_code == 200
    control.advance(30)
    assert service.job(answer.json()["id"])["status"] == "RUNNING"
    control.advance(1000)
    assert service.job(answer.json()["id"])["status"] == "COMPLETED"


def test_the_clock_runs_at_its_scale(service: Any) -> None:
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        job = service.created()
        service.control.set_time_scale(100)
        traveller.shift(1)
        assert service.job(job["id"])["status"] == "REGISTERED"
        service.control.resume()
        traveller.shift(0.04)
        assert service.job(job["id"])["status"] == "REGISTERED"
        traveller.shift(0.02)
        record = service.job(job["id"])
        assert record["status"] == "STARTING"
        created, updated = (datetime.fromisoformat(record[key]) for key in ("created_at", "updated_at"))
        # 5 seconds of the job clock, that stood still for the first second.
        assert abs(updated - created - timedelta(seconds=1.05)) < timedelta(milliseconds=1)


def test_what_a_jump_passes_happens_at_the_jump(service: Any) -> None:
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        job = service.created()
        traveller.shift(60)
        service.control.advance(700)
        record = service.job(job["id"])
        assert record["status"] == "COMPLETED"
        created, updated = (datetime.fromisoformat(record[key]) for key in ("created_at", "updated_at"))
        assert updated - created == timedelta(seconds=60)


def test_jobs_go_on_ageing_where_real_time_is_set_back(service: Any) -> None:
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        service.control.resume()
        job = service.created()
        traveller.shift(20)
        assert service.job(job["id"])["status"] == "STARTING"
        traveller.shift(timedelta(days=-2))
        assert service.job(job["id"])["status"] == "STARTING"
        traveller.shift(10)
        assert service.job(job["id"])["status"] == "RUNNING"


@pytest.mark.parametrize(
    "status", ["COMPLETED", "FAILED", "STOPPED", "CANCELLED", "STARTING", "UNKNOWN", "ODD"]
)
def test_outcome_of_the_next_job_only(service: Any, status: str) -> None:
    service.control.set_outcome(status)
    jobs = [service.created(), service.created()]
    service.control.advance(9999)
    assert [service.job(job["id"])["status"] for job in jobs] == [status, "COMPLETED"]


def test_outcomes_queue(service: Any) -> None:
    service.control.set_outcome("FAILED")
    service.control.set_outcome("CANCELLED")
    jobs = [service.created() for _ in range(3)]
    service.control.advance(9999)
    assert [service.job(job["id"])["status"] for job in jobs] == ["FAILED", "CANCELLED", "COMPLETED"]


def test_outcome_by_id_before_and_after_the_creation(service: Any) -> None:
    service.control.set_outcome("FAILED", job_id="a")
    service.created(id="a")
    service.created(id="b")
    service.control.set_outcome("STOPPED", job_id="b", at="FINALIZING")
    service.control.advance(9999)
    assert [service.job(job_id)["status"] for job_id in "ab"] == ["FAILED", "STOPPED"]


def test_outcome_by_name(service: Any) -> None:
    service.created(id="a", name="x")
    service.created(id="b", name="y")
    service.control.set_outcome("FAILED", name="x")
    service.created(id="c", name="x")
    service.control.advance(9999)
    assert [service.job(job_id)["status"] for job_id in "abc"] == ["FAILED", "COMPLETED", "FAILED"]


def test_the_latest_outcome_of_an_id_counts(service: Any) -> None:
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
def test_outcome_at_a_point_of_the_life(service: Any, at: Any, seconds: float, status: str) -> None:
    service.control.set_outcome("FAILED", at=at)
    job = service.created()
    service.control.advance(seconds)
    assert service.job(job["id"])["status"] == status


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED", "RUNNING", "ODD"])
def test_outcome_in_the_moment_of_the_creation(service: Any, status: str) -> None:
    service.control.set_outcome(status, at=0)
    job = service.created()
    assert job["status"] == service.job(job["id"])["status"] == status
    assert bool(job["inference_config_path"]) == (status == "COMPLETED")


def test_an_unlisted_status_for_a_while(service: Any) -> None:
    service.control.set_outcome("PREEMPTED", for_seconds=100)
    job = service.created()
    seen = []
    for seconds in (330, 90, 20, 300):
        service.control.advance(seconds)
        seen.append(service.job(job["id"])["status"])
    assert seen == ["PREEMPTED", "PREEMPTED", "RUNNING", "COMPLETED"]


def test_a_stuck_job_can_be_stopped_unless_it_is_stuck_in_stopping(service: Any) -> None:
    for job_id, status in (("a", "STARTING"), ("b", "STOPPING")):
        service.control.set_outcome(status, job_id=job_id)
        service.created(id=job_id)
    service.control.advance(10)
    for job_id in "ab":
        assert service("PUT", f"/fine-tune/jobs/{job_id}/stop").json()["status"] == "STOPPING"
    service.control.advance(9999)
    assert [service.job(job_id)["status"] for job_id in "ab"] == ["STOPPED", "STOPPING"]
    assert service("PUT", "/fine-tune/jobs/b/cancel").json()["status"] == "CANCELLED"


@pytest.mark.parametrize(
    "arguments", [{"status": "FAILED", "at": "LATER"}, {"status": "FAILED", "job_id": "a", "name": "b"}]
)
def test_an_outcome_that_cannot_be_is_refused(service: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(EmulatorControlError, match="HTTP 400"):
        service.control.set_outcome(**arguments)
    job = service.created()
    service.control.advance(9999)
    assert service.job(job["id"])["status"] == "COMPLETED"


def test_many_jobs_are_listed_by_status(service: Any) -> None:
    service.upload()
    for number in range(300):
        assert service.create(id=f"job-{number}").ok
        if number % 3 == 0:
            service.control.set_outcome("STARTING", job_id=f"job-{number}")
    service.control.advance(9999)
    stuck = service("GET", "/fine-tune/jobs?statuses=STARTING&limit=1000").json()
    assert len(stuck) == 100
    assert service.control.state()["jobs"] == {"COMPLETED": 200, "STARTING": 100}
