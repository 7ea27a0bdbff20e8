"""What a task that is killed on its worker does, by the state that Airflow says the task has."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.compat import next_try, task_state
from airflow_provider_atai.compat.next_try import is_tried_again
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
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
def test_the_state_tells(answers, ti, state):
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
def test_a_task_that_something_else_kills_is_tried_again_while_it_has_tries(
    answers, answer, try_number, max_tries, tried_again
):
    answers.side_effect = [answer]
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries)
    assert is_tried_again(ti) is tried_again


@pytest.mark.parametrize("state", NOT_TRIED_AGAIN)
def test_a_task_that_a_person_has_ended_is_not_tried_again_whatever_it_has_left(answers, state):
    answers.return_value = state
    assert is_tried_again(SimpleNamespace(try_number=1, max_tries=5)) is False


def test_an_answer_that_does_not_come_is_not_waited_for(answers, monkeypatch):
    never = threading.Event()
    answers.side_effect = lambda ti: never.wait(60) or "restarting"
    monkeypatch.setattr(next_try, "_SECONDS_TO_ASK", 0.01)
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


def test_a_worker_that_is_drained_makes_nobody_pay_twice(atai_emulator, clock, answers):
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
def test_a_job_that_no_next_try_goes_on_with_is_ended(atai_emulator, clock, answers, state):
    answers.return_value = state
    task = create(atai_emulator, reattach=False)
    TaskLife(lambda: task, max_tries=1).run_try()
    task.on_kill()
    assert [job["status"] for job in atai_emulator.jobs()] == ["CANCELLED"]
