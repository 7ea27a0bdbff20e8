"""Breaks the provider on purpose: the random lives or a plain check must notice."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from contextlib import ExitStack
from unittest import mock

import pytest

from airflow_provider_atai.errors import FineTuneJobFailedError, FineTuneJobUnreachableError
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from airflow_provider_atai.waiting import poller
from tests.chaos.lives import live_all
from tests.chaos.sabotage import SABOTAGE
from tests.chaos.verdict import (
    BESIDE,
    COSTLY,
    DOOMED,
    DUPLICATE,
    EARLY,
    ENDED,
    FALSE_GREEN,
    FALSE_RED,
    GAVE_UP,
    LATE,
    LEFT_RUNNING,
    OVERRUN,
    PAGE,
    SILENT,
    STRANGERS,
    UNTRUE,
    USELESS_RETRY,
    WRONG_ACTION,
)
from tests.harness.task_life import TaskLife

# The seeds of lives that the sabotage spoils, and the promise that they break.
NOTICED_BY_LIVES = {
    "no look before the POST": ([8, 18, 22, 31], DUPLICATE),
    "could not look means not there": ([81, 166, 201], DUPLICATE),
    "another id in each try": ([2, 3, 5, 8], DUPLICATE),
    "a job that runs is not adopted": ([3, 20, 24], DUPLICATE),
    "no look after a lost answer": ([18], DUPLICATE),
    "every end is a success": ([1, 2, 9], FALSE_GREEN),
    "STOPPED is always a success": ([16, 30, 49], FALSE_GREEN),
    "COMPLETED without a model is a success": ([2, 3, 100], FALSE_GREEN),
    "a retry renews the deadline": ([140, 213], OVERRUN),
    "a restart renews the deadline": ([4, 8], OVERRUN),
    "a kill does nothing": ([20, 22, 26], LEFT_RUNNING),
    "a deferred kill ignores kill_action": ([20, 22, 26], LEFT_RUNNING),
    "a clear ends the job": ([22, 31, 43], ENDED),
    "a drained worker ends the job": ([13, 17, 18], ENDED),
    "a restart cancels the job": ([3, 4], ENDED),
    "a deadline comes too early": ([6, 15], EARLY),
    "a sensor is tried again after a bad end": ([9, 44], USELESS_RETRY),
    "an unreadable connection is final": ([62, 154], GAVE_UP),
    "a job that ends at the deadline is late": ([101], FALSE_RED),
    "a trigger fires late": ([50, 88], LATE),
    "each wait polls alone": ([559], COSTLY),
    "every kill cancels": ([91, 178], WRONG_ACTION),
    "an error says nothing": ([8, 118], SILENT),
    "the job of an earlier try is left": ([125, 150], BESIDE),
    "a stopping job is adopted": ([30, 357], DOOMED),
    "a job of somebody else is ended": ([149, 836], STRANGERS),
    "the page shows the first job for ever": ([4, 20], PAGE),
    "nothing tells of the end": ([54, 100], UNTRUE),
}

JOBS = "/fine-tune/jobs"
TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}


def create(**arguments):
    return CreateFineTuneJobOperator(
        task_id="create", name="j", datasets=[TRAIN], wait_for_completion=True, **arguments
    )


def sense(**arguments):
    return FineTuneJobSensor(task_id="wait", job_id="job-1", timeout=7200, **arguments)


def make_job():
    TaskLife(
        lambda: CreateFineTuneJobOperator(task_id="create", name="j", datasets=[TRAIN], job_id="job-1")
    ).run_try()


def check_a_conflict_is_adopted(emulator, clock):
    make_job()
    emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=404, count=1)
    assert TaskLife(lambda: create(job_id="job-1")).run_try().state == "success"
    assert len(emulator.jobs()) == 1


def check_the_job_is_stopped_at_the_deadline(emulator, clock):
    emulator.set_outcome("RUNNING")
    assert TaskLife(lambda: create(timeout=300, timeout_action="cancel")).run_try().state == "failed"
    assert emulator.jobs()[0]["status"] == "CANCELLED"


def check_an_unknown_status_does_not_end_the_wait(emulator, clock):
    emulator.set_outcome("PAUSED", at=60, for_seconds=600)
    make_job()
    assert TaskLife(lambda: sense(deferrable=True)).run_try().state == "success"


def check_an_outage_ends_the_wait(emulator, clock):
    make_job()
    emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, count=None)
    outcome = TaskLife(lambda: sense(deferrable=True)).run_try()
    assert (outcome.state, type(outcome.error)) == ("up_for_retry", FineTuneJobUnreachableError)


def check_a_refused_key_is_read_again(emulator, clock):
    make_job()
    emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=401, count=1)
    assert TaskLife(lambda: sense(deferrable=True)).run_try().state == "success"


def check_a_404_right_after_the_creation_is_retried(emulator, clock):
    emulator.add_fault(
        method="GET", path=f"{JOBS}/*", effect="answer", status=404, body="detail", skip=1, count=3
    )
    assert TaskLife(lambda: create(deferrable=True)).run_try().state == "success"


def check_retry_after_is_obeyed(emulator, clock):
    make_job()
    emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=429, retry_after=500, count=1)
    assert TaskLife(sense).run_try().state == "success"
    assert max(clock.slept) >= 500


def check_a_failed_job_is_never_skipped(emulator, clock):
    emulator.set_outcome("FAILED")
    make_job()
    outcome = TaskLife(lambda: sense(soft_fail=True)).run_try()
    assert (outcome.state, type(outcome.error.__cause__)) == ("failed", FineTuneJobFailedError)


def check_the_key_is_not_a_trigger_argument(emulator, clock):
    make_job()
    outcome = TaskLife(lambda: sense(deferrable=True)).run_try()
    assert emulator.api_key not in json.dumps(outcome.trigger_kwargs)


def check_the_poller_logs_to_no_task(emulator, clock):
    make_job()
    emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, count=2)
    task_of_log, tasks = contextvars.ContextVar("task_of_log", default=None), []
    log = logging.getLogger("tests.chaos.poller")
    log.addFilter(lambda record: tasks.append(task_of_log.get()) or False)

    def logging_delay(*arguments, **named):
        log.error("The poller pauses.")
        return 5.0

    async def wait():
        task_of_log.set("the first waiter")
        with mock.patch.object(poller, "retry_delay", logging_delay):
            return await anext(FineTuneJobTrigger(job_id="job-1").run())

    assert asyncio.run(wait()).payload["ending"] == "completed"
    assert tasks == [None, None]


NOTICED_BY_CHECK = {
    "a 409 is not adopted": check_a_conflict_is_adopted,
    "timeout_action is not taken": check_the_job_is_stopped_at_the_deadline,
    "an unknown status is an end": check_an_unknown_status_does_not_end_the_wait,
    "an outage never ends a wait": check_an_outage_ends_the_wait,
    "a 401 is not read again": check_a_refused_key_is_read_again,
    "a 404 right after the creation is final": check_a_404_right_after_the_creation_is_retried,
    "Retry-After is not obeyed": check_retry_after_is_obeyed,
    "soft_fail skips a failed job": check_a_failed_job_is_never_skipped,
    "the key is a trigger argument": check_the_key_is_not_a_trigger_argument,
    "the poller runs in the first waiter's context": check_the_poller_logs_to_no_task,
}


def sabotaged(name):
    stack = ExitStack()
    for target, attribute, replacement in SABOTAGE[name]:
        stack.enter_context(mock.patch.object(target, attribute, replacement))
    return stack


def test_every_sabotage_has_lives_or_a_check_that_notice_it():
    assert NOTICED_BY_LIVES.keys() | NOTICED_BY_CHECK.keys() == SABOTAGE.keys()


@pytest.mark.parametrize("name", NOTICED_BY_LIVES)
def test_lives_notice_the_sabotage(name):
    seeds, promise = NOTICED_BY_LIVES[name]
    with sabotaged(name):
        report = live_all(seeds)
    assert report.broken[promise] > 0
    assert {seed for seed, _, _ in report.failures} <= set(seeds)
    assert live_all(seeds).failures == []


@pytest.mark.parametrize("name", NOTICED_BY_CHECK)
def test_check_passes_without_sabotage(emulator, clock, name):
    NOTICED_BY_CHECK[name](emulator, clock)


@pytest.mark.parametrize("name", NOTICED_BY_CHECK)
def test_check_fails_with_sabotage(emulator, clock, name):
    with sabotaged(name), pytest.raises(AssertionError):
        NOTICED_BY_CHECK[name](emulator, clock)
