"""What Airflow says about a task that is killed or resumed, and what the task does with its job then."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.compat import task_state
from airflow_provider_atai.compat.sdk import AirflowTaskTimeout
from airflow_provider_atai.compat.task_state import (
    broken_deferral,
    is_execution_timeout,
    is_tried_again,
    read_task_state,
    was_cleared,
)
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.harness.datasets import store_dataset
from tests.harness.task_life import TaskLife

TRIED_AGAIN = (None, "restarting", "up_for_retry", "scheduled", "queued", "deferred")
NOT_TRIED_AGAIN = ("failed", "success", "skipped", "removed", "upstream_failed")


@pytest.fixture
def answers():
    """What Airflow answers to a task that asks for its own state."""
    with mock.patch.object(task_state, "query_task_state", autospec=True) as query:
        yield query


def on_airflow_2(state):
    return SimpleNamespace(current_state=lambda: state)


@pytest.mark.parametrize("ti", [SimpleNamespace(), None])
@pytest.mark.parametrize("state", TRIED_AGAIN + NOT_TRIED_AGAIN)
def test_the_state_tells_whether_a_task_is_tried_again(answers, ti, state):
    answers.return_value = state
    assert is_tried_again(ti) == (state in TRIED_AGAIN)


@pytest.mark.parametrize("state", TRIED_AGAIN + NOT_TRIED_AGAIN)
def test_airflow_2_is_asked_through_the_task_instance(answers, state):
    assert is_tried_again(on_airflow_2(state)) == (state in TRIED_AGAIN)
    answers.assert_not_called()


@pytest.mark.parametrize(
    ("try_number", "max_tries", "tried_again"), [(1, 0, False), (1, 1, True), (2, 2, True), (3, 2, False)]
)
@pytest.mark.parametrize("answer", ["running", RuntimeError])
def test_a_running_task_is_tried_again_while_it_has_tries_left(
    answers, answer, try_number, max_tries, tried_again
):
    answers.side_effect = [answer]
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries)
    assert is_tried_again(ti) is tried_again


@pytest.mark.parametrize("state", NOT_TRIED_AGAIN)
def test_a_task_ended_by_a_person_is_not_tried_again_whatever_it_has_left(answers, state):
    answers.return_value = state
    assert is_tried_again(SimpleNamespace(try_number=1, max_tries=5)) is False


def test_a_late_answer_is_not_waited_for(answers, monkeypatch):
    never = threading.Event()
    answers.side_effect = lambda ti: never.wait(60) or "restarting"
    monkeypatch.setattr(task_state, "_SECONDS_TO_ASK", 0.01)
    assert is_tried_again(SimpleNamespace()) is False
    never.set()


def create(emulator, **arguments):
    return CreateFineTuneJobOperator(
        task_id="fine_tune", name="pump-states", datasets=[store_dataset(emulator)], **arguments
    )


@pytest.mark.parametrize(("state", "status"), [("restarting", "REGISTERED"), ("failed", "CANCELLED")])
def test_a_cleared_task_leaves_its_job_to_the_next_try(atai_emulator, clock, answers, state, status):
    answers.return_value = state
    task = create(atai_emulator)
    TaskLife(lambda: task).run_try()
    task.on_kill()
    assert [job["status"] for job in atai_emulator.jobs()] == [status]


def test_a_drained_worker_leaves_its_job_to_the_next_try(atai_emulator, clock, answers):
    answers.return_value = "running"
    processes = [create(atai_emulator), create(atai_emulator)]
    first, second = processes
    life = TaskLife(lambda: processes.pop(0), max_tries=1)
    life.run_try()
    first.on_kill()
    assert life.run_try().state == "success"
    assert [job["status"] for job in atai_emulator.jobs()] == ["REGISTERED"]
    second.on_kill()
    assert [job["status"] for job in atai_emulator.jobs()] == ["CANCELLED"]


@pytest.mark.parametrize("state", ["restarting", "running"])
def test_a_job_that_no_next_try_adopts_is_ended(atai_emulator, clock, answers, state):
    answers.return_value = state
    task = create(atai_emulator, reattach=False)
    TaskLife(lambda: task, max_tries=1).run_try()
    task.on_kill()
    assert [job["status"] for job in atai_emulator.jobs()] == ["CANCELLED"]


class TestStateOfADeferredTask:
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


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger/execution timeout"])
def test_a_deferral_that_airflow_timed_out(error):
    broken = broken_deferral("__fail__", {"error": error})
    assert broken.timed_out
    assert broken.reason == error


def test_a_deferral_whose_trigger_broke():
    broken = broken_deferral("__fail__", {"error": "Trigger failure", "traceback": ["a", "b"]})
    assert not broken.timed_out
    assert broken.describe("It may still run.").endswith("broke (Trigger failure). It may still run.\na\nb")


def test_a_broken_deferral_without_details_is_not_a_timeout():
    assert not broken_deferral("__fail__", None).timed_out


def test_a_trigger_that_fired_is_not_broken():
    assert broken_deferral("execute_complete", {"event": {"error": "timeout"}}) is None


class TestExecutionTimeout:
    """Airflow calls ``on_kill`` in the handler of the exception that its alarm has raised."""

    @pytest.mark.parametrize(("raised", "told"), [(AirflowTaskTimeout, True), (KeyboardInterrupt, False)])
    def test_it_is_told_by_the_exception_that_is_handled(self, raised, told):
        try:
            raise raised
        except BaseException:
            assert is_execution_timeout() is told
        assert is_execution_timeout() is False
