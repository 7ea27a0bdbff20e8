"""Operators that create, stop and cancel fine-tune jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    BaseOperator,
    conf,
)

from airflow_provider_atai.api.job_request import build_request, check_request
from airflow_provider_atai.compat.task_store import pushed_job, remember_job, superseded_job
from airflow_provider_atai.errors import AtaiError, AtaiResponseError, PermanentError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.jobs.arguments import check_at_parse_time, normalise_rendered
from airflow_provider_atai.jobs.ending import (
    KILL_TIMEOUT,
    JobAction,
    check_action,
    end_job,
    end_last_job,
)
from airflow_provider_atai.jobs.identity import job_identity
from airflow_provider_atai.jobs.submission import find_job, latest_job, submit_job
from airflow_provider_atai.links.fine_tune import FineTuneJobLink
from airflow_provider_atai.operators.job_ending import CancelFineTuneJobOperator, StopFineTuneJobOperator
from airflow_provider_atai.waiting.deadline import backstop, seconds_of, wait_deadline
from airflow_provider_atai.waiting.on_worker import utcnow, wait_for_job
from airflow_provider_atai.waiting.policy import DEFAULT_POLL_INTERVAL, Ending, WaitLimits
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import describe_summary
from airflow_provider_atai.waiting.watch import JobWatch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_atai.api.fine_tune import FineTuneJob

__all__ = ["CancelFineTuneJobOperator", "CreateFineTuneJobOperator", "StopFineTuneJobOperator"]


class CreateFineTuneJobOperator(BaseOperator):
    """
    Create a fine-tune job, once per DAG run and set of inputs, and wait for it if asked to.

    The job's id is computed from the DAG run, the task and the request. A try that finds the job of an
    earlier try goes on with it instead of paying for a second one; only where that job FAILED, was CANCELLED
    or STOPPED does it make another.

    XCom ``return_value`` is the job's id, pushed as soon as the job exists. Having waited, the operator also
    pushes ``job``: the summary that :func:`~airflow_provider_atai.waiting.summary.summarise` describes.

    :param name: the job's name for people; it need not be unique. (templated)
    :param datasets: what to train on, each ``{"name": str, "split": "train" | "eval", "file_ids": [str,
        ...]}``, which is what :class:`~airflow_provider_atai.operators.datasets.UploadDatasetOperator`
        returns; at least one train split. (templated)
    :param model: the base model, such as ``Newton::c2_4_7b_251215a172f6d7``; None leaves the choice to the
        service. (templated)
    :param job_id: an id of your own, 1 to 64 characters, instead of the computed one. A job that has it
        already is adopted, whoever made it, if it has this ``name``; the task fails when it has another one,
        or has ended without a model. Not with ``reattach=False``. (templated)
    :param reattach: whether a try adopts the job of an earlier try. False makes a new, separately paid job in
        each try.
    :param wait_for_completion: whether the task waits until the job is over.
    :param deferrable: whether it waits in the triggerer, without a worker; needs ``wait_for_completion``.
    :param poll_interval: seconds between two looks at the job.
    :param timeout: seconds or timedelta that the job may take, counted from its creation, so that no retry
        renews it; None for no limit.
    :param accept_stopped: whether a job that ends STOPPED, with its latest checkpoint kept, is a success.
    :param kill_action: what happens to the job when the task is killed: ``"cancel"`` (at once), ``"stop"``
        (gracefully, keeping the latest checkpoint) or ``"leave"``.
    :param timeout_action: the same for when ``timeout`` or ``execution_timeout`` is reached.
    :param atai_conn_id: the connection. (templated)
    :raises FineTuneJobFailedError: the job FAILED. A retry makes a new one.
    :raises FineTuneJobCancelledError: it was cancelled, likewise.
    :raises FineTuneJobStoppedError: it was stopped, likewise, unless ``accept_stopped``.
    :raises FineTuneJobUnreachableError: it could not be read for 30 minutes. A retry goes on with it.
    :raises FineTuneJobNoModelError: it is COMPLETED, but there is no sign of a model. A retry looks again.
    :raises AirflowFailException: a retry cannot help: the service refuses the request, the key or the job id,
        or the job was not over in time.
    """

    template_fields: Sequence[str] = ("name", "datasets", "model", "job_id", "atai_conn_id")
    template_fields_renderers = {"datasets": "json"}
    operator_extra_links = (FineTuneJobLink(),)
    ui_color = "#e3e8fb"

    def __init__(
        self,
        *,
        name: str,
        datasets: Sequence[Any],
        model: str | None = None,
        job_id: str | None = None,
        reattach: bool = True,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        timeout: timedelta | float | None = None,
        accept_stopped: bool = False,
        kill_action: JobAction = "cancel",
        timeout_action: JobAction = "stop",
        atai_conn_id: str = AtaiHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_parse_time(name=name, datasets=datasets, model=model, job_id=job_id)
        check_action(kill_action, "kill_action")
        check_action(timeout_action, "timeout_action")
        seconds_of(timeout, "timeout")
        seconds_of(poll_interval, "poll_interval")
        if job_id is not None and not reattach:
            raise ValueError(
                "reattach=False makes a new job in each try, which a job_id of your own cannot name. Leave "
                "one of them out."
            )
        if deferrable and not wait_for_completion and not _deferrable_by_default():
            raise ValueError(
                "deferrable=True has no effect on a task that does not wait. Add wait_for_completion=True, "
                "or wait with FineTuneJobSensor(job_id=..., deferrable=True)."
            )
        self.name = name
        self.datasets = datasets
        self.model = model
        self.job_id = job_id
        self.reattach = reattach
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.accept_stopped = accept_stopped
        self.kill_action = kill_action
        self.timeout_action = timeout_action
        self.atai_conn_id = atai_conn_id
        self.job_page_url: str | None = None
        self._ti: Any = None
        self._killable_ids: Sequence[str] = ()
        self._was_killed = False

    @cached_property
    def hook(self) -> AtaiHook:
        """The hook for the connection."""
        return AtaiHook(self.atai_conn_id)

    def pre_execute(self, context: Context) -> None:
        """
        Learn which job is the task's before anything can kill it.

        Airflow 2 does not come to ``execute_complete`` where ``execution_timeout`` has passed: it kills the
        resumed task at once.
        """
        super().pre_execute(context)
        self._ti = context["ti"]
        # What is wrong with the arguments is for execute to say.
        with suppress(AirflowFailException):
            self._killable_ids = list(self._ids(context, self._request()))

    def execute(self, context: Context) -> str:
        """Create or adopt the job, and wait for it if asked to."""
        job = self._submit(context)
        self._killable_ids = [job.id]
        if self._was_killed:
            # The request that made the job was under way already, so on_kill came too early for it.
            self.on_kill()
            self._stay_killed()
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=job.id)
        self._push_link(context, job.id)
        if not self.wait_for_completion:
            return job.id

        now = utcnow()
        limits = WaitLimits(
            poll_interval=self.poll_interval,
            deadline=self._deadline(context, job, now),
            known_to_exist=True,
        )
        if self.deferrable and not job.is_terminal:
            # Imported here, as in the sensor: it costs most, and parsing a DAG file needs no trigger.
            from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger

            self.defer(
                trigger=FineTuneJobTrigger(
                    job_id=job.id,
                    atai_conn_id=self.atai_conn_id,
                    poll_interval=limits.poll_interval,
                    deadline=limits.deadline.isoformat() if limits.deadline else None,
                    kill_action=self.kill_action,
                    reattach=self.reattach,
                    known_to_exist=True,
                ),
                method_name="execute_complete",
                kwargs={"job_id": job.id},
                timeout=backstop(limits.deadline, now),
            )
        result = wait_for_job(self.hook, JobWatch(job.id, limits=limits, log=self.log))
        return self._finish(context, result)

    def execute_complete(self, context: Context, event: Any, job_id: str | None = None) -> str:
        """
        Go on after the trigger has fired.

        :param context: the task's context.
        :param event: the trigger's payload.
        :param job_id: the job that the task deferred for; None under ``dag.test()``, which passes only
            the event on.
        """
        result = WaitResult.from_event(event, job_id=job_id)
        with suppress(Exception):
            # A link is nothing that a finished job should fail for.
            self.job_page_url = self.hook.console_url(result.job_id)
        return self._finish(context, result)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after the deferral, also where the trigger broke or Airflow timed it out.

        Airflow does not tell the trigger of a timeout of its own, so the job would go on billing unless it
        got its ``timeout_action`` here (apache/airflow#60517).
        """
        if next_method != "__fail__":
            return super().resume_execution(next_method, next_kwargs, context)
        failure = next_kwargs or {}
        reason = str(failure.get("error"))
        job = self._find(context)
        if job is not None and "timeout" in reason.lower() and not job.is_terminal:
            return self._finish(
                context, WaitResult(Ending.TIMED_OUT, job.id, status=job.status, reason=reason)
            )
        known = (
            f"Fine-tune job {job.id} is {job.status}" if job else "No fine-tune job of this task was found"
        )
        raise AtaiResponseError(
            f"The trigger that waited for the job broke ({reason}). {known}. {_RETRY_LOOKS_AGAIN}\n"
            + "\n".join(failure.get("traceback") or ())
        )

    def on_kill(self) -> None:
        """
        Do to the job what ``kill_action`` says, without waiting for it to take effect.

        A task that is tried again leaves its job to its next try, unless each try is to have its own. Killed
        before it knows its job, the task tries the ids that it may have. Airflow 3 lets the process go on for
        some seconds after this, in which it must not make a job.
        """
        from airflow_provider_atai.compat.next_try import is_tried_again

        self._was_killed = True
        if self.kill_action != "leave" and self.reattach and is_tried_again(self._ti):
            self.log.info("This task is tried again. Its job is left to the next try.")
            return
        end_last_job(
            # Of its own, since the interrupted code may be in the middle of a call of the other one, and with
            # the connection as it was read, since that code may as well be in the middle of asking Airflow.
            self.hook.clone(),
            self._killable_ids,
            self.kill_action,
            log=self.log,
            timeout=KILL_TIMEOUT,
            max_attempts=1,
        )

    def _submit(self, context: Context) -> FineTuneJob:
        request = self._request()
        self._ti = context["ti"]
        ids = self._killable_ids = list(self._ids(context, request))
        try:
            self._end_superseded(context, ids)
            job = submit_job(
                self.hook.fine_tune,
                ids=ids,
                request=request,
                accept_stopped=self.accept_stopped,
                log=self.log,
                ids_are_chosen=self.job_id is not None,
                before_create=partial(self._before_create, context),
            )
            remember_job(context, job.id)
            return job
        except PermanentError as error:
            raise AirflowFailException(
                f"This try created no fine-tune job, and a retry cannot help: {error}"
            ) from error
        except AtaiError as error:
            error.add_note(
                "It is not known whether a fine-tune job was created. A retry looks for it before it "
                "creates one, so nobody pays twice."
            )
            raise

    def _end_superseded(self, context: Context, ids: Sequence[str]) -> None:
        """End the job of an earlier try whose request has changed since: nobody waits for it any more."""
        job_id = superseded_job(context, ids) if self.reattach else None
        job = find_job(self.hook.fine_tune, job_id) if job_id is not None else None
        if job is not None and not job.is_terminal:
            self.log.warning(
                "Job %s of an earlier try is %s, but it was made for another request than this try's. This "
                "try makes a job of its own.",
                job.id,
                job.status,
            )
            end_job(self.hook, job.id, self.kill_action, log=self.log)

    def _find(self, context: Context) -> FineTuneJob | None:
        """Return the job that an earlier process of this try has made or adopted."""
        pushed = pushed_job(context)
        if pushed is not None:
            self._killable_ids = [pushed]
            return find_job(self.hook.fine_tune, pushed)
        self._killable_ids = list(self._ids(context, self._request()))
        return latest_job(self.hook.fine_tune, ids=self._killable_ids)

    def _ids(self, context: Context, request: dict[str, Any]) -> Iterable[str]:
        if self.job_id is not None:
            return [self.job_id]
        ti = context["ti"]
        return job_identity(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            request=build_request(**request),
            try_number=None if self.reattach else ti.try_number,
        ).generations()

    def _before_create(self, context: Context, job_id: str) -> None:
        if self._was_killed:
            self._stay_killed()
        self._killable_ids = [job_id]
        remember_job(context, job_id)

    def _stay_killed(self) -> NoReturn:
        raise AirflowException("This task was killed while it was creating its fine-tune job.")

    def _request(self) -> dict[str, Any]:
        # Kept, since what a mapped task has pushed is fetched anew each time that it is read.
        self.job_id = normalise_rendered(self.job_id)
        self.datasets = normalise_rendered(self.datasets)
        request = {"name": self.name, "datasets": self.datasets, "model": normalise_rendered(self.model)}
        try:
            check_request(**request, job_id=self.job_id)
        except ValueError as error:
            raise AirflowFailException(
                f"No fine-tune job was created, because its arguments are wrong: {error}"
            ) from error
        return request

    def _deadline(self, context: Context, job: FineTuneJob, now: datetime) -> datetime | None:
        return wait_deadline(
            counts_from=job.created_at,
            started_at=context["ti"].start_date,
            now=now,
            timeout=seconds_of(self.timeout, "timeout"),
            execution_timeout=self.execution_timeout,
        )

    def _push_link(self, context: Context, job_id: str) -> None:
        self.job_page_url = self.hook.console_url(job_id)
        if self.job_page_url is not None:
            # Airflow 3 pushes it only when the task ends or defers; this way the button works while it runs.
            context["ti"].xcom_push(key=FineTuneJobLink().xcom_key, value=self.job_page_url)

    def _finish(self, context: Context, result: WaitResult) -> str:
        self._ti = context["ti"]
        self._killable_ids = [result.job_id]
        if result.summary is not None:
            # Logged by the worker, since what a trigger logs can get lost (apache/airflow#70317).
            self.log.info("%s", describe_summary(result.summary))
            if self.do_xcom_push:
                context["ti"].xcom_push(key="job", value=result.summary)
        if result.is_green(accept_stopped=self.accept_stopped):
            return result.job_id
        if result.ending is Ending.TIMED_OUT:
            done = end_job(self.hook, result.job_id, self.timeout_action, log=self.log)
            timed_out = result.error(f"{done} It is not retried.")
            raise AirflowFailException(str(timed_out)) from timed_out
        error = result.error(_RETRY_OF_OWNER[result.ending])
        if isinstance(error, PermanentError):
            raise AirflowFailException(str(error)) from error
        raise error


_RETRY_STARTS_ANOTHER = "A retry of this task starts a new job, which is paid for again."
_RETRY_LOOKS_AGAIN = "A retry of this task goes on with the same job; it does not start a second one."
_NO_RETRY = "The task is not retried. Run again, it looks for the same job before it creates one."
_RETRY_OF_OWNER = {
    Ending.STOPPED: _RETRY_STARTS_ANOTHER,
    Ending.CANCELLED: _RETRY_STARTS_ANOTHER,
    Ending.FAILED: _RETRY_STARTS_ANOTHER,
    Ending.NO_MODEL: _RETRY_LOOKS_AGAIN,
    Ending.UNREACHABLE: _RETRY_LOOKS_AGAIN,
    Ending.REFUSED: _NO_RETRY,
    Ending.NOT_FOUND: _NO_RETRY,
}


def _deferrable_by_default() -> bool:
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))
