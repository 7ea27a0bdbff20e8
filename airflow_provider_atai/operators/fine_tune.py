"""Operators that create, stop and cancel fine-tune jobs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_atai.api.job_request import build_request, check_job_id, check_request
from airflow_provider_atai.compat.rendering import is_dynamic, normalise_rendered
from airflow_provider_atai.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    deferrable_by_default,
    log_of,
)
from airflow_provider_atai.compat.task_state import BrokenDeferral, broken_deferral, is_tried_again
from airflow_provider_atai.compat.task_store import pushed_job, remember_job, superseded_job
from airflow_provider_atai.errors import AtaiError, AtaiResponseError, PermanentError
from airflow_provider_atai.hooks.atai import AtaiHook, hook_of
from airflow_provider_atai.jobs.arguments import check_at_parse_time, check_deferrable
from airflow_provider_atai.jobs.ending import JobAction, check_action, end_job, end_last_job, request_end
from airflow_provider_atai.jobs.identity import job_ids
from airflow_provider_atai.jobs.kill import KillSwitch
from airflow_provider_atai.jobs.submission import end_superseded, latest_job, submit_job
from airflow_provider_atai.links.fine_tune import FineTuneJobLink, push_link
from airflow_provider_atai.retries import failing_at_once, retry_of_owner, task_failure, telling_why
from airflow_provider_atai.waiting.deadline import interval_of, seconds_of, wait_deadline
from airflow_provider_atai.waiting.on_worker import last_look, look_for_checkpoint, utcnow, wait_for_job
from airflow_provider_atai.waiting.policy import DEFAULT_POLL_INTERVAL, Ending, WaitLimits
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import describe_summary
from airflow_provider_atai.waiting.watch import JobWatch

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob
    from airflow_provider_atai.compat.sdk import Context


_LOOKS_FIRST = "A retry of this task looks for its job before it creates one."


class CreateFineTuneJobOperator(BaseOperator):
    """
    Create a fine-tune job, once per DAG run and set of inputs, and wait for it if asked to.

    The job's id is computed from the DAG run, the task and the request. A try adopts the job of an earlier
    try. It makes and pays for another job only if that one FAILED, was CANCELLED or STOPPED.

    XCom ``return_value`` is the job's id, pushed as soon as the job exists. If the operator waits, it also
    pushes ``job``: the summary that :func:`~airflow_provider_atai.waiting.summary.summarise` describes.

    :param name: the job's name for people; it need not be unique. (templated)
    :param datasets: what to train on: a list of what
        :class:`~airflow_provider_atai.operators.datasets.UploadDatasetOperator` returns, ``{"name": str,
        "split": "train" | "eval", "file_ids": [str, ...]}``, with at least one train split. (templated)
    :param model: the base model, such as ``Newton::c2_4_7b_251215a172f6d7``; None: the service's. (templated)
    :param job_id: an id of your own, not with ``reattach=False``. An existing job with this id is adopted,
        whoever made it; with another ``name``, or if it ended without a model, it fails the task. (templated)
    :param reattach: whether a try adopts the job of an earlier try. False pays for a new job in each try.
    :param wait_for_completion: whether the task waits until the job is terminal.
    :param deferrable: whether it waits in the triggerer, without a worker; needs ``wait_for_completion``.
    :param poll_interval: seconds or timedelta between two polls of the job; at least a second.
    :param timeout: seconds or timedelta from the job's creation, whatever is retried, at most 365 days; None
        for no limit.
    :param accept_stopped: whether a job that ends STOPPED is a success, if it has an inference config or its
        metrics name a checkpoint.
    :param kill_action: what happens to the job if the task is killed: ``"cancel"`` (at once), ``"stop"``
        (gracefully, keeping the latest checkpoint) or ``"leave"``.
    :param timeout_action: what happens to the job at ``timeout`` or ``execution_timeout``.
    :param atai_conn_id: the connection. (templated)
    :raises FineTuneJobFailedError: the job FAILED. A retry makes a new one.
    :raises FineTuneJobCancelledError: it was cancelled. A retry makes a new one.
    :raises FineTuneJobStoppedError: it was stopped, without ``accept_stopped`` or a checkpoint. A retry makes
        a new one.
    :raises FineTuneJobUnreachableError: it could not be read for 30 minutes. A retry adopts it.
    :raises FineTuneJobNoModelError: it is COMPLETED without a sign of a model. A retry polls it again.
    :raises AirflowFailException: a retry cannot help, or the job was not terminal in time.
    """

    template_fields: Sequence[str] = ("name", "datasets", "model", "job_id", "atai_conn_id")
    template_fields_renderers = {"datasets": "json"}
    operator_extra_links = (FineTuneJobLink(),)
    ui_color = "#e3e8fb"
    hook = cached_property(hook_of)
    job_page_url: str | None = None
    _ti: Any = None

    def __init__(
        self,
        *,
        name: str,
        datasets: Sequence[Any],
        model: str | None = None,
        job_id: str | None = None,
        reattach: bool = True,
        wait_for_completion: bool = False,
        deferrable: bool = deferrable_by_default(),
        poll_interval: timedelta | float = DEFAULT_POLL_INTERVAL,
        timeout: timedelta | float | None = None,
        accept_stopped: bool = False,
        kill_action: JobAction = "cancel",
        timeout_action: JobAction = "stop",
        atai_conn_id: str = AtaiHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_parse_time(name=name, datasets=datasets, model=model, job_id=job_id, reattach=reattach)
        check_action(kill_action, "kill_action")
        check_action(timeout_action, "timeout_action")
        seconds_of(timeout, "timeout")
        seconds_of(self.execution_timeout, "execution_timeout")
        check_deferrable(deferrable, waits=wait_for_completion, default=deferrable_by_default())
        self.name = name
        self.datasets = datasets
        self.model = model
        self.job_id = job_id
        self.reattach = reattach
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = interval_of(poll_interval, "poll_interval")
        self.timeout = timeout
        self.accept_stopped = accept_stopped
        self.kill_action = kill_action
        self.timeout_action = timeout_action
        self.atai_conn_id = atai_conn_id

    @property
    def _switch(self) -> KillSwitch:
        # Made by whoever asks first, and not in __init__: Airflow runs copies of the operator, and each needs
        # its own. A kill may interrupt the making, so that it has to be one step.
        switch = KillSwitch(self.kill_action, reattach=self.reattach, log=log_of(self))
        return self.__dict__.setdefault("_kept_switch", switch)  # type: ignore[no-any-return]

    def pre_execute(self, context: Context) -> None:
        """Learn which job is the task's: Airflow 2 kills a task that resumes too late right after this."""
        super().pre_execute(context)
        # Wrong arguments are for execute to report.
        with suppress(AirflowFailException):
            self._identify(context)

    def on_kill(self) -> None:
        """Do to the job what ``kill_action`` says, or leave it to the task's next try."""
        self._switch.pull(self.hook, partial(is_tried_again, self._ti))

    @telling_why
    def execute(self, context: Context) -> str:
        """Create or adopt the job, and wait for it if asked to."""
        job = self._submit(context)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=job.id)
        self.job_page_url = push_link(context["ti"], self.hook.console_url(job.id))
        if not self.wait_for_completion:
            return job.id

        deadline = wait_deadline(
            counts_from=job.created_at,
            started_at=context["ti"].start_date,
            now=utcnow(),
            timeout=seconds_of(self.timeout, "timeout"),
            execution_timeout=self.execution_timeout,
        )
        if self.deferrable and not job.is_terminal:
            # Imported here, as in the sensor: it costs most, and parsing a DAG file needs no trigger.
            from airflow_provider_atai.triggers.fine_tune import deferral

            arguments = deferral(
                job_id=job.id,
                atai_conn_id=self.atai_conn_id,
                poll_interval=self.poll_interval,
                deadline=deadline,
                kill_action=self.kill_action,
                reattach=self.reattach,
                known_to_exist=True,
            )
            self.defer(**arguments)
        limits = WaitLimits(poll_interval=self.poll_interval, deadline=deadline, known_to_exist=True)
        watch = JobWatch(job.id, limits=limits, log=log_of(self))
        return self._finish(context, wait_for_job(self.hook, watch))

    def execute_complete(self, context: Context, event: Any, job_id: str | None = None) -> str:
        """Resume after the trigger has fired. ``dag.test()`` passes only the event on, without ``job_id``."""
        result = WaitResult.from_event(event, job_id=job_id)
        # A finished job does not fail for want of a link.
        with suppress(Exception):
            self.job_page_url = self.hook.console_url(result.job_id)
        return self._finish(context, result)

    @telling_why
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral, also if the trigger broke or Airflow timed it out."""
        broken = broken_deferral(next_method, next_kwargs)
        if broken is None:
            return super().resume_execution(next_method, next_kwargs, context)
        job_id = pushed_job(context) or self._find(context, broken)
        self._switch.must_be(job_id)
        if broken.timed_out:
            # Airflow does not tell the trigger of its own timeout (apache/airflow#60517).
            return self._finish(context, last_look(self.hook, job_id, known_to_exist=True, log=log_of(self)))
        known = f"Fine-tune job {job_id} may still run and bill."
        raise AtaiResponseError(broken.describe(f"{known} {_LOOKS_FIRST}"))

    def _submit(self, context: Context) -> FineTuneJob:
        request, ids = self._identify(context)
        superseded = superseded_job(context, ids) if self.reattach else None
        unclear = "It is unknown whether a job exists. A retry looks for it before it creates one."
        with failing_at_once("This try created no fine-tune job.", note=unclear):
            end_superseded(self.hook, superseded, self.kill_action, log=log_of(self))
            return submit_job(
                self.hook.fine_tune,
                ids=ids,
                request=request,
                accept_stopped=self.accept_stopped,
                switch=self._switch,
                remember=partial(remember_job, context),
                log=log_of(self),
                ids_are_chosen=self.job_id is not None,
            )

    def _find(self, context: Context, broken: BrokenDeferral) -> str:
        """Return the id of a job that this try has not pushed as an XCom."""
        ids = self._identify(context)[1]
        try:
            job = latest_job(self.hook.fine_tune, ids=ids)
        except AtaiError as error:
            known = f"The job of this task cannot be looked for ({error}). It may still run and bill."
            if not broken.timed_out:
                raise AtaiResponseError(broken.describe(f"{known} {_LOOKS_FIRST}")) from error
            end_last_job(self.hook, ids, self.timeout_action, log=log_of(self))
            known = f"{known} The log says what became of timeout_action."
            raise AirflowFailException(f"The wait timed out. {known} The task is not retried.") from error
        if job is None:
            raise AtaiResponseError(broken.describe(f"No job of this task was found. {_LOOKS_FIRST}"))
        return job.id

    def _identify(self, context: Context) -> tuple[dict[str, Any], list[str]]:
        """Return the job's request and the ids that the job may have, and let a kill know them."""
        self._ti = context["ti"]
        # Kept, since what a mapped task has pushed is fetched anew each time that it is read.
        self.job_id, self.datasets = normalise_rendered(self.job_id), normalise_rendered(self.datasets)
        request = {"name": self.name, "datasets": self.datasets, "model": normalise_rendered(self.model)}
        with failing_at_once("No fine-tune job was created: the arguments are wrong.", final=ValueError):
            check_request(**request, job_id=self.job_id)
        ids = [self.job_id]
        if self.job_id is None:
            ids = job_ids(context["ti"], build_request(**request), new_in_each_try=not self.reattach)
        self._switch.may_be(ids)
        return request, ids

    def _finish(self, context: Context, result: WaitResult) -> str:
        self._ti = context["ti"]
        self._switch.must_be(result.job_id)
        if self.accept_stopped:
            result = look_for_checkpoint(self.hook, result)
        if result.summary is not None:
            # Logged by the worker, since what a trigger logs can get lost (apache/airflow#70317).
            self.log.info("%s", describe_summary(result.summary))
            if self.do_xcom_push:
                context["ti"].xcom_push(key="job", value=result.summary)
        if result.is_green(accept_stopped=self.accept_stopped):
            return result.job_id
        advice = retry_of_owner(result, accept_stopped=self.accept_stopped)
        if result.ending is Ending.TIMED_OUT:
            advice = f"{end_job(self.hook, result.job_id, self.timeout_action, log=log_of(self))} {advice}"
        error = result.error(advice)
        raise task_failure(error, final=isinstance(error, PermanentError))


class _EndFineTuneJobOperator(BaseOperator):
    template_fields: Sequence[str] = ("job_id", "atai_conn_id")
    ui_color = "#fbe9e3"
    hook = cached_property(hook_of)
    _action: Literal["cancel", "stop"]

    def __init__(self, *, job_id: str, atai_conn_id: str = AtaiHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_dynamic(job_id):
            check_job_id(job_id)
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
            job = request_end(self.hook.fine_tune, self.job_id, self._action)
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
