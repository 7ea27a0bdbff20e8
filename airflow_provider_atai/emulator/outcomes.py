"""What shall become of jobs, decided before they exist."""

from __future__ import annotations

from airflow_provider_atai.emulator.jobs.life_cycle import Outcome
from airflow_provider_atai.emulator.store import Store


class Outcomes:
    """The outcomes that wait for jobs: for the one of an id, for all of a name, and a queue for the next."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remember(self, outcome: Outcome, *, job_id: str | None, name: str | None) -> None:
        """Keep an outcome. For an id or a name it replaces the one before; else it queues."""
        kind, key = "next", ""
        if job_id is not None:
            kind, key = "id", job_id
        elif name is not None:
            kind, key = "name", name
        if kind != "next":
            self._store.write("DELETE FROM outcomes WHERE kind = ? AND key = ?", (kind, key))
        self._store.insert("outcomes", kind=kind, key=key, outcome=outcome.model_dump_json())

    def take(self, job_id: str, name: str) -> Outcome:
        """Return the outcome of a job that is being created. One from the queue is used up."""
        for kind, key in (("id", job_id), ("name", name), ("next", "")):
            row = self._store.first(
                "SELECT * FROM outcomes WHERE kind = ? AND key = ? ORDER BY pk LIMIT 1", (kind, key)
            )
            if row is not None:
                if kind == "next":
                    self._store.write("DELETE FROM outcomes WHERE pk = ?", (row["pk"],))
                return Outcome.model_validate_json(row["outcome"])
        return Outcome()
