from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
import requests
import time_machine

from airflow_provider_atai import __version__


def test_state_counts_jobs_files_uploads_and_faults(service):
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


def test_fixture_sets_the_connection(atai_emulator):
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
def test_fixture_keeps_its_traffic_from_a_proxy(
    request,
    monkeypatch,
    upper,
    lower,
    listed,
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for name, value in (("NO_PROXY", upper), ("no_proxy", lower)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    control = request.getfixturevalue("atai_emulator")
    assert requests.get(f"{control.base_url}/no-such", timeout=30).status_code == 401
    expected = "*" if listed is None else f"{listed}127.0.0.1"
    assert (os.environ["NO_PROXY"], os.environ["no_proxy"]) == (expected, expected)


def test_reset_forgets_everything(service):
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


def test_job_clock_runs_at_its_scale(service):
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
        # 5 seconds of a job clock that was paused for the first second.
        assert abs(updated - created - timedelta(seconds=1.05)) < timedelta(milliseconds=1)


def test_changes_that_a_jump_passes_happen_at_the_jump(service):
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        job = service.created()
        traveller.shift(60)
        service.control.advance(700)
        record = service.job(job["id"])
        assert record["status"] == "COMPLETED"
        created, updated = (datetime.fromisoformat(record[key]) for key in ("created_at", "updated_at"))
        assert updated - created == timedelta(seconds=60)


def test_jobs_keep_ageing_if_real_time_is_set_back(service):
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        service.control.resume()
        job = service.created()
        traveller.shift(20)
        assert service.job(job["id"])["status"] == "STARTING"
        traveller.shift(timedelta(days=-2))
        assert service.job(job["id"])["status"] == "STARTING"
        traveller.shift(10)
        assert service.job(job["id"])["status"] == "RUNNING"


@pytest.mark.parametrize("action", ["stop", "cancel", "set_outcome"])
def test_request_changes_updated_at_even_while_the_clock_is_paused(service, action):
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        service.control.pause()
        service.created(id="a")
        traveller.shift(60)
        if action == "set_outcome":
            service.control.set_outcome("FAILED", job_id="a", at=0)
        else:
            service("PUT", f"/fine-tune/jobs/a/{action}")
        record = service.job("a")
        created, updated = (datetime.fromisoformat(record[key]) for key in ("created_at", "updated_at"))
        assert record["status"] != "REGISTERED"
        assert updated - created == timedelta(seconds=60)
        # A planned change happens when the clock reaches it.
        traveller.shift(60)
        service.control.advance(9999)
        updated = datetime.fromisoformat(service.job("a")["updated_at"])
        assert updated - created == timedelta(seconds=120 if action == "stop" else 60)


def test_updated_at_does_not_go_back_with_a_time_traveller(service):
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        job = service.created()
        traveller.shift(timedelta(days=-2))
        record = service("PUT", f"/fine-tune/jobs/{job['id']}/cancel").json()
        assert record["updated_at"] == job["updated_at"]


def test_switch_does_not_change_what_happened_before(service):
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        service.control.resume()
        service.created(id="a")
        traveller.shift(9999)
        service.control.set_switches(completed_inference_config=False)
        assert service.job("a")["inference_config_path"]


def test_many_jobs_are_listed_by_status(service):
    service.upload()
    for number in range(300):
        assert service.create(id=f"job-{number}").ok
        if number % 3 == 0:
            service.control.set_outcome("STARTING", job_id=f"job-{number}")
    service.control.advance(9999)
    stuck = service("GET", "/fine-tune/jobs?statuses=STARTING&limit=1000").json()
    assert len(stuck) == 100
    assert service.control.state()["jobs"] == {"COMPLETED": 200, "STARTING": 100}
