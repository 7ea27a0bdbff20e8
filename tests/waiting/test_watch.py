from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from airflow_provider_atai.api.fine_tune import FineTuneJob, JobMetrics
from airflow_provider_atai.errors import AtaiConnectionError, error_class
from airflow_provider_atai.waiting.policy import Ending, WaitLimits
from airflow_provider_atai.waiting.watch import JobWatch

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Lines(logging.Handler):
    """Keeps each logged line as (level, text)."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append((record.levelname, record.getMessage()))

    def at(self, level):
        return [text for name, text in self.seen if name == level]


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def watch(lines):
    log = logging.getLogger("tests.watch")
    log.setLevel(logging.INFO)
    log.addHandler(lines)
    yield JobWatch("job-1", limits=WaitLimits(poll_interval=60), log=log)
    log.removeHandler(lines)


def job(status, **fields):
    return FineTuneJob(id="job-1", name="job", status=status, created_at=NOW, updated_at=NOW, **fields)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("step", [{}, {"step": 200}, {"step": None}, {"step": [1]}])
def test_a_checkpoint_is_recognised_by_its_step_or_its_position(watch, lines, step):
    first, second = {**step, "loss": 2}, {"step": 400, "loss": 1}
    for records in ((first,), (first,), (first, second), (first, second)):
        watch.log_metrics(JobMetrics(None, records))
    assert [line.rpartition("loss ")[2] for line in lines.at("INFO")] == ["2", "1"]


def test_each_status_is_logged_once(watch, lines):
    for second, status in enumerate(["REGISTERED", "REGISTERED", "RUNNING", "RUNNING", "FINALIZING"]):
        seen = replace(job(status), created_at=NOW - timedelta(hours=1))
        watch.judge(seen, at(second * 60))
    assert lines.at("INFO") == [
        "Job job-1 is REGISTERED (age of the job 1 h 0 min).",
        "Job job-1 went from REGISTERED to RUNNING (age of the job 1 h 2 min, waited for 2 min 0 s).",
        "Job job-1 went from RUNNING to FINALIZING (age of the job 1 h 4 min, waited for 4 min 0 s).",
    ]
    assert lines.at("WARNING") == []


@pytest.mark.parametrize("status", ["UNKNOWN", "PAUSED"])
def test_an_undocumented_status_is_warned_about_once(watch, lines, status):
    for second in range(3):
        assert watch.judge(job(status), at(second)).ending is None
    (warning,) = lines.at("WARNING")
    assert f"has the status {status}" in warning


def test_an_outage_logs_one_warning_and_one_line_at_its_end(watch, lines):
    watch.judge(job("RUNNING"), NOW)
    for second in (60, 120, 200):
        watch.judge(AtaiConnectionError("nobody listens"), at(second))
    watch.judge(job("RUNNING"), at(260))
    watch.judge(AtaiConnectionError("again"), at(320))

    first, second = lines.at("WARNING")
    assert "nobody listens" in first
    assert "for up to 30 min 0 s" in first
    assert "again" in second
    assert "Job job-1 can be read again after an outage of 3 min 20 s and 3 failed polls." in lines.at("INFO")


def test_no_text_of_the_service_makes_a_line_of_its_own(watch, lines):
    watch.judge(job("RUNNING"), NOW)
    watch.judge(AtaiConnectionError("nobody\nERROR - forged"), at(60))
    watch.log_metrics(JobMetrics(None, ({"note\n": "\nERROR - forged\x1b[2J"},)))
    assert len(lines.seen) == 3
    assert all(text.isprintable() for _, text in lines.seen)
    for ending in (Ending.TIMED_OUT, Ending.UNREACHABLE):
        assert str(watch.result(ending).error("Retry.")).isprintable()


def test_a_refused_key_is_logged_as_a_warning(watch, lines):
    refused = error_class(401)(status_code=401, method="GET", path="/v0.5/fine-tune/jobs/job-1")
    assert watch.judge(refused, NOW).reread_connection
    (warning,) = lines.at("WARNING")
    assert "Reading the connection again once" in warning


def test_the_result_has_the_summary_of_a_job_that_was_read(watch):
    watch.judge(job("COMPLETED", inference_config_path="s3://x", config={"model": "m"}), at(90))
    metrics = JobMetrics(last_checkpoint_step=2, records=({"step": 1}, {"step": 2, "loss": 0.5}))
    result = watch.result(Ending.COMPLETED, metrics)
    assert result.summary == {
        "job_id": "job-1",
        "status": "COMPLETED",
        "model": "m",
        "inference_config_path": "s3://x",
        "created_at": NOW.isoformat(),
        "updated_at": NOW.isoformat(),
        "duration_seconds": 0.0,
        "metrics": {"step": 2, "loss": 0.5},
    }
    assert result.reason is None


def test_the_result_of_an_unreachable_job_has_its_last_status_and_the_reason(watch):
    watch.judge(job("RUNNING"), NOW)
    watch.judge(AtaiConnectionError("nobody listens"), at(60))
    result = watch.result(Ending.UNREACHABLE)
    assert (result.status, result.reason, result.summary) == ("RUNNING", "nobody listens", None)


@pytest.mark.parametrize("interval", [1, 10, 60, 299])
def test_metrics_are_due_at_most_every_five_minutes(watch, interval):
    watch.judge(job("RUNNING"), NOW)
    asked = [second for second in range(0, 3600, interval) if watch.metrics_due(at(second))]
    assert 11 <= len(asked) <= 12
    assert all(later - earlier > 300 - interval for earlier, later in pairwise(asked))


def test_metrics_are_due_only_while_training(watch):
    watch.judge(job("REGISTERED"), NOW)
    assert not any(watch.metrics_due(at(second)) for second in range(0, 3600, 60))


def test_metrics_of_many_waiters_are_not_due_at_once():
    asking_per_minute = [0] * 5
    for number in range(500):
        watch = JobWatch(
            f"job-{number}", limits=WaitLimits(poll_interval=60), log=logging.getLogger("tests.watch")
        )
        watch.judge(job("RUNNING"), NOW)
        for minute in range(5):
            asking_per_minute[minute] += watch.metrics_due(at(60 * minute))
    assert sum(asking_per_minute) == 500
    assert max(asking_per_minute) < 150


def test_each_checkpoint_is_logged_once(watch, lines):
    def metrics(*steps):
        return JobMetrics(steps[-1], tuple({"step": step, "loss": 1 / step} for step in steps))

    watch.log_metrics(metrics(200))
    watch.log_metrics(metrics(200, 400))
    watch.log_metrics(metrics(200, 400))
    watch.log_metrics(JobMetrics(None, ()))
    assert lines.at("INFO") == [
        "Job job-1: checkpoint: step 200, loss 0.005",
        "Job job-1: checkpoint: step 400, loss 0.0025",
    ]
