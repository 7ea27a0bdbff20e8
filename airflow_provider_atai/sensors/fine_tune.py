"""The sensor that waits for a fine-tune job, whoever created it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.job_request import check_job_id
from airflow_provider_atai.compat.rendering import triggerer_template
from airflow_provider_atai.compat.sdk import (
    TRIGGERERS_RUN_WHOLE_TASKS,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    BaseSensorOperator,
    PokeReturnValue,
    deferrable_by_default,
    has_listeners,
    log_of,
)
from airflow_provider_atai.compat.task_state import broken_deferral
from airflow_provider_atai.compat.task_store import first_try_start
from airflow_provider_atai.errors import AtaiResponseError
from airflow_provider_atai.hooks.atai import AtaiHook, hook_of
from airflow_provider_atai.jobs.arguments import check_job_argument
from airflow_provider_atai.jobs.record import watched_job
from airflow_provider_atai.links import reporting
from airflow_provider_atai.links.fine_tune import LINKS
from airflow_provider_atai.retries import (
    POLLS_AGAIN,
    failing_at_once,
    retry_of_sensor,
    task_failure,
    telling_why,
)
from airflow_provider_atai.waiting.deadline import (
    BACKSTOP_MARGIN,
    LONGEST_SECONDS,
    interval_of,
    seconds_before_airflow,
    seconds_of,
    wait_deadline,
)
from airflow_provider_atai.waiting.on_worker import (
    LAST_LOOK_TOLERANCE,
    last_look,
    look_for_checkpoint,
    poke_job,
    utcnow,
)
from airflow_provider_atai.waiting.policy import SHORTEST_INTERVAL, Ending, WaitLimits
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import describe_summary
from airflow_provider_atai.waiting.watch import JobWatch

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_atai.compat.sdk import Context


class FineTuneJobSensor(BaseSensorOperator):
    """
    Wait until a fine-tune job is terminal. The sensor never acts on the job, which belongs to its creator.

    The outcome is the same in poke, reschedule and deferrable mode. COMPLETED succeeds, and so does STOPPED
    with ``accept_stopped`` if the job has a checkpoint. Every other end fails the sensor at once, also with
    ``soft_fail`` and whatever its ``retries``: the job cannot change any more. At ``timeout`` it raises
    ``AirflowSensorTimeout``, or is skipped with ``soft_fail``. An outage is tolerated for 30 minutes.

    XCom ``return_value`` is the summary that :func:`~airflow_provider_atai.waiting.summary.summarise`
    describes.

    :param job_id: the job to wait for. (templated)
    :param accept_stopped: whether a job that ends STOPPED is a success, if it has an inference config or its
        metrics name a checkpoint.
    :param deferrable: whether to wait in the triggerer, without a worker.
    :param start_from_trigger: whether to go from the scheduler to the triggerer without a worker (Airflow >=
        3.3, not for mapped tasks); implies ``deferrable``. ``timeout`` then counts anew in each try.
    :param end_from_trigger: whether to end in the triggerer if the job is a success (Airflow >= 3.3); implies
        ``deferrable``. Everything else ends on a worker. So does a sensor with ``outlets``, because only a
        worker sends its asset events, and every sensor if a plugin registers a listener.
    :param atai_conn_id: the connection. (templated)
    :param kwargs: those of every sensor. ``poke_interval`` is at least a second. ``exponential_backoff`` and
        ``max_wait`` hold in the triggerer as well.
    :raises AirflowFailException: the job FAILED, was cancelled, or was stopped without ``accept_stopped``;
        there is no such job, or the key is refused. Airflow does not retry it. Its ``__cause__`` is the error
        of :mod:`~airflow_provider_atai.errors`, such as ``FineTuneJobFailedError``.
    :raises FineTuneJobUnreachableError: it could not be read for 30 minutes. A retry polls it again.
    :raises FineTuneJobNoModelError: it is COMPLETED without a sign of a model. A retry polls it again.
    :raises FineTuneJobStoppedError: with ``accept_stopped``, the metrics of a stopped job could not be read.
        A retry polls it again.
    :raises AirflowSensorTimeout: it was not terminal within ``timeout``; not retried.
    """

    template_fields: Sequence[str] = ("job_id", "atai_conn_id")
    operator_extra_links = LINKS
    ui_color = "#e3f5ec"
    hook = cached_property(hook_of)

    def __init__(
        self,
        *,
        job_id: str,
        accept_stopped: bool = False,
        deferrable: bool = deferrable_by_default(),
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        atai_conn_id: str = AtaiHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poke_interval = interval_of(max(self.poke_interval, SHORTEST_INTERVAL), "poke_interval")
        seconds_of(self.timeout or None, "timeout")
        seconds_of(self.execution_timeout, "execution_timeout")
        check_job_argument(job_id)
        self.job_id = job_id
        self.accept_stopped = accept_stopped
        self.deferrable = deferrable or start_from_trigger or end_from_trigger
        self.atai_conn_id = atai_conn_id
        if (start_from_trigger or end_from_trigger) and not TRIGGERERS_RUN_WHOLE_TASKS:
            self.log.warning(
                "start_from_trigger and end_from_trigger need Airflow 3.3; task %s defers the ordinary way.",
                self.task_id,
            )
            start_from_trigger = end_from_trigger = False
        # Airflow refuses a whole DAG file in which a task both ends in the triggerer and has listeners.
        self._ends_on_worker_for_listeners = end_from_trigger and has_listeners()
        self.end_from_trigger = (
            end_from_trigger and not self.outlets and not self._ends_on_worker_for_listeners
        )
        rendered_there = triggerer_template(job_id)
        if start_from_trigger and rendered_there is None:
            self.log.warning(
                "The triggerer cannot render job_id of task %s; it starts on a worker. Pass the output of an "
                "unmapped task, as in job_id=create.output.",
                self.task_id,
            )
        self.start_from_trigger = start_from_trigger and rendered_there is not None
        if self.start_from_trigger:
            self.start_trigger_args = self._start_trigger_args(rendered_there)

    @telling_why
    def execute(self, context: Context) -> Any:
        """Wait for the job, in the sensor's mode."""
        with failing_at_once("There is no job to wait for.", final=ValueError):
            check_job_id(self.job_id)
        self._report_job(context)
        if self.deferrable:
            from airflow_provider_atai.triggers.fine_tune import deferral

            deadline = self._limits(context, utcnow()).deadline
            self.defer(**deferral(deadline=deadline, **self._trigger_arguments()))
        # poke() returns how the wait ended, and the error is raised here. In the base class's loop, soft_fail
        # and silent_fail would turn it into a skip or swallow it.
        return self._finish(super().execute(context))

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll the job, riding out an outage; done means terminal, or past the deadline."""
        result = poke_job(self.hook, self._watch(context))
        return PokeReturnValue(is_done=result is not None, xcom_value=result)

    def execute_complete(self, context: Context, event: Any, job_id: str | None = None) -> dict[str, Any]:
        """Resume after the trigger has fired. ``dag.test()`` passes only the event on, without ``job_id``."""
        result = WaitResult.from_event(event, job_id=job_id or self.job_id)
        reporting.report_end(self, context, result.job_id, result.history)
        return self._finish(result)

    @telling_why
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume after the deferral, whether the trigger fired, broke or was timed out by Airflow.

        After a timeout the job is looked at once, since no triggerer may have had room for the trigger.
        The method of Airflow's sensors is not called. With ``soft_fail`` it turns every ``AirflowException``
        into a skip, whereas in the other modes only a timeout skips.
        """
        reporting.know_links(self, context, self.job_id)
        broken = broken_deferral(next_method, next_kwargs)
        if broken is None:
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
        if broken.timed_out:
            seen = last_look(
                self.hook,
                self.job_id,
                tolerance=LAST_LOOK_TOLERANCE,
                known_to_exist=False,
                log=log_of(self),
            )
            reporting.report_end(self, context, seen.job_id, seen.history)
            return self._finish(seen)
        if self.never_fail:
            raise AirflowSkipException(f"The trigger broke: {broken.reason}")
        known = f"Fine-tune job {self.job_id} may still run and bill."
        raise AtaiResponseError(broken.describe(f"{known} {POLLS_AGAIN}"))

    def _report_job(self, context: Context) -> None:
        now = known_at = utcnow()
        if self._is_rescheduled:
            known_at = first_try_start(context, now, retries=self.retries, reschedules=True)
        record = watched_job(self.job_id, accept_stopped=self.accept_stopped, known_at=known_at)
        # Airflow clears the XComs of a rescheduled sensor at each poke, but keeps its log.
        reporting.report_job(self, context, record, is_news=known_at == now)

    @property
    def _is_rescheduled(self) -> bool:
        return bool(self.reschedule) and not self.deferrable

    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            "job_id": self.job_id,
            "atai_conn_id": self.atai_conn_id,
            "poll_interval": self.poke_interval,
            "max_interval": self._max_interval() if self.exponential_backoff else None,
            "end_task": self.end_from_trigger,
            "accept_stopped": self.accept_stopped,
            "push_xcom": self.do_xcom_push,
        }

    def _max_interval(self) -> float:
        return max(self.max_wait.total_seconds(), SHORTEST_INTERVAL) if self.max_wait else LONGEST_SECONDS

    def _start_trigger_args(self, job_id: str | None) -> StartTriggerArgs:
        from airflow.triggers.base import StartTriggerArgs

        before_timeout = seconds_before_airflow(
            timeout=self.timeout, execution_timeout=self.execution_timeout
        )
        return StartTriggerArgs(
            trigger_cls="airflow_provider_atai.triggers.fine_tune.FineTuneJobTrigger",
            trigger_kwargs={**self._trigger_arguments(), "job_id": job_id, "before_timeout": before_timeout},
            next_method="execute_complete",
            next_kwargs=None,
            timeout=timedelta(seconds=self.timeout) + BACKSTOP_MARGIN,
        )

    def _watch(self, context: Context) -> JobWatch:
        # A sensor that pokes in one process keeps its watch, and so logs what changed from poke to poke.
        watch: JobWatch | None = self.__dict__.get("_kept_watch")
        if watch is None:
            watch = JobWatch(
                self.job_id,
                limits=self._limits(context, utcnow()),
                log=log_of(self),
                earlier=reporting.earlier_history(self, context),
                report=partial(reporting.report_history, self, context),
            )
            self.__dict__["_kept_watch"] = watch
        return watch

    def _limits(self, context: Context, now: datetime) -> WaitLimits:
        reschedules = self._is_rescheduled
        deadline = wait_deadline(
            counts_from=first_try_start(context, now, retries=self.retries, reschedules=reschedules),
            started_at=context["ti"].start_date,
            now=now,
            timeout=self.timeout,
            # For a rescheduled sensor this bounds each poke; Airflow enforces that itself.
            execution_timeout=None if reschedules else self.execution_timeout,
        )
        return WaitLimits(poll_interval=self.poke_interval, deadline=deadline)

    def _finish(self, result: WaitResult) -> dict[str, Any]:
        if self._ends_on_worker_for_listeners:
            self.log.info(
                "end_from_trigger has no effect: a plugin has registered a listener, and Airflow calls "
                "listeners only for tasks that end on a worker."
            )
        if self.accept_stopped:
            result = look_for_checkpoint(self.hook, result)
        if result.summary is not None:
            # Logged by the worker, since what a trigger logs can get lost (apache/airflow#70317).
            self.log.info("%s", describe_summary(result.summary))
        if result.is_green(accept_stopped=self.accept_stopped):
            return result.summary or {}
        error = result.error(retry_of_sensor(result, accept_stopped=self.accept_stopped))
        if self.never_fail or (self.soft_fail and result.ending is Ending.TIMED_OUT):
            raise AirflowSkipException(str(error)) from error
        if result.ending is Ending.TIMED_OUT:
            raise AirflowSensorTimeout(str(error)) from error
        raise task_failure(error, final=not result.can_still_change(accept_stopped=self.accept_stopped))
