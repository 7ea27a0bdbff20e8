"""A job is ended with the key that is valid when its task ends, in the seconds that a kill has."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from unittest import mock

import pytest

from airflow_provider_atai.compat.sdk import BaseHook
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.jobs import ending
from airflow_provider_atai.jobs.ending import end_job
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.triggers import fine_tune
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.harness.task_life import TaskLife

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
LOG = logging.getLogger(__name__)


@pytest.fixture
def job(emulator):
    return AtaiHook().fine_tune.create(name="j", datasets=[TRAIN], job_id="job-1")


@pytest.fixture
def hook(job):
    """A hook that has read the connection, as the one of a task that waits."""
    hook = AtaiHook()
    assert hook.settings
    return hook


@pytest.fixture
def rotated(emulator):
    """Let the service take another key only, and return the connection that has it."""

    def rotate():
        emulator.set_api_key("sk_rotated")
        return json.dumps({**json.loads(emulator.connection_json), "password": "sk_rotated"})

    return rotate


def status(emulator):
    (job,) = emulator.jobs()
    return job["status"]


@pytest.mark.parametrize("killed", [True, False])
def test_a_rotated_key_is_read_once_more(emulator, hook, rotated, monkeypatch, killed):
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", rotated())
    sentence = end_job(hook, "job-1", "cancel", log=LOG, killed=killed)
    assert "its status is CANCELLED" in sentence
    assert status(emulator) == "CANCELLED"
    assert [entry["status"] for entry in emulator.requests(method="PUT")] == [401, 200]


@pytest.mark.parametrize("killed", [True, False])
def test_a_key_that_stays_refused_is_tried_twice(emulator, hook, rotated, killed):
    rotated()
    sentence = end_job(hook, "job-1", "cancel", log=LOG, killed=killed)
    assert "may still run and bill. Cancel it by hand" in sentence
    assert [entry["status"] for entry in emulator.requests(method="PUT")] == [401, 401]


def test_a_killed_worker_waits_a_moment_for_airflow_and_no_longer(emulator, hook, rotated, monkeypatch):
    rotated()
    hangs = threading.Event()
    monkeypatch.setattr(ending, "SECONDS_TO_READ", 0.01)
    monkeypatch.setattr(BaseHook, "get_connection", lambda *_: hangs.wait(60))
    try:
        sentence = end_job(hook, "job-1", "cancel", log=LOG, killed=True)
    finally:
        hangs.set()
    assert "failed (no answer within 0.01 s): it may still run and bill" in sentence
    assert len(emulator.requests(method="PUT")) == 1


def test_a_task_that_is_marked_after_a_rotation_ends_its_job(emulator, rotated, monkeypatch):
    task = CreateFineTuneJobOperator(task_id="create", name="j", datasets=[TRAIN])
    assert TaskLife(lambda: task).run_try().state == "success"
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", rotated())
    task.on_kill()
    assert status(emulator) == "CANCELLED"


class TestTrigger:
    def kill(self):
        trigger = FineTuneJobTrigger(job_id="job-1", kill_action="cancel")
        with mock.patch.object(fine_tune, "read_task_state", autospec=True, return_value=(True, "failed")):
            asyncio.run(trigger.on_kill())

    def test_a_key_that_is_rotated_at_that_moment_is_read_once_more(self, emulator, job, rotated, vault):
        vault(emulator.connection_json, rotated())
        self.kill()
        assert status(emulator) == "CANCELLED"

    def test_a_connection_that_cannot_be_read_is_told(self, emulator, job, vault, caplog, capsys):
        vault(OSError("the vault is sealed"))
        caplog.set_level(logging.INFO)
        self.kill()
        # Airflow 3 logs to the standard output.
        told = caplog.text + capsys.readouterr().out
        assert "The attempt to cancel job job-1 failed" in told
        assert "the vault is sealed" in told
