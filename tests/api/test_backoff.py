from __future__ import annotations

import pytest

from airflow_provider_atai.api.backoff import call_with_retry, delay_before, is_transient
from airflow_provider_atai.errors import (
    AtaiConnectionError,
    AtaiError,
    AtaiResponseError,
    AtaiTimeoutError,
    error_class,
)


def http_error(status: int, retry_after: float | None = None) -> AtaiError:
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
def test_what_may_pass_within_seconds(error: AtaiError, expected: bool) -> None:
    assert is_transient(error) is expected


def test_delays_grow_with_jitter_up_to_half_a_minute() -> None:
    error = AtaiTimeoutError("x")
    for attempt, most in ((2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (10_000, 30)):
        delays = {delay_before(attempt, error) for _ in range(50)}
        assert len(delays) > 1
        assert all(most / 2 <= delay <= most for delay in delays)


@pytest.mark.parametrize(("retry_after", "delay"), [(0.0, 0.0), (7.5, 7.5), (60.0, 60.0), (1e300, 60.0)])
def test_what_the_service_asks_for_wins(retry_after: float, delay: float) -> None:
    assert delay_before(2, http_error(429, retry_after)) == delay


def test_an_error_that_is_not_the_services_is_not_repeated() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        call_with_retry(call, attempts=3, sleep=lambda _: None)
    assert len(calls) == 1


def test_the_last_failure_is_raised() -> None:
    failures = iter([http_error(503), http_error(502), http_error(404)])
    naps: list[float] = []

    def call() -> None:
        raise next(failures)

    with pytest.raises(AtaiError) as caught:
        call_with_retry(call, attempts=9, sleep=naps.append)
    assert "HTTP 404" in str(caught.value)
    assert len(naps) == 2
