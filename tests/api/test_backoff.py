from __future__ import annotations

import pytest

from airflow_provider_atai.api.backoff import backoff, call_with_retry, is_transient
from airflow_provider_atai.errors import (
    AtaiConnectionError,
    AtaiError,
    AtaiResponseError,
    AtaiTimeoutError,
    error_class,
)


def http_error(status, retry_after=None):
    return error_class(status)(status_code=status, method="GET", path="/x", retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AtaiConnectionError("x", reason="refused"), True),
        (AtaiConnectionError("x", reason="dns"), True),
        (AtaiConnectionError("x", reason="dropped"), True),
        (AtaiConnectionError("x", reason="proxy"), True),
        (AtaiTimeoutError("x"), True),
        (AtaiConnectionError("x", reason="tls"), False),
        (AtaiConnectionError("x", reason="url"), False),
        (AtaiResponseError("x"), False),
        *((http_error(status), True) for status in (408, 429, 500, 502, 503, 504)),
        *((http_error(status), False) for status in (400, 401, 403, 404, 409, 413, 422, 501, 505)),
    ],
)
def test_is_transient(error, expected):
    assert is_transient(error) is expected


def naps(error, attempts):
    """Return the waits of a call that always fails with ``error``."""
    slept: list[float] = []

    def call():
        raise error

    with pytest.raises(type(error)):
        call_with_retry(call, attempts=attempts, sleep=slept.append)
    return slept


def test_delays_of_a_call_grow_with_jitter_up_to_half_a_minute():
    waits = [naps(AtaiTimeoutError("x"), attempts=9) for _ in range(50)]
    for delays, most in zip(zip(*waits, strict=True), (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert len(set(delays)) > 1
        assert all(most / 2 <= delay <= most for delay in delays)


@pytest.mark.parametrize(("retry_after", "delay"), [(0.0, 0.0), (7.5, 7.5), (60.0, 60.0), (1e300, 60.0)])
def test_a_call_obeys_retry_after_up_to_a_minute(retry_after, delay):
    assert naps(http_error(429, retry_after), attempts=2) == [delay]


@pytest.mark.parametrize(
    ("retry_after", "wins", "delay"),
    [(0.0, True, 0.0), (3.0, True, 3.0), (1e300, True, 90.0), (None, True, 4.0), (3.0, False, 4.0)],
)
def test_only_a_retry_after_that_wins_shortens_the_backoff(retry_after, wins, delay):
    error = http_error(429, retry_after)
    limits = {"first": 4.0, "longest": 40.0, "longest_retry_after": 90.0}
    assert backoff(1, error, **limits, jitter=0.5, retry_after_wins=wins) == delay


@pytest.mark.parametrize(
    ("failures", "retry_after", "jitter", "delay"),
    [
        (1, None, 0.5, 4.0),
        (2, None, 0.5, 8.0),
        (4, None, 0.5, 32.0),
        (5, None, 0.5, 40.0),
        (10_000, None, 0.5, 40.0),
        (2, None, 0.0, 6.0),
        (2, None, 1.0, 10.0),
        (10_000, None, 1.0, 50.0),
        (2, 0.0, 0.5, 8.0),
        (2, 7.9, 0.5, 8.0),
        (2, 9.0, 0.5, 9.0),
        (2, 1e300, 0.5, 90.0),
    ],
)
def test_backoff_doubles_up_to_its_limit_and_obeys_retry_after(failures, retry_after, jitter, delay):
    error = http_error(429, retry_after)
    asked = backoff(failures, error, first=4.0, longest=40.0, longest_retry_after=90.0, jitter=jitter)
    assert asked == pytest.approx(delay)


def test_backoff_without_a_response_has_no_retry_after():
    error = AtaiTimeoutError("x")
    assert backoff(1, error, first=4.0, longest=40.0, longest_retry_after=90.0, jitter=0.5) == 4.0


def test_another_exception_is_not_retried():
    calls = []

    def call():
        calls.append(1)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        call_with_retry(call, attempts=3, sleep=lambda _: None)
    assert len(calls) == 1


def test_the_error_of_the_last_attempt_is_raised():
    failures = iter([http_error(503), http_error(502), http_error(404)])
    slept: list[float] = []

    def call():
        raise next(failures)

    with pytest.raises(AtaiError) as caught:
        call_with_retry(call, attempts=9, sleep=slept.append)
    assert "HTTP 404" in str(caught.value)
    assert len(slept) == 2
