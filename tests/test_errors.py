from __future__ import annotations

import pickle

import pytest

from airflow_provider_atai import errors
from airflow_provider_atai.errors import (
    AtaiApiError,
    AtaiConnectionError,
    AtaiError,
    AtaiResponseError,
    AtaiTimeoutError,
    ErrorDetail,
    FineTuneJobError,
    PermanentError,
    RetryableError,
    error_class,
)

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AtaiError)]


def test_no_error_is_an_airflow_exception_or_both_retryable_and_permanent() -> None:
    from airflow.exceptions import AirflowException

    for kind in CLASSES:
        assert not issubclass(kind, AirflowException), kind
        assert not issubclass(kind, RetryableError) or not issubclass(kind, PermanentError), kind


@pytest.mark.parametrize("status", range(400, 600))
def test_every_http_error_says_whether_a_retry_can_help(status: int) -> None:
    kind = error_class(status)
    retryable = status in (408, 429) or status >= 500
    assert issubclass(kind, RetryableError) is retryable
    assert issubclass(kind, PermanentError) is not retryable


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, AtaiApiError)])
def test_http_errors_cross_process_borders(kind: type[AtaiApiError]) -> None:
    error = kind(
        status_code=418,
        method="GET",
        path="/x",
        details=[ErrorDetail("m", code="C", suggestion="s", error_uid="err-1")],
        retry_after=3.0,
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(
    "error",
    [
        AtaiConnectionError("m", reason="dns"),
        AtaiTimeoutError("m"),
        AtaiResponseError("m"),
        *(kind("m", job_id="j", status="FAILED") for kind in CLASSES if issubclass(kind, FineTuneJobError)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_cross_process_borders(error: AtaiError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_message_without_details_says_so() -> None:
    error = error_class(500)(status_code=500, method="GET", path="/v0.5/x")
    assert str(error) == "GET /v0.5/x was answered with HTTP 500: the answer gave no reason"
