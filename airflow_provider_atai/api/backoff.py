"""How often and how far apart a request is repeated, for requests that are safe to repeat."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_atai.errors import (
    AtaiApiError,
    AtaiConnectionError,
    AtaiError,
    AtaiServerError,
)

log = logging.getLogger(__name__)

LONGEST_DELAY = 60.0
_FIRST_DELAY = 1.0
_LONGEST_BACKOFF = 30.0
_TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# A wrong name, a bad certificate or a wrong proxy is the same a second later.
_LASTING_REASONS = frozenset({"tls", "url"})

T = TypeVar("T")


def is_transient(error: AtaiError) -> bool:
    """Tell whether the same request may go well within seconds."""
    if isinstance(error, AtaiConnectionError):
        return error.reason not in _LASTING_REASONS
    if isinstance(error, AtaiServerError) and error.status_code < 500:
        # Storage tells with a 400 of a body that came too slowly.
        return True
    return isinstance(error, AtaiApiError) and error.status_code in _TRANSIENT_STATUSES


def delay_before(attempt: int, error: AtaiError) -> float:
    """
    Return the seconds to wait before an attempt.

    :param attempt: the number of the attempt to come; 2 is the first repetition.
    :param error: what the attempt before ended in; its ``retry_after`` wins, capped at 60 seconds.
    """
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        return float(min(retry_after, LONGEST_DELAY))
    backoff = min(_LONGEST_BACKOFF, _FIRST_DELAY * 2.0 ** min(attempt - 2, 16))
    # Jitter, so that many tasks that lost the service together do not come back together.
    return backoff * random.uniform(0.5, 1.0)


def call_with_retry(call: Callable[[], T], *, attempts: int, sleep: Callable[[float], None]) -> T:
    """
    Return what ``call`` returns, repeating it while it ends in a transient error.

    :param call: makes one attempt; it must be safe to repeat.
    :param attempts: the most attempts, at least 1.
    :param sleep: waits the given seconds.
    :raises AtaiError: what the last attempt ended in.
    """
    attempt = 1
    while True:
        try:
            return call()
        except (AtaiConnectionError, AtaiApiError) as error:
            if attempt >= attempts or not is_transient(error):
                raise
            attempt += 1
            delay = delay_before(attempt, error)
            log.info("Trying again in %.1f s (attempt %d of %d): %s", delay, attempt, attempts, error)
        sleep(delay)
