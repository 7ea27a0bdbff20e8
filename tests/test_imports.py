"""What a DAG file pays for using the provider: files are parsed every few seconds, forever."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

AIRFLOW_3 = int(version("apache-airflow").partition(".")[0]) >= 3

WITHOUT_PROVIDER = """
try:
    from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
except ImportError:
    from airflow import DAG
    from airflow.models.baseoperator import BaseOperator
    from airflow.sensors.base import BaseSensorOperator

with DAG("without", schedule=None):
    operator = BaseOperator(task_id="operator")
    sensor = BaseSensorOperator(task_id="sensor")
    mapped = BaseSensorOperator.partial(task_id="mapped").expand(timeout=[30, 60])
    [sensor, mapped] >> operator
"""

WITH_PROVIDER = """
from airflow_provider_atai.operators.datasets import DeleteDatasetOperator, UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import (
    CancelFineTuneJobOperator,
    CreateFineTuneJobOperator,
    StopFineTuneJobOperator,
)
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

with DAG("with", schedule=None):
    train = UploadDatasetOperator(task_id="train", path="/data/train.jsonl", name="training-set")
    job = CreateFineTuneJobOperator(task_id="job", name="pump-states", datasets=[train.output])
    waiting = CreateFineTuneJobOperator(
        task_id="waiting",
        name="pump-states",
        datasets=[{"name": "training-set", "split": "train", "file_ids": ["train.jsonl"]}],
        wait_for_completion=True,
        deferrable=True,
    )
    sensor = FineTuneJobSensor(task_id="sensor", job_id=job.output, deferrable=True)
    mapped = FineTuneJobSensor.partial(task_id="mapped").expand(job_id=["job-1", "job-2"])
    stop = StopFineTuneJobOperator(task_id="stop", job_id=job.output)
    cancel = CancelFineTuneJobOperator(task_id="cancel", job_id="{{ params.job_id }}")
    delete = DeleteDatasetOperator(task_id="delete", file_ids=["train.jsonl"])
    [sensor, mapped, waiting] >> stop >> cancel >> delete
"""

PARSE = f"""
import json, sys
{WITHOUT_PROVIDER}
before = set(sys.modules)
{WITH_PROVIDER}
print(json.dumps(sorted(set(sys.modules) - before)))
"""

# A module belongs in this list only if a DAG file cannot be parsed without it. What only a running task or a
# trigger needs is imported by the function that needs it.
# `python -m benchmarks.imports` shows what each costs.
OURS = """
airflow_provider_atai.api.backoff
airflow_provider_atai.api.fine_tune
airflow_provider_atai.api.job_request
airflow_provider_atai.api.printable
airflow_provider_atai.api.timestamps
airflow_provider_atai.compat
airflow_provider_atai.compat.rendering
airflow_provider_atai.compat.sdk
airflow_provider_atai.compat.task_state
airflow_provider_atai.compat.task_store
airflow_provider_atai.datasets
airflow_provider_atai.datasets.checks
airflow_provider_atai.datasets.files
airflow_provider_atai.datasets.progress
airflow_provider_atai.datasets.sources
airflow_provider_atai.datasets.store
airflow_provider_atai.errors
airflow_provider_atai.hooks
airflow_provider_atai.hooks.atai
airflow_provider_atai.hooks.settings
airflow_provider_atai.jobs
airflow_provider_atai.jobs.arguments
airflow_provider_atai.jobs.ending
airflow_provider_atai.jobs.identity
airflow_provider_atai.jobs.kill
airflow_provider_atai.jobs.record
airflow_provider_atai.jobs.submission
airflow_provider_atai.links
airflow_provider_atai.links.fine_tune
airflow_provider_atai.links.reporting
airflow_provider_atai.operators
airflow_provider_atai.operators.datasets
airflow_provider_atai.operators.end_job
airflow_provider_atai.operators.fine_tune
airflow_provider_atai.retries
airflow_provider_atai.sensors
airflow_provider_atai.sensors.fine_tune
airflow_provider_atai.waiting
airflow_provider_atai.waiting.deadline
airflow_provider_atai.waiting.history
airflow_provider_atai.waiting.on_worker
airflow_provider_atai.waiting.policy
airflow_provider_atai.waiting.result
airflow_provider_atai.waiting.summary
airflow_provider_atai.waiting.watch
"""
FOREIGN = """
airflow.sdk.bases.hook
airflow.sdk.bases.operatorlink
"""

# Every Airflow process imports this to know the provider, Airflow 3 before it parses the first DAG.
FOR_AIRFLOW = (
    "airflow_provider_atai.api",
    "airflow_provider_atai.api.base_url",
    "airflow_provider_atai.provider_info",
)
HTTP = ("aiohttp", "http.client", "httpcore", "httpx", "requests", "urllib3")
EMULATOR = ("airflow_provider_atai.emulator", "fastapi", "starlette", "uvicorn")


@pytest.fixture(scope="module")
def added():
    """The modules that the provider's part of a DAG file adds to what any DAG file imports."""
    done = subprocess.run([sys.executable, "-c", PARSE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


@pytest.mark.parametrize("unwanted", [*HTTP, *EMULATOR, "pendulum", "airflow_provider_atai.api.client"])
def test_parsing_a_dag_does_not_import(added, unwanted):
    assert [name for name in added if name == unwanted or name.startswith(f"{unwanted}.")] == []


def test_parsing_a_dag_imports_of_the_provider_exactly(added):
    ours = [name for name in added if name.startswith("airflow_provider_atai.") and name not in FOR_AIRFLOW]
    assert ours == OURS.split(), _advice("OURS", ours)


@pytest.mark.skipif(not AIRFLOW_3, reason="what Airflow 2.11 imports by itself is another list")
def test_parsing_a_dag_imports_of_others_exactly(added):
    foreign = [
        name
        for name in added
        # Which standard modules Airflow has imported before depends on the version of Python.
        if name.partition(".")[0] not in {"airflow_provider_atai", *sys.stdlib_module_names}
    ]
    assert foreign == FOREIGN.split(), _advice("FOREIGN", foreign)


def _advice(name, modules):
    listed = "\n".join(modules)
    return (
        "Parsing a DAG imports other modules than before. If the new ones are needed only when a task runs, "
        "import them in the function that needs them. If they really are needed to parse a DAG, make this "
        f"{name} in {__file__}:\n{listed}\n"
    )
