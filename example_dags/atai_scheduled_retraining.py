"""
Retrain a model every Monday, or at once with other data: press *Trigger* and fill in the form.

It needs a connection ``atai_default`` of type ``atai`` whose password is the API key, and a triggerer:
that is where the waiting happens. On Airflow 3, unpausing the DAG starts no run for the last Monday, so that
one click on *Trigger* pays for one job. On Airflow 2 it does, as with every schedule.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import Param, dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.models.param import Param

from airflow_provider_atai.operators.datasets import UploadDatasetOperator
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

try:
    from airflow.sdk import CronTriggerTimetable
except ImportError:  # Before Airflow 3.2
    from airflow.timetables.trigger import CronTriggerTimetable

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Before Airflow 3.2
    from airflow.exceptions import AirflowFailException

DATA = Path(__file__).resolve().parent / "data"

try:
    # Without this argument, or with a start_date, unpausing starts a run for a Monday that has passed. With
    # it, a scheduler that comes a few minutes late still starts the run.
    mondays = CronTriggerTimetable("0 3 * * 1", timezone="UTC", run_immediately=timedelta(minutes=10))
    WEEKLY: dict[str, Any] = {"schedule": mondays}
except TypeError:  # Airflow 2
    WEEKLY = {"schedule": "0 3 * * 1", "start_date": datetime(2026, 1, 5, tzinfo=UTC)}

# The form shows the sections, titles and descriptions. What does not match its pattern is refused when
# *Trigger* is pressed, before there is a run.
A_JSONL_FILE = r"^(/|file:///|[a-z][a-z0-9+.-]*://[^/]+/).+\.(jsonl|JSONL)$"
HOW_TO_WRITE_IT = (
    "An absolute path that the workers can open, or an object storage URL, with the suffix .jsonl: "
    "/data/train.jsonl or s3://aws_default@bucket/train.jsonl."
)

PARAMS = {
    "train_path": Param(
        str(DATA / "pump_train.jsonl"),
        type="string",
        pattern=A_JSONL_FILE,
        title="Training data",
        description=f"A JSONL file with one labelled example a line. {HOW_TO_WRITE_IT}",
        section="Data",
    ),
    "eval_path": Param(
        str(DATA / "pump_eval.jsonl"),
        type="string",
        pattern=A_JSONL_FILE,
        title="Evaluation data",
        description=f"Labelled examples that the model does not train on. {HOW_TO_WRITE_IT}",
        section="Data",
    ),
    "job_name": Param(
        "pump-states",
        type="string",
        minLength=1,
        pattern=r"^\S(.*\S)?$",
        title="Job name",
        description="What people will know the job by. It need not be unique, and neither begins nor ends "
        "with a space.",
        section="Job",
    ),
    # `examples` makes the form suggest these two, and leaves room for a model that is newer than this file.
    "model": Param(
        None,
        type=["null", "string"],
        pattern=r"^[^\s:]+::[^\s:]+$",
        title="Base model",
        description="A family and a version with two colons between them, as in the suggestions. Left empty, "
        "the service takes its default.",
        examples=["Newton::c2_4_7b_251215a172f6d7", "Newton::c2_4_3b_251215dfe6a746"],
        section="Job",
    ),
}


@dag(
    **WEEKLY,
    # Weeks that were missed are not made up for: every run pays for a job.
    catchup=False,
    # A second run waits until the first is over, so two jobs never train side by side.
    max_active_runs=1,
    params=PARAMS,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["atai", "example"],
    doc_md=__doc__,
)
def atai_scheduled_retraining() -> None:
    @task
    def find_files(paths: list[str]) -> None:
        """Look at both files before anything is sent: a wrong path fails the run within seconds."""
        from airflow_provider_atai.datasets.sources import source_of
        from airflow_provider_atai.errors import DatasetFileError

        wrong = []
        for path in paths:
            try:
                source_of(path).signature()
            except DatasetFileError as error:
                wrong.append(str(error))
        if wrong:
            # A retry would find the same. A store that does not answer at the moment is tried again.
            raise AirflowFailException(f"{' '.join(wrong)} Trigger a run with: {HOW_TO_WRITE_IT}")

    found = find_files(["{{ params.train_path }}", "{{ params.eval_path }}"])
    upload_train = UploadDatasetOperator(
        task_id="upload_train",
        path="{{ params.train_path }}",
        name="training-set",
    )
    upload_eval = UploadDatasetOperator(
        task_id="upload_eval",
        path="{{ params.eval_path }}",
        name="eval-set",
        split="eval",
    )

    fine_tune = CreateFineTuneJobOperator(
        task_id="fine_tune",
        name="{{ params.job_name }}",
        model="{{ params.model }}",
        datasets=[upload_train.output, upload_eval.output],
    )

    wait = FineTuneJobSensor(
        task_id="wait",
        job_id=fine_tune.output,
        deferrable=True,
        poke_interval=15,
        # The sensor gives up waiting after this time; the job itself goes on.
        timeout=timedelta(hours=12),
    )

    @task
    def hand_over(summary: dict[str, Any]) -> str:
        """Pass the trained model on; what takes it into use goes here."""
        print(
            f"Job {summary['job_id']} has trained {summary['model']}. Its last metrics: {summary['metrics']}"
        )
        print(f"The inference config is {summary['inference_config_path']}")
        return summary["inference_config_path"]

    found >> [upload_train, upload_eval]
    hand_over(wait.output)


atai_scheduled_retraining()
