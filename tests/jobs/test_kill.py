"""What a kill does to a task's job, without an operator: the switch, the hook and the service."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.errors import TaskKilledError
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.jobs import kill
from airflow_provider_atai.jobs.identity import TaskJob
from airflow_provider_atai.jobs.kill import KillSwitch
from airflow_provider_atai.jobs.submission import submit_job
from tests.harness.datasets import store_dataset

LOG = logging.getLogger(__name__)
JOBS = "/fine-tune/jobs"


@pytest.fixture
def emulator(atai_emulator):
    atai_emulator.pause()
    atai_emulator.dataset = store_dataset(atai_emulator)
    return atai_emulator


@pytest.fixture
def make(emulator):
    def make(job_id):
        return AtaiHook().fine_tune.create(name="j", datasets=[emulator.dataset], job_id=job_id)

    return make


def switch(action="cancel", *, reattach=True):
    return KillSwitch(action, reattach=reattach, log=LOG)


def pull(killed, hook=None, *, tried_again=False):
    killed.pull(hook or AtaiHook(), lambda: tried_again)


def jobs(*ids, made=True):
    return [TaskJob(job_id, job_id, made=made) for job_id in ids]


def statuses(emulator):
    return [job["status"] for job in emulator.jobs()]


def endings(emulator):
    """The ids that the service was asked to end, in order."""
    return [entry["path"].split("/")[-2] for entry in emulator.requests(method="PUT")]


class TestPull:
    @pytest.mark.parametrize(
        ("action", "status"), [("cancel", "CANCELLED"), ("stop", "STOPPING"), ("leave", "REGISTERED")]
    )
    def test_the_job_gets_what_the_author_chose(self, emulator, make, action, status):
        make("job-1")
        killed = switch(action)
        killed.must_be("job-1")
        pull(killed)
        assert statuses(emulator) == [status]

    def test_without_a_job_nothing_is_asked(self, emulator):
        pull(switch())
        assert emulator.requests(path="*/fine-tune/*") == []

    @pytest.mark.parametrize(("reattach", "status"), [(True, "REGISTERED"), (False, "CANCELLED")])
    def test_a_task_that_is_tried_again_leaves_its_job_only_if_the_next_try_adopts_it(
        self, emulator, make, reattach, status
    ):
        make("job-1")
        killed = switch(reattach=reattach)
        killed.must_be("job-1")
        pull(killed, tried_again=True)
        assert statuses(emulator) == [status]

    @pytest.mark.parametrize(("action", "reattach"), [("leave", True), ("cancel", False)])
    def test_airflow_is_asked_only_if_its_answer_matters(self, emulator, action, reattach):
        ask = mock.Mock()
        switch(action, reattach=reattach).pull(AtaiHook(), ask)
        ask.assert_not_called()

    def test_it_uses_a_clone_of_the_hook(self):
        api = mock.Mock()
        api.with_options.return_value = api
        hook = SimpleNamespace(clone=lambda: SimpleNamespace(fine_tune=api), fine_tune=None)
        killed = switch()
        killed.must_be("job-1")
        pull(killed, hook)
        assert api.cancel.call_count == 1

    def test_a_connection_that_hangs_while_it_is_read_holds_up_no_kill(self, monkeypatch, caplog):
        monkeypatch.setattr(kill, "SECONDS_TO_READ", 0.05)
        answers = threading.Event()
        killed = switch()
        killed.must_be("job-1")
        pull(killed, SimpleNamespace(clone=answers.wait))
        answers.set()
        assert "no answer within 0.05 s" in caplog.text
        assert "it goes on running and billing: cancel job-1 by hand" in caplog.text

    def test_an_unreachable_service_is_asked_once_and_raises_nothing(self, emulator, make):
        make("job-1")
        fault = emulator.add_fault(method="PUT", path=f"{JOBS}/**", effect="drop_before", count=None)
        killed = switch()
        killed.must_be("job-1")
        pull(killed)
        assert emulator.fired(fault) == 1


class TestCandidates:
    def test_the_search_ends_at_the_first_job_that_did_not_end_without_a_model(self, emulator, make):
        for number in range(1, 5):
            make(f"job-{number}")
        AtaiHook().fine_tune.cancel("job-1")
        AtaiHook().fine_tune.stop("job-2")
        emulator.advance(5)
        emulator.clear_requests()
        killed = switch("stop")
        killed.may_be(jobs(*(f"job-{number}" for number in range(1, 5))))
        pull(killed)
        assert endings(emulator) == ["job-1", "job-2", "job-3"]
        assert statuses(emulator)[:2] == ["CANCELLED", "STOPPED"]

    def test_a_completed_job_is_the_last_to_be_asked_and_stays_completed(self, emulator, make):
        make("job-1")
        emulator.advance(3600)
        make("job-2")
        killed = switch()
        killed.may_be(jobs("job-1", "job-2"))
        pull(killed)
        assert statuses(emulator) == ["COMPLETED", "REGISTERED"]

    def test_an_id_without_a_job_is_the_last_to_be_asked(self, emulator, make):
        make("job-2")
        killed = switch()
        killed.may_be(jobs("job-1", "job-2"))
        pull(killed)
        assert endings(emulator) == ["job-1"]
        assert statuses(emulator) == ["REGISTERED"]

    @pytest.mark.parametrize(("action", "reattach"), [("cancel", True), ("stop", False)])
    def test_a_job_that_may_be_anybodys_is_left_alone(self, emulator, make, caplog, action, reattach):
        make("job-1")
        killed = switch(action, reattach=reattach)
        killed.may_be(jobs("job-1", made=False))
        pull(killed)
        assert endings(emulator) == []
        assert "whose job job-1 is, so it was left alone" in caplog.text
        assert f"{action} it by hand" in caplog.text

    def test_what_is_known_for_certain_replaces_the_candidates(self, emulator, make):
        make("job-1")
        make("job-2")
        killed = switch()
        killed.may_be(jobs("job-1", "job-2"))
        killed.must_be("job-2")
        pull(killed)
        assert statuses(emulator) == ["REGISTERED", "CANCELLED"]


class TestAroundThePost:
    def submit(self, killed, emulator, *, remember=lambda job: False, chosen=False):
        return submit_job(
            AtaiHook().fine_tune,
            jobs=jobs("job-1", made=not chosen),
            request={"name": "j", "datasets": [emulator.dataset]},
            accept_stopped=False,
            switch=killed,
            remember=remember,
            log=LOG,
            ids_are_chosen=chosen,
        )

    def test_a_task_that_is_not_killed_gets_its_job(self, emulator):
        remembered = []
        assert self.submit(switch(), emulator, remember=remembered.append).id == "job-1"
        assert remembered == jobs("job-1", "job-1")

    @pytest.mark.parametrize("action", ["cancel", "stop", "leave"])
    @pytest.mark.parametrize("tried_again", [True, False])
    def test_a_killed_task_makes_no_job(self, emulator, action, tried_again):
        killed = switch(action)
        pull(killed, tried_again=tried_again)
        with pytest.raises(TaskKilledError):
            self.submit(killed, emulator)
        assert emulator.jobs() == []

    @pytest.mark.parametrize(
        ("action", "tried_again", "status"),
        [
            ("cancel", False, "CANCELLED"),
            ("stop", False, "STOPPING"),
            ("leave", False, "REGISTERED"),
            ("cancel", True, "REGISTERED"),
        ],
    )
    def test_a_job_whose_post_was_under_way_gets_what_the_author_chose(
        self, emulator, action, tried_again, status
    ):
        killed = switch(action)
        # Called last before the POST: the kill comes too late to prevent it, and too early to find the job.
        with pytest.raises(TaskKilledError):
            self.submit(killed, emulator, remember=self.pull_once(killed, tried_again))
        assert statuses(emulator) == [status]

    def test_an_adopted_job_is_ended_as_well(self, emulator, make):
        make("job-1")
        killed = switch()
        pull(killed)
        with pytest.raises(TaskKilledError):
            self.submit(killed, emulator)
        assert statuses(emulator) == ["CANCELLED"]

    def test_what_the_store_says_of_a_chosen_id_before_and_after_the_post(self, emulator):
        remembered = []
        self.submit(switch(), emulator, remember=remembered.append, chosen=True)
        assert remembered == [*jobs("job-1", made=False), *jobs("job-1", made=True)]

    def test_a_job_that_took_a_chosen_id_meanwhile_is_not_the_tasks(self, emulator, make):
        make("job-1")
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=404, count=1)
        remembered = []
        self.submit(switch(), emulator, remember=remembered.append, chosen=True)
        assert remembered == jobs("job-1", "job-1", made=False)

    def test_a_chosen_job_whose_response_was_lost_is_the_tasks(self, emulator, monkeypatch):
        monkeypatch.setattr(
            "airflow_provider_atai.jobs.submission.time", SimpleNamespace(sleep=lambda _: None)
        )
        emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
        remembered = []
        self.submit(switch(), emulator, remember=remembered.append, chosen=True)
        assert remembered[-1:] == jobs("job-1", made=True)

    def test_another_action_replaces_that_of_the_kill(self, emulator, make):
        make("job-1")
        killed = switch("cancel")
        killed.must_be("job-1")
        killed.pull(AtaiHook(), lambda: False, action="stop")
        assert statuses(emulator) == ["STOPPING"]

    def test_a_post_that_came_to_nothing_is_not_repeated_after_a_kill(self, emulator, monkeypatch):
        monkeypatch.setattr(
            "airflow_provider_atai.jobs.submission.time", SimpleNamespace(sleep=lambda _: None)
        )
        emulator.add_fault(method="POST", path=JOBS, effect="drop_before", count=1)
        killed = switch()
        with pytest.raises(TaskKilledError):
            self.submit(killed, emulator, remember=self.pull_once(killed, tried_again=False))
        assert emulator.jobs() == []
        assert len(emulator.requests(method="POST", path=f"*{JOBS}")) == 1

    def pull_once(self, killed, tried_again):
        pulls = iter([lambda: pull(killed, tried_again=tried_again)])
        return lambda job: next(pulls, lambda: None)()
