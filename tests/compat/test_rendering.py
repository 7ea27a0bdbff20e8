from __future__ import annotations

from collections.abc import Sequence

import pytest

from airflow_provider_atai.compat.rendering import is_dynamic, normalise_rendered
from airflow_provider_atai.operators.fine_tune import CancelFineTuneJobOperator

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.jsonl"]}
EVAL = {"name": "eval-set", "split": "eval", "file_ids": ["eval.jsonl"]}


def test_templates_and_outputs_of_other_tasks_are_dynamic():
    upstream = CancelFineTuneJobOperator(task_id="upstream", job_id="job-1")
    dynamic = ["{{ params.job_id }}", "job-{% if x %}1{% endif %}", upstream.output, upstream.output["key"]]
    assert [is_dynamic(value) for value in dynamic] == [True] * 4
    assert [is_dynamic(value) for value in ["job-1", "", None, 7, ["{{ ds }}"], TRAIN]] == [False] * 6


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
