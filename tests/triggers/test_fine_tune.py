from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from unittest import mock

import pytest
from airflow.providers.common.compat import connection

from airflow_provider_atai.compat import task_state
from airflow_provider_atai.compat.task_state import read_task_state, was_cleared
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.triggers import fine_tune
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.harness.datasets import store_dataset

ARGUMENTS = {
    "job_id": "job-1",
    "atai_conn_id": "other",
    "poll_interval": 5.0,
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


def test_it_is_the_same_after_the_way_to_the_triggerer():
    path, arguments = FineTuneJobTrigger(**ARGUMENTS).serialize()
    assert path == "airflow_provider_atai.triggers.fine_tune.FineTuneJobTrigger"
    assert json.loads(json.dumps(arguments)) == ARGUMENTS
    assert FineTuneJobTrigger(**arguments).serialize() == (path, arguments)


def test_what_is_left_out_has_a_default():
    assert FineTuneJobTrigger(job_id="job-1").serialize()[1] == {
        "job_id": "job-1",
        "atai_conn_id": "atai_default",
        "poll_interval": 60.0,
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


def test_a_restart_goes_on_with_the_same_job_and_touches_nothing(atai_emulator, job):
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


def test_a_connection_that_cannot_be_used_ends_the_wait(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", '{"conn_type": "atai"}')

    async def run():
        return await anext(FineTuneJobTrigger(job_id="job-1").run())

    payload = asyncio.run(run()).payload
    assert payload["ending"] == "refused"
    assert "has no API key" in payload["reason"]


def test_a_secrets_backend_that_fails_for_a_while_is_an_outage(atai_emulator, job, clock, monkeypatch):
    get = connection.get_async_connection
    attempts = []

    async def failing(*arguments, **named):
        attempts.append(arguments)
        if len(attempts) < 4:
            raise OSError("the vault is sealed")
        return await get(*arguments, **named)

    monkeypatch.setattr(connection, "get_async_connection", failing)
    atai_emulator.advance(3600)

    async def run():
        return await anext(FineTuneJobTrigger(job_id="job-1").run())

    assert asyncio.run(run()).payload["ending"] == "completed"
    assert len(attempts) == 4


class TestKill:
    def kill(self, task_state, **arguments):
        trigger = FineTuneJobTrigger(job_id="job-1", **arguments)
        with mock.patch.object(fine_tune, "read_task_state", autospec=True, return_value=task_state):
            asyncio.run(trigger.on_kill())

    @pytest.mark.parametrize("state", ["failed", "success", "skipped"])
    @pytest.mark.parametrize(
        ("action", "after"), [("cancel", "CANCELLED"), ("stop", "STOPPED"), ("leave", "REGISTERED")]
    )
    def test_a_task_marked_by_a_person(self, atai_emulator, job, state, action, after):
        self.kill((True, state), kill_action=action)
        atai_emulator.advance(0 if action == "leave" else 4)
        assert status(atai_emulator) in (after, "STOPPING" if after == "STOPPED" else after)

    @pytest.mark.parametrize("state", [None, "scheduled", "queued", "running", "up_for_retry", "deferred"])
    def test_a_cleared_task_keeps_its_job(self, atai_emulator, job, state):
        self.kill((True, state), kill_action="cancel")
        assert atai_emulator.requests(method="PUT") == []

    def test_a_cleared_task_whose_next_try_makes_a_job_of_its_own_ends_this_one(self, atai_emulator, job):
        self.kill((True, "scheduled"), kill_action="cancel", reattach=False)
        assert status(atai_emulator) == "CANCELLED"

    def test_where_airflow_does_not_tell_the_job_is_ended(self, atai_emulator, job):
        self.kill((False, None), kill_action="cancel")
        assert status(atai_emulator) == "CANCELLED"

    def test_the_default_leaves_the_job(self, atai_emulator, job):
        self.kill((True, "failed"))
        assert atai_emulator.requests(method="PUT") == []

    def test_a_job_that_is_over_is_fine(self, atai_emulator, job):
        atai_emulator.advance(3600)
        self.kill((True, "failed"), kill_action="cancel")
        assert status(atai_emulator) == "COMPLETED"

    def test_it_asks_once_and_does_not_wait_for_the_end(self, atai_emulator, job):
        fault = atai_emulator.add_fault(method="PUT", effect="answer", status=503, count=None)
        self.kill((True, "failed"), kill_action="stop")
        assert atai_emulator.fired(fault) == 1


class TestTaskState:
    def read(self, monkeypatch, states, *, map_index=-1):
        task_runner = pytest.importorskip(
            "airflow.sdk.execution_time.task_runner", reason="Airflow 2 does not tell a trigger"
        )
        asked = mock.create_autospec(task_runner.RuntimeTaskInstance.get_task_states, return_value=states)
        monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_task_states", staticmethod(asked))
        trigger = FineTuneJobTrigger(job_id="job-1")
        trigger._task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=map_index)
        answer = asyncio.run(read_task_state(trigger))
        asked.assert_called_once_with(dag_id="d", task_ids=["t"], run_ids=["r"], map_index=map_index)
        return answer

    def test_a_plain_task(self, monkeypatch):
        assert self.read(monkeypatch, {"r": {"t": "failed"}}) == (True, "failed")

    def test_a_mapped_task(self, monkeypatch):
        assert self.read(monkeypatch, {"r": {"t_3": "success"}}, map_index=3) == (True, "success")

    def test_a_task_just_cleared(self, monkeypatch):
        assert self.read(monkeypatch, {"r": {"t": None}}) == (True, None)

    def test_a_task_that_airflow_does_not_know(self, monkeypatch):
        assert self.read(monkeypatch, {}) == (False, None)

    def test_an_answer_that_fails_is_asked_for_again(self, monkeypatch):
        states = iter([OSError("the API server is away"), "queued"])

        def query(ti):
            state = next(states)
            if isinstance(state, Exception):
                raise state
            return state

        monkeypatch.setattr(task_state, "query_task_state", query)
        monkeypatch.setattr(task_state, "_PAUSE", 0)
        trigger = FineTuneJobTrigger(job_id="job-1")
        trigger._task_instance = SimpleNamespace()
        assert asyncio.run(read_task_state(trigger)) == (True, "queued")

    def test_without_a_triggerer(self):
        assert asyncio.run(read_task_state(FineTuneJobTrigger(job_id="job-1"))) == (False, None)

    @pytest.mark.parametrize(
        ("known", "state", "cleared"),
        [
            (True, None, True),
            (True, "queued", True),
            (True, "failed", False),
            (True, "success", False),
            (False, None, False),
        ],
    )
    def test_was_cleared(self, known, state, cleared):
        assert was_cleared(known, state) is cleared
