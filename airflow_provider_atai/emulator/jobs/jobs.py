"""The jobs: their records, and the clock that moves them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from airflow_provider_atai.emulator.clock import JobClock, real_now
from airflow_provider_atai.emulator.errors import conflict, not_found
from airflow_provider_atai.emulator.ids import server_job_id, type_id
from airflow_provider_atai.emulator.jobs import life_cycle, rows
from airflow_provider_atai.emulator.jobs.life_cycle import TERMINAL, Outcome, Transition
from airflow_provider_atai.emulator.settings import Conditions
from airflow_provider_atai.emulator.store import Store


class Jobs:
    """
    The jobs of every organisation.

    A job's row holds its plan and its last settled status. ``settle`` brings the rows up to date, and
    whatever reads a status calls it first, so that lists can be filtered in SQL. A method for one job raises
    RefusedError if there is no such job (404), or if its status does not allow the change (409).
    """

    def __init__(self, store: Store, conditions: Conditions) -> None:
        self._store = store
        self._conditions = conditions

    def settle(self) -> float:
        """Carry out every transition that is due, and return what the job clock shows."""
        clock, wall = self._conditions.clock, real_now()
        now = clock.at(wall)
        due = self._store.all("SELECT * FROM jobs WHERE next_at <= ?", (now,))
        if due:
            with self._store.transaction():
                for row in due:
                    self._carry_out(row, clock, wall, now)
        return now

    def create(
        self, org: str, *, name: str, config: dict[str, Any], file_uids: Sequence[str], job_id: str | None
    ) -> sqlite3.Row:
        """Register a job and return its row. The switches decide what happens if the id is taken."""
        now, wall = self.settle(), real_now()
        if self._conditions.switches.job_ids == "own":
            job_id = None
        if job_id is not None and (existing := self._find(org, job_id)) is not None:
            policy = self._conditions.switches.duplicate_job_id
            if policy == "conflict":
                raise conflict(f"Job already exists: {job_id}")
            if policy == "return_existing":
                return existing
        job_id = job_id or server_job_id(name)
        with self._store.transaction():
            outcome = rows.take_outcome(self._store, job_id, name)
            life = self._conditions.life
            plan = life_cycle.plan_life(now, life, outcome)
            pk = self._store.insert(
                "jobs",
                org=org,
                id=job_id,
                uuid=type_id("job"),
                name=name,
                config=json.dumps(config),
                file_uids=json.dumps(list(file_uids)),
                status=plan[0].status,
                created_at=wall,
                updated_at=wall,
                born=now,
                plan=json.dumps(plan),
                next_at=plan[1].at if len(plan) > 1 else None,
                life=life.model_dump_json(),
                checkpoint_seconds=life_cycle.checkpoint_seconds(plan, life),
                outcome=outcome.model_dump_json(),
            )
        # The plan may have a transition at the very moment of the creation.
        self.settle()
        return self._row(pk)

    def get(self, org: str, job_id: str) -> sqlite3.Row:
        """Return the row of the newest job with an id."""
        self.settle()
        return self._required(org, job_id)

    def list(self, org: str, *, limit: int, offset: int, statuses: Sequence[str]) -> list[sqlite3.Row]:
        """Return the rows of one page. A negative limit means all, no statuses mean every status."""
        self.settle()
        direction = "DESC" if self._conditions.switches.list_order == "newest_first" else "ASC"
        wanted = f"AND status IN ({', '.join('?' * len(statuses))})" if statuses else ""
        return self._store.all(
            f"SELECT * FROM jobs WHERE org = ? {wanted} ORDER BY pk {direction} LIMIT ? OFFSET ?",
            (org, *statuses, limit, offset),
        )

    def stop(self, org: str, job_id: str) -> sqlite3.Row:
        """Stop a job gracefully and return its row."""
        now = self.settle()
        row = self._required(org, job_id)
        plan, outcome = rows.plan_of(row), rows.outcome_of(row)
        if row["status"] in TERMINAL:
            return self._unchanged(row, "stop")
        if row["status"] == "FINALIZING":
            policy = self._conditions.switches.stop_finalizing
            if policy == "conflict":
                raise conflict(f"Cannot stop job {job_id}: its status is FINALIZING")
            if policy == "ignored":
                return row
        if row["status"] == "STOPPING":
            if life_cycle.next_at(plan, now) is None:
                return row
            # It may only show this status for a while and would go on training.
            return self._replan(row, life_cycle.ended(plan, now, "STOPPED"), now)
        stopping = outcome.for_seconds if outcome.status == "STOPPING" else rows.life_of(row).stopping
        return self._replan(row, life_cycle.stopped(plan, now, stopping), now)

    def cancel(self, org: str, job_id: str) -> sqlite3.Row:
        """Cancel a job at once and return its row."""
        now = self.settle()
        row = self._required(org, job_id)
        if row["status"] in TERMINAL:
            return self._unchanged(row, "cancel")
        return self._replan(row, life_cycle.cancelled(rows.plan_of(row), now), now)

    def delete(self, org: str, job_id: str) -> None:
        """Forget a job."""
        self._store.write("DELETE FROM jobs WHERE pk = ?", (self._required(org, job_id)["pk"],))

    def metrics(self, org: str, job_id: str, *, limit: int, offset: int) -> dict[str, Any]:
        """Return the metrics of a job, oldest checkpoint first."""
        now = self.settle()
        records = rows.checkpoints_of(self._required(org, job_id), now)
        page = records[offset:] if limit < 0 else records[offset : offset + limit]
        return {"last_checkpoint_step": records[-1]["step"] if records else None, "metrics": page}

    def set_outcome(self, outcome: Outcome, *, job_id: str | None, name: str | None) -> int:
        """
        Decide what becomes of jobs: of that id, of that name, or, with neither, of the next one created.

        :return: how many existing jobs it changed.
        :raises ValueError: if the outcome's moment does not name a phase.
        """
        now = self.settle()
        life_cycle.plan_life(0, self._conditions.life, outcome)
        with self._store.transaction():
            rows.remember_outcome(self._store, outcome, job_id=job_id, name=name)
        if job_id is None and name is None:
            return 0
        column, value = ("id", job_id) if job_id is not None else ("name", name)
        active = self._store.all(
            f"SELECT * FROM jobs WHERE {column} = ? AND status NOT IN ({', '.join('?' * len(TERMINAL))})",
            (value, *TERMINAL),
        )
        return sum(self._decide(row, outcome, now) for row in active)

    def lose_file(self, file_uid: str) -> None:
        """Plan the failure of jobs that have not read a file yet: it is gone when they start to run."""
        if not self._conditions.switches.lost_file_fails_job:
            return
        now = self.settle()
        for row in self._store.all("SELECT * FROM jobs WHERE status IN ('REGISTERED', 'STARTING')"):
            start = next((t.at for t in rows.plan_of(row) if t.status == "RUNNING"), None)
            if start is not None and file_uid in json.loads(row["file_uids"]):
                plan = [t for t in rows.plan_of(row) if t.at < start]
                self._replan(row, [*plan, Transition(start, "FAILED")], now)

    def counts(self, org: str | None = None) -> dict[str, int]:
        """Return how many jobs have each status, in one organisation or in all."""
        self.settle()
        counted = self._store.all(
            "SELECT status, COUNT(*) AS number FROM jobs WHERE ? IS NULL OR org = ? "
            "GROUP BY status ORDER BY status",
            (org, org),
        )
        return {row["status"]: row["number"] for row in counted}

    def _find(self, org: str, job_id: str) -> sqlite3.Row | None:
        return self._store.first(
            "SELECT * FROM jobs WHERE org = ? AND id = ? ORDER BY pk DESC LIMIT 1", (org, job_id)
        )

    def _required(self, org: str, job_id: str) -> sqlite3.Row:
        row = self._find(org, job_id)
        if row is None and self._conditions.switches.get_job_by_uuid:
            row = self._store.first("SELECT * FROM jobs WHERE org = ? AND uuid = ?", (org, job_id))
        if row is None:
            raise not_found(f"Job not found: {job_id}")
        return row

    def _row(self, pk: int) -> sqlite3.Row:
        return self._store.all("SELECT * FROM jobs WHERE pk = ?", (pk,))[0]

    def _unchanged(self, row: sqlite3.Row, verb: str) -> sqlite3.Row:
        if self._conditions.switches.terminal_action == "conflict":
            raise conflict(f"Cannot {verb} job {row['id']}: its status is {row['status']}")
        return row

    def _decide(self, row: sqlite3.Row, outcome: Outcome, now: float) -> bool:
        if row["status"] == "STOPPING":
            # Such a job does not go back to training; only its end can change.
            if outcome.status in TERMINAL:
                self._replan(row, life_cycle.ended(rows.plan_of(row), now, outcome.status), now, outcome)
            return outcome.status in TERMINAL
        life = rows.life_of(row)
        plan = life_cycle.replanned(rows.plan_of(row), life_cycle.plan_life(row["born"], life, outcome), now)
        # Never longer than before: a longer interval would take checkpoints away that the job has.
        self._store.write(
            "UPDATE jobs SET checkpoint_seconds = min(checkpoint_seconds, ?) WHERE pk = ?",
            (life_cycle.checkpoint_seconds(plan, life), row["pk"]),
        )
        self._replan(row, plan, now, outcome)
        return True

    def _replan(
        self, row: sqlite3.Row, plan: Sequence[Transition], now: float, outcome: Outcome | None = None
    ) -> sqlite3.Row:
        # Every plan keeps the past of the plan before it, and settle() has carried that out.
        carried_out = sum(transition.at <= now for transition in rows.plan_of(row))
        pending = plan[carried_out:]
        text = row["outcome"] if outcome is None else outcome.model_dump_json()
        self._store.write(
            "UPDATE jobs SET plan = ?, next_at = ?, outcome = ? WHERE pk = ?",
            (json.dumps(plan), pending[0].at if pending else None, text, row["pk"]),
        )
        self.settle()
        if pending and pending[0].at <= now:
            # A request changes a job at the instant of the request, even if the job clock stands still.
            self._store.write(
                "UPDATE jobs SET updated_at = max(updated_at, ?) WHERE pk = ?", (real_now(), row["pk"])
            )
        return self._row(row["pk"])

    def _carry_out(self, row: sqlite3.Row, clock: JobClock, wall: float, now: float) -> None:
        plan = rows.plan_of(row)
        last = [t for t in plan if t.at <= now][-1]
        updated = max(row["updated_at"], min(wall, clock.reached(last.at)))
        path = rows.inference_config_path(row, last.status, now, self._conditions.switches)
        self._store.write(
            "UPDATE jobs SET status = ?, updated_at = ?, next_at = ?, inference_config_path = ? WHERE pk = ?",
            (last.status, updated, life_cycle.next_at(plan, last.at), path, row["pk"]),
        )
