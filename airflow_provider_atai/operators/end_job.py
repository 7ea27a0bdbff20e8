"""Operators that stop and cancel fine-tune jobs, whoever created them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_atai.api.job_request import check_job_id
from airflow_provider_atai.compat.rendering import normalise_rendered
from airflow_provider_atai.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator
from airflow_provider_atai.errors import AtaiNotFoundError, PermanentError
from airflow_provider_atai.hooks.atai import AtaiHook, hook_of
from airflow_provider_atai.jobs.arguments import check_job_argument
from airflow_provider_atai.jobs.ending import request_end
from airflow_provider_atai.retries import failing_at_once, telling_why

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import Context


class _EndFineTuneJobOperator(BaseOperator):
    template_fields: Sequence[str] = ("job_id", "atai_conn_id")
    ui_color = "#fbe9e3"
    hook = cached_property(hook_of)
    _action: Literal["cancel", "stop"]

    def __init__(self, *, job_id: str, atai_conn_id: str = AtaiHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_job_argument(job_id)
        self.job_id = job_id
        self.atai_conn_id = atai_conn_id

    @telling_why
    def execute(self, context: Context) -> str:
        """Ask the service to end the job, and return the status in its response."""
        if normalise_rendered(self.job_id) is None:
            raise AirflowSkipException(f"There is no job to {self._action}: job_id is {self.job_id!r}.")
        with failing_at_once(
            f"The attempt to {self._action} job {self.job_id} failed. An active job still runs and bills.",
            note=f"Job {self.job_id} may still run and bill. A retry asks again.",
            final=(ValueError, PermanentError),
        ):
            check_job_id(self.job_id)
            try:
                job = request_end(self.hook.fine_tune, self.job_id, self._action)
            except AtaiNotFoundError as error:
                raise AirflowFailException(
                    f"The service knows no job {self.job_id!r}, so there was nothing to {self._action}. A "
                    "retry cannot help. Check the id (job_id=fine_tune.output passes that of another task), "
                    f"and that connection {self.atai_conn_id!r} has a key of the job's organisation and "
                    f"environment. If the job runs under another id, it bills on. ({error})"
                ) from error
        self.log.info("Asked the service to %s job %s; its status is %s.", self._action, job.id, job.status)
        return job.status


class StopFineTuneJobOperator(_EndFineTuneJobOperator):
    """
    Stop a fine-tune job gracefully, so that its latest checkpoint is kept. A terminal job is fine.

    It does not wait until the job is STOPPED; ``FineTuneJobSensor(accept_stopped=True)`` does. XCom
    ``return_value`` is the job's status in the service's response, usually ``STOPPING``.

    :param job_id: the job; if it is None, because no job was made, this task is skipped. (templated)
    :param atai_conn_id: the connection. (templated)
    :raises AirflowFailException: a retry cannot help: no such job, or no permission.
    :raises AtaiError: the service could not be reached; a retry asks again.
    """

    _action = "stop"


class CancelFineTuneJobOperator(_EndFineTuneJobOperator):
    """
    Cancel a fine-tune job at once: nothing is finalised. A terminal job is fine.

    As a teardown it makes sure that nothing goes on billing. XCom ``return_value`` is the job's status in the
    service's response, usually ``CANCELLED``.

    :param job_id: the job; if it is None, because no job was made, this task is skipped. (templated)
    :param atai_conn_id: the connection. (templated)
    :raises AtaiError, AirflowFailException: as :class:`StopFineTuneJobOperator`.
    """

    _action = "cancel"
