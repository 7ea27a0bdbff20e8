from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.chaos.__main__ import show
from tests.chaos.history import Green, History, Kill, Wait
from tests.chaos.lives import Report, live, live_all
from tests.chaos.plan import SHAPES, draw
from tests.chaos.verdict import (
    DUPLICATE,
    ENDED,
    FALSE_GREEN,
    LEFT_RUNNING,
    LOST,
    OVERRUN,
    TROUBLE,
    judge,
)
from tests.chaos.world import World

REPOSITORY = Path(__file__).resolve().parents[2]
EVERYDAY_SEEDS = range(1, 61)


def test_no_promise_is_broken():
    report = live_all(EVERYDAY_SEEDS)
    assert report.failures == []
    assert report.lives == len(EVERYDAY_SEEDS)
    assert report.jobs == report.justified > 30
    assert report.states["success"] > 10
    # Lives without faults would prove nothing.
    for event in (
        "worker killed",
        "triggerer restarted",
        "on_kill: mark failed",
        "on_kill: drain",
        "outage",
        "garbage",
    ):
        assert report.events[event] > 0
    assert {draw(seed).shape for seed in EVERYDAY_SEEDS} == set(SHAPES)


def test_a_seed_gives_the_same_life_each_time(tmp_path):
    traces = []
    for number in range(2):
        lines: list[str] = []
        (tmp_path / str(number)).mkdir()
        with World(tmp_path / str(number)) as world:
            for seed in (3, 4, 8, 22):
                live(world, seed, trace=lines.append)
        # Airflow 2 logs once that it has no encryption key.
        kept = [line for line in lines if "empty cryptography key" not in line]
        traces.append([re.sub(r"127\.0\.0\.1:\d+|err-[0-9a-f-]+", "-", line) for line in kept])
    assert len(traces[0]) > 50
    assert traces[0] == traces[1]


PLAN = next(plan for seed in range(100) if not (plan := draw(seed)).operator["accept_stopped"])
T0 = datetime(2030, 1, 1, tzinfo=UTC)


def record(job_id, status, *, made=0, changed=0, model=False):
    return {
        "id": job_id,
        "status": status,
        "created_at": (T0 + timedelta(seconds=made)).isoformat(),
        "updated_at": (T0 + timedelta(seconds=changed)).isoformat(),
        "inference_config_path": "s3://model.yaml" if model else None,
    }


def kill(action, *jobs, reachable=True, log=()):
    return Kill(action, "mark failed", reachable, first_request=0, jobs=jobs, log=log)


RUNNING = record("a-1", "RUNNING")
DONE = record("a-1", "COMPLETED", model=True)
FAULT = {"fault": 1}


@pytest.mark.parametrize(
    ("history", "broken"),
    [
        (History(state="success", jobs=[DONE]), []),
        (History(state="failed", jobs=[RUNNING]), []),
        (History(state="success", jobs=[RUNNING]), [LOST]),
        (History(state="failed", jobs=[RUNNING, record("a-2", "RUNNING", made=1)]), [DUPLICATE, LOST]),
        (History(state="failed", jobs=[DONE, record("a-2", "FAILED", made=1)]), [DUPLICATE]),
        (History(jobs=[record("a-1", "FAILED", changed=5), record("a-2", "FAILED", made=6)]), []),
        (History(jobs=[record("a-1", "FAILED", changed=5), record("a-2", "FAILED", made=4)]), [DUPLICATE]),
        (History(greens=[Green("create", waited=True, value="a-1", jobs=[DONE])]), []),
        (History(greens=[Green("wait", waited=True, value={"job_id": "a-1"}, jobs=[DONE])]), []),
        (History(greens=[Green("wait", waited=True, value={}, jobs=[DONE])]), [FALSE_GREEN]),
        (History(greens=[Green("create", waited=True, value="a-1", jobs=[RUNNING])]), [FALSE_GREEN]),
        (History(greens=[Green("create", waited=False, value="a-1", jobs=[RUNNING])]), []),
        (History(greens=[Green("create", waited=False, value="b-1", jobs=[RUNNING])]), [FALSE_GREEN]),
        (
            History(greens=[Green("wait", True, "a-1", [record("a-1", "COMPLETED", model=False)])]),
            [FALSE_GREEN],
        ),
        (
            History(greens=[Green("wait", True, "a-1", [record("a-1", "STOPPED", model=True)])]),
            [FALSE_GREEN],
        ),
        (History(kills=[kill("cancel", RUNNING)]), [LEFT_RUNNING]),
        (History(kills=[kill("leave", RUNNING)]), []),
        (History(kills=[kill("cancel", RUNNING, reachable=False)]), []),
        (History(kills=[kill("cancel", RUNNING, log=[FAULT])]), []),
        (History(kills=[kill("stop", record("a-1", "STOPPING"))]), []),
        (History(trouble="endless"), [TROUBLE]),
    ],
)
def test_verdict_finds_each_broken_promise(history, broken):
    assert [promise for promise, _ in judge(PLAN, history).broken] == broken


def test_verdict_allows_for_downtime_in_deadlines():
    plan = next(plan for seed in range(99) if (plan := draw(seed)).operator["timeout"] and not plan.rules)
    deadline = T0 + timedelta(seconds=plan.operator["timeout"])
    for minutes, downtime, broken in [(1, 0, []), (20, 0, [OVERRUN]), (20, 1200, [])]:
        wait = Wait("create", T0, deadline + timedelta(minutes=minutes), downtime)
        history = History(jobs=[RUNNING], waits=[wait])
        assert [promise for promise, _ in judge(plan, history).broken] == broken


@pytest.mark.parametrize(("second", "broken"), [(3, [ENDED]), (7, [])])
def test_verdict_requires_a_kill_or_deadline_for_a_cancel(second, broken):
    plan = next(p for seed in range(99) if (p := draw(seed)).operator["timeout"] and not p.rules)
    put = {
        "method": "PUT",
        "path": "/cancel",
        "fault": None,
        "time": (T0 + timedelta(seconds=second)).isoformat(),
    }
    killing = (T0 + timedelta(seconds=5), T0 + timedelta(seconds=9))
    history = History(jobs=[record("a-1", "CANCELLED")], log=[put], killings=[killing])
    assert [promise for promise, _ in judge(plan, history).broken] == broken


def test_report_names_the_failing_seeds(capsys):
    report = Report(lives=1, failures=[(42, LOST, "a-1 is RUNNING")])
    report.broken[LOST] = 1
    show(report, seconds=1)
    printed = capsys.readouterr().out
    assert "seed 42: lost job: a-1 is RUNNING" in printed
    assert "--replay" in printed


def test_command_runs_lives_in_two_processes():
    command = [sys.executable, "-m", "tests.chaos", "--lives", "2", "--seed", "3", "--processes", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "lives            2 in" in done.stdout
