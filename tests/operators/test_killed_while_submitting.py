"""
A task that is killed before it knows its job. Airflow calls ``on_kill`` in the middle of whatever the process
is doing, and the process goes on for some seconds before it is gone.
"""

from __future__ import annotations

import pytest

from airflow_provider_atai.api.transport import Transport
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.waiting.policy import Ending
from airflow_provider_atai.waiting.result import WaitResult
from tests.harness.datasets import store_dataset
from tests.harness.task_instance import TaskInstance
from tests.harness.task_life import TaskLife

JOBS = "/fine-tune/jobs"


class ProcessGone(BaseException):
    pass


@pytest.fixture
def emulator(atai_emulator, clock):
    atai_emulator.dataset = store_dataset(atai_emulator)
    return atai_emulator


@pytest.fixture
def kill_at(monkeypatch):
    """Call a task's on_kill before or after its n-th request of a method."""

    def arrange(task, when, method, number=1, *, gone=False):
        exchange = Transport.exchange
        seen = []

        def kill():
            monkeypatch.setattr(Transport, "exchange", exchange)
            task.on_kill()
            if gone:
                raise ProcessGone

        def observed(transport, sent, url, **arguments):
            seen.append(sent)
            hit = sent == method and seen.count(method) == number
            if hit and when == "before":
                kill()
            answer = exchange(transport, sent, url, **arguments)
            if hit and when == "after":
                kill()
            return answer

        monkeypatch.setattr(Transport, "exchange", observed)

    return arrange


@pytest.fixture
def task(emulator):
    def build(**arguments):
        return CreateFineTuneJobOperator(
            **{"task_id": "fine_tune", "name": "pump-states", "datasets": [emulator.dataset], **arguments}
        )

    return build


def run(task):
    try:
        return TaskLife(lambda: task).run_try()
    except ProcessGone:
        return None


def statuses(emulator):
    return [job["status"] for job in emulator.jobs()]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_during_the_lookup_prevents_the_post(emulator, task, kill_at, when):
    killed = task()
    kill_at(killed, when, "GET")
    assert run(killed).state != "success"
    assert statuses(emulator) == []


def test_a_kill_prevents_a_second_post(emulator, task, kill_at):
    emulator.add_fault(method="POST", path=JOBS, effect="drop_before", count=1)
    killed = task()
    kill_at(killed, "after", "GET", 2)
    run(killed)
    assert statuses(emulator) == []
    assert len(emulator.requests(method="POST", path=f"*{JOBS}")) == 1


@pytest.mark.parametrize(("action", "status"), [("cancel", "CANCELLED"), ("stop", "STOPPING")])
def test_a_job_whose_post_is_under_way_is_ended(emulator, task, kill_at, action, status):
    killed = task(kill_action=action)
    # The job does not exist yet, so on_kill cannot find it.
    kill_at(killed, "before", "POST")
    run(killed)
    assert statuses(emulator) == [status]


def test_a_job_whose_post_is_under_way_is_left_with_kill_action_leave(emulator, task, kill_at):
    killed = task(kill_action="leave")
    kill_at(killed, "before", "POST")
    run(killed)
    assert statuses(emulator) == ["REGISTERED"]


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("switch", ["conflict", "return_record"])
def test_the_job_of_an_earlier_try_is_ended(emulator, task, kill_at, when, gone, switch):
    emulator.set_switches(terminal_action=switch)
    run(task())
    killed = task()
    kill_at(killed, when, "GET", gone=gone)
    run(killed)
    assert statuses(emulator) == ["CANCELLED"]


def test_the_job_of_a_later_generation_is_ended(emulator, task, kill_at):
    emulator.set_outcome("FAILED", at=0)
    run(task())
    run(task())
    assert statuses(emulator) == ["FAILED", "REGISTERED"]
    killed = task()
    kill_at(killed, "before", "GET", gone=True)
    run(killed)
    assert statuses(emulator) == ["FAILED", "CANCELLED"]


def test_no_generation_is_tried_after_a_completed_job(emulator, task, kill_at):
    run(task())
    emulator.advance(3600)
    killed = task()
    kill_at(killed, "before", "GET", gone=True)
    run(killed)
    assert statuses(emulator) == ["COMPLETED"]
    assert [entry["path"].rpartition("-")[2] for entry in emulator.requests(method="PUT")] == ["1/cancel"]


def test_an_unreachable_service_is_asked_once(emulator, task, kill_at):
    fault = emulator.add_fault(method="PUT", path=f"{JOBS}/**", effect="drop_before", count=None)
    killed = task()
    kill_at(killed, "before", "GET", gone=True)
    run(killed)
    assert emulator.fired(fault) == 1


def test_a_task_killed_while_it_resumes_after_a_timeout_ends_its_job(emulator, task, kill_at):
    run(task())
    killed = task(wait_for_completion=True)
    kill_at(killed, "before", "GET", gone=True)
    context = {"ti": TaskInstance(task_id="fine_tune")}
    with pytest.raises(ProcessGone):
        killed.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert statuses(emulator) == ["CANCELLED"]


def test_a_task_killed_during_its_timeout_action_ends_its_job(emulator, task, kill_at):
    run(task())
    killed = task(wait_for_completion=True, timeout_action="stop", kill_action="cancel")
    kill_at(killed, "before", "PUT", gone=True)
    job_id = emulator.jobs()[0]["id"]
    event = WaitResult(Ending.TIMED_OUT, job_id, status="REGISTERED").to_event()
    with pytest.raises(ProcessGone):
        killed.execute_complete({"ti": TaskInstance(task_id="fine_tune")}, event, job_id)
    assert statuses(emulator) == ["CANCELLED"]
