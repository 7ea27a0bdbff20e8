"""
Airflow's alarm for ``execution_timeout`` goes off on a worker: a call has hung for longer than the task's own
deadline comes before it.
"""

from __future__ import annotations

import pytest

from airflow_provider_atai.api.transport import Transport
from airflow_provider_atai.compat.sdk import AirflowFailException, AirflowTaskTimeout
from airflow_provider_atai.errors import FineTuneJobTimeoutError
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from tests.harness.task_instance import TaskInstance
from tests.harness.task_life import TaskLife

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
JOBS = "/fine-tune/jobs"


def create(**arguments):
    return CreateFineTuneJobOperator(
        **{"task_id": "fine_tune", "name": "pump-states", "datasets": [TRAIN], **arguments}
    )


def life(**arguments):
    return TaskLife(lambda: create(**arguments))


@pytest.fixture
def alarm_at(monkeypatch):
    """Let Airflow's alarm for execution_timeout go off in the n-th request of a method."""

    def arrange(method, number):
        exchange = Transport.exchange
        seen = []

        def interrupted(transport, sent, url, **arguments):
            seen.append(sent)
            if sent == method and seen.count(method) == number:
                raise AirflowTaskTimeout("Timeout")
            return exchange(transport, sent, url, **arguments)

        monkeypatch.setattr(Transport, "exchange", interrupted)

    return arrange


def as_airflow_does(task, context):
    try:
        task.execute(context)
    except AirflowTaskTimeout:
        task.on_kill()
        raise


def too_late(task):
    try:
        raise AirflowTaskTimeout
    except AirflowTaskTimeout:
        task.on_kill()
        raise


class TestTheAlarm:
    @pytest.mark.parametrize(
        ("action", "status"), [("stop", "STOPPING"), ("cancel", "CANCELLED"), ("leave", "RUNNING")]
    )
    def test_the_job_gets_the_timeout_action_and_the_task_is_not_retried(
        self, emulator, alarm_at, action, status
    ):
        alarm_at("GET", 3)
        task = TaskLife(lambda: create(timeout_action=action, wait_for_completion=True), max_tries=2)
        outcome = task.run_try()
        assert isinstance(outcome.error.__cause__, FineTuneJobTimeoutError)
        assert outcome.state == "failed"
        assert emulator.jobs()[0]["status"] == status

    def test_it_is_ended_even_if_the_alarm_interrupts_the_timeout_action(self, emulator, alarm_at):
        alarm_at("PUT", 1)
        outcome = life(timeout=300, wait_for_completion=True).run_try()
        assert outcome.state == "failed"
        assert emulator.jobs()[0]["status"] == "STOPPING"

    def test_a_job_that_has_completed_is_a_success(self, emulator, alarm_at):
        # The look-up, the first poll and its metrics come before the poll that hangs.
        alarm_at("GET", 4)
        emulator.set_outcome("COMPLETED")
        emulator.set_life(registered=0, starting=0, running=1, finalizing=0)
        assert life(wait_for_completion=True).run_try().state == "success"

    def test_a_job_that_cannot_be_read_gets_the_timeout_action(self, emulator, alarm_at):
        alarm_at("GET", 3)
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, skip=2, count=None)
        outcome = life(wait_for_completion=True).run_try()
        assert outcome.state == "failed"
        assert emulator.jobs()[0]["status"] == "STOPPING"

    @pytest.mark.parametrize(
        ("max_tries", "status"), [(0, "STOPPING"), (1, "REGISTERED")], ids=["last try", "retried"]
    )
    def test_before_the_wait_the_job_is_left_to_the_next_try(self, emulator, alarm_at, max_tries, status):
        life().run_try()
        alarm_at("GET", 1)
        task = create(kill_action="cancel", timeout_action="stop", wait_for_completion=True)
        ti = TaskInstance(task_id="fine_tune", max_tries=max_tries)
        ti.current_state = lambda: "running"
        task.pre_execute({"ti": ti})
        with pytest.raises(AirflowTaskTimeout):
            as_airflow_does(task, {"ti": ti})
        assert emulator.jobs()[0]["status"] == status

    @pytest.mark.parametrize("max_tries", [0, 1])
    def test_a_task_that_resumes_too_late_takes_the_timeout_action(self, emulator, max_tries):
        ti = TaskInstance(task_id="fine_tune", max_tries=max_tries)
        create().execute({"ti": ti})
        task = create(wait_for_completion=True, deferrable=True)
        task.pre_execute({"ti": ti})
        with pytest.raises(AirflowFailException, match="not finished at its deadline") as raised:
            too_late(task)
        assert isinstance(raised.value.__cause__, FineTuneJobTimeoutError)
        assert emulator.jobs()[0]["status"] == "STOPPING"

    def test_a_task_that_resumes_too_late_leaves_its_completed_job_to_a_retry(self, emulator):
        ti = TaskInstance(task_id="fine_tune")
        create().execute({"ti": ti})
        emulator.advance(3600)
        task = create(wait_for_completion=True, deferrable=True)
        task.pre_execute({"ti": ti})
        with pytest.raises(AirflowTaskTimeout):
            too_late(task)
        assert emulator.requests(method="PUT") == []

    def test_a_resumed_task_that_is_killed_takes_the_kill_action(self, emulator):
        ti = TaskInstance(task_id="fine_tune")
        create().execute({"ti": ti})
        task = create(wait_for_completion=True, deferrable=True)
        task.pre_execute({"ti": ti})
        task.on_kill()
        assert emulator.jobs()[0]["status"] == "CANCELLED"

    def test_no_call_near_the_deadline_takes_longer_than_what_is_left(self, emulator, clock, monkeypatch):
        exchange, limits = Transport.exchange, []
        deadline = clock.now.timestamp() + 250

        def observed(transport, method, url, *, timeout, **arguments):
            limits.append((deadline - clock.now.timestamp(), timeout))
            return exchange(transport, method, url, timeout=timeout, **arguments)

        monkeypatch.setattr(Transport, "exchange", observed)
        life(timeout=250, poll_interval=115, wait_for_completion=True).run_try()
        waits = [(left, limit) for left, limit in limits[2:-1] if limit != (10.0, 10.0)]
        assert waits == [(250, (10.0, 60.0)), (135, (10.0, 60.0)), (20, (10.0, 20.0)), (0, (5.0, 5.0))]
