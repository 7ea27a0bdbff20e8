"""DAGs for the tests of what a task tells its job's page. Each trains on ``train.csv``."""

from __future__ import annotations

try:
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.models.param import Param

from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

DATASETS = [{"name": "training-set", "split": "train", "file_ids": ["train.csv"]}]
MODELS = ["Newton::c2_4_7b_251215a172f6d7", "Newton::c2_4_3b_251215dfe6a746"]


def dag(dag_id: str) -> DAG:
    return DAG(dag_id=dag_id, schedule=None, params={"name": Param("j", type="string")})


with dag("atai_sweep") as sweep:
    CreateFineTuneJobOperator.partial(
        task_id="fine_tune",
        name="{{ params.name }}",
        datasets=DATASETS,
        wait_for_completion=True,
        deferrable=True,
        poll_interval=1,
    ).expand(model=MODELS)


with dag("atai_in_modes") as in_modes:
    create = CreateFineTuneJobOperator(task_id="fine_tune", name="{{ params.name }}", datasets=DATASETS)
    for mode, options in {
        "poke": {"mode": "poke"},
        "reschedule": {"mode": "reschedule"},
        "deferred": {"deferrable": True},
    }.items():
        FineTuneJobSensor(task_id=mode, job_id=create.output, poke_interval=3, **options)
