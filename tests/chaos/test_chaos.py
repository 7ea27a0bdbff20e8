from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from airflow_provider_atai.compat import task_state
from airflow_provider_atai.errors import AtaiError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.jobs import kill, submission
from airflow_provider_atai.operators import fine_tune
from airflow_provider_atai.triggers import fine_tune as triggers
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from airflow_provider_atai.waiting.policy import Ending
from airflow_provider_atai.waiting.result import WaitResult
from tests.chaos.__main__ import Report, live, live_all, show
from tests.chaos.history import Green, History, Kill, Wait
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

EVERYDAY_SEEDS = range(1, 61)


def test_no_promise_is_broken():
    report = live_all(EVERYDAY_SEEDS)
    assert report.failures == []
    assert report.lives == len(EVERYDAY_SEEDS)
    assert report.jobs == report.justified > 30
    assert report.states["success"] > 10
    # Lives in which nothing happens would prove nothing.
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


def test_a_life_is_the_same_each_time(tmp_path):
    traces = []
    for number in range(2):
        lines: list[str] = []
        (tmp_path / str(number)).mkdir()
        with World(tmp_path / str(number)) as world:
            for seed in (3, 4, 8, 22):
                live(world, seed, trace=lines.append)
        # Airflow 2 says once that it has no key to encrypt with.
        told = [line for line in lines if "empty cryptography key" not in line]
        traces.append([re.sub(r"127\.0\.0\.1:\d+|err-[0-9a-f-]+", "-", line) for line in told])
    assert len(traces[0]) > 50
    assert traces[0] == traces[1]


find_job, job_ids, wait_deadline = submission.find_job, fine_tune.job_ids, fine_tune.wait_deadline


def find_job_or_give_up(api, job_id):
    try:
        return find_job(api, job_id)
    except AtaiError:
        return None


def ids_of_the_moment(ti, request, **_):
    return job_ids(ti, {**request, "now": datetime.now(UTC).timestamp()})


def deadline_from_now_on(**arguments):
    return wait_deadline(**{**arguments, "counts_from": arguments["now"]})


def another_hour(trigger):
    return datetime.now(UTC) + timedelta(hours=1) if trigger.deadline else None


async def cancel_on_cleanup(trigger):
    AtaiHook().fine_tune.cancel(trigger.job_id)


def is_over(result, *, accept_stopped):
    return result.ending is not Ending.TIMED_OUT


# What is broken on purpose, lives in which that matters, and what the verdict must say.
SABOTAGE = {
    "no look before the POST": (
        [(submission, "find_job", lambda api, job_id: None)],
        [8, 18, 22, 31],
        DUPLICATE,
    ),
    "could not look means not there": (
        [(submission, "find_job", find_job_or_give_up)],
        [81, 166, 201],
        DUPLICATE,
    ),
    "another id in each try": ([(fine_tune, "job_ids", ids_of_the_moment)], [2, 3, 5, 8], LOST),
    "every end is a success": ([(WaitResult, "is_green", is_over)], [1, 2, 9], FALSE_GREEN),
    "a retry renews the deadline": ([(fine_tune, "wait_deadline", deadline_from_now_on)], [3, 62], OVERRUN),
    "a restart renews the deadline": (
        [(FineTuneJobTrigger, "_deadline", another_hour), (triggers, "backstop", lambda *_: None)],
        [4, 8],
        OVERRUN,
    ),
    "a kill does nothing": (
        [(kill, "end_last_job", lambda *_, **__: None), (triggers, "end_job", lambda *_, **__: "")],
        [20, 22, 26],
        LEFT_RUNNING,
    ),
    "a clear ends the job": ([(fine_tune, "is_tried_again", lambda _: False)], [22, 31, 43], ENDED),
    "a drained worker ends the job": (
        [(task_state, "_has_tries_left", lambda _: False)],
        [13, 17, 18],
        ENDED,
    ),
    "a restart cancels the job": ([(FineTuneJobTrigger, "cleanup", cancel_on_cleanup)], [3, 4], ENDED),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_it_notices(name):
    patches, seeds, promise = SABOTAGE[name]
    with ExitStack() as stack:
        for target, attribute, replacement in patches:
            stack.enter_context(mock.patch.object(target, attribute, replacement))
        report = live_all(seeds)
    assert report.broken[promise] > 0
    assert {seed for seed, _, _ in report.failures} <= set(seeds)
    assert live_all(seeds).failures == []


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
    return Kill(T0, action, "mark failed", reachable, first_request=0, jobs=jobs, log=log)


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
def test_the_verdict(history, broken):
    assert [promise for promise, _ in judge(PLAN, history).broken] == broken


def test_the_verdict_on_deadlines():
    plan = next(plan for seed in range(99) if (plan := draw(seed)).operator["timeout"] and not plan.rules)
    deadline = T0 + timedelta(seconds=plan.operator["timeout"])
    for minutes, downtime, broken in [(1, 0, []), (20, 0, [OVERRUN]), (20, 1200, [])]:
        wait = Wait("create", T0, deadline + timedelta(minutes=minutes), downtime)
        history = History(jobs=[RUNNING], waits=[wait])
        assert [promise for promise, _ in judge(plan, history).broken] == broken


@pytest.mark.parametrize(("second", "broken"), [(3, [ENDED]), (7, [])])
def test_the_verdict_on_what_ended_a_job(second, broken):
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


def test_the_report_names_the_seeds_that_fail(capsys):
    report = Report(lives=1, failures=[(42, LOST, "a-1 is RUNNING")])
    report.broken[LOST] = 1
    show(report, seconds=1)
    said = capsys.readouterr().out
    assert "seed 42: lost job: a-1 is RUNNING" in said
    assert "--replay" in said
