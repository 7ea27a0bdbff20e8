"""Whose metrics are read next, where many jobs share a poll loop. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Collection

from airflow_provider_atai.waiting.watch import METRICS_INTERVAL


class MetricsTurns:
    """Gives each job a turn every five minutes, or less often when there are more jobs than turns."""

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}

    def due(self, job_ids: Collection[str], *, at_most: int, now: float) -> list[str]:
        """
        Return the jobs whose turn it is, the longest overdue first, and count their turn as taken.

        :param job_ids: the jobs that may have new metrics.
        :param at_most: how many turns there are.
        :param now: seconds of any clock.
        """
        for job_id in job_ids:
            # First turns are spread by the id, so that a thousand jobs that begin at once do not ask at once.
            self._due_at.setdefault(job_id, now + zlib.crc32(job_id.encode()) % METRICS_INTERVAL)
        waiting = sorted((due_at, job_id) for job_id in job_ids if (due_at := self._due_at[job_id]) <= now)
        chosen = [job_id for _, job_id in waiting[:at_most]]
        for job_id in chosen:
            self._due_at[job_id] = now + METRICS_INTERVAL
        return chosen

    def forget(self, job_id: str) -> None:
        """Drop a job that nobody waits for any more."""
        self._due_at.pop(job_id, None)
