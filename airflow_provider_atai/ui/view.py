"""What the job's tab shows, from the task's records and the service's answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.printable import printable
from airflow_provider_atai.ui import words
from airflow_provider_atai.ui.recorded import datasets_of
from airflow_provider_atai.waiting.history import OUTAGE_ENDED

if TYPE_CHECKING:
    from airflow_provider_atai.ui.recorded import RecordedJob
    from airflow_provider_atai.ui.reduction import Point
    from airflow_provider_atai.ui.service import Reading
    from airflow_provider_atai.ui.tables import TaskRow
    from airflow_provider_atai.waiting.history import JobHistory

_SOON, _LATER, _RARELY, _NEVER = 5, 10, 15, 0


def job_page(
    row: TaskRow,
    reading: Reading | None,
    *,
    may_act: bool,
    now: datetime,
    earlier: Iterable[JobHistory] = (),
    has_checkpoint: bool | None = None,
) -> dict[str, Any]:
    """
    Return the answer for the job's tab, as JSON types.

    :param row: the task and what it has recorded.
    :param reading: what the service says of the job, None if the task knows no job.
    :param may_act: whether the user may end jobs of this DAG.
    :param now: the time.
    :param earlier: the histories of earlier jobs of the task, for an estimate.
    :param has_checkpoint: whether a stopped job has left something, None if that is unclear.
    """
    task = {
        **vars(row.key),
        "state": row.state,
        "try_number": row.try_number,
        "max_tries": row.max_tries,
        "start_date": _iso(row.start_date),
        "end_date": _iso(row.end_date),
    }
    page: dict[str, Any] = {"task": task, "now": _iso(now)}
    if row.job is None or reading is None:
        return {**page, "job": None, "poll_seconds": _NEVER if row.has_ended else _RARELY}
    history = row.history
    if reading.job is not None and reading.read_at is not None:
        history = history.saw(reading.job, reading.read_at)
    status = history.status
    over = words.is_over(status)
    return {
        **page,
        "job": job_of(row, reading, now=now),
        "remote": remote(reading),
        "disagreement": words.disagreement(row.job, status=status, state=row.state),
        "explanation": words.explanation(
            row.job, status=status, state=row.state, has_checkpoint=has_checkpoint
        ),
        "timeline": timeline(history, now=now),
        "estimate": None if over else estimate(history, earlier, now=now),
        "actions": {
            action: _action(row, action, status=status, may_act=may_act, state=reading.state)
            for action in ("stop", "cancel")
        },
        "console_url": reading.console_url,
        "poll_seconds": _poll_seconds(row, reading, over=over),
    }


def job_of(row: TaskRow, reading: Reading | None, *, now: datetime) -> dict[str, Any]:
    """Return the fields of a job: the service's own where it has answered, else those that were recorded."""
    record: RecordedJob = row.job  # type: ignore[assignment]
    found = None if reading is None else reading.job
    status = printable(found.status, 64) if found else row.history.status
    created_at = (found.created_at if found else None) or record.created_at
    entries = row.history.entries
    ended_at = (found.updated_at if found else None) or (entries[-1].at if entries else None)
    over = words.is_over(status)
    until = ended_at if over else now
    model = found.config.get("model") if found else None
    return {
        "job_id": record.job_id,
        "name": (found.name[:1000] if found else None) or record.name,
        "status": status,
        "active": not over,
        "role": "create" if record.is_owner else "wait",
        "model": model[:1000] if isinstance(model, str) else record.model,
        "datasets": datasets_of(found.config.get("datasets") if found else None) or record.datasets,
        "created_at": _iso(created_at),
        "updated_at": _iso(found.updated_at if found else None),
        "seconds": (until - created_at).total_seconds() if created_at and until else None,
        "inference_config_path": found.inference_config_path if found else None,
        "stale": found is None or reading is None or reading.state != "ok",
    }


def remote(reading: Reading) -> dict[str, Any]:
    """Return whether the service answers, and how old its last answer is."""
    return {"state": reading.state, "read_at": _iso(reading.read_at), "detail": reading.detail}


