from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from airflow_provider_atai.compat.rendering import is_dynamic, is_task, normalise_rendered
from airflow_provider_atai.compat.sdk import ObjectStoragePath
from airflow_provider_atai.operators.fine_tune import CancelFineTuneJobOperator

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.jsonl"]}
EVAL = {"name": "eval-set", "split": "eval", "file_ids": ["eval.jsonl"]}


def test_templates_and_outputs_of_other_tasks_are_dynamic():
    upstream = CancelFineTuneJobOperator(task_id="upstream", job_id="job-1")
    dynamic = ["{{ params.job_id }}", "job-{% if x %}1{% endif %}", upstream.output, upstream.output["key"]]
    assert [is_dynamic(value) for value in dynamic] == [True] * 4
    known = ["job-1", "", None, 7, ["{{ ds }}"], TRAIN, Path("a"), ObjectStoragePath("file:///a"), upstream]
    assert [is_dynamic(value) for value in known] == [False] * 9


def test_a_task_is_told_from_its_output():
    upstream = CancelFineTuneJobOperator(task_id="upstream", job_id="job-1")
    mapped = CancelFineTuneJobOperator.partial(task_id="mapped").expand(job_id=["job-1"])
    assert [is_task(value) for value in (upstream, mapped)] == [True] * 2
    assert [is_task(value) for value in (upstream.output, "a", None, Path("a"), TRAIN)] == [False] * 5


class Lazy(Sequence):
    """Like the output of a mapped task."""

    def __getitem__(self, index):
        return [TRAIN, EVAL][index]

    def __len__(self):
        return 2


@pytest.mark.parametrize(
    ("rendered", "plain"),
    [
        ("None", None),
        ("", None),
        ("m", "m"),
        (None, None),
        ([TRAIN], [TRAIN]),
        (Lazy(), [TRAIN, EVAL]),
        ([{"file_ids": Lazy(), "name": "None"}], [{"file_ids": [TRAIN, EVAL], "name": "None"}]),
        (b"bytes", b"bytes"),
    ],
)
def test_rendered_values_become_plain(rendered, plain):
    assert normalise_rendered(rendered) == plain
