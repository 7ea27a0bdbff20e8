"""The operator that creates fine-tune jobs; those that stop and cancel them can be imported from here too."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow_provider_atai import retries
from airflow_provider_atai.api.job_request import build_request, check_request
from airflow_provider_atai.compat import task_state
from airflow_provider_atai.compat.rendering import normalise_rendered
from airflow_provider_atai.compat.sdk import AirflowTaskTimeout, BaseOperator, deferrable_by_default, log_of
from airflow_provider_atai.compat.task_store import kept_job, pushed_job, remember_job
from airflow_provider_atai.errors import AtaiError, AtaiResponseError, FineTuneJobTimeoutError, PermanentError
from airflow_provider_atai.hooks.atai import AtaiHook, hook_of
from airflow_provider_atai.jobs import submission
from airflow_provider_atai.jobs.arguments import check_at_parse_time, check_deferrable
from airflow_provider_atai.jobs.ending import JobAction, check_action, end_job
from airflow_provider_atai.jobs.identity import TaskJob, jobs_of_task
from airflow_provider_atai.jobs.kill import KillSwitch
from airflow_provider_atai.links import reporting
from airflow_provider_atai.links.fine_tune import LINKS
from airflow_provider_atai.operators.end_job import CancelFineTuneJobOperator, StopFineTuneJobOperator
from airflow_provider_atai.waiting import on_worker
from airflow_provider_atai.waiting.deadline import interval_of, seconds_of, wait_deadline
from airflow_provider_atai.waiting.policy import DEFAULT_POLL_INTERVAL, Ending, WaitLimits
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import describe_summary
from airflow_provider_atai.waiting.watch import JobWatch

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob
    from airflow_provider_atai.compat.sdk import Context

__all__ = ["CancelFineTuneJobOperator", "CreateFineTuneJobOperator", "StopFineTuneJobOperator"]


class CreateFineTuneJobOperator(BaseOperator):
    """
    Create a fine-tune job, once per DAG run and set of inputs, and wait for it if asked to.

    The job's id is computed from the DAG run, the task and the request. A try adopts the job of an earlier
    try. It makes and pays for another job only if that one FAILED, was CANCELLED or STOPPED.

    XCom ``return_value`` is the job's id, pushed as soon as the job exists. If the operator waits, it also
    pushes ``job``: the summary that :func:`~airflow_provider_atai.waiting.summary.summarise` describes.
    ``atai_job`` and ``atai_statuses`` are for the job's tab in Airflow's UI.

    :param name: the job's name for people; it need not be unique. (templated)
    :param datasets: what to train on: a list of what
        :class:`~airflow_provider_atai.operators.datasets.UploadDatasetOperator` returns, ``{"name": str,
        "split": "train" | "eval", "file_ids": [str, ...]}``, with at least one train split. (templated)
    :param model: the base model, such as ``Newton::c2_4_7b_251215a172f6d7``; None: the service's. (templated)
    :param job_id: an id of your own, not with ``reattach=False``. An existing job with this id is adopted,
        whoever made it; with another ``name``, or if it ended without a model, it fails the task. (templated)
    :param reattach: whether a try adopts the job of an earlier try. False pays for a new job in each try, and
        does to an earlier try's job that still runs what ``kill_action`` says.
    :param wait_for_completion: whether the task waits until the job is terminal.
    :param deferrable: whether it waits in the triggerer, without a worker; needs ``wait_for_completion``.
    :param poll_interval: seconds or timedelta between two polls of the job; at least a second.
    :param timeout: seconds or timedelta from the job's creation, whatever is retried, at most 365 days; None
        for no limit.
    :param accept_stopped: whether STOPPED is a success, if there is an inference config or a checkpoint.
    :param kill_action: a kill does this to the job: ``"cancel"``, ``"stop"`` (gracefully), ``"leave"``.
    :param timeout_action: what happens to the job at ``timeout`` or ``execution_timeout``.
    :param atai_conn_id: the connection. (templated)
    :raises FineTuneJobFailedError: the job FAILED. A retry makes a new one.
    :raises FineTuneJobCancelledError: it was cancelled. A retry makes a new one.
    :raises FineTuneJobStoppedError: it was stopped, without ``accept_stopped`` or a checkpoint. Likewise.
    :raises FineTuneJobUnreachableError: it could not be read for 30 minutes. A retry adopts it.
    :raises FineTuneJobNoModelError: it is COMPLETED without a sign of a model. A retry polls it again.
    :raises AirflowFailException: a retry cannot help, or the job was not terminal in time.
    """

    template_fields: Sequence[str] = ("name", "datasets", "model", "job_id", "atai_conn_id")
    template_fields_renderers = {"datasets": "json"}
    operator_extra_links = LINKS
    ui_color = "#e3e8fb"
    hook = cached_property(hook_of)
    _ti: Any = None
    _resumed_for: str | None = None

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
        # What goes wrong here goes wrong in execute again, which reports it.
        with suppress(Exception):
            self._identify(context)
        with suppress(Exception):
            self._resumed_for = pushed_job(context)
        if self._resumed_for is not None:
            self._switch.must_be(self._resumed_for)
            reporting.know_links(self, context, self._resumed_for)

    def on_kill(self) -> None:
        """
        Do to the job what ``kill_action`` says, or leave it to the task's next try.

        If Airflow calls this at ``execution_timeout``, the job gets the ``timeout_action`` instead.
        """
        is_timeout = task_state.is_execution_timeout()
        if is_timeout and self._resumed_for is not None:
            result = self._last_look(self.hook.clone(), self._resumed_for, tolerance=0)
            if not result.is_green(accept_stopped=self.accept_stopped):
                raise self._failure(result)
            self.log.info("Job %s is %s. A retry of this task adopts it.", result.job_id, result.status)
            return
        action = self.timeout_action if is_timeout else self.kill_action
        self._switch.pull(self.hook, partial(task_state.is_tried_again, self._ti), action=action)

    @retries.telling_why
    def execute(self, context: Context) -> str:
        """Create or adopt the job, and wait for it if asked to."""
        return self._run(context)

    def _run(self, context: Context) -> str:
        return self._run_one_job(context) or self._run(context)

    def _run_one_job(self, context: Context) -> str | None:
        """Return the id of the task's job, None if one that was STOPPING has ended and left no model."""
        self._resumed_for = None
        job = self._submit(context)
        is_ending = submission.can_only_end_without_model(
            job.status, accept_stopped=self.accept_stopped, ids_are_chosen=self.job_id is not None
        )
        # A job that is about to end is not the task's yet. Its absence also tells that after Airflow's own
        # timeout, which leaves nothing else of the deferral.
        if self.do_xcom_push and not is_ending:
            context["ti"].xcom_push(key="return_value", value=job.id)
        history = reporting.report_created(self, context, job)
        if not self.wait_for_completion and not is_ending:
            return job.id
        deadline = wait_deadline(
            # The timeout of a job that is ending may be what ends it.
            counts_from=None if is_ending else job.created_at,
            started_at=context["ti"].start_date,
            now=on_worker.utcnow(),
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
                push_xcom=self.do_xcom_push,
            )
            arguments["kwargs"]["is_ending"] = is_ending
            self.defer(**arguments)
        limits = WaitLimits(poll_interval=self.poll_interval, deadline=deadline, known_to_exist=True)
        report = partial(reporting.report_history, self, context)
        watch = JobWatch(job.id, limits=limits, log=log_of(self), earlier=history, report=report)
        try:
            return self._finish(context, on_worker.wait_for_job(self.hook, watch), is_ending)
        except AirflowTaskTimeout:
            # A call has taken longer than our deadline comes before Airflow's.
            return self._finish(context, self._last_look(self.hook, job.id, tolerance=0))

    def execute_complete(
        self, context: Context, event: Any, job_id: str | None = None, is_ending: bool = False
    ) -> str:
        """Resume after the trigger has fired. ``dag.test()`` passes only the event on, without the rest."""
        retry = retries.another_try(reattach=self.reattach)
        result = WaitResult.from_event(event, job_id=job_id, retry=retry)
        self._resumed_for = result.job_id
        return self._finish(context, result, is_ending) or self._run(context)

    @retries.telling_why
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral, also if the trigger broke or Airflow timed it out."""
        broken = task_state.broken_deferral(next_method, next_kwargs)
        if broken is None:
            return super().resume_execution(next_method, next_kwargs, context)
        pushed = pushed_job(context)
        job_id = pushed or (kept_job(context) or {}).get("id") or self._find(context, broken)
        self._switch.must_be(job_id)
        if broken.timed_out:
            # Airflow does not tell the trigger of its own timeout (apache/airflow#60517).
            result = self._last_look(self.hook, job_id, tolerance=on_worker.LAST_LOOK_TOLERANCE)
            is_ending = self.do_xcom_push and pushed is None
            return self._finish(context, result, is_ending) or self._run(context)
        known = f"Fine-tune job {job_id} may still run and bill."
        raise AtaiResponseError(broken.describe(f"{known} {retries.look_first(reattach=self.reattach)}"))

    def _submit(self, context: Context) -> FineTuneJob:
        request, own, superseded = self._identify(context)
        unclear = retries.retry_after_unclear_create(reattach=self.reattach)
        with retries.failing_at_once("This try created no fine-tune job.", note=unclear):
            submission.end_superseded(self.hook, superseded, self.kill_action, log=log_of(self))
            return submission.submit_job(
                self.hook.fine_tune,
                jobs=own,
                request=request,
                accept_stopped=self.accept_stopped,
                switch=self._switch,
                remember=lambda job: remember_job(context, vars(job)),
                log=log_of(self),
                ids_are_chosen=self.job_id is not None,
            )

    def _find(self, context: Context, broken: task_state.BrokenDeferral) -> str:
        """Return the id of a job that neither an XCom of this try nor the store names."""
        ids = [own.id for own in self._identify(context)[1]]
        retry = retries.look_first(reattach=self.reattach)
        try:
            job = submission.latest_job(self.hook.fine_tune, ids=ids)
        except AtaiError as error:
            known = f"The job of this task cannot be looked for ({error}). It may still run and bill."
            if not broken.timed_out:
                raise AtaiResponseError(broken.describe(f"{known} {retry}")) from error
            self._switch.pull(self.hook, lambda: False, action=self.timeout_action)
            known = (
                f"The wait timed out. {known} The log says what became of timeout_action. It is not retried."
            )
            late = FineTuneJobTimeoutError(known, job_id=ids[0], status="never read")
            raise retries.task_failure(late, final=True) from error
        # An id of the author's own may name anybody's job.
        if job is None or (self.job_id is not None and job.name != self.name):
            raise AtaiResponseError(broken.describe(f"No job of this task was found. {retry}"))
        return job.id

    def _identify(self, context: Context) -> tuple[dict[str, Any], list[TaskJob], list[TaskJob]]:
        """Return the job's request, the jobs that may be the task's, and those that it has left behind."""
        self._ti = context["ti"]
        # What a mapped task has pushed is fetched anew each time that it is read.
        self.job_id, self.datasets = normalise_rendered(self.job_id), normalise_rendered(self.datasets)
        request = {"name": self.name, "datasets": self.datasets, "model": normalise_rendered(self.model)}
        with retries.failing_at_once(
            "No fine-tune job was created: the arguments are wrong.", final=ValueError
        ):
            check_request(**request, job_id=self.job_id)
        own, left_behind = jobs_of_task(
            context["ti"],
            build_request(**request),
            job_id=self.job_id,
            reattach=self.reattach,
            kept=TaskJob.from_store(kept_job(context)),
        )
        self._switch.may_be(own, left_behind)
        return request, own, left_behind

    def _finish(self, context: Context, result: WaitResult, is_ending: bool = False) -> str | None:
        """Return the id of a job that is a success, None if another is to be made, or raise."""
        self._ti = context["ti"]
        self._switch.must_be(result.job_id)
        reporting.report_end(self, context, result.job_id, result.history)
        if is_ending and retries.starts_a_new_job(result.ending):
            return None
        if self.accept_stopped:
            result = on_worker.look_for_checkpoint(self.hook, result)
        if result.summary is not None:
            # Logged by the worker, since what a trigger logs can get lost (apache/airflow#70317).
            self.log.info("%s", describe_summary(result.summary))
            if self.do_xcom_push:
                context["ti"].xcom_push(key="job", value=result.summary)
        if result.is_green(accept_stopped=self.accept_stopped):
            return result.job_id
        raise self._failure(result)

    def _failure(self, result: WaitResult) -> Exception:
        """Return the error for a result that is not green, after the timeout action if time is up."""
        advice = retries.retry_of_owner(
            result,
            accept_stopped=self.accept_stopped,
            reattach=self.reattach,
            id_is_chosen=self.job_id is not None,
        )
        if result.ending is Ending.TIMED_OUT:
            advice = f"{end_job(self.hook, result.job_id, self.timeout_action, log=log_of(self))} {advice}"
        error = result.error(advice)
        return retries.task_failure(error, final=isinstance(error, PermanentError))

    def _last_look(self, hook: AtaiHook, job_id: str, *, tolerance: float) -> WaitResult:
        return on_worker.last_look(hook, job_id, tolerance=tolerance, known_to_exist=True, log=log_of(self))
