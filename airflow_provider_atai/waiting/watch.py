"""One waiter's memory of one job: applies the policy, and logs what a person wants to see."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.fine_tune import JobStatus
from airflow_provider_atai.errors import AtaiError, AtaiRateLimitError
from airflow_provider_atai.waiting.policy import Decision, Ending, WaitLimits, WaitState, decide
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import describe_record, summarise

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob, JobMetrics

METRICS_INTERVAL = 300
_LISTED = frozenset(status.value for status in JobStatus)
TRAINING_STATUSES = frozenset({"RUNNING", "FINALIZING", "STOPPING"})


class JobWatch:
    """
    Follow one job through a series of looks.

    It does no I/O, so that the worker's loop and the trigger's share it.

    :param job_id: the job.
    :param limits: deadline, interval and tolerance of this wait.
    :param log: the task's or the trigger's logger.
    :param jitter: gives numbers in [0, 1).
    """

    def __init__(
        self, job_id: str, *, limits: WaitLimits, log: Any, jitter: Callable[[], float] = random.random
    ) -> None:
        self.job_id = job_id
        self.limits = limits
        self._log = log
        self._jitter = jitter
        self.delay = 0.0
        self._state = WaitState()
        self._job: FineTuneJob | None = None
        self._reason: str | None = None
        self._looked_at: datetime | None = None
        self._logged: set[str] = set()

    def judge(self, seen: FineTuneJob | AtaiError, now: datetime) -> Decision:
        """Decide what comes after a look, remember it, and log what changed."""
        before = self._state
        decision = decide(seen, state=before, limits=self.limits, now=now, jitter=self._jitter())
        self._state = decision.state
        self.delay = decision.delay
        if isinstance(seen, AtaiError):
            self._reason = str(seen)
            self._log_trouble(seen, before, decision)
        else:
            self._job = seen
            self._reason = None
            self._log_answer(seen, before, now)
        return decision

    def result(self, ending: Ending, metrics: JobMetrics | None = None) -> WaitResult:
        """Return how the wait ended, with the job's summary where the last look showed the job."""
        seen_last = self._job is not None and self._reason is None
        return WaitResult(
            ending=ending,
            job_id=self.job_id,
            status=self._state.status,
            reason=self._reason,
            summary=summarise(self._job, metrics) if self._job is not None and seen_last else None,
        )

    def metrics_due(self, now: datetime) -> bool:
        """
        Tell whether to ask for checkpoints at this look: at most every five minutes.

        Time is cut into slots of five minutes, shifted per job so that many waiters do not ask at once, and
        the first look in a slot asks. That needs no memory, which a sensor in reschedule mode does not have.
        """
        previous = self._looked_at or now - timedelta(seconds=self.limits.poll_interval)
        self._looked_at = now
        return self._state.status in TRAINING_STATUSES and self._slot(previous) != self._slot(now)

    def _slot(self, moment: datetime) -> int:
        shift = zlib.crc32(self.job_id.encode()) % METRICS_INTERVAL
        return int(moment.timestamp() + shift) // METRICS_INTERVAL

    def log_metrics(self, metrics: JobMetrics) -> None:
        """Log the checkpoints that came since the last call."""
        for position, record in enumerate(metrics.records):
            # Records are free-form: one without a step is told apart by where it stands.
            checkpoint = repr(record.get("step", f"record {position}"))
            if checkpoint not in self._logged:
                self._logged.add(checkpoint)
                self._log.info("Job %s: checkpoint: %s", self.job_id, describe_record(record))

    def _log_answer(self, job: FineTuneJob, before: WaitState, now: datetime) -> None:
        if before.outage_since is not None:
            self._log.info(
                "Job %s can be read again, after %s and %d failed looks.",
                self.job_id,
                _span(now - before.outage_since),
                before.failures,
            )
        if job.status == before.status:
            return
        age = f", {_span(now - job.created_at)} after its creation" if job.created_at else ""
        if before.status is None:
            self._log.info("Job %s is %s%s.", self.job_id, job.status, age)
        else:
            self._log.info("Job %s: %s -> %s%s.", self.job_id, before.status, job.status, age)
        if job.status not in _LISTED or job.status == JobStatus.UNKNOWN.value:
            self._log.warning(
                "Job %s has the status %s, which the API's documents do not explain. It counts as active "
                "until the deadline (%s).",
                self.job_id,
                job.status,
                self.limits.deadline or "there is none",
            )

    def _log_trouble(self, error: AtaiError, before: WaitState, decision: Decision) -> None:
        if decision.ending is not None:
            return
        if decision.reread_connection:
            self._log.warning(
                "The key was refused while waiting for job %s (%s). Reading the connection again once, in "
                "case the key was rotated.",
                self.job_id,
                error,
            )
        elif isinstance(error, AtaiRateLimitError):
            self._log.info("The API asks for patience; next look in %.0f s.", decision.delay)
        elif before.outage_since is None:
            self._log.warning(
                "Job %s cannot be read: %s. The job itself is not affected. Trying again for up to %s.",
                self.job_id,
                error,
                _span(timedelta(seconds=self.limits.outage_tolerance)),
            )


def _span(duration: timedelta) -> str:
    seconds = max(0, int(duration.total_seconds()))
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
