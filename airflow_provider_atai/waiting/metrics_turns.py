"""When the metrics of each job are read while it trains. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Collection

from airflow_provider_atai.waiting.watch import METRICS_INTERVAL


def take_metrics_turns(
    due_at: dict[str, float], job_ids: Collection[str], at_most: int, now: float
) -> list[str]:
    """
    Return the jobs whose metrics are read next, the longest overdue first, and take their turns.

    Each job has a turn every five minutes, or less often if there are more jobs than turns.

    :param due_at: the time of each job's next turn. It is updated, and other jobs are forgotten.
    :param job_ids: the jobs that have turns.
    :param at_most: how many jobs are returned.
    :param now: the time, on the clock of ``due_at``.
    """
    for job_id in due_at.keys() - set(job_ids):
        del due_at[job_id]
    for job_id in job_ids:
        # The id spreads the first turns, so that a thousand jobs that start together do not ask together.
        due_at.setdefault(job_id, now + zlib.crc32(job_id.encode()) % METRICS_INTERVAL)
    overdue = sorted((due_at[job_id], job_id) for job_id in job_ids if due_at[job_id] <= now)
    turns = [job_id for _, job_id in overdue[:at_most]]
    due_at.update(dict.fromkeys(turns, now + METRICS_INTERVAL))
    return turns
