from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from airflow_provider_atai.api.fine_tune import JobMetrics
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.waiting import subscription
from airflow_provider_atai.waiting.subscription import THREADS, Subscription
from tests.harness.datasets import store_dataset


def ended_job(job_id):
    one = Subscription(job_id, interval=60, deadline=None)
    one.reader = AtaiHook()
    return one


@pytest.mark.parametrize(("asked", "given"), [(60, 60), (1, 1), (0.5, 1), (0, 1), (-5, 1), (float("nan"), 1)])
def test_no_interval_is_shorter_than_a_second(asked, given):
    assert Subscription("job-1", interval=asked, deadline=None).interval == given


def test_a_deadline_has_a_zone():
    with pytest.raises(ValueError, match="2026-12-24T18:00:00 has no time zone"):
        Subscription("job-1", interval=60, deadline=datetime(2026, 12, 24, 18))
    assert Subscription("job-1", interval=60, deadline=datetime(2026, 12, 24, 18, tzinfo=UTC)).deadline


def test_however_many_jobs_end_together_none_waits_for_the_metrics_of_others(monkeypatch):
    monkeypatch.setattr(subscription, "LAST_METRICS_SECONDS", 0.2)
    asked, may_go_on = [], threading.Event()

    def hanging(reader, job_id, **options):
        asked.append(job_id)
        may_go_on.wait(60)

    monkeypatch.setattr(subscription, "read_metrics", hanging)

    async def all_end():
        everyone = [ended_job(f"job-{number}").last_metrics() for number in range(5 * THREADS)]
        return await asyncio.wait_for(asyncio.gather(*everyone), 30)

    try:
        assert asyncio.run(all_end()) == [None] * 5 * THREADS
    finally:
        may_go_on.set()
    # What has not begun in time is never asked.
    assert len(asked) == THREADS


@pytest.mark.parametrize("broken_answers", [0, 1, 2])
def test_the_last_metrics_are_asked_for_twice(atai_emulator, broken_answers):
    atai_emulator.pause()
    AtaiHook().fine_tune.create(name="j", datasets=[store_dataset(atai_emulator)], job_id="job-1")
    atai_emulator.advance(3600)
    if broken_answers:
        atai_emulator.add_fault(path="**/metrics", effect="answer", status=500, count=broken_answers)
    metrics = asyncio.run(ended_job("job-1").last_metrics())
    assert isinstance(metrics, JobMetrics) == (broken_answers < 2)


def test_whatever_is_odd_about_the_metrics_the_wait_ends():
    class OddReader:
        fine_tune = None

    one = ended_job("job-1")
    one.reader = OddReader()
    assert asyncio.run(one.last_metrics()) is None
