"""The verdict on what became of jobs: one history for each way to break a promise, and others beside it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.chaos.history import Green, History
from tests.chaos.made_up import T0, kill, one_try, plan_with, promises, record, request
from tests.chaos.verdict import (
    BESIDE,
    DUPLICATE,
    ENDED,
    FALSE_GREEN,
    LEFT_RUNNING,
    LOST,
    STRANGERS,
    TROUBLE,
    WRONG_ACTION,
)

PLAN = plan_with()


RUNNING = record("a-1", "RUNNING")
DONE = record("a-1", "COMPLETED", model=True)
FAULT = request("a-1", fault=1)


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
    assert promises(PLAN, history) == broken


@pytest.mark.parametrize(("second", "broken"), [(3, [ENDED]), (7, [])])
def test_verdict_requires_a_kill_or_deadline_for_a_cancel(second, broken):
    killing = (T0 + timedelta(seconds=5), T0 + timedelta(seconds=9))
    put = request("a-1/cancel", second=second, method="PUT")
    history = History(jobs=[record("a-1", "CANCELLED")], log=[put], killings=[killing])
    assert promises(plan_with(operator={"timeout": 600.0}), history) == broken


@pytest.mark.parametrize(("checkpoints", "broken"), [(0, [FALSE_GREEN]), (1, [])])
def test_stopped_job_is_green_only_with_a_checkpoint(checkpoints, broken):
    job = record("a-1", "STOPPED", checkpoints=checkpoints)
    history = History(jobs=[job], greens=[Green("create", waited=True, value="a-1", jobs=[job])])
    assert promises(plan_with(operator={"accept_stopped": True}), history) == broken


@pytest.mark.parametrize(
    ("why", "action", "path", "broken"),
    [
        ("mark failed", "stop", "a-1/cancel", [WRONG_ACTION]),
        ("execution timeout", "leave", "a-1/cancel", [WRONG_ACTION]),
        ("mark failed", "cancel", "a-1/cancel", []),
    ],
)
def test_kill_does_what_the_author_chose(why, action, path, broken):
    put = request(path, second=5, method="PUT")
    history = History(
        jobs=[record("a-1", "CANCELLED")],
        kills=[kill(action, record("a-1", "CANCELLED"), why=why, log=[put])],
        log=[put],
        killings=[(T0, T0 + timedelta(seconds=9))],
    )
    assert promises(PLAN, history) == broken


@pytest.mark.parametrize(
    ("stranger", "changed_at", "in_trigger", "broken"),
    [
        ("other name", None, False, [STRANGERS]),
        ("other name", None, True, [STRANGERS]),
        ("same name", None, False, []),
        ("same name", T0, False, [STRANGERS]),
        ("same name", T0, True, []),
    ],
)
def test_nobody_ends_the_job_of_a_stranger(stranger, changed_at, in_trigger, broken):
    kill = (T0, T0 + timedelta(seconds=9))
    plan = plan_with(own_job_id="theirs", odd={"stranger": stranger})
    history = History(
        jobs=[record("theirs", "CANCELLED")],
        strangers={"theirs"},
        log=[request("theirs/cancel", second=5, method="PUT")],
        killings=[kill],
        trigger_killings=[kill] if in_trigger else [],
        changed_at=changed_at,
    )
    assert promises(plan, history) == broken


NEW_TRY = plan_with(operator={"reattach": False})
TWO_JOBS = [record("a-1", "RUNNING"), record("b-1", "RUNNING", made=20)]
TWO_TRIES = [one_try("create", ended=5), one_try("create", started=10, ended=30)]
STORED = [(T0, "a-1")]
END_OF_THE_FIRST = request("a-1/cancel", second=15, method="PUT")


@pytest.mark.parametrize(
    ("plan", "fields", "broken"),
    [
        (NEW_TRY, {"remembered": STORED}, [BESIDE]),
        (NEW_TRY, {}, [BESIDE]),
        (NEW_TRY, {"changed_at": T0 + timedelta(seconds=8)}, []),
        (plan_with(operator={"reattach": False}, odd={"makes_own_ids": True}), {}, []),
        (NEW_TRY, {"remembered": STORED, "log": [END_OF_THE_FIRST]}, []),
        (plan_with(operator={"reattach": False, "kill_action": "leave"}), {"remembered": STORED}, []),
        (PLAN, {"remembered": STORED, "changed_at": T0 + timedelta(seconds=8)}, [BESIDE]),
        (PLAN, {"remembered": STORED}, [DUPLICATE, LOST]),
        (plan_with(odd={"makes_own_ids": True}), {"remembered": STORED}, [DUPLICATE, LOST]),
        (plan_with(odd={"makes_own_ids": True}), {}, []),
    ],
)
def test_earlier_job_is_ended_if_the_author_wants_another_one(plan, fields, broken):
    history = History(state="failed", jobs=TWO_JOBS, tries=TWO_TRIES, **fields)
    assert promises(plan, history) == broken
