"""
Airflow, or its secrets backend, cannot be asked for the connection while a job runs and bills.

Airflow then says "isn't defined", as of a connection that was never there. The first is an outage like any
other, and only the second is final.
"""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_atai.compat.sdk import WORKERS_PUSH_LINKS
from airflow_provider_atai.errors import FineTuneJobUnreachableError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.operators.fine_tune import CancelFineTuneJobOperator, CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.harness.task_life import TaskLife

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
SEALED = OSError("the vault is sealed")
MODES = {"poke": {}, "reschedule": {"mode": "reschedule"}, "deferred": {"deferrable": True}}
# In Airflow 2, the database is one of the sources of connections.
pytestmark = [] if WORKERS_PUSH_LINKS else pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def job(emulator):
    return AtaiHook().fine_tune.create(name="j", datasets=[TRAIN], job_id="job-1")


@pytest.fixture(params=MODES)
def wait(request):
    def build():
        return FineTuneJobSensor(task_id="wait", job_id="job-1", timeout=90_000, **MODES[request.param])

    return lambda: TaskLife(build).run_try()


def event(**arguments):
    async def run():
        return await anext(FineTuneJobTrigger(job_id="job-1", **arguments).run())

    return asyncio.run(run()).payload


def create():
    return CreateFineTuneJobOperator(task_id="create", name="j", datasets=[TRAIN], wait_for_completion=True)


class TestVaultSealed:
    def test_for_a_while_a_trigger_waits(self, emulator, job, vault):
        vault(*[SEALED] * 8, emulator.connection_json)
        assert event()["ending"] == "completed"

    def test_for_too_long_a_trigger_gives_up_after_the_tolerance(self, job, vault, clock):
        start = clock.now
        vault(SEALED)
        ended = event(outage_tolerance=600)
        assert ended["ending"] == "unreachable"
        assert "the vault is sealed" in ended["reason"]
        assert (clock.now - start).total_seconds() == pytest.approx(600, abs=1)

    def test_for_a_while_a_sensor_waits(self, emulator, job, vault, wait):
        vault(*[SEALED] * 8, emulator.connection_json)
        assert wait().state == "success"

    def test_for_too_long_a_sensor_fails_and_is_retried(self, job, vault, wait):
        vault(SEALED)
        outcome = wait()
        assert outcome.state == "up_for_retry"
        assert isinstance(outcome.error, FineTuneJobUnreachableError)
        assert "may still run" in str(outcome.error)

    @pytest.mark.parametrize(
        "build", [create, lambda: CancelFineTuneJobOperator(task_id="cancel", job_id="job-1")]
    )
    def test_a_task_on_a_worker_is_retried(self, emulator, job, vault, build):
        vault(*[SEALED] * 2, emulator.connection_json)
        life = TaskLife(build)
        outcome = life.run_try()
        assert outcome.state == "up_for_retry"
        assert "Airflow cannot read the connection 'atai_default': Vault could not be asked" in str(
            outcome.error
        )
        assert life.run_try().state == "success"


class TestNeverThere:
    def test_a_trigger_ends_at_once(self, job, vault, clock):
        start = clock.now
        vault(None)
        ended = event()
        assert ended["ending"] == "refused"
        assert "Airflow knows no connection 'atai_default'" in ended["reason"]
        assert clock.now == start

    def test_a_sensor_fails(self, job, vault, wait):
        vault(None)
        outcome = wait()
        assert outcome.state == "failed"
        assert "Airflow knows no connection 'atai_default'" in str(outcome.error)

    def test_a_task_on_a_worker_fails(self, emulator, vault):
        vault(None)
        outcome = TaskLife(create).run_try()
        assert outcome.state == "failed"
        assert "Add a connection of type Archetype AI" in str(outcome.error)
        assert emulator.jobs() == []


class TestGone:
    """Some backends answer "there is none" while they are out of order, and people replace connections."""

    def test_for_a_while_the_trigger_of_a_known_job_waits(self, emulator, job, vault):
        vault(*[None] * 6, emulator.connection_json)
        assert event(known_to_exist=True)["ending"] == "completed"

    def test_for_too_long_the_trigger_of_a_known_job_gives_up(self, job, vault):
        vault(None)
        ended = event(known_to_exist=True)
        assert ended["ending"] == "unreachable"
        assert "Airflow knows no connection" in ended["reason"]
