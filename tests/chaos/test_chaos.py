from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.chaos.__main__ import show
from tests.chaos.lives import Report, live, live_all
from tests.chaos.odd_plans import draw
from tests.chaos.plan import SHAPES
from tests.chaos.verdict import LOST
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
