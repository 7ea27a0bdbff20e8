"""What the pages make of the answers of the server, and how they write values."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min")),
        *((7290, "2 h 2 min"), (86400, "1 d 0 h"), (200000, "2 d 7 h"), (None, "-"), (-5, "0 s")),
    ],
)
def test_durations(evaluate, value, text):
    assert evaluate("words.js", "m.seconds(v.value)", value=value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (600, "600"), (1000000, "1000000"), (0.5, "0.5"), (1.23456789, "1.2346")),
        *((0.00002, "2e-5"), (1.5e9, "1.5e9"), (-0.25, "-0.25"), (None, "-")),
    ],
)
def test_numbers(evaluate, value, text):
    assert evaluate("words.js", "m.number(v.value)", value=value) == text


def test_the_address_holds_what_differs_from_the_default_and_leaves_the_rest(evaluate):
    defaults = {"x": "step", "hidden": None}
    search = evaluate(
        "address.js",
        "m.merged('?tab=1&atai_x=time', v.state, v.defaults)",
        state={"x": "step", "hidden": "a b,<c>"},
        defaults=defaults,
    )
    assert search == "?tab=1&atai_hidden=a+b%2C%3Cc%3E"
    assert evaluate("address.js", "m.parsed(v.search, v.defaults)", search=search, defaults=defaults) == {
        "x": "step",
        "hidden": "a b,<c>",
    }
    assert evaluate("address.js", "m.merged('', {x: 'step'}, v.defaults)", defaults=defaults) == ""


@pytest.mark.parametrize(
    ("remote", "bad", "part"),
    [
        ({"state": "ok", "read_at": "2026-11-23T12:00:00Z"}, False, "10 s ago"),
        ({"state": "ok", "read_at": "2026-11-23T11:46:00Z"}, True, "It may have changed since"),
        ({"state": "unreachable", "read_at": "2026-11-23T11:46:00Z"}, True, "Last read 14 min 10 s ago"),
        ({"state": "refused", "read_at": None}, True, "comes from the task's records"),
        ({"state": "new", "read_at": None}, True, "has not been asked"),
    ],
)
def test_how_fresh_the_status_is(evaluate, remote, bad, part):
    found = evaluate(
        "job_model.js", "m.freshness(v.remote, Date.parse('2026-11-23T12:00:10Z'))", remote=remote
    )
    assert found["bad"] is bad
    assert part in found["text"]


@pytest.mark.parametrize(
    ("metrics", "active", "passed", "text", "quiet"),
    [
        (None, True, 0, "No checkpoint yet.", None),
        ({"records": 0}, False, 0, "The service has no metrics of this job.", None),
        ({"records": 3, "last_step": 600, "quiet_seconds": 30}, True, 60, "Step 600", None),
        (
            {"records": 3, "last_step": 600, "quiet_seconds": 100},
            True,
            80,
            "Step 600",
            "No new step for 3 min.",
        ),
        ({"records": 3, "last_step": 600, "quiet_seconds": 900}, False, 0, "Step 600", None),
        ({"records": 3, "last_step": None, "quiet_seconds": None}, True, 900, "3 records", None),
    ],
)
def test_how_far_the_training_is(evaluate, metrics, active, passed, text, quiet):
    found = evaluate(
        "job_model.js",
        "m.progress(v.metrics, v.active, v.passed)",
        metrics=metrics,
        active=active,
        passed=passed,
    )
    assert found == {"text": text, "quiet": quiet}


def test_the_time_left_is_called_an_estimate(evaluate):
    estimate = {"seconds_left": 600, "from_jobs": 3}
    text, over, none = evaluate(
        "job_model.js",
        "m.estimateText(v.e, 60)",
        "m.estimateText(v.e, 700)",
        "m.estimateText(null)",
        e=estimate,
    )
    assert text == "about 9 min 0 s left, an estimate from 3 earlier jobs of this task"
    assert (over, none) == (None, None)


def row(run_id, **fields):
    return {
        "run_id": run_id,
        "task_id": "t",
        "map_index": -1,
        "name": "n",
        "model": None,
        "datasets": [],
        **fields,
    }


@pytest.mark.parametrize(
    ("drawn", "colors"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([2, 0], [2, 0]),
        # The ninth job would have the colour of the first.
        ([0, 8, 1], [0, 1, 2]),
        ([8, 1], [0, 1]),
        ([4, 5, 6, 7, 8, 9, 10, 11], [4, 5, 6, 7, 0, 1, 2, 3]),
    ],
)
def test_two_curves_never_have_the_same_colour(evaluate, drawn, colors):
    rows = [row(f"run-{number}") for number in range(12)]
    found = evaluate(
        "compare_model.js",
        "[...m.colorsOf(v.rows, v.drawn.map((n) => m.keyOf(v.rows[n]))).values()]",
        rows=rows,
        drawn=drawn,
    )
    assert found == colors


def test_the_best_comes_first_and_jobs_without_values_last(evaluate):
    rows = [row("a"), row("b"), row("c"), row("d")]
    metrics = {
        "a": {"best": {"eval_loss": 0.5, "step": 1}, "series": {}},
        "b": {"best": {"eval_loss": 0.25, "step": 2}, "series": {"loss": {"value": [2, 1]}}},
        "d": {"best": None, "series": {"loss": {"value": [9]}}},
    }
    lines = evaluate(
        "compare_model.js", "m.ranked(v.rows, (r) => v.metrics[r.run_id])", rows=rows, metrics=metrics
    )
    assert [(line["row"]["run_id"], line["best"], line["loss"]) for line in lines] == [
        ("b", 0.25, 1),
        ("a", 0.5, None),
        ("d", None, 9),
        ("c", None, None),
    ]


def test_only_what_differs_is_shown(evaluate):
    data = {"name": "training-set", "split": "train"}
    rows = [
        row("a", name="same", model="m1", datasets=[{**data, "file_ids": ["x"]}]),
        row("b", name="same", model="m2", datasets=[{**data, "file_ids": ["x"]}]),
        row("c", name="same", model=None, datasets=[]),
    ]
    assert evaluate("compare_model.js", "m.differences(v.rows)", rows=rows) == [
        ["Base model", ["m1", "m2", "-"]],
        ["train data: training-set", ["x", "x", "-"]],
    ]
    assert evaluate("compare_model.js", "m.differences(v.rows)", rows=rows[:1]) == []


def test_eight_jobs_are_drawn_at_most_and_only_those_that_are_there(evaluate):
    rows = [row(str(number)) for number in range(12)]
    count, chosen = evaluate(
        "compare_model.js",
        "m.drawnKeys(v.rows, null).length",
        "m.drawnKeys(v.rows, ['gone', m.keyOf(v.rows[9])].join('\\u0002')).length",
        rows=rows,
    )
    assert (count, chosen) == (8, 1)


def test_more_rows_repeat_none(evaluate):
    first, more = [row("a", dag_id="d"), row("b", dag_id="d")], [row("b", dag_id="d"), row("c", dag_id="d")]
    joined = evaluate("compare_model.js", "m.joined(v.first, v.more)", first=first, more=more)
    assert [one["run_id"] for one in joined] == ["a", "b", "c"]


def test_an_odd_status_has_a_colour(evaluate):
    odd, known = evaluate("theme.js", "m.statusColor('<b>')", "m.statusColor('FAILED')")
    assert odd != known
    assert odd.startswith("var(--chakra-colors-")
