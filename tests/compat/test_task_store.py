from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.compat.task_store import first_try_start, kept_job, remember_job
from tests.harness.task_instance import TaskStateStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def start(context, now, *, retries=2, reschedules=False):
    return first_try_start(context, now, retries=retries, reschedules=reschedules)


def context(store=None, *, max_tries=2, first_reschedule=None):
    ti = SimpleNamespace(max_tries=max_tries, get_first_reschedule_date=lambda context: first_reschedule)
    return {"ti": ti, **({} if store is None else {"task_state_store": store})}


def test_a_retry_counts_from_the_first_try():
    store = TaskStateStore()
    assert start(context(store), NOW) == NOW
    assert start(context(store), LATER) == NOW


def test_a_cleared_task_counts_anew_although_the_store_is_kept():
    store = TaskStateStore()
    start(context(store), NOW)
    # Airflow raises max_tries when it clears a task, here after two tries.
    assert start(context(store, max_tries=4), LATER) == LATER


def test_without_retries_nothing_is_stored():
    store = TaskStateStore()
    assert start(context(store), NOW, retries=0) == NOW
    assert store == {}


def test_without_a_store_each_try_counts_anew():
    assert start(context(), LATER) == LATER


@pytest.mark.parametrize("first_reschedule", [None, NOW])
def test_a_rescheduled_sensor_is_told_by_airflow(first_reschedule):
    kept = context(TaskStateStore(), first_reschedule=first_reschedule)
    started = start(kept, LATER, reschedules=True)
    assert started == (first_reschedule or LATER)


def test_airflow_2_does_not_tell():
    bare = {"ti": SimpleNamespace(max_tries=2)}
    assert start(bare, LATER, reschedules=True) == LATER


JOB = {"asked": "a-1", "id": "x", "made": True}


def test_a_job_is_kept_for_the_next_try():
    kept = context(TaskStateStore())
    assert kept_job(kept) is None
    assert remember_job(kept, JOB) is True
    assert kept_job(kept) == JOB


def test_without_a_store_no_job_is_kept():
    assert remember_job(context(), JOB) is False
    assert kept_job(context()) is None


def test_what_is_stored_already_is_not_stored_again():
    store = mock.Mock(spec=["get", "set"])
    store.get.return_value = dict(JOB)
    assert remember_job(context(store), JOB) is True
    store.set.assert_not_called()


def test_what_another_version_has_stored_is_no_job():
    assert kept_job(context(TaskStateStore(atai_job="job-1"))) is None