def timeline(history: JobHistory, *, now: datetime) -> list[dict[str, Any]]:
    """Return the statuses with their durations in seconds, None for one that goes on; outages are entries."""
    shown = []
    entries = history.entries
    for number, entry in enumerate(entries):
        if entry.outage == OUTAGE_ENDED:
            continue
        # An outage does not end the status that it hides.
        rest = entries[number + 1 :]
        ends = next((e.at for e in rest if (e.outage is None) == (entry.outage is None)), None)
        if entry.outage is not None:
            ends = next((e.at for e in rest if e.outage == OUTAGE_ENDED), None)
        over = ends is None and words.is_over(entry.status)
        shown.append(
            {
                "status": entry.status or "outage",
                "at": _iso(entry.at),
                "seconds": None if over else ((ends or now) - entry.at).total_seconds(),
                "outage": entry.outage is not None,
            }
        )
    return shown


def estimate(history: JobHistory, earlier: Iterable[JobHistory], *, now: datetime) -> dict[str, Any] | None:
    """Return how long the job may still take, going by earlier jobs of the task that are COMPLETED."""
    took = [
        (other.entries[-1].at - other.entries[0].at).total_seconds()
        for other in earlier
        if other.status == "COMPLETED" and other.job_id != history.job_id and len(other.entries) > 1
    ]
    if not took or not history.entries:
        return None
    left = median(took) - (now - history.entries[0].at).total_seconds()
    return {"seconds_left": left, "from_jobs": len(took)} if left > 0 else None


def metrics_page(job_id: str | None, reading: Reading | None, *, over: bool, now: datetime) -> dict[str, Any]:
    """Return the answer for a job's curves, as JSON types; the arguments are those of job_page()."""
    found = None if reading is None else reading.metrics
    empty = {"job_id": job_id, "remote": None if reading is None else remote(reading)}
    if found is None or reading is None:
        return {**empty, "records": 0, "series": {}, "best": None, "checkpoints": [], "unusable": 0}
    quiet = None if over or reading.step_seen_at is None else (now - reading.step_seen_at).total_seconds()
    best = found.best
    return {
        **empty,
        "records": found.records,
        "last_step": found.last_step,
        "last_checkpoint_step": found.last_checkpoint_step,
        "quiet_seconds": quiet,
        "series": {
            key: {**_columns(points), "total": found.totals[key]} for key, points in found.series.items()
        },
        "best": best and {"step": best.step, "time": best.time, "eval_loss": best.value},
        "checkpoints": found.checkpoints,
        "unusable": found.unusable,
    }


def list_row(row: TaskRow, reading: Reading | None, *, now: datetime) -> dict[str, Any]:
    """Return a line of a list of jobs."""
    return {
        **vars(row.key),
        **job_of(row, reading, now=now),
        "task_state": row.state,
        "recorded_at": _iso(row.recorded_at),
        "console_url": None if reading is None else reading.console_url,
    }


def _action(row: TaskRow, action: str, *, status: str | None, may_act: bool, state: str) -> dict[str, Any]:
    reason = None
    if words.is_over(status):
        reason = words.OVER
    elif not may_act:
        reason = words.NOT_ALLOWED
    elif state == "no_connection":
        reason = words.NO_CONNECTION
    elif action == "stop" and status == "STOPPING":
        reason = words.STOPPING
    tries_left = max(0, row.max_tries - row.try_number + 1)
    job: RecordedJob = row.job  # type: ignore[assignment]
    sentence = words.consequence(job, action, state=row.state, tries_left=tries_left)
    return {"allowed": reason is None, "reason": reason, "consequence": sentence}


def _poll_seconds(row: TaskRow, reading: Reading, *, over: bool) -> int:
    if over and row.has_ended:
        return _NEVER
    return _SOON if reading.state == "ok" else _LATER


def _columns(points: list[Point]) -> dict[str, list[float | None]]:
    return {
        "step": [point.step for point in points],
        "time": [point.time for point in points],
        "value": [point.value for point in points],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
