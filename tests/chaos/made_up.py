"""Builds plans and histories that were never lived, to judge them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.chaos.history import History, Kill, Record, Try
from tests.chaos.oddities import Oddities
from tests.chaos.plan import Plan, draw_usual
from tests.chaos.verdict import judge

T0 = datetime(2030, 1, 1, tzinfo=UTC)


def record(
    job_id: str, status: str, *, made: int = 0, changed: int = 0, model: bool = False, checkpoints: int = 0
) -> Record:
    """Return a job of the service; times are seconds after ``T0``."""
    return {
        "id": job_id,
        "status": status,
        "created_at": (T0 + timedelta(seconds=made)).isoformat(),
        "updated_at": (T0 + timedelta(seconds=changed)).isoformat(),
        "checkpoints": checkpoints,
        "inference_config_path": "s3://model.yaml" if model else None,
    }


def kill(action: Any, *jobs: Record, why: str = "mark failed", reachable: bool = True, log: Any = ()) -> Kill:
    """Return a kill after which the service has these jobs."""
    return Kill(action, why, reachable, first_request=0, jobs=jobs, log=log)


def request(
    path: str, *, second: int = 0, method: str = "GET", status: int = 200, fault: int | None = None
) -> Record:
    """Return an entry of the service's log, so many seconds after ``T0``."""
    return {
        "method": method,
        "path": f"/v0.5/fine-tune/jobs/{path}",
        "status": status,
        "fault": fault,
        "time": (T0 + timedelta(seconds=second)).isoformat(),
    }


def one_try(
    task: str, *, started: int = 0, ended: int = 0, error: BaseException | None = None, **fields: Any
) -> Try:
    """Return a try that began and ended so many seconds after ``T0``."""
    begun, over = T0 + timedelta(seconds=started), T0 + timedelta(seconds=ended)
    return Try(task, begun, over, error=error, **fields)


def error_of(kind: Any, job_id: str = "a-1") -> BaseException:
    """Return an error about a job."""
    error: BaseException = kind("It ended.", job_id=job_id, status="RUNNING")
    return error


def plan_with(
    *, odd: dict[str, Any] | None = None, operator: dict[str, Any] | None = None, **fields: Any
) -> Plan:
    """Return a plan without limits and oddities but these."""
    usual = {"accept_stopped": False, "kill_action": "cancel", "timeout_action": "stop", "timeout": None}
    plan = draw_usual(0)
    fields = {"execution_timeout": None, "tampers_with_created_at": False, "own_job_id": None, **fields}
    return replace(plan, operator={**usual, **(operator or {})}, odd=Oddities(**(odd or {})), **fields)


def promises(plan: Plan, history: History) -> list[str]:
    """Return which promises were broken."""
    return [promise for promise, _ in judge(plan, history).broken]
