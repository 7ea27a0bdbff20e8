"""Operators that end fine-tune jobs; DAGs import them from ``airflow_provider_atai.operators.fine_tune``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator

from airflow_provider_atai.api.job_request import check_job_id
from airflow_provider_atai.errors import AtaiError, PermanentError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.jobs.arguments import is_dynamic, normalise_rendered
from airflow_provider_atai.jobs.ending import request_end

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class _EndFineTuneJobOperator(BaseOperator):
    template_fields: Sequence[str] = ("job_id", "atai_conn_id")
    ui_color = "#fbe9e3"
    _action: Literal["cancel", "stop"]

    def __init__(self, *, job_id: str, atai_conn_id: str = AtaiHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_dynamic(job_id):
            check_job_id(job_id)
        self.job_id = job_id
        self.atai_conn_id = atai_conn_id

    @cached_property
    def hook(self) -> AtaiHook:
        """The hook for the connection."""
        return AtaiHook(self.atai_conn_id)

    def execute(self, context: Context) -> str:
        """Ask the service to end the job, and return the status that it answers with."""
        if normalise_rendered(self.job_id) is None:
            raise AirflowSkipException(f"There is no job to {self._action}: job_id is {self.job_id!r}.")
        try:
            check_job_id(self.job_id)
            job = request_end(self.hook.fine_tune, self.job_id, self._action)
        except (ValueError, PermanentError) as error:
            raise AirflowFailException(
                f"The attempt to {self._action} job {self.job_id} failed, and a retry cannot help: {error} "
                "If the job was active, it still runs and bills."
            ) from error
        except AtaiError as error:
            error.add_note(f"Job {self.job_id} may still run and bill. A retry asks again.")
            raise
        self.log.info("Asked to %s job %s; its status is %s.", self._action, job.id, job.status)
        return job.status


class StopFineTuneJobOperator(_EndFineTuneJobOperator):
    """
    Stop a fine-tune job gracefully: its latest checkpoint is kept. A job that is over already is fine, and
    where there is none, as after a task that made none, this one is skipped.

    It does not wait until the job has stopped; ``FineTuneJobSensor(accept_stopped=True)`` does. XCom
    ``return_value`` is the job's status in the service's answer, usually ``STOPPING``.

    :param job_id: the job. (templated)
    :param atai_conn_id: the connection. (templated)
    :raises AirflowFailException: a retry cannot help: no such job, or no permission.
    :raises AtaiError: the service could not be reached; a retry asks again.
    """

    _action = "stop"


class CancelFineTuneJobOperator(_EndFineTuneJobOperator):
    """
    Cancel a fine-tune job at once: nothing is finalised. A job that is over already is fine, and where there
    is none, as after a task that made none, this one is skipped.

    As a teardown it makes sure that nothing goes on billing. XCom ``return_value`` is the job's status in the
    service's answer, usually ``CANCELLED``.

    :param job_id: the job. (templated)
    :param atai_conn_id: the connection. (templated)
    :raises AirflowFailException: a retry cannot help: no such job, or no permission.
    :raises AtaiError: the service could not be reached; a retry asks again.
    """

    _action = "cancel"
