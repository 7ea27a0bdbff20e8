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


def test_an_odd_model_can_be_stored():
    assert summary_of({}, config={"model": {"x": math.nan}})["model"] == {"x": None}


def test_deep_nesting_is_cut():
    assert "deeper" in json.dumps(summary_of(nested(900)))
