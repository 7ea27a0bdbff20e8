"""The measured triggers: ours and those of released providers, in two Python environments."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.server import job_id

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

REPOSITORY = Path(__file__).resolve().parent.parent
OURS = REPOSITORY / ".venv/airflow-3/bin/python"
PEERS = REPOSITORY / ".venv/benchmarks/bin/python"
# No deadline may pass during a measurement.
_FAR = 4_000_000_000.0


@dataclass(frozen=True)
class Subject:
    """
    A trigger that is measured.

    :param name: its name in the tables.
    :param python: the interpreter of its environment.
    :param connection: returns the Airflow connection to the server with a given root URL.
    :param make: imports the trigger class, and returns a function that creates a job's trigger with the
        given poll interval. Only the measured process calls it.
    :param succeeded: returns whether an event's payload reports success.
    """

    name: str
    python: Path
    connection: Callable[[str], dict[str, Any]]
    make: Callable[[float], Callable[[int], BaseTrigger]]
    succeeded: Callable[[dict[str, Any]], bool]


def _ours(interval: float) -> Callable[[int], BaseTrigger]:
    from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger

    return lambda index: FineTuneJobTrigger(
        job_id=job_id(index), atai_conn_id="benchmark", poll_interval=interval
    )


def _openai(interval: float) -> Callable[[int], BaseTrigger]:
    from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger

    return lambda index: OpenAIBatchTrigger(
        conn_id="benchmark", batch_id=f"batch_{index}", poll_interval=interval, timeout=_FAR
    )


def _anthropic(interval: float) -> Callable[[int], BaseTrigger]:
    from airflow.providers.anthropic.triggers.batch import AnthropicBatchTrigger

    return lambda index: AnthropicBatchTrigger(
        conn_id="benchmark", batch_id=f"msgbatch_{index}", poll_interval=interval, end_time=_FAR
    )


def _dbt_cloud(interval: float) -> Callable[[int], BaseTrigger]:
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    # The hook supports only https. Plain http spares it a TLS handshake per poll.
    https = DbtCloudHook.get_request_url_params

    def http(*args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        url, fields = https(*args, **kwargs)
        return url.replace("https://", "http://", 1), fields

    DbtCloudHook.get_request_url_params = staticmethod(http)
    return lambda index: DbtCloudRunJobTrigger(
        conn_id="benchmark", run_id=index, account_id=1, poll_interval=interval, end_time=_FAR
    )


def _status_is_success(payload: dict[str, Any]) -> bool:
    return payload.get("status") == "success"


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject(
            "atai",
            OURS,
            lambda root: {"conn_type": "atai", "host": f"{root}/v0.5", "password": "sk_benchmark"},
            _ours,
            lambda payload: payload.get("ending") == "completed",
        ),
        Subject(
            "openai",
            PEERS,
            lambda root: {"conn_type": "openai", "host": f"{root}/v1", "password": "sk_benchmark"},
            _openai,
            _status_is_success,
        ),
        Subject(
            "anthropic",
            PEERS,
            lambda root: {"conn_type": "anthropic", "host": root, "password": "sk_benchmark"},
            _anthropic,
            _status_is_success,
        ),
        Subject(
            "dbt-cloud",
            PEERS,
            lambda root: {
                "conn_type": "dbt_cloud",
                "host": root.removeprefix("http://"),
                "login": "1",
                "password": "benchmark",
            },
            _dbt_cloud,
            _status_is_success,
        ),
    )
}


def connection_variable(subject: Subject, root_url: str, *, password: str | None = None) -> dict[str, str]:
    """Return the environment variable that connects a subject to a server."""
    connection = subject.connection(root_url)
    if password is not None:
        connection["password"] = password
    return {"AIRFLOW_CONN_BENCHMARK": json.dumps(connection)}
