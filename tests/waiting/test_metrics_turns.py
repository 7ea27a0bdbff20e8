from __future__ import annotations

from airflow_provider_atai.waiting.metrics_turns import take_metrics_turns


def test_first_metrics_turns_are_spread_and_then_come_every_five_minutes():
    jobs = [f"job-{number}" for number in range(100)]
    due_at = {}
    per_minute = [len(take_metrics_turns(due_at, jobs, 100, now)) for now in range(59, 660, 60)]
    assert sum(per_minute) == 200
    assert max(per_minute) < 40


def test_metrics_turns_are_limited_and_the_longest_overdue_goes_first():
    due_at = {"a": 30.0, "b": 10.0, "c": 20.0, "d": 100.0}
    assert take_metrics_turns(due_at, list(due_at), 2, now=50.0) == ["b", "c"]
    assert due_at == {"a": 30.0, "b": 350.0, "c": 350.0, "d": 100.0}
    assert take_metrics_turns(due_at, list(due_at), 2, now=50.0) == ["a"]


def test_jobs_that_have_no_turns_any_more_are_forgotten():
    due_at = {"ended": 10.0, "training": 20.0}
    assert take_metrics_turns(due_at, {"training"}, 5, now=50.0) == ["training"]
    assert due_at == {"training": 350.0}
