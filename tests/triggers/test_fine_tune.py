from __future__ import annotations

import asyncio
import json
import threading
from unittest import mock

import pytest

from airflow_provider_atai.errors import RetryableError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.triggers import fine_tune
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from airflow_provider_atai.waiting import subscription
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.subscription import METRICS_THREADS, THREADS
from airflow_provider_atai.waiting.watch import JobWatch
from tests.harness.datasets import store_dataset

ARGUMENTS = {
    "job_id": "job-1",
    "atai_conn_id": "other",
    "poll_interval": 5.0,
    "max_interval": 40.0,
    "deadline": "2026-11-23T13:00:00+00:00",
    "outage_tolerance": 60.0,
    "kill_action": "stop",
    "reattach": False,
    "known_to_exist": True,
    "before_timeout": 300.0,
    "end_task": True,
    "accept_stopped": True,
    "push_xcom": False,
}


@pytest.fixture
def job(atai_emulator):
    atai_emulator.pause()
    return AtaiHook().fine_tune.create(name="j", datasets=[store_dataset(atai_emulator)], job_id="job-1")


def status(emulator):
    return emulator.jobs()[0]["status"]


def test_a_trigger_survives_its_serialisation():
    path, arguments = FineTuneJobTrigger(**ARGUMENTS).serialize()
    assert path == "airflow_provider_atai.triggers.fine_tune.FineTuneJobTrigger"
    assert json.loads(json.dumps(arguments)) == ARGUMENTS
    assert FineTuneJobTrigger(**arguments).serialize() == (path, arguments)


def test_arguments_have_defaults():
    assert FineTuneJobTrigger(job_id="job-1").serialize()[1] == {
        "job_id": "job-1",
        "atai_conn_id": "atai_default",
        "poll_interval": 60.0,
        "max_interval": None,
        "deadline": None,
        "outage_tolerance": 1800.0,
        "kill_action": "leave",
        "reattach": True,
        "known_to_exist": False,
        "before_timeout": None,
        "end_task": False,
        "accept_stopped": False,
        "push_xcom": True,
    }


@pytest.mark.parametrize("deadline", ["2026-12-24T18:00:00", "2026-12-24", "tomorrow", "", 1.5])
def test_a_deadline_without_a_zone_is_refused(deadline):
    # Airflow's triggerer outlives a TypeError of a constructor, and no other error.
    with pytest.raises(TypeError, match="ISO 8601 time with its zone"):
        FineTuneJobTrigger(job_id="job-1", deadline=deadline)


def test_an_error_that_nobody_foresaw_ends_one_wait_alone(atai_emulator, job, monkeypatch):
    AtaiHook().fine_tune.create(name="j", datasets=job.config["datasets"], job_id="job-2")
    judge = JobWatch.judge

    def picky(watch, seen, now):
        if watch.job_id == "job-2":
            raise KeyError("boom")
        return judge(watch, seen, now)

    monkeypatch.setattr(JobWatch, "judge", picky)

    async def run():
        good = asyncio.create_task(anext(FineTuneJobTrigger(job_id="job-1", poll_interval=1).run()))
        odd = await anext(FineTuneJobTrigger(job_id="job-2", poll_interval=1).run())
        await asyncio.to_thread(atai_emulator.advance, 3600)
        return (await good).payload, odd.payload

    good, odd = asyncio.run(run())
    assert good["ending"] == "completed"
    error = WaitResult.from_event(odd, job_id="job-2").error("What a retry does.")
    assert isinstance(error, RetryableError)
    assert "unknown state" in str(error)
    assert "KeyError('boom')" in str(error)
    assert "may still run and bill" in str(error)


