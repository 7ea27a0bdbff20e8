"""DAGs for the tests in the browser. Each trains on ``train.csv``."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator

DATASETS = [{"name": "training-set", "split": "train", "file_ids": ["train.csv"]}]
WAITS = {"wait_for_completion": True, "deferrable": True, "poll_interval": 1}
NAME = {"name": Param("pump-states", type="string")}

with DAG(dag_id="atai_one", schedule=None, params=NAME):
    CreateFineTuneJobOperator(
        task_id="train",
        name="{{ params.name }}",
        datasets=DATASETS,
        retries=2,
        retry_delay=timedelta(hours=1),
        **WAITS,
    )

    @task
    def other():
        """Has nothing to do with a job."""

    other()

with DAG(dag_id="atai_sweep", schedule=None):
    CreateFineTuneJobOperator.partial(task_id="train", datasets=DATASETS, **WAITS).expand(
        name=["pump-small", "pump-middle", "pump-large"]
    )
