"""
What to do after each poll of a job: one pure decision for the worker's loop, the sensor and the trigger.

Nothing here reads a clock, sleeps or logs. The job or the error, the time and the limits are passed in, so
the modes of waiting cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_provider_atai.api.backoff import backoff
from airflow_provider_atai.errors import (
    AtaiAuthenticationError,
    AtaiConnectionMissingError,
    AtaiError,
    AtaiGatewayRefusalError,
    AtaiNotFoundError,
    AtaiPermissionError,
    AtaiRateLimitError,
    PermanentError,
)

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob

DEFAULT_POLL_INTERVAL = 60.0
# A shorter interval shows nothing new, and costs the service a request each time.
SHORTEST_INTERVAL = 1.0
DEFAULT_OUTAGE_TOLERANCE = 1800.0
# If the service asks for a longer pause than this, it is polled anyway: the job may have ended by then.
MAX_RETRY_AFTER = 600.0
# The documents promise the path once there are artifacts, not at the same instant as COMPLETED.
ARTIFACT_GRACE = timedelta(minutes=10)

# A gateway may check keys, too.
_MAY_BE_THE_KEY = (AtaiAuthenticationError, AtaiPermissionError, AtaiGatewayRefusalError)
_SHORTEST_RETRY = 5.0
_LONGEST_RETRY = 300.0


class Ending(StrEnum):
    """How a wait for a job can end."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"
    NO_MODEL = "no_model"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    REFUSED = "refused"
    NOT_FOUND = "not_found"


_ENDING_BY_STATUS = {
    "COMPLETED": Ending.COMPLETED,
    "STOPPED": Ending.STOPPED,
    "CANCELLED": Ending.CANCELLED,
    "FAILED": Ending.FAILED,
}


@dataclass(frozen=True)
class WaitLimits:
    """
    How long and how often to poll.

    :param poll_interval: seconds between two polls of an active job.
    :param deadline: when to give up on an active job, None for never. It is absolute, so neither a restarted
        triggerer nor a retry renews it.
    :param outage_tolerance: seconds for which the API may give no usable answer.
    :param known_to_exist: whether the service has shown the job before. A 404 then counts as an outage: it
        may come from a part of the service that does not have the job yet.
    """

    poll_interval: float = DEFAULT_POLL_INTERVAL
    deadline: datetime | None = None
    outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE
    known_to_exist: bool = False


@dataclass(frozen=True)
class WaitState:
    """
    What a waiter remembers from one poll to the next.

    :param status: the job's last known status, None before the first answer.
    :param failures: polls in a row without a usable answer.
    :param outage_since: when the first of them was, None outside an outage.
    :param connection_reread: whether the connection was read again since the last usable answer.
    """

    status: str | None = None
    failures: int = 0
    outage_since: datetime | None = None
    connection_reread: bool = False


@dataclass(frozen=True)
class Decision:
    """
    What to do next.

    :param state: what to remember.
    :param ending: how the wait ended, None to go on.
    :param delay: seconds until the next poll, 0 if the wait ended.
    :param reread_connection: whether to read the Airflow connection again before the next poll.
    """

    state: WaitState
    ending: Ending | None = None
    delay: float = 0.0
    reread_connection: bool = False


def decide(
    seen: FineTuneJob | AtaiError, *, state: WaitState, limits: WaitLimits, now: datetime, jitter: float = 0.5
) -> Decision:
    """
    Decide what to do after one poll of a job.

    :param seen: the job, or the error that the poll ended in.
    :param state: what the previous decision returned, ``WaitState()`` at first.
    :param limits: deadline, interval and tolerance.
    :param now: the time of the poll, with a time zone.
    :param jitter: a number in [0, 1) that spreads the retries of many waiters.
    """
    if isinstance(seen, AtaiError):
        return _after_error(seen, state=state, limits=limits, now=now, jitter=jitter)
    return _after_answer(seen, limits=limits, now=now)


def _after_answer(job: FineTuneJob, *, limits: WaitLimits, now: datetime) -> Decision:
    state = WaitState(status=job.status)
    ending = _ENDING_BY_STATUS.get(job.status)
    if ending is Ending.COMPLETED and not job.inference_config_path:
        # Green means that a model exists, and the path is the only sign of one that the API documents.
        if job.updated_at is None or now - job.updated_at >= ARTIFACT_GRACE:
            return Decision(state, Ending.NO_MODEL)
    elif ending is not None:
        return Decision(state, ending)
    # Undocumented statuses land here too: they count as active, and the deadline bounds them.
    if _has_passed(limits.deadline, now):
        return Decision(state, ending_at_deadline(state.status))
    return Decision(state, delay=_until(limits.deadline, now, limits.poll_interval))


def _after_error(
    error: AtaiError, *, state: WaitState, limits: WaitLimits, now: datetime, jitter: float
) -> Decision:
    is_unknown = isinstance(error, AtaiNotFoundError)
    if is_unknown and not limits.known_to_exist:
        return Decision(state, Ending.NOT_FOUND)
    if isinstance(error, _MAY_BE_THE_KEY) and not state.connection_reread:
        return Decision(replace(state, connection_reread=True), reread_connection=True)
    if isinstance(error, PermanentError) and not is_unknown and not _was_there(error, state, limits):
        return Decision(state, Ending.REFUSED)

    if isinstance(error, AtaiRateLimitError):
        # The service is up and only asks for a pause, so this neither starts nor prolongs an outage.
        state = replace(state, failures=state.failures + 1, outage_since=None)
    else:
        state = replace(state, failures=state.failures + 1, outage_since=state.outage_since or now)
    # The deadline comes first: if both have passed, the author's own limit is reported.
    if _has_passed(limits.deadline, now):
        return Decision(state, ending_at_deadline(state.status))
    tolerance = timedelta(seconds=limits.outage_tolerance)
    give_up_at = state.outage_since + tolerance if state.outage_since else None
    if _has_passed(give_up_at, now):
        return Decision(state, Ending.NOT_FOUND if is_unknown else Ending.UNREACHABLE)
    delay = retry_delay(error, failures=state.failures, poll_interval=limits.poll_interval, jitter=jitter)
    delay = _until(give_up_at, now, _until(limits.deadline, now, delay))
    return Decision(state, delay=delay)


def ending_at_deadline(status: str | None) -> Ending:
    """Return how a wait ends at its deadline; ``status`` is the job's last known one, None if never read."""
    # A job that is COMPLETED is not late, although its model does not show yet.
    return Ending.NO_MODEL if status == "COMPLETED" else Ending.TIMED_OUT


def _was_there(error: AtaiError, state: WaitState, limits: WaitLimits) -> bool:
    """Tell whether a connection is missing with which the job was made or seen: it may well come back."""
    # Some secrets backends answer "there is none" while they are out of order.
    is_known = limits.known_to_exist or state.status is not None
    return is_known and isinstance(error, AtaiConnectionMissingError)


def retry_delay(error: AtaiError, *, failures: int, poll_interval: float, jitter: float) -> float:
    """
    Return the seconds until the poll after a failed one.

    The delay grows with each failure in a row and is jittered. A longer Retry-After is obeyed up to a cap.
    """
    return backoff(
        failures,
        error,
        first=max(poll_interval, _SHORTEST_RETRY),
        longest=_LONGEST_RETRY,
        longest_retry_after=MAX_RETRY_AFTER,
        jitter=jitter,
    )


def _has_passed(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and now >= moment


def _until(moment: datetime | None, now: datetime, delay: float) -> float:
    return delay if moment is None else min(delay, (moment - now).total_seconds())
