"""Every example DAG is imported and run, on every supported Airflow, as a user would."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import time_machine

from airflow_provider_atai.compat.sdk import AirflowFailException
from airflow_provider_atai.errors import SourceUnreadableError
from tests.harness.airflow_names import ParamValidationError

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
DAG_IDS = {"atai_minimal", "atai_scheduled_retraining"}


@pytest.fixture(scope="module")
def dag_bag(airflow_db):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2
        from airflow.models.dagbag import DagBag
    return DagBag(dag_folder=str(EXAMPLES))


def retraining(dag_bag):
    return dag_bag.dags["atai_scheduled_retraining"]


def run_dag(dag_id):
    return subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", dag_id],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "COLUMNS": "1000"},
    )


def test_every_file_imports(dag_bag):
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == DAG_IDS


def test_scheduled_retraining_never_trains_twice_at_once(dag_bag):
    dag = retraining(dag_bag)
    assert (dag.max_active_runs, dag.catchup) == (1, False)


@pytest.mark.skipif(
    version("apache-airflow") < "3", reason="Airflow 2 always starts a run for the last Monday"
)
@pytest.mark.parametrize(
    ("now", "first"),
    [
        (datetime(2026, 11, 22, 12), datetime(2026, 11, 23, 3)),
        (datetime(2026, 11, 23, 2, 59), datetime(2026, 11, 23, 3)),
        # The scheduler is a little late.
        (datetime(2026, 11, 23, 3, 5), datetime(2026, 11, 23, 3)),
        (datetime(2026, 11, 23, 3, 15), datetime(2026, 11, 30, 3)),
        (datetime(2026, 11, 25, 12), datetime(2026, 11, 30, 3)),
    ],
)
def test_unpausing_scheduled_retraining_starts_no_run_of_the_past(dag_bag, now, first):
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.serialize_dag(dag_bag.dags["atai_scheduled_retraining"])
    with time_machine.travel(now.replace(tzinfo=UTC), tick=False):
        run = DagSerialization.deserialize_dag(stored).next_dagrun_info(last_automated_run_info=None)
    assert run.run_after == first.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("model", None),
        ("model", "Newton::c2_4_3b_251215dfe6a746"),
        ("model", "Newton::newer_than_this_file"),
        ("job_name", "p"),
        ("job_name", "Pump states, plant 3"),
        ("train_path", "s3://bucket/train.jsonl"),
        ("train_path", "s3://aws_default@bucket/a folder/train.jsonl"),
        ("eval_path", "file:///data/eval.jsonl"),
        ("eval_path", "/data/EVAL.JSONL"),
    ],
)
def test_trigger_form_takes_what_a_job_can_use(dag_bag, param, value):
    assert retraining(dag_bag).params.get_param(param).resolve(value) == value


@pytest.mark.parametrize(
    ("param", "value"),
    [
        *(("model", value) for value in (7, "", "c2_4_7b", "Newton:c2_4_7b", " Newton::c2_4_7b")),
        *(("job_name", value) for value in (None, "", " ", " pumps", "pumps ")),
        *(("train_path", value) for value in (None, "", "train.jsonl", "data/train.jsonl", "~/train.jsonl")),
        *(("eval_path", value) for value in ("/data/eval.csv", "/data/eval", "s3://eval.jsonl", "/data/")),
    ],
)
def test_trigger_form_refuses_what_no_job_can_use(dag_bag, param, value):
    with pytest.raises(ParamValidationError):
        retraining(dag_bag).params.get_param(param).resolve(value)


def test_trigger_form_is_in_sections_and_says_how_to_fill_it_in(dag_bag):
    params = [retraining(dag_bag).params.get_param(name) for name in ("train_path", "eval_path")]
    params += [retraining(dag_bag).params.get_param(name) for name in ("job_name", "model")]
    assert [param.schema["section"] for param in params] == ["Data", "Data", "Job", "Job"]
    assert all(param.schema["title"] and len(param.description) > 60 for param in params)


class TestLookingForTheFiles:
    """The first task of the retraining DAG, on its own."""

    def look(self, dag_bag, *paths):
        task = retraining(dag_bag).get_task("find_files")
        assert task.downstream_task_ids == {"upload_train", "upload_eval"}
        return task.python_callable(list(paths))

    def test_files_that_are_there(self, dag_bag):
        data = EXAMPLES / "data"
        assert self.look(dag_bag, str(data / "pump_train.jsonl"), str(data / "pump_eval.jsonl")) is None

    def test_every_wrong_path_is_named_at_once_and_not_tried_again(self, dag_bag, tmp_path):
        with pytest.raises(AirflowFailException) as failure:
            self.look(dag_bag, str(tmp_path / "none.jsonl"), str(tmp_path))
        said = str(failure.value)
        assert f"{tmp_path}/none.jsonl does not exist on this worker" in said
        assert f"{tmp_path} is a directory" in said
        assert "Trigger a run with: An absolute path" in said

    def test_a_file_in_object_storage(self, dag_bag, tmp_path, monkeypatch):
        from airflow_provider_atai.datasets import sources

        (tmp_path / "there.jsonl").write_text("{}")
        # ObjectStoragePath opens local files too, if it is asked to.
        monkeypatch.setattr(sources, "_LOCAL_SCHEME", "none://")
        assert self.look(dag_bag, f"file://{tmp_path}/there.jsonl") is None
        with pytest.raises(AirflowFailException, match=r"gone\.jsonl does not exist"):
            self.look(dag_bag, f"file://{tmp_path}/gone.jsonl")

    def test_a_store_that_does_not_answer_is_tried_again(self, dag_bag, monkeypatch):
        from airflow_provider_atai.datasets.sources import ObjectStorageSource

        def unreadable(source):
            raise SourceUnreadableError("no answer")

        monkeypatch.setattr(ObjectStorageSource, "signature", unreadable)
        with pytest.raises(SourceUnreadableError):
            self.look(dag_bag, "s3://bucket/train.jsonl")


@pytest.mark.parametrize(
    ("name", "examples", "seed"), [("pump_train.jsonl", 160, 1), ("pump_eval.jsonl", 40, 2)]
)
def test_datasets_are_what_the_script_makes(name, examples, seed):
    script = runpy.run_path(str(EXAMPLES / "data" / "make_sensor_logs.py"))
    assert (EXAMPLES / "data" / name).read_text(encoding="utf-8") == script["dataset"](examples, seed)


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_runs_to_the_end(dag_id, atai_emulator):
    atai_emulator.set_time_scale(1_000_000)
    done = run_dag(dag_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [job["status"] for job in atai_emulator.jobs()] == ["COMPLETED"]
    assert len(atai_emulator.files()) == 2
    assert atai_emulator.jobs()[0]["inference_config_path"] in done.stdout + done.stderr


@pytest.mark.system
@pytest.mark.usefixtures("airflow_db")
def test_fails_when_the_job_fails(atai_emulator):
    atai_emulator.set_time_scale(1_000_000)
    atai_emulator.set_outcome("FAILED")
    done = run_dag("atai_minimal")
    assert done.returncode != 0
    assert [job["status"] for job in atai_emulator.jobs()] == ["FAILED"]
    assert "FineTuneJobFailedError" in done.stdout + done.stderr
