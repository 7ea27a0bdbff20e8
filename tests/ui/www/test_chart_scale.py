"""The arithmetic of the chart."""

from __future__ import annotations

import pytest

SPANS = [(0, 1), (0, 1000), (-5, 5), (0.00001, 0.00009), (1e-9, 1e12), (-1e6, -1), (99.9, 100), (3, 3)]


@pytest.mark.parametrize(("low", "high"), SPANS)
def test_ticks_are_few_round_and_within_the_scale(evaluate, low, high):
    found = evaluate(
        "chart_scale.js",
        "((s) => [s.low, s.high, s.ticks, s.at(v.low), s.at(v.high)])(m.scale([v.low, v.high], 0, 100))",
        low=low,
        high=high,
    )
    bottom, top, ticks, first, last = found
    assert bottom <= low <= high <= top
    assert 1 <= len(ticks) <= 12
    assert all(bottom - 1e-9 <= tick <= top * (1 + 1e-9) + 1e-9 for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert 0 <= first <= last <= 100


@pytest.mark.parametrize(("low", "high"), [(0.001, 1000), (1, 1), (0.4, 0.6), (1e-9, 1e12), (2, 90)])
def test_a_logarithmic_scale(evaluate, low, high):
    at, ticks = evaluate(
        "chart_scale.js",
        "m.scale([v.low, v.high], 0, 100, {log: true}).at(Math.sqrt(v.low * v.high))",
        "m.scale([v.low, v.high], 0, 100, {log: true}).ticks",
        low=low,
        high=high,
    )
    assert at == pytest.approx(50)
    assert 1 <= len(ticks) <= 14
    assert all(tick > 0 for tick in ticks)


def test_what_a_logarithm_cannot_show_is_a_gap(evaluate):
    line, scale = evaluate(
        "chart_scale.js",
        "m.path([[0, 1], [1, 0], [2, -1], [3, 10], [4, 100]], m.scale([0, 4], 0, 40, {pad: false}), "
        "m.scale([1, 0, -1, 10, 100], 100, 0, {log: true}))",
        "[m.scale([0, -5], 0, 1, {log: true}).low, m.scale([], 0, 1).ticks.length]",
    )
    assert line.count("M") == 2
    assert "NaN" not in line
    assert line.endswith("L40.0 0.0")
    assert scale[0] > 0


@pytest.mark.parametrize(
    ("xs", "x", "expected"),
    [([], 5, -1), ([3], 9, 0), ([0, 10], 4, 0), ([0, 10], 6, 1), ([0, 1, 2, 3], 99, 3), ([0, 1, 2], -5, 0)],
)
def test_the_nearest_point(evaluate, xs, x, expected):
    assert evaluate("chart_scale.js", "m.nearest(v.xs.map((x) => [x, 0]), v.x)", xs=xs, x=x) == expected


def test_columns_become_points(evaluate):
    points = "m.toPoints(v.columns, v.by)"
    columns = {"step": [20, 10, 30], "time": [None, 1, 2], "value": [2, 1, 3]}
    assert evaluate("chart_scale.js", points, columns=columns, by="step") == [[10, 1], [20, 2], [30, 3]]
    # Not all records have a time, so their order counts.
    assert evaluate("chart_scale.js", points, columns=columns, by="time") == [[0, 2], [1, 1], [2, 3]]
    assert evaluate("chart_scale.js", points, columns=None, by="time") == []


def test_the_stops_of_the_crosshair_are_those_of_all_series(evaluate):
    series = [{"points": [[1, 0], [3, 0]]}, {"points": [[2, 0], [3, 0]]}]
    assert evaluate("chart_scale.js", "m.stops(v.series)", series=series) == [1, 2, 3]
