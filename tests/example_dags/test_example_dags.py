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
    dag = dag_bag.dags["atai_scheduled_retraining"]
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
        ("train_path", "s3://bucket/train.jsonl"),
    ],
)
def test_trigger_form_takes_what_a_job_can_use(dag_bag, param, value):
    assert dag_bag.dags["atai_scheduled_retraining"].params.get_param(param).resolve(value) == value


@pytest.mark.parametrize(("param", "value"), [("model", 7), ("job_name", ""), ("train_path", None)])
def test_trigger_form_refuses_what_no_job_can_use(dag_bag, param, value):
    with pytest.raises(ParamValidationError):
        dag_bag.dags["atai_scheduled_retraining"].params.get_param(param).resolve(value)


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