# The metrics of a job that left nothing to use are not read at all.
@pytest.mark.parametrize(("outcome", "seconds"), [("COMPLETED", 0.2), ("FAILED", 3600)])
def test_metrics_that_hang_hold_up_no_end(atai_emulator, job, monkeypatch, outcome, seconds):
    atai_emulator.set_outcome(outcome, name="j")
    atai_emulator.advance(3600)
    may_go_on, asked = threading.Event(), []
    monkeypatch.setattr(subscription, "LAST_METRICS_SECONDS", seconds)
    monkeypatch.setattr(subscription, "read_metrics", lambda *call, **options: asked.append(call))
    blocking = [METRICS_THREADS.submit(may_go_on.wait, 60) for _ in range(THREADS)]

    async def run():
        return await asyncio.wait_for(anext(FineTuneJobTrigger(job_id="job-1").run()), 30)

    try:
        payload = asyncio.run(run()).payload
    finally:
        may_go_on.set()
    assert payload["ending"] == outcome.lower()
    assert payload["summary"]["metrics"] is None
    assert [one.result() for one in blocking] == [True] * THREADS
    assert asked == []


def test_a_restart_resumes_with_the_same_job_and_touches_nothing(atai_emulator, job):
    async def cut_short():
        trigger = FineTuneJobTrigger(job_id=job.id, poll_interval=0.02, kill_action="cancel")
        waiting = asyncio.create_task(anext(trigger.run()))
        while len(await asyncio.to_thread(atai_emulator.requests, "GET", f"*/{job.id}")) < 3:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.cleanup()
        return trigger.serialize()

    _, arguments = asyncio.run(cut_short())
    assert atai_emulator.requests(method="PUT") == []

    async def again():
        await asyncio.to_thread(atai_emulator.advance, 3600)
        return await anext(FineTuneJobTrigger(**arguments).run())

    assert asyncio.run(again()).payload["ending"] == "completed"


def test_an_unusable_connection_ends_the_wait(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", '{"conn_type": "atai"}')

    async def run():
        return await anext(FineTuneJobTrigger(job_id="job-1").run())

    payload = asyncio.run(run()).payload
    assert payload["ending"] == "refused"
    assert "has no API key" in payload["reason"]


class TestKill:
    def kill(self, task_state, **arguments):
        trigger = FineTuneJobTrigger(job_id="job-1", **arguments)
        with mock.patch.object(fine_tune, "read_task_state", autospec=True, return_value=task_state):
            asyncio.run(trigger.on_kill())

    @pytest.mark.parametrize("state", ["failed", "success", "skipped"])
    @pytest.mark.parametrize(
        ("action", "after"), [("cancel", "CANCELLED"), ("stop", "STOPPED"), ("leave", "REGISTERED")]
    )
    def test_a_task_marked_by_a_person_gets_its_kill_action(self, atai_emulator, job, state, action, after):
        self.kill((True, state), kill_action=action)
        atai_emulator.advance(0 if action == "leave" else 4)
        assert status(atai_emulator) in (after, "STOPPING" if after == "STOPPED" else after)

    @pytest.mark.parametrize("state", [None, "scheduled", "queued", "running", "up_for_retry", "deferred"])
    def test_a_cleared_task_keeps_its_job(self, atai_emulator, job, state):
        self.kill((True, state), kill_action="cancel")
        assert atai_emulator.requests(method="PUT") == []

    def test_a_cleared_task_ends_its_job_if_each_try_has_its_own(self, atai_emulator, job):
        self.kill((True, "scheduled"), kill_action="cancel", reattach=False)
        assert status(atai_emulator) == "CANCELLED"

    def test_a_job_is_ended_if_airflow_does_not_tell_the_state(self, atai_emulator, job):
        self.kill((False, None), kill_action="cancel")
        assert status(atai_emulator) == "CANCELLED"

    def test_the_default_leaves_the_job(self, atai_emulator, job):
        self.kill((True, "failed"))
        assert atai_emulator.requests(method="PUT") == []

    def test_a_terminal_job_stays_as_it_is(self, atai_emulator, job):
        atai_emulator.advance(3600)
        self.kill((True, "failed"), kill_action="cancel")
        assert status(atai_emulator) == "COMPLETED"

    def test_it_asks_once_and_does_not_wait_for_the_end(self, atai_emulator, job):
        fault = atai_emulator.add_fault(method="PUT", effect="answer", status=503, count=None)
        self.kill((True, "failed"), kill_action="stop")
        assert atai_emulator.fired(fault) == 1
