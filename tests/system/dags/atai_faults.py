"""DAGs for the tests that kill, clear and time out tasks. Each trains on ``train.csv``."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

DATASETS = [{"name": "training-set", "split": "train", "file_ids": ["train.csv"]}]
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}
WAITS = {"wait_for_completion": True, "deferrable": True, "poll_interval": 1, **RETRIES}


class HeldBeforeDeferral(CreateFineTuneJobOperator):
    """Halts between the service's response and the deferral until the test deletes a file."""

    def defer(self, **arguments: Any) -> Any:
        gate = Path(os.environ["ATAI_TEST_GATE"])
        gate.with_suffix(".reached").touch()
        while gate.exists():
            time.sleep(0.05)
        return super().defer(**arguments)


def dag(name: str) -> DAG:
    return DAG(dag_id=f"atai_{name}", schedule=None, params={"name": Param(name, type="string")})


def create(**arguments: Any) -> CreateFineTuneJobOperator:
    kind = arguments.pop("kind", CreateFineTuneJobOperator)
    return kind(task_id="fine_tune", name="{{ params.name }}", datasets=DATASETS, **arguments)


for dag_name, options in {
    "create": RETRIES,
    "held": {"kind": HeldBeforeDeferral, **WAITS},
    "cancel": {**WAITS, "kill_action": "cancel"},
    "stop": {**WAITS, "kill_action": "stop"},
    "leave": {**WAITS, "kill_action": "leave"},
    "create_and_fail": {**WAITS, "retries": 0},
    "on_worker": {"wait_for_completion": True, "poll_interval": 1, "kill_action": "cancel", **RETRIES},
    "timeout": {**WAITS, "timeout": 8, "timeout_action": "stop"},
    "execution_timeout": {
        **WAITS,
        "execution_timeout": timedelta(seconds=10),
        "timeout_action": "cancel",
    },
}.items():
    with dag(dag_name) as made:
        create(**options)
    globals()[made.dag_id] = made


for dag_name, options in {
    "zero_workers": {"retries": 1},
    "zero_workers_soft": {"timeout": 5, "soft_fail": True},
}.items():
    with dag(dag_name) as made:
        waits = FineTuneJobSensor(
            task_id="wait",
            job_id=create().output,
            poke_interval=1,
            retry_delay=timedelta(seconds=1),
            start_from_trigger=True,
            end_from_trigger=True,
            **options,
        )

        @task
        def use(summary: dict[str, Any]) -> str:
            return summary["inference_config_path"]

        use(waits.output)
    globals()[made.dag_id] = made


with dag("mapped") as made:
    FineTuneJobSensor.partial(
        task_id="wait", poke_interval=1, start_from_trigger=True, end_from_trigger=True
    ).expand(job_id=["mapped-job-1", "mapped-job-2"])
globals()[made.dag_id] = made
