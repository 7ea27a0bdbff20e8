"""
The shortest useful DAG: upload two files, fine-tune a model on them, wait without holding a worker.

It needs a connection ``atai_default`` of type ``atai`` whose password is the API key.
"""

from __future__ import annotations

from pathlib import Path

try:
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_provider_atai.operators.datasets import UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

# Anything that the worker can open: a local path, or an object storage URL such as s3://bucket/train.jsonl.
DATA = Path(__file__).resolve().parent / "data"


@dag(schedule=None, tags=["atai", "example"], doc_md=__doc__)
def atai_minimal() -> None:
    # Each upload returns one entry of a job's datasets. A file that is there already is not sent again.
    upload_train = UploadDatasetOperator(
        task_id="upload_train",
        path=str(DATA / "pump_train.jsonl"),
        name="training-set",
    )
    upload_eval = UploadDatasetOperator(
        task_id="upload_eval",
        path=str(DATA / "pump_eval.jsonl"),
        name="eval-set",
        split="eval",
    )

    # Returns the job's id. A retry of this task finds the job that an earlier try created and pays nothing.
    fine_tune = CreateFineTuneJobOperator(
        task_id="fine_tune",
        name="pump-states",
        datasets=[upload_train.output, upload_eval.output],
    )

    # Green only for a model that exists; its XCom has the inference config, the status and the last metrics.
    FineTuneJobSensor(
        task_id="wait",
        job_id=fine_tune.output,
        deferrable=True,
        poke_interval=15,
    )


atai_minimal()
