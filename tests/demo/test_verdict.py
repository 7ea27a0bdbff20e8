from __future__ import annotations

from dataclasses import replace

import pytest

from demo.verdict import TASKS, Outcome, problems, task_table

PATH = "s3://bucket/job-1.yaml"
JOB = {"id": "job-1", "status": "COMPLETED", "inference_config_path": PATH}
SUMMARY = {
    "job_id": "job-1",
    "status": "COMPLETED",
    "inference_config_path": PATH,
    "metrics": {"step": 200},
}
GOOD = Outcome(
    run_state="success",
    tasks={task: {"state": "success", "try_number": 1} for task in TASKS},
    jobs=[JOB],
    files=[{}, {}],
    summary=SUMMARY,
    handed_over=PATH,
)


def test_expected_outcome_has_no_problems():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"run_state": "failed"}, "DAG run is failed"),
        ({"tasks": {**GOOD.tasks, "wait": {"state": "skipped"}}}, "task wait is skipped"),
        ({"tasks": {}}, "task fine_tune is None"),
        ({"jobs": []}, "0 jobs"),
        ({"jobs": [JOB, JOB]}, "2 jobs"),
        ({"jobs": [{**JOB, "status": "STOPPED"}]}, "STOPPED, not COMPLETED"),
        ({"jobs": [{**JOB, "inference_config_path": None}]}, "no inference config"),
        ({"files": [{}]}, "1 files"),
        ({"summary": None}, "no metrics"),
        ({"summary": {**SUMMARY, "job_id": "job-2"}}, "job id is job-1"),
        ({"summary": {**SUMMARY, "inference_config_path": "s3://other"}}, "s3://other in the XComs"),
        ({"handed_over": None}, "handed over"),
    ],
)
def test_any_other_outcome_is_a_problem(change, word):
    assert any(word in problem for problem in problems(replace(GOOD, **change)))


def test_table_lists_tasks_by_start():
    table = task_table(
        {
            "late": {"state": "success", "try_number": 1, "start_date": "2026-01-01T00:00:02+00:00"},
            "never": {"state": None, "try_number": 0},
            "early": {
                "state": "failed",
                "try_number": 3,
                "start_date": "2026-01-01T00:00:01+00:00",
                "end_date": "2026-01-01T00:00:02.500000+00:00",
            },
        }
    )
    assert [line.split() for line in table.splitlines()] == [
        ["task", "state", "tries", "seconds"],
        ["early", "failed", "3", "1.5"],
        ["late", "success", "1", "-"],
        ["never", "None", "0", "-"],
    ]
