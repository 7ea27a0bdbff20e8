"""How long to wait before a request is sent again, and which requests are sent again within seconds."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_atai.errors import AtaiApiError, AtaiConnectionError, AtaiError, AtaiServerError

log = logging.getLogger(__name__)

# Jitter makes these 1 and 30 seconds at most.
_FIRST_DELAY = 0.8
_LONGEST_DELAY = 24.0
_LONGEST_RETRY_AFTER = 60.0
_TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# A bad certificate or a malformed address is still wrong a second later.
_LASTING_REASONS = frozenset({"tls", "url"})

T = TypeVar("T")


def backoff(
    failures: int,
    error: AtaiError,
    *,
    first: float,
    longest: float,
    longest_retry_after: float,
    jitter: float,
    retry_after_wins: bool = False,
) -> float:
    """
    Return the seconds to wait after a failure: they double from one to the next. Pure.

    :param failures: failures in a row, 1 for the first.
    :param error: the last failure; its ``retry_after`` lengthens the wait.
    :param first: seconds after the first failure, before jitter.
    :param longest: the most seconds, before jitter.
    :param longest_retry_after: the most seconds for which ``retry_after`` is obeyed.
    :param jitter: a number in [0, 1) that spreads tasks that lost the service together: minus to plus 25 %.
    :param retry_after_wins: whether ``retry_after`` may also shorten the wait.
    """
    # The exponent is bounded because days of 429 would overflow a float.
    delay = min(first * 2.0 ** min(failures - 1, 16), longest) * (0.75 + 0.5 * jitter)
    if isinstance(error, AtaiApiError) and error.retry_after is not None:
        asked = min(error.retry_after, longest_retry_after)
        delay = asked if retry_after_wins else max(delay, asked)
    return delay


def is_transient(error: AtaiError) -> bool:
    """Tell whether the same request may succeed within seconds."""
    if isinstance(error, AtaiConnectionError):
        return error.reason not in _LASTING_REASONS
    if isinstance(error, AtaiServerError) and error.status_code < 500:
        # Storage answers 400 to a body that arrives too slowly.
        return True
    return isinstance(error, AtaiApiError) and error.status_code in _TRANSIENT_STATUSES


def call_with_retry(call: Callable[[], T], *, attempts: int, sleep: Callable[[float], None]) -> T:
    """
    Return what ``call`` returns, repeating it after transient errors.

    :param call: makes one attempt; it must be safe to repeat.
    :param attempts: the most attempts, at least 1.
    :param sleep: waits the given seconds.
    :raises AtaiError: the error of the last attempt.
    """
    attempt = 1
    while True:
        try:
            return call()
        except (AtaiConnectionError, AtaiApiError) as error:
            if attempt >= attempts or not is_transient(error):
                raise
            delay = backoff(
                attempt,
                error,
                first=_FIRST_DELAY,
                longest=_LONGEST_DELAY,
                longest_retry_after=_LONGEST_RETRY_AFTER,
                jitter=random.random(),
                retry_after_wins=True,
            )
            attempt += 1
            log.info("Trying again in %.1f s (attempt %d of %d): %s", delay, attempt, attempts, error)
        sleep(delay)
