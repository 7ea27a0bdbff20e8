"""Airflow 2 kills a task that it resumes after its execution_timeout, before the task can say anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_atai.compat.sdk import AirflowFailException
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from tests.harness.airflow_names import AirflowTaskTimeout
from tests.harness.datasets import store_dataset
from tests.harness.task_instance import TaskInstance
from tests.harness.task_life import TaskLife

try:
    from airflow.models.taskinstance import _execute_task
except ImportError:
    pytest.skip("Airflow 3 lets the resumed task decide", allow_module_level=True)


@pytest.mark.parametrize(
    ("state", "max_tries", "status"),
    [("running", 0, "STOPPING"), ("running", 1, "REGISTERED"), ("failed", 1, "STOPPING")],
)
@pytest.mark.parametrize("next_method", ["execute_complete", "__fail__"])
@pytest.mark.parametrize("pushes", [True, False])
def test_a_task_resumed_too_late_knows_its_job(atai_emulator, next_method, state, max_tries, status, pushes):
    atai_emulator.pause()
    dataset = store_dataset(atai_emulator)

    def build():
        return CreateFineTuneJobOperator(
            task_id="fine_tune",
            name="pump-states",
            datasets=[dataset],
            execution_timeout=timedelta(minutes=5),
            do_xcom_push=pushes,
        )

    outcome = TaskLife(build).run_try()
    ti = TaskInstance(task_id="fine_tune")
    ti.xcoms = outcome.xcoms
    ti.max_tries = max_tries
    ti.current_state = lambda: state
    task = build()
    context = {"ti": ti}
    task.pre_execute(context)
    resumed = SimpleNamespace(
        task=task,
        next_method=next_method,
        next_kwargs={},
        start_date=datetime.now(UTC) - timedelta(minutes=6),
        render_templates=lambda **arguments: task,
    )
    # A task that knows which job it has waited for fails without a retry, as at its own deadline.
    with pytest.raises(AirflowFailException if pushes else AirflowTaskTimeout):
        _execute_task(resumed, context, task)
    assert [job["status"] for job in atai_emulator.jobs()] == ["STOPPING" if pushes else status]
