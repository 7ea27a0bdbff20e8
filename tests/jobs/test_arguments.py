from __future__ import annotations

import pytest

from airflow_provider_atai.jobs.arguments import check_at_parse_time, check_job_argument
from airflow_provider_atai.operators.datasets import UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import CancelFineTuneJobOperator
from tests.harness.airflow_names import DAG

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.jsonl"]}
EVAL = {"name": "eval-set", "split": "eval", "file_ids": ["eval.jsonl"]}


@pytest.fixture(scope="module")
def output():
    """Another task's output, as a DAG author passes it on."""
    with DAG(dag_id="arguments", schedule=None):
        return CancelFineTuneJobOperator(task_id="upstream", job_id="job-1").output


@pytest.mark.parametrize(
    "datasets",
    [
        [TRAIN],
        (TRAIN, EVAL),
        [TRAIN, TRAIN],
        "{{ params.datasets }}",
        [{"name": "{{ params.name }}", "split": "{{ params.split }}", "file_ids": ["{{ ds }}.jsonl"]}],
        [{**TRAIN, "file_ids": "{{ params.files }}"}],
    ],
)
def test_right_values_and_templates_pass(datasets):
    check_at_parse_time(name="{{ ds }}", datasets=datasets, model=None, job_id="{{ run_id }}")


def test_outputs_of_other_tasks_pass(output):
    check_at_parse_time(name="x", datasets=[output, EVAL], model=output, job_id=None)
    check_at_parse_time(name=output, datasets=output, model=None, job_id=output)
    check_at_parse_time(name="x", datasets=[{**TRAIN, "file_ids": output}], model=None, job_id=None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": ""}, "name must be a non-empty string"),
        ({"name": None}, "name must be a non-empty string"),
        ({"model": ""}, "model must be a non-empty string"),
        ({"job_id": ""}, "1 to 64 characters"),
        ({"job_id": "x" * 65}, "has 65 characters"),
        ({"job_id": "a/b"}, "is not valid in a URL path"),
        ({"datasets": []}, "non-empty list"),
        ({"datasets": TRAIN}, "not one mapping"),
        ({"datasets": "training-set"}, "not the string"),
        ({"datasets": [EVAL]}, 'no entry with "split": "train"'),
        ({"datasets": ["train.jsonl"]}, r"datasets\[0\] must be a mapping"),
        ({"datasets": [{**TRAIN, "split": "test"}]}, 'split must be "train" or "eval"'),
        ({"datasets": [{**TRAIN, "file_ids": "train.jsonl"}]}, "must be a list, not the string"),
        ({"datasets": [{**TRAIN, "file_ids": []}]}, "non-empty list of file ids"),
        ({"datasets": [{**TRAIN, "file_ids": [""]}]}, "is not a file id"),
        ({"datasets": [{**TRAIN, "epochs": 3}]}, "has unknown epochs"),
        ({"datasets": [{"name": "x", "split": "train"}]}, "lacks file_ids"),
    ],
)
def test_wrong_values_fail_when_the_dag_is_parsed(arguments, says):
    right = {"name": "job", "datasets": [TRAIN], "model": None, "job_id": None}
    with pytest.raises(ValueError, match=says):
        check_at_parse_time(**{**right, **arguments})


def test_a_wrong_entry_is_found_beside_a_dynamic_one(output):
    with pytest.raises(ValueError, match=r"datasets\[1\] lacks file_ids"):
        check_at_parse_time(
            name="x", datasets=[output, {"name": "x", "split": "eval"}], model=None, job_id=None
        )


class TestATaskInsteadOfItsOutput:
    @pytest.fixture
    def upload(self):
        with DAG(dag_id="uploads", schedule=None):
            return UploadDatasetOperator(task_id="upload", path="train.jsonl", name="training-set")

    @pytest.mark.parametrize(
        ("argument", "wrong", "says"),
        [
            (
                "datasets",
                lambda task: [task],
                r"datasets\[0\] is the task.*Write datasets=\[upload\.output\]",
            ),
            ("datasets", lambda task: [TRAIN, task], r"datasets\[1\] is the task"),
            ("datasets", lambda task: task, r"datasets is the task 'upload' itself"),
            (
                "datasets",
                lambda task: task.output,
                r"returns one dataset\. Write datasets=\[upload\.output\]",
            ),
            (
                "datasets",
                lambda task: [{**TRAIN, "file_ids": task}],
                r"file_ids is the task.*'file_ids': upload\.output",
            ),
            ("job_id", lambda task: task, r"job_id is the task 'upload' itself.*Write job_id=upload\.output"),
            ("model", lambda task: task, r"Write model=upload\.output"),
            ("name", lambda task: task, r"Write name=upload\.output"),
        ],
    )
    def test_it_is_refused_with_what_to_write(self, upload, argument, wrong, says):
        right = {"name": "job", "datasets": [TRAIN], "model": None, "job_id": None}
        with pytest.raises(ValueError, match=says):
            check_at_parse_time(**{**right, argument: wrong(upload)})

    def test_the_id_of_an_existing_job(self, upload):
        with pytest.raises(ValueError, match=r"Write job_id=upload\.output"):
            check_job_argument(upload)
        with pytest.raises(ValueError, match="is not valid in a URL path"):
            check_job_argument("a/b")
        check_job_argument(upload.output)
        check_job_argument("{{ params.job }}")

    def test_a_mapped_upload_is_refused_itself_and_its_outputs_are_a_list(self):
        with DAG(dag_id="mapped", schedule=None):
            uploads = UploadDatasetOperator.partial(task_id="uploads", name="x").expand(
                path=["a.csv", "b.csv"]
            )
        right = {"name": "job", "model": None, "job_id": None}
        check_at_parse_time(datasets=uploads.output, **right)
        with pytest.raises(ValueError, match="datasets is the task 'uploads' itself"):
            check_at_parse_time(datasets=uploads, **right)

    def test_another_field_of_an_upload_passes(self, upload):
        check_at_parse_time(name="job", datasets=upload.output["list"], model=None, job_id=None)
