"""What the database holds about jobs: their rows, and outcomes for jobs that do not exist yet."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from airflow_provider_atai.emulator.clock import microseconds
from airflow_provider_atai.emulator.jobs.life_cycle import (
    Outcome,
    Transition,
    checkpoint_records,
    trained_seconds,
)
from airflow_provider_atai.emulator.settings import Life, Switches
from airflow_provider_atai.emulator.store import Store


def record_of(row: sqlite3.Row) -> dict[str, Any]:
    """Return a job as the API shows it, keys in the documented order."""
    return {
        "name": row["name"],
        "id": row["id"],
        "config": json.loads(row["config"]),
        "uuid": row["uuid"],
        "org_uuid": row["org"],
        "status": row["status"],
        "created_at": microseconds(row["created_at"]),
        "updated_at": microseconds(row["updated_at"]),
        "inference_config_path": row["inference_config_path"],
    }


def plan_of(row: sqlite3.Row) -> list[Transition]:
    """Return a job's plan."""
    return [Transition(at, status) for at, status in json.loads(row["plan"])]


def life_of(row: sqlite3.Row) -> Life:
    """Return the durations that were set when a job was created."""
    return Life.model_validate_json(row["life"])


def outcome_of(row: sqlite3.Row) -> Outcome:
    """Return the outcome of a job or of a row of ``outcomes``."""
    return Outcome.model_validate_json(row["outcome"])


def checkpoints_of(row: sqlite3.Row, now: float) -> list[dict[str, Any]]:
    """Return the metrics of the checkpoints that a job has at a time of the job clock."""
    life, seconds = life_of(row), row["checkpoint_seconds"]
    # A sum of thirds may miss the last checkpoint by a rounding error.
    reached = min(life.checkpoints, int(trained_seconds(plan_of(row), now) / seconds + 1e-6))
    return checkpoint_records(
        row["id"], reached=reached, total=life.checkpoints, steps=life.checkpoint_steps, seconds=seconds
    )


def inference_config_path(row: sqlite3.Row, status: str, now: float, switches: Switches) -> str | None:
    """Return the path of the result that a job has when it reaches a status, or None."""
    if status == "COMPLETED":
        usual = switches.completed_inference_config
    elif status == "STOPPED":
        usual = switches.stopped_inference_config and bool(checkpoints_of(row, now))
    else:
        return None
    wanted = outcome_of(row).inference_config
    if not (usual if wanted is None else wanted):
        return None
    return f"s3://atai-finetune/inference-configs/{row['id']}.yaml"


def remember_outcome(store: Store, outcome: Outcome, *, job_id: str | None, name: str | None) -> None:
    """Keep an outcome. The one for an id or a name replaces the last one; the others queue up."""
    kind, key = "next", ""
    if job_id is not None:
        kind, key = "id", job_id
    elif name is not None:
        kind, key = "name", name
    if kind != "next":
        store.write("DELETE FROM outcomes WHERE kind = ? AND key = ?", (kind, key))
    store.insert("outcomes", kind=kind, key=key, outcome=outcome.model_dump_json())


def take_outcome(store: Store, job_id: str, name: str) -> Outcome:
    """Return the outcome for a job that is being created. One from the queue is used up."""
    for kind, key in (("id", job_id), ("name", name), ("next", "")):
        row = store.first(
            "SELECT * FROM outcomes WHERE kind = ? AND key = ? ORDER BY pk LIMIT 1", (kind, key)
        )
        if row is not None:
            if kind == "next":
                store.write("DELETE FROM outcomes WHERE pk = ?", (row["pk"],))
            return outcome_of(row)
    return Outcome()
