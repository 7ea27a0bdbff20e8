"""The life of a job as a plan: a list of statuses, each with its time. Pure functions."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_atai.emulator.settings import Duration, Life


class JobStatus(StrEnum):
    """The documented statuses. An outcome may also name one that is not listed here."""

    UNKNOWN = "UNKNOWN"
    REGISTERED = "REGISTERED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FINALIZING = "FINALIZING"
    COMPLETED = "COMPLETED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


TERMINAL = frozenset({"COMPLETED", "STOPPED", "CANCELLED", "FAILED"})
_PHASES = ("REGISTERED", "STARTING", "RUNNING", "FINALIZING")


class Transition(NamedTuple):
    """A status, and the time of the job clock from which on the job shows it."""

    at: float
    status: str


class Outcome(BaseModel):
    """What becomes of a job; ``EmulatorControl.set_outcome`` says what the fields mean."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    status: Annotated[str, Field(min_length=1)] = "COMPLETED"
    at: Duration | str | None = None
    for_seconds: Duration | None = None
    inference_config: bool | None = None


def plan_life(born: float, life: Life, outcome: Outcome) -> list[Transition]:
    """Return the life of a job that is born at a time. An unknown phase in ``outcome.at`` is a ValueError."""
    normal = _undisturbed(born, life)
    status = outcome.status
    if outcome.at is None and status == "COMPLETED":
        return normal
    if outcome.at is None and status in _PHASES:
        return _prolonged(normal, _PHASES.index(status), outcome.for_seconds)
    moment = _moment(normal, outcome.at)
    if moment > normal[-1].at:
        # The job has ended by then, and a terminal status is final.
        return normal
    before = [transition for transition in normal if transition.at < moment] or normal[:1]
    if status == "STOPPED":
        return [*before, Transition(moment, "STOPPING"), Transition(moment + life.stopping, "STOPPED")]
    plan = [*before, Transition(moment, status)]
    if status in TERMINAL or outcome.for_seconds is None:
        return plan
    plan.append(Transition(moment + outcome.for_seconds, before[-1].status))
    return plan + _later([t for t in normal if t.at >= moment], outcome.for_seconds)


def status_at(plan: Sequence[Transition], now: float) -> str:
    """Return the status at a time of the job clock."""
    past = _past(plan, now)
    return past[-1].status if past else plan[0].status


def next_at(plan: Sequence[Transition], after: float) -> float | None:
    """Return the time of a plan's first transition after a time, or None."""
    return min((transition.at for transition in plan if transition.at > after), default=None)


def replanned(plan: Sequence[Transition], fresh: Sequence[Transition], now: float) -> list[Transition]:
    """Return the plan with its past kept and its future taken from ``fresh``."""
    past = _past(plan, now)
    status = status_at(fresh, now)
    if past[-1].status != status:
        past.append(Transition(now, status))
    return past + [transition for transition in fresh if transition.at > now]


def stopped(plan: Sequence[Transition], now: float, stopping: float | None) -> list[Transition]:
    """Return the plan of a job that begins to stop now and takes ``stopping`` seconds (None: for ever)."""
    begun = [*_past(plan, now), Transition(now, "STOPPING")]
    return begun if stopping is None else [*begun, Transition(now + stopping, "STOPPED")]


def cancelled(plan: Sequence[Transition], now: float) -> list[Transition]:
    """Return the plan of a job that is cancelled now."""
    return [*_past(plan, now), Transition(now, "CANCELLED")]


def ended(plan: Sequence[Transition], now: float, status: str) -> list[Transition]:
    """Return the plan of a STOPPING job that ends at its next transition, or now if there is none."""
    at = next_at(plan, now)
    return [*_past(plan, now), Transition(now if at is None else at, status)]


def checkpoint_seconds(plan: Sequence[Transition], life: Life) -> float:
    """Return the time between two checkpoints. A short RUNNING that COMPLETEs has all checkpoints, too."""
    planned = trained_seconds(plan, plan[-1].at) if plan[-1].status == "COMPLETED" else life.running
    return min(life.running, planned or life.running) / life.checkpoints


def trained_seconds(plan: Sequence[Transition], now: float) -> float:
    """Return how long the job has been RUNNING until now, in seconds of the job clock."""
    total = 0.0
    for index, (start, status) in enumerate(plan):
        if status == "RUNNING":
            end = plan[index + 1].at if index + 1 < len(plan) else now
            total += max(0.0, min(end, now) - start)
    return total


def checkpoint_records(
    job_id: str, *, reached: int, total: int, steps: int, seconds: float
) -> list[dict[str, Any]]:
    """
    Return made-up, plausible metrics of a job's checkpoints: for one job id always the same.

    :param reached: how many checkpoints the job has already, of ``total`` at the end of the training.
    :param steps: training steps between two checkpoints, which are ``seconds`` apart.
    """
    seed = random.Random(job_id)
    start, floor, gap = seed.uniform(2.2, 3.0), seed.uniform(0.25, 0.6), seed.uniform(1.02, 1.08)
    records = []
    for number in range(1, reached + 1):
        progress = number / total
        # The wobble is far smaller than the fall from one checkpoint to the next, up to a few dozen of them.
        loss = floor + (start - floor) * math.exp(-3 * progress) * (1 + seed.uniform(-0.004, 0.004))
        records.append(
            {
                "step": number * steps,
                "loss": round(loss, 4),
                "eval_loss": round(loss * gap, 4),
                "learning_rate": round(2e-4 * (1 + math.cos(math.pi * progress)) / 2, 9),
                "wall_time_sec": round(number * seconds, 1),
            }
        )
    return records


def _past(plan: Sequence[Transition], now: float) -> list[Transition]:
    return [transition for transition in plan if transition.at <= now]


def _undisturbed(born: float, life: Life) -> list[Transition]:
    plan, at = [], born
    for phase in _PHASES:
        plan.append(Transition(at, phase))
        at += float(getattr(life, phase.lower()))
    return [*plan, Transition(at, "COMPLETED")]


def _prolonged(normal: list[Transition], index: int, seconds: float | None) -> list[Transition]:
    plan = normal[: index + 1]
    if seconds is None:
        return plan
    usual = normal[index + 1].at - normal[index].at
    return plan + _later(normal[index + 1 :], seconds - usual)


def _later(transitions: Sequence[Transition], seconds: float) -> list[Transition]:
    return [Transition(at + seconds, status) for at, status in transitions]


def _moment(normal: Sequence[Transition], at: float | str | None) -> float:
    if isinstance(at, (int, float)):
        return normal[0].at + at
    phase = "RUNNING" if at is None else at
    if phase not in _PHASES:
        raise ValueError(f"at must be a number of seconds or one of {', '.join(_PHASES)}, not {phase!r}")
    index = _PHASES.index(phase)
    return (normal[index].at + normal[index + 1].at) / 2
