"""A finished job in a few fields, for XCom and for whatever uses the model. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.printable import printable

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob, JobMetrics

_DEEPEST = 20
# XCom is a row in Airflow's database, and the trigger's event is another.
_MOST_CHARACTERS = 10_000


def summarise(job: FineTuneJob, metrics: JobMetrics | None) -> dict[str, Any]:
    """
    Return the fields of a job that are worth passing on.

    :param job: the job, terminal or not.
    :param metrics: its metrics, None if they could not be read.
    :return: a JSON object with ``job_id``, ``status``, ``model``, ``inference_config_path``, ``created_at``
        and ``updated_at`` (ISO 8601 or None), ``duration_seconds`` (from creation to the last update, None
        if a time is missing) and ``metrics`` (the last checkpoint's record as the service sent it, or None).
        Every metadata database can store it, whatever the service sent: NaN and infinity, which mean that the
        loss diverged, become None. Values that make a record longer than 10,000 characters are left out.
    """
    duration = None
    if job.created_at is not None and job.updated_at is not None:
        duration = (job.updated_at - job.created_at).total_seconds()
    summary = {
        "job_id": job.id,
        "status": job.status,
        "model": job.config.get("model"),
        "inference_config_path": job.inference_config_path,
        "created_at": job.created_at.isoformat() if job.created_at else None,
        "updated_at": job.updated_at.isoformat() if job.updated_at else None,
        "duration_seconds": duration,
        "metrics": metrics.records[-1] if metrics and metrics.records else None,
    }
    stored = {key: _storable(value) for key, value in summary.items()}
    if isinstance(stored["metrics"], dict):
        stored["metrics"] = _fitting(stored["metrics"])
    return {**stored, "model": _fitting({"model": stored["model"]}).get("model")}


def _fitting(record: dict[str, Any]) -> dict[str, Any]:
    fitting, room = {}, _MOST_CHARACTERS
    for key, value in record.items():
        length = len(json.dumps({key: value}))
        if length <= room:
            fitting[key] = value
            room -= length
    return fitting


def _storable(value: Any, depth: int = 0) -> Any:
    # An event that cannot be stored ends the triggerer's process, and again after each restart.
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and value.bit_length() > 63:
        # Airflow's processes send each other 64-bit integers.
        return float(value) if value.bit_length() < 1024 else None
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping | list) and depth == _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, depth + 1) for item in value]
    return value


def describe_summary(summary: dict[str, Any]) -> str:
    """Return one log line with what a person wants to know about a finished job."""
    parts = [f"Job {summary['job_id']} is {printable(summary['status'])}"]
    if summary["duration_seconds"] is not None:
        parts.append(f"({summary['duration_seconds']:.0f} s from its creation to its last update)")
    text = " ".join(parts)
    if summary["metrics"]:
        text += f"; last checkpoint: {describe_record(summary['metrics'])}"
    return f"{text}; inference config: {printable(summary['inference_config_path'] or 'none')}"


def describe_record(record: Any) -> str:
    """Return a metrics record as ``step 600, loss 0.41``. Records are free-form, so every key is shown."""
    return printable(", ".join(f"{key} {value}" for key, value in record.items()))
