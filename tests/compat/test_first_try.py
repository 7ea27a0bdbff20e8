from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_atai.compat.first_try import first_try_start
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from tests.harness.task_instance import TaskStateStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def sensor(**arguments):
    return FineTuneJobSensor(task_id="wait", job_id="job-1", **{"retries": 2, **arguments})


def context(store=None, *, max_tries=2, first_reschedule=None):
    ti = SimpleNamespace(max_tries=max_tries, get_first_reschedule_date=lambda context: first_reschedule)
    return {"ti": ti, **({} if store is None else {"task_state_store": store})}


@pytest.mark.parametrize("mode", [{"mode": "poke"}, {"deferrable": True}])
def test_a_retry_counts_from_the_first_try(mode):
    store = TaskStateStore()
    assert first_try_start(sensor(**mode), context(store), NOW) == NOW
    assert first_try_start(sensor(**mode), context(store), LATER) == NOW


def test_a_cleared_task_counts_anew_although_the_store_is_kept():
    store = TaskStateStore()
    first_try_start(sensor(), context(store), NOW)
    # Airflow raises max_tries when it clears a task, here after two tries.
    assert first_try_start(sensor(), context(store, max_tries=4), LATER) == LATER


def test_without_retries_nothing_is_stored():
    store = TaskStateStore()
    assert first_try_start(sensor(retries=0), context(store), NOW) == NOW
    assert store == {}


def test_without_a_store_each_try_counts_anew():
    assert first_try_start(sensor(), context(), LATER) == LATER


@pytest.mark.parametrize("first_reschedule", [None, NOW])
def test_a_rescheduled_sensor_is_told_by_airflow(first_reschedule):
    started = first_try_start(
        sensor(mode="reschedule"), context(TaskStateStore(), first_reschedule=first_reschedule), LATER
    )
    assert started == (first_reschedule or LATER)


def test_airflow_2_does_not_tell():
    bare = {"ti": SimpleNamespace(max_tries=2)}
    assert first_try_start(sensor(mode="reschedule"), bare, LATER) == LATER
