"""What a task that is killed on its worker does, by the state that Airflow says the task has."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.operators import next_try
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.operators.next_try import is_tried_again
from airflow_provider_atai.triggers import task_state
from tests.task_life import TaskLife, clock, store_dataset  # noqa: F401

TRIED_AGAIN = (None, "restarting", "up_for_retry", "scheduled", "queued", "deferred")
NOT_TRIED_AGAIN = ("failed", "success", "skipped", "removed", "running")


@pytest.fixture
def answers():
    """What Airflow answers to a task that asks for its own state."""
    with mock.patch.object(task_state, "query_task_state", autospec=True) as query:
        yield query


def on_airflow_2(state):
    return SimpleNamespace(current_state=lambda: state)


@pytest.mark.parametrize("ti", [SimpleNamespace(), None])
@pytest.mark.parametrize("state", TRIED_AGAIN + NOT_TRIED_AGAIN)
def test_the_state_tells(answers, ti, state):
    answers.return_value = state
    assert is_tried_again(ti) == (state in TRIED_AGAIN)


@pytest.mark.parametrize("state", TRIED_AGAIN + NOT_TRIED_AGAIN)
def test_airflow_2_is_asked_through_the_task_instance(answers, state):
    assert is_tried_again(on_airflow_2(state)) == (state in TRIED_AGAIN)
    answers.assert_not_called()


def test_no_answer_is_none(answers):
    answers.side_effect = RuntimeError
    assert is_tried_again(SimpleNamespace()) is False


def test_an_answer_that_does_not_come_is_not_waited_for(answers, monkeypatch):
    never = threading.Event()
    answers.side_effect = lambda ti: never.wait(60) or "restarting"
    monkeypatch.setattr(next_try, "_SECONDS_TO_ASK", 0.01)
    assert is_tried_again(SimpleNamespace()) is False
    never.set()


@pytest.mark.parametrize(("state", "status"), [("restarting", "REGISTERED"), ("failed", "CANCELLED")])
def test_a_cleared_task_leaves_its_job_to_the_next_try(atai_emulator, clock, answers, state, status):  # noqa: F811
    answers.return_value = state
    task = CreateFineTuneJobOperator(
        task_id="fine_tune", name="pump-states", datasets=[store_dataset(atai_emulator)]
    )
    TaskLife(lambda: task).run_try()
    task.on_kill()
    assert [job["status"] for job in atai_emulator.jobs()] == [status]
