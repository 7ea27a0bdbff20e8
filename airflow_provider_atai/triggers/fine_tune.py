"""The trigger: waits for a job in the triggerer, without a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_atai.api.fine_tune import JobMetrics
from airflow_provider_atai.api.job_request import check_job_id
from airflow_provider_atai.compat.sdk import log_of
from airflow_provider_atai.compat.task_state import push_xcom, read_task_state, was_cleared
from airflow_provider_atai.compat.threads import off_the_loop
from airflow_provider_atai.errors import AtaiError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.jobs.ending import JobAction, end_job
from airflow_provider_atai.jobs.record import watched_job
from airflow_provider_atai.triggers.reporting import TriggerReport
from airflow_provider_atai.waiting.deadline import backstop
from airflow_provider_atai.waiting.on_worker import KEPT_ENDINGS, utcnow
from airflow_provider_atai.waiting.policy import (
    DEFAULT_OUTAGE_TOLERANCE,
    DEFAULT_POLL_INTERVAL,
    Ending,
    WaitLimits,
)
from airflow_provider_atai.waiting.poller import subscribe
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import describe_summary
from airflow_provider_atai.waiting.watch import JobWatch

_ARGUMENTS = (
    *("job_id", "atai_conn_id", "poll_interval", "max_interval", "deadline", "outage_tolerance"),
    *("kill_action", "reattach", "known_to_exist", "before_timeout"),
    *("end_task", "accept_stopped", "push_xcom"),
)


class FineTuneJobTrigger(BaseTrigger):
    """
    Fire once when a fine-tune job is terminal, its deadline has passed, or it cannot be read for too long.

    Until the task is killed, the trigger only reads. After a restart it resumes with the same job and the
    same deadline.

    The event's payload is what
    :meth:`WaitResult.to_event() <airflow_provider_atai.waiting.result.WaitResult.to_event>` returns.

    :param job_id: the job to wait for.
    :param atai_conn_id: the connection.
    :param poll_interval: seconds between two polls of the job.
    :param max_interval: the seconds up to which the interval doubles from poll to poll; None if it does not.
    :param deadline: when to give up, as an ISO 8601 time with its zone; None for never. It is absolute, so
        that a restarted triggerer does not renew it.
    :param outage_tolerance: seconds for which the API may give no usable response.
    :param kill_action: what happens to the job if a person marks the waiting task failed or successful:
        ``"cancel"``, ``"stop"`` or ``"leave"``. Airflow tells the trigger from 3.3 on.
    :param reattach: whether the next try of the task adopts the job, so that a cleared task leaves it.
    :param known_to_exist: whether the service has shown the job before, so that a 404 is an outage.
    :param before_timeout: give up this many seconds before Airflow's own timeout of the deferral, instead of
        at a ``deadline``. For a task that the scheduler defers, see
        :func:`~airflow_provider_atai.waiting.deadline.seconds_before_airflow`.
    :param end_task: whether a success ends the task here, without a worker (Airflow >= 3.3). Everything else
        is left to the task, which knows about retries and ``soft_fail``.
    :param accept_stopped: whether STOPPED is such a success.
    :param push_xcom: whether the task pushes XComs: its ``return_value``, if it ends here, and what its job's
        tab in Airflow's UI shows.
    :raises TypeError: the deadline is not such a time.
    """

    def __init__(
        self,
        *,
        job_id: str,
        atai_conn_id: str = AtaiHook.default_conn_name,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        max_interval: float | None = None,
        deadline: str | None = None,
        outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE,
        kill_action: JobAction = "leave",
        reattach: bool = True,
        known_to_exist: bool = False,
        before_timeout: float | None = None,
        end_task: bool = False,
        accept_stopped: bool = False,
        push_xcom: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if deadline is not None and not _is_moment(deadline):
            # Not a ValueError: from a trigger's constructor, Airflow's triggerer survives only a TypeError.
            raise TypeError(f"deadline must be an ISO 8601 time with its zone, not {deadline!r}.")
        self.job_id = job_id
        self.atai_conn_id = atai_conn_id
        self.poll_interval = poll_interval
        self.max_interval = max_interval
        self.deadline = deadline
        self.outage_tolerance = outage_tolerance
        self.kill_action = kill_action
        self.reattach = reattach
        self.known_to_exist = known_to_exist
        self.before_timeout = before_timeout
        self.end_task = end_task
        self.accept_stopped = accept_stopped
        self.push_xcom = push_xcom
        self._report = TriggerReport(self, is_wanted=push_xcom)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments: ids, times and choices, never a key or an address."""
        arguments = {name: getattr(self, name) for name in _ARGUMENTS}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the job, in one loop with all waits on the same connection, and yield how that ended."""
        try:
            check_job_id(self.job_id)
        except ValueError as error:
            # An id that the triggerer has rendered is checked nowhere else.
            result = WaitResult(Ending.NOT_FOUND, str(self.job_id), reason=str(error))
        else:
            try:
                result = await self._wait()
            except asyncio.CancelledError:
                # Another trigger or another try tells the rest.
                self._report.end()
                raise
            except Exception as error:
                self.log.exception("The wait for job %s broke off.", self.job_id)
                result = WaitResult(Ending.BROKEN, self.job_id, reason=repr(error))
        if self.end_task and await self._end_task(result):
            from airflow.triggers.base import TaskSuccessEvent

            yield TaskSuccessEvent()
        else:
            self._report.end()
            yield TriggerEvent(result.to_event())  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """
        Do to the job what ``kill_action`` says, unless the task was only cleared.

        A cleared task is tried again and, with ``reattach``, adopts its job. If Airflow does not tell the two
        apart, the job is ended, and the next try makes another. A restart of the triggerer does not come
        here.
        """
        if self.kill_action == "leave":
            self.log.info("The task was killed. Job %s is left as it is.", self.job_id)
            return
        if self.reattach and was_cleared(*await read_task_state(self)):
            self.log.info("The task was cleared. Job %s is left to its next try.", self.job_id)
            return
        hook = AtaiHook(self.atai_conn_id)
        end = partial(end_job, hook, self.job_id, self.kill_action, log=log_of(self), killed=True)
        try:
            await off_the_loop(end)
        finally:
            hook.forget_connection()

    async def _wait(self) -> WaitResult:
        limits = WaitLimits(
            poll_interval=self.poll_interval,
            deadline=self._deadline(),
            outage_tolerance=self.outage_tolerance,
            known_to_exist=self.known_to_exist,
        )
        watch = JobWatch(self.job_id, limits=limits, log=log_of(self), report=self._report.history)
        # Otherwise a worker has done so.
        begins_here = self.before_timeout is not None
        if begins_here:
            record = watched_job(self.job_id, accept_stopped=self.accept_stopped, known_at=utcnow())
            self._report.job(record, atai_conn_id=self.atai_conn_id)
        while True:
            hook = AtaiHook(self.atai_conn_id)
            try:
                await hook.aload_settings()
            except AtaiError as error:
                decision = watch.judge(error, utcnow())
                if decision.ending is not None:
                    return watch.result(decision.ending)
                await asyncio.sleep(decision.delay)
                continue
            if begins_here:
                self._report.links(hook.console_url(self.job_id))
                begins_here = False
            result = await self._wait_over(hook, watch)
            if result is not None:
                return result

    async def _wait_over(self, hook: AtaiHook, watch: JobWatch) -> WaitResult | None:
        """Wait until the wait ends; return None if the connection has to be read again first."""
        async with subscribe(
            hook.settings,
            hook.clone,
            job_id=self.job_id,
            interval=self.poll_interval,
            deadline=watch.limits.deadline,
        ) as news:
            news.max_interval = self.max_interval
            while True:
                item = await news.receive()
                if isinstance(item, JobMetrics):
                    watch.log_metrics(item)
                    continue
                decision = watch.judge(item, utcnow())
                if decision.ending is not None:
                    metrics = await news.last_metrics() if decision.ending in KEPT_ENDINGS else None
                    if metrics is not None:
                        watch.log_metrics(metrics)
                    return watch.result(decision.ending, metrics)
                if decision.reread_connection:
                    return None

    async def _end_task(self, result: WaitResult) -> bool:
        """Tell whether the task ends here; if so, its XCom has been pushed."""
        if result.summary is None or not result.is_green(accept_stopped=self.accept_stopped):
            return False
        self.log.info("%s", describe_summary(result.summary))
        try:
            if self.push_xcom:
                # Not with the event: Airflow 3.3 encodes that twice, and readers would get text.
                await push_xcom(self, "return_value", result.summary)
        except Exception as error:
            self.log.warning("The XCom cannot be pushed here, so a worker ends the task: %r", error)
            return False
        return True

    def _deadline(self) -> datetime | None:
        if self.deadline is not None:
            return datetime.fromisoformat(self.deadline)
        # The triggerer sets it on the instance: when Airflow itself gives up the deferral.
        airflows: datetime | None = getattr(self, "timeout_after", None)
        if self.before_timeout is None or airflows is None:
            return None
        if airflows.tzinfo is None:
            airflows = airflows.replace(tzinfo=UTC)
        return airflows - timedelta(seconds=self.before_timeout)


def _is_moment(text: object) -> bool:
    try:
        return isinstance(text, str) and datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        return False


def deferral(*, deadline: datetime | None, **arguments: Any) -> dict[str, Any]:
    """Return the arguments of ``BaseOperator.defer`` for a task that waits with this trigger."""
    return {
        "trigger": FineTuneJobTrigger(deadline=deadline.isoformat() if deadline else None, **arguments),
        "method_name": "execute_complete",
        "kwargs": {"job_id": arguments["job_id"]},
        "timeout": backstop(deadline, utcnow()),
    }
