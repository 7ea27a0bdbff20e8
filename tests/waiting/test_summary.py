from __future__ import annotations

import json
import math

import pytest

from airflow_provider_atai.api.fine_tune import FineTuneJob, JobMetrics
from airflow_provider_atai.waiting.summary import describe_summary, summarise


def summary_of(record, **fields):
    job = FineTuneJob(id="job-1", name="j", status="COMPLETED", **fields)
    return summarise(job, JobMetrics(None, (record,)))


def nested(levels):
    return {"deeper": nested(levels - 1)} if levels else 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0.41, 0.41),
        (None, None),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**63, 2.0**63),
        (float("nan"), None),
        (math.inf, None),
        (-math.inf, None),
        (10**30, 1e30),
        (10**400, None),
        ("half a character \ud800", "half a character ?"),
        ("nul \0", "nul "),
        ([math.nan, {"x": [math.inf]}], [None, {"x": [None]}]),
    ],
)
def test_any_value_from_the_service_can_be_stored_and_sent_on(value, stored):
    """PostgreSQL takes neither NaN nor NUL, and Airflow's processes send each other 64-bit integers."""
    summary = summary_of({"loss": value, "\ud800": 1})
    assert summary["metrics"] == {"loss": stored, "?": 1}
    assert type(summary["metrics"]["loss"]) is type(stored)
    assert json.dumps(summary, allow_nan=False, ensure_ascii=False).encode()
    assert "COMPLETED" in describe_summary(summary)


def test_what_is_too_large_for_an_xcom_is_left_out():
    matrix = [[0.5] * 1000] * 1000
    summary = summary_of({"loss": 0.4, "confusion": matrix, "step": 600}, config={"model": "m" * 10**6})
    assert summary["metrics"] == {"loss": 0.4, "step": 600}
    assert summary["model"] is None
    assert len(json.dumps(summary_of({f"k{n}": "v" * 90 for n in range(10_000)}))) < 12_000


def test_a_log_line_of_a_finished_job_cannot_be_forged():
    summary = summary_of({"note\n": "x\nERROR"}, inference_config_path="s3://x\nERROR - forged\x1b[2J")
    line = describe_summary(summary)
    assert line.isprintable()
    # What comes after the task gets the path as the service sent it.
    assert summary["inference_config_path"] == "s3://x\nERROR - forged\x1b[2J"
    assert len(describe_summary(summary_of({"x": "y" * 10_000}))) < 1000


def test_an_odd_model_can_be_stored():
    assert summary_of({}, config={"model": {"x": math.nan}})["model"] == {"x": None}


def test_deep_nesting_is_cut():
    assert "deeper" in json.dumps(summary_of(nested(900)))
