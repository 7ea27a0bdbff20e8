from __future__ import annotations

import pytest

from airflow_provider_atai.emulator.clock import JobClock, microseconds, whole_seconds


def test_clock_runs_at_its_scale():
    clock = JobClock(wall=100, job=7, scale=60)
    assert clock.at(100) == 7
    assert clock.at(102) == 127


def test_clock_does_not_run_backwards_with_real_time():
    assert JobClock(wall=100, job=7).at(50) == 7


def test_clock_continues_if_real_time_is_set_back():
    assert JobClock(wall=100, job=7, scale=2).set_back(50, latest=110) == JobClock(wall=50, job=27, scale=2)


@pytest.mark.parametrize(
    ("change", "at_110", "at_120"),
    [
        ({}, 10, 20),
        ({"scale": 5}, 10, 60),
        ({"paused": True}, 10, 10),
        ({"advance": 1000}, 1010, 1020),
        ({"advance": 1000, "paused": True}, 1010, 1010),
    ],
)
def test_changed_clock_runs_on_from_the_change(change, at_110, at_120):
    clock = JobClock(wall=100).changed(110, **change)
    assert (clock.at(110), clock.at(120)) == (at_110, at_120)


def test_resumed_clock_has_its_old_scale():
    paused = JobClock(wall=0, scale=10).changed(1, paused=True)
    assert paused.changed(5, paused=False).at(6) == 20


@pytest.mark.parametrize(
    ("clock", "job", "wall"),
    [
        (JobClock(wall=100, job=10, scale=4), 50, 110),
        (JobClock(wall=100, job=10, scale=4), 10, 100),
        # The clock jumped past 3, to 10, at 100.
        (JobClock(wall=100, job=10, scale=4), 3, 100),
        (JobClock(wall=100, job=10, paused=True), 3, 100),
    ],
)
def test_reached_is_the_real_instant_of_a_job_time(clock, job, wall):
    assert clock.reached(job) == wall


def test_timestamps_have_the_documented_forms():
    assert microseconds(1777300338.421) == "2026-04-27T14:32:18.421000Z"
    assert microseconds(1777300338) == "2026-04-27T14:32:18.000000Z"
    assert whole_seconds(1777300338.9) == "2026-04-27T14:32:18Z"
