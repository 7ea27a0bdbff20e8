from __future__ import annotations

from itertools import pairwise

import pytest

from airflow_provider_atai.emulator.jobs.life_cycle import (
    Outcome,
    cancelled,
    checkpoint_records,
    plan_life,
    replanned,
    status_at,
    stopped,
    trained_seconds,
)
from airflow_provider_atai.emulator.settings import Life

LIFE = Life(registered=5, starting=20, running=600, finalizing=15, stopping=3)
NORMAL = [(100, "REGISTERED"), (105, "STARTING"), (125, "RUNNING"), (725, "FINALIZING"), (740, "COMPLETED")]


@pytest.mark.parametrize(
    ("outcome", "plan"),
    [
        (Outcome(), NORMAL),
        (Outcome(status="FAILED"), [*NORMAL[:3], (425, "FAILED")]),
        (Outcome(status="FAILED", at="STARTING"), [*NORMAL[:2], (115, "FAILED")]),
        (Outcome(status="FAILED", at=0), [NORMAL[0], (100, "FAILED")]),
        (Outcome(status="CANCELLED", at=30), [*NORMAL[:3], (130, "CANCELLED")]),
        (Outcome(status="STOPPED"), [*NORMAL[:3], (425, "STOPPING"), (428, "STOPPED")]),
        # A job that is over by then stays as it ended.
        (Outcome(status="CANCELLED", at=700), NORMAL),
        (Outcome(status="COMPLETED", at=30), [*NORMAL[:3], (130, "COMPLETED")]),
        (Outcome(status="STARTING"), NORMAL[:2]),
        (
            Outcome(status="STARTING", for_seconds=50),
            [*NORMAL[:2], (155, "RUNNING"), (755, "FINALIZING"), (770, "COMPLETED")],
        ),
        (Outcome(status="UNKNOWN", at="FINALIZING"), [*NORMAL[:4], (732.5, "UNKNOWN")]),
        (
            Outcome(status="PREEMPTED", for_seconds=50),
            [
                *NORMAL[:3],
                (425, "PREEMPTED"),
                (475, "RUNNING"),
                (775, "FINALIZING"),
                (790, "COMPLETED"),
            ],
        ),
        # A phase may show at a moment that belongs to another phase.
        (Outcome(status="STARTING", at="RUNNING"), [*NORMAL[:3], (425, "STARTING")]),
    ],
)
def test_plan_life(outcome, plan):
    assert plan_life(100, LIFE, outcome) == plan


def test_outcome_at_an_unknown_phase_is_refused():
    with pytest.raises(ValueError, match="REGISTERED, STARTING, RUNNING, FINALIZING, not 'STOPPED'"):
        plan_life(0, LIFE, Outcome(status="FAILED", at="STOPPED"))


@pytest.mark.parametrize(
    ("now", "status"),
    [(100, "REGISTERED"), (104.9, "REGISTERED"), (105, "STARTING"), (739, "FINALIZING"), (9999, "COMPLETED")],
)
def test_status_at(now, status):
    assert status_at(plan_life(100, LIFE, Outcome()), now) == status


@pytest.mark.parametrize(
    ("now", "outcome", "plan"),
    [
        (110, Outcome(status="FAILED"), [*NORMAL[:3], (425, "FAILED")]),
        # A change whose time has passed happens now.
        (200, Outcome(status="FAILED", at="STARTING"), [*NORMAL[:3], (200, "FAILED")]),
        (200, Outcome(status="STARTING"), [*NORMAL[:3], (200, "STARTING")]),
    ],
)
def test_replanned_keeps_the_past(now, outcome, plan):
    assert replanned(plan_life(100, LIFE, Outcome()), plan_life(100, LIFE, outcome), now) == plan


def test_stopped_and_cancelled_plans_keep_the_past():
    plan = plan_life(100, LIFE, Outcome())
    assert stopped(plan, 200, 3) == [*NORMAL[:3], (200, "STOPPING"), (203, "STOPPED")]
    assert stopped(plan, 200, None) == [*NORMAL[:3], (200, "STOPPING")]
    assert cancelled(plan, 200) == [*NORMAL[:3], (200, "CANCELLED")]


@pytest.mark.parametrize(
    ("now", "seconds"), [(100, 0), (125, 0), (225, 100), (425, 300), (450, 300), (500, 325)]
)
def test_trained_seconds_do_not_count_interruptions(now, seconds):
    plan = plan_life(100, LIFE, Outcome(status="PREEMPTED", for_seconds=50))
    assert trained_seconds(plan, now) == seconds


@pytest.mark.parametrize("job_id", ["a", "ft-job-b", "c" * 64])
def test_losses_fall_until_the_last_checkpoint(job_id):
    records = checkpoint_records(job_id, reached=20, total=20, steps=200, seconds=30)
    for before, after in pairwise(records):
        assert after["loss"] < before["loss"]
        assert after["eval_loss"] < before["eval_loss"]
        assert after["learning_rate"] < before["learning_rate"]


def test_checkpoint_records_have_the_documented_form_and_do_not_change():
    whole = checkpoint_records("a", reached=3, total=5, steps=200, seconds=120)
    assert [list(record) for record in whole] == [
        ["step", "loss", "eval_loss", "learning_rate", "wall_time_sec"]
    ] * 3
    assert [(record["step"], record["wall_time_sec"]) for record in whole] == [
        (200, 120.0),
        (400, 240.0),
        (600, 360.0),
    ]
    assert checkpoint_records("a", reached=1, total=5, steps=200, seconds=120) == whole[:1]
    assert checkpoint_records("b", reached=1, total=5, steps=200, seconds=120) != whole[:1]
