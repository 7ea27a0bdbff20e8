from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_atai.api.fine_tune import JobMetrics
from airflow_provider_atai.ui.reduction import Point, number, reduced, thinned

POINTS = st.lists(st.floats(-1e6, 1e6), max_size=400).map(
    lambda values: [Point(step, None, value) for step, value in enumerate(values)]
)


@given(points=POINTS, most=st.integers(4, 100))
def test_thinning_keeps_the_ends_the_peaks_and_the_order(points, most):
    kept = thinned(points, most)
    assert len(kept) <= max(most, 4)
    assert kept == sorted(kept, key=lambda point: point.step)
    assert set(kept) <= set(points)
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        for choose in (min, max):
            assert choose(p.value for p in kept) == choose(p.value for p in points)


def test_few_points_are_all_kept():
    points = [Point(step, step, 1.0) for step in range(1000)]
    assert thinned(points, 1000) == points


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((1, 1), (0.5, 0.5), (-3, -3), (True, None), ("1", None), (None, None), ([], None)),
        *((math.nan, None), (math.inf, None), (-math.inf, None), (10**400, None)),
    ],
)
def test_only_a_finite_number_is_one(value, expected):
    assert number(value) == expected


def test_the_best_is_the_lowest_evaluation_loss_of_all():
    values = [5.0, *(3 + step % 7 for step in range(5000)), 4.0]
    values[2345] = 0.25
    records = tuple({"step": step, "eval_loss": value} for step, value in enumerate(values))
    found = reduced(JobMetrics(None, records), most=100)
    assert found.best == Point(2345, None, 0.25)
    assert found.best in found.series["eval_loss"]


def test_checkpoints_are_the_newest_first():
    found = reduced(JobMetrics(900, tuple({"step": step, "loss": 1.0} for step in range(100))))
    assert [checkpoint["step"] for checkpoint in found.checkpoints] == list(range(99, 49, -1))
    assert (found.records, found.last_step, found.last_checkpoint_step) == (100, 99, 900)


def test_nothing_is_reduced_to_nothing():
    found = reduced(JobMetrics(None, ()))
    assert (found.best, found.last_step, found.checkpoints) == (None, None, [])
    assert all(points == [] for points in found.series.values())
