"""What a try does about the jobs of earlier tries: whose they are, and which of them it goes on with."""

from __future__ import annotations

from unittest import mock

import pytest

from airflow_provider_atai.api.fine_tune import FineTuneApi
from airflow_provider_atai.compat.sdk import AirflowFailException, AirflowTaskTimeout
from airflow_provider_atai.errors import (
    AtaiResponseError,
    FineTuneJobNoModelError,
    FineTuneJobStoppedError,
    FineTuneJobTimeoutError,
    FineTuneJobUnreachableError,
)
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.waiting.policy import Ending
from airflow_provider_atai.waiting.result import WaitResult
from tests.harness.airflow_names import TaskDeferred
from tests.harness.task_instance import TaskInstance, TaskStateStore
from tests.harness.task_life import TaskLife

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
JOBS = "/fine-tune/jobs"
WORKER = {"wait_for_completion": True}
TRIGGERER = {"wait_for_completion": True, "deferrable": True}
waiting = pytest.mark.parametrize("waits", [WORKER, TRIGGERER], ids=["worker", "triggerer"])


def create(**arguments):
    return CreateFineTuneJobOperator(
        **{"task_id": "fine_tune", "name": "pump-states", "datasets": [TRAIN], **arguments}
    )


def life(store=None, **arguments):
    return TaskLife(lambda: create(**arguments), store=store)


def statuses(emulator):
    return [job["status"] for job in emulator.jobs()]


def puts(emulator):
    return [entry["path"].split("/")[-2:] for entry in emulator.requests(method="PUT")]


@pytest.fixture
def log(caplog, capfd):
    """Return what the tasks have logged, wherever this Airflow writes it."""
    return lambda: caplog.text + "".join(capfd.readouterr())


class TestAServiceThatMakesItsOwnIds:
    @pytest.fixture
    def store(self, emulator):
        emulator.set_switches(job_ids="own")
        return TaskStateStore()

    def test_every_retry_adopts_the_job(self, emulator, store):
        task = life(store)
        first = task.run_try().value
        assert first == emulator.jobs()[0]["id"]
        assert task.run_try().value == task.run_try().value == first
        assert statuses(emulator) == ["REGISTERED"]
        assert puts(emulator) == []

    @waiting
    def test_a_retry_after_an_outage_waits_for_the_same_job(self, emulator, store, waits):
        task = life(store, **waits)
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, skip=2, count=None)
        assert task.run_try().state == "up_for_retry"
        emulator.clear_faults()
        assert task.run_try().state == "success"
        assert statuses(emulator) == ["COMPLETED"]

    def test_each_generation_is_found_again(self, emulator, store):
        task = life(store)
        emulator.set_outcome("FAILED", at=1)
        task.run_try()
        emulator.advance(60)
        second = task.run_try().value
        assert task.run_try().value == second
        assert statuses(emulator) == ["FAILED", "REGISTERED"]

    def test_a_changed_request_ends_the_job_under_the_services_id(self, emulator, store):
        first = life(store).run_try().value
        life(store, name="other").run_try()
        assert statuses(emulator) == ["CANCELLED", "REGISTERED"]
        assert puts(emulator) == [[first, "cancel"]]

    def test_a_job_that_the_service_has_forgotten_is_made_anew(self, emulator, store):
        task = life(store)
        task.run_try()
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=404, count=2)
        task.run_try()
        assert len(emulator.jobs()) == 2

    def test_a_kill_during_the_look_up_ends_the_job(self, emulator, store):
        life(store).run_try()
        task = create()
        context = {"ti": TaskInstance(task_id="fine_tune"), "task_state_store": store}
        task.pre_execute(context)
        task.on_kill()
        assert statuses(emulator) == ["CANCELLED"]

    @pytest.mark.parametrize(
        ("stores", "says"), [(True, "the id that Airflow has stored"), (False, "Set retries=0")]
    )
    def test_the_log_says_whether_a_retry_finds_it(self, emulator, store, stores, says, log):
        life(store if stores else None).run_try()
        assert says in log()


class TestAJobIdOfTheAuthorsOwn:
    """It may name anybody's job. A task ends only what it has made, or adopted by right."""

    @pytest.fixture
    def theirs(self, emulator):
        return TaskLife(lambda: create(name="their-model", job_id="shared"), run_id="other").run_try().value

    def kill(self, task, store=None):
        context = {"ti": TaskInstance(task_id="fine_tune")}
        if store is not None:
            context["task_state_store"] = store
        task.pre_execute(context)
        task.on_kill()

    def test_a_kill_during_the_look_up_leaves_anybodys_job_alone(self, emulator, theirs, log):
        self.kill(create(job_id=theirs))
        assert statuses(emulator) == ["REGISTERED"]
        assert puts(emulator) == []
        assert "whose job shared is, so it was left alone" in log()

    def test_a_kill_during_the_look_up_ends_a_job_that_the_task_has_made(self, emulator):
        store = TaskStateStore()
        life(store, job_id="mine").run_try()
        self.kill(create(job_id="mine"), store)
        assert statuses(emulator) == ["CANCELLED"]

    def test_a_kill_during_the_look_up_leaves_a_job_that_the_task_has_adopted(self, emulator):
        store = TaskStateStore()
        TaskLife(lambda: create(job_id="shared"), run_id="other").run_try()
        life(store, job_id="shared").run_try()
        self.kill(create(job_id="shared"), store)
        assert statuses(emulator) == ["REGISTERED"]

    def test_a_kill_after_the_adoption_ends_the_job(self, emulator):
        TaskLife(lambda: create(job_id="shared"), run_id="other").run_try()
        task = create(job_id="shared")
        TaskLife(lambda: task).run_try()
        task.on_kill()
        assert statuses(emulator) == ["CANCELLED"]

    def test_a_resumed_task_knows_that_it_has_adopted_the_job(self, emulator):
        TaskLife(lambda: create(job_id="shared"), run_id="other").run_try()
        ti = TaskInstance(task_id="fine_tune")
        create(job_id="shared").execute({"ti": ti})
        task = create(job_id="shared")
        task.pre_execute({"ti": ti})
        task.on_kill()
        assert statuses(emulator) == ["CANCELLED"]

    def test_a_name_that_the_service_shows_only_after_a_conflict_is_checked(self, emulator, theirs):
        # The look-up misses the job, as if it were made in between.
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=404, count=1)
        outcome = life(job_id=theirs).run_try()
        assert outcome.state == "failed"
        assert "is called 'their-model', not 'pump-states'" in str(outcome.error)
        assert puts(emulator) == []

    def test_another_job_id_leaves_the_job_that_was_only_adopted(self, emulator, log):
        store = TaskStateStore()
        TaskLife(lambda: create(job_id="model-v1"), run_id="other").run_try()
        life(store, job_id="model-v1").run_try()
        assert life(store, job_id="model-v2").run_try().value == "model-v2"
        assert statuses(emulator) == ["REGISTERED", "REGISTERED"]
        assert "This task has not made it and leaves it alone" in log()

    def test_another_job_id_ends_the_job_that_was_made(self, emulator):
        store = TaskStateStore()
        task = life(store, job_id="model-v1")
        task.run_try()
        # A try that adopts the task's own job does not make it anybody's.
        task.run_try()
        life(store, job_id="model-v2").run_try()
        assert statuses(emulator) == ["CANCELLED", "REGISTERED"]

    def test_a_refused_create_claims_nothing(self, emulator):
        store = TaskStateStore()
        life(store, job_id="model-v1", datasets=[{**TRAIN, "file_ids": ["missing.csv"]}]).run_try()
        TaskLife(lambda: create(job_id="model-v1"), run_id="other").run_try()
        life(store, job_id="model-v2").run_try()
        assert statuses(emulator) == ["REGISTERED", "REGISTERED"]

    @pytest.mark.parametrize(("name", "status"), [("their-model", "REGISTERED"), ("pump-states", "STOPPING")])
    def test_airflows_timeout_ends_only_a_job_of_the_right_name(self, emulator, name, status):
        TaskLife(lambda: create(name=name, job_id="shared"), run_id="other").run_try()
        task = create(job_id="shared", do_xcom_push=False, **TRIGGERER)
        with pytest.raises((AtaiResponseError, AirflowFailException)):
            task.resume_execution(
                "__fail__", {"error": "Trigger timeout"}, {"ti": TaskInstance(task_id="fine_tune")}
            )
        assert statuses(emulator) == [status]

    def test_airflows_timeout_ends_the_job_that_the_store_names(self, emulator):
        """The DAG has changed meanwhile, and nothing was pushed."""
        store = TaskStateStore()
        life(store, do_xcom_push=False).run_try()
        context = {"ti": TaskInstance(task_id="fine_tune"), "task_state_store": store}
        task = create(name="other", do_xcom_push=False, **TRIGGERER)
        with pytest.raises(AirflowFailException):
            task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        assert statuses(emulator) == ["STOPPING"]


class TestWithoutReattach:
    """Each try pays for a job of its own, so that of the earlier try gets the kill action."""

    @pytest.mark.parametrize("store", [TaskStateStore, lambda: None], ids=["store", "no store"])
    @pytest.mark.parametrize(
        ("action", "status"), [("cancel", "CANCELLED"), ("stop", "STOPPING"), ("leave", "REGISTERED")]
    )
    def test_the_job_of_the_earlier_try_gets_the_kill_action(self, emulator, store, action, status):
        task = life(store(), reattach=False, kill_action=action)
        task.run_try()
        task.run_try()
        assert statuses(emulator) == [status, "REGISTERED"]

    def test_a_kill_before_it_was_ended_ends_it_too(self, emulator):
        life(reattach=False).run_try()
        task = create(reattach=False)
        task.pre_execute({"ti": TaskInstance(task_id="fine_tune", try_number=2)})
        task.on_kill()
        assert statuses(emulator) == ["CANCELLED"]

    def test_it_is_ended_before_the_next_one_is_made(self, emulator):
        task = life(reattach=False)
        task.run_try()
        emulator.clear_requests()
        task.run_try()
        calls = [entry["method"] for entry in emulator.requests(path="*/fine-tune/**")]
        assert calls == ["GET", "PUT", "GET", "POST"]

    def test_a_request_that_has_changed_meanwhile_hides_it_from_the_store_only(self, emulator):
        store = TaskStateStore()
        name = iter(["before", "after"])
        task = TaskLife(lambda: create(reattach=False, name=next(name)), store=store)
        task.run_try()
        task.run_try()
        assert statuses(emulator) == ["CANCELLED", "REGISTERED"]

    def test_a_service_that_makes_its_own_ids_is_asked_for_the_stored_one(self, emulator):
        emulator.set_switches(job_ids="own")
        task = life(TaskStateStore(), reattach=False)
        first = task.run_try().value
        task.run_try()
        assert puts(emulator) == [[first, "cancel"]]

    def test_no_earlier_job_is_forgotten_if_a_try_could_not_look(self, emulator):
        task = life(reattach=False)
        task.run_try()
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, count=None)
        assert task.run_try().state == "up_for_retry"
        emulator.clear_faults()
        task.run_try()
        assert statuses(emulator) == ["CANCELLED", "REGISTERED"]

    def test_a_job_that_is_over_is_left_alone(self, emulator):
        task = life(reattach=False, **WORKER)
        task.run_try()
        task.run_try()
        assert statuses(emulator) == ["COMPLETED", "COMPLETED"]
        assert puts(emulator) == []

    @waiting
    @pytest.mark.parametrize(
        ("error", "fault", "outcome"),
        [
            (
                FineTuneJobUnreachableError,
                {"method": "GET", "effect": "answer", "status": 503, "skip": 1, "count": None},
                {},
            ),
            (FineTuneJobNoModelError, None, {"status": "COMPLETED", "inference_config": False}),
        ],
    )
    def test_an_error_does_not_promise_the_same_job(self, emulator, waits, error, fault, outcome):
        if fault:
            emulator.add_fault(path=f"{JOBS}/*", **fault)
        if outcome:
            emulator.set_outcome(**outcome)
        outcome = life(reattach=False, **waits).run_try()
        assert type(outcome.error) is error
        assert "a retry of this task makes another job, which is paid for again" in str(outcome.error)
        assert "same job" not in str(outcome.error)

    def test_an_unclear_create_does_not_promise_the_same_job(self, emulator):
        emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, skip=1, count=4)
        task = life(reattach=False)
        outcome = task.run_try()
        notes = "".join(outcome.error.__notes__)
        assert "It is unknown whether a job exists" in notes
        assert "makes another job" in notes
        assert "looks for it" not in notes
        assert task.run_try().state == "success"
        assert statuses(emulator) == ["CANCELLED", "REGISTERED"]

    def test_a_broken_trigger_does_not_promise_the_same_job(self, emulator):
        life(reattach=False).run_try()
        task = create(reattach=False, **TRIGGERER)
        context = {"ti": TaskInstance(task_id="fine_tune")}
        with pytest.raises(AtaiResponseError, match="makes another job"):
            task.resume_execution("__fail__", {"error": "Trigger failure"}, context)
        with pytest.raises(AtaiResponseError, match="makes another job"):
            task.execute_complete(context, event={"odd": True})

    def test_a_refused_job_does_not_promise_the_same_job(self, emulator):
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=400, skip=1, count=None)
        outcome = life(reattach=False, **WORKER).run_try()
        assert outcome.state == "failed"
        assert "makes another job" in str(outcome.error)


class TestAJobThatIsStopping:
    """It can only end without a model, so it is waited for until it is over, and then another is made."""

    @pytest.fixture(autouse=True)
    def stopping(self, emulator):
        emulator.set_life(stopping=300)
        return emulator

    def stop(self, emulator, *, after=60, **arguments):
        """Let a try make a job that is then stopped after so many seconds, and return its id."""
        job_id = life(**arguments).run_try().value
        emulator.advance(after)
        CreateFineTuneJobOperator(task_id="x", name="x", datasets=[TRAIN]).hook.fine_tune.stop(job_id)
        emulator.clear_requests()
        return job_id

    @pytest.mark.parametrize("waits", [WORKER, TRIGGERER, {}], ids=["worker", "triggerer", "does not wait"])
    def test_the_next_generation_begins_when_it_is_over(self, emulator, waits):
        first = self.stop(emulator)
        outcome = life(**waits).run_try()
        assert outcome.state == "success"
        assert outcome.value == outcome.xcoms["return_value"] == f"{first[:-1]}2"
        assert statuses(emulator) == ["STOPPED", "COMPLETED" if waits else "REGISTERED"]
        old, new = emulator.jobs()
        assert old["updated_at"] <= new["created_at"]
        assert puts(emulator) == []

    def test_a_deferrable_task_holds_no_worker_meanwhile(self, emulator):
        self.stop(emulator)
        assert life(**TRIGGERER).run_try().deferrals == 2

    def test_the_summary_is_that_of_the_new_job(self, emulator):
        self.stop(emulator)
        outcome = life(**TRIGGERER).run_try()
        assert outcome.xcoms["job"]["job_id"] == outcome.value

    @waiting
    def test_a_timeout_that_has_stopped_it_does_not_count_for_its_end(self, emulator, clock, waits):
        task = life(timeout=3600, **waits)
        emulator.set_outcome("RUNNING")
        assert task.run_try().state == "failed"
        assert statuses(emulator) == ["STOPPING"]
        assert task.run_try().state == "success"
        assert statuses(emulator) == ["STOPPED", "COMPLETED"]

    @waiting
    def test_the_deadline_bounds_the_wait(self, emulator, waits):
        emulator.set_life(stopping=1e6)
        self.stop(emulator)
        outcome = life(timeout=600, timeout_action="cancel", **waits).run_try()
        assert isinstance(outcome.error.__cause__, FineTuneJobTimeoutError)
        assert statuses(emulator) == ["CANCELLED"]

    @waiting
    def test_a_job_that_completes_after_all_is_adopted(self, emulator, waits):
        first = self.stop(emulator)
        emulator.set_outcome("COMPLETED", job_id=first)
        assert life(**waits).run_try().value == first
        assert len(emulator.jobs()) == 1

    @waiting
    def test_a_task_that_accepts_a_stopped_job_goes_on_with_it(self, emulator, waits):
        emulator.set_switches(stopped_inference_config=True)
        first = self.stop(emulator, after=400)
        outcome = life(accept_stopped=True, **waits).run_try()
        assert (outcome.state, outcome.value) == ("success", first)
        assert len(emulator.jobs()) == 1

    def test_the_next_generation_begins_also_if_no_triggerer_had_room_for_the_wait(self, emulator):
        first = self.stop(emulator)
        task = create(**TRIGGERER)
        context = {"ti": TaskInstance(task_id="fine_tune", max_tries=1)}
        with pytest.raises(TaskDeferred):
            task.execute(context)
        emulator.advance(600)
        with pytest.raises(TaskDeferred) as deferred:
            task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        assert deferred.value.kwargs["job_id"] == f"{first[:-1]}2"
        assert statuses(emulator) == ["STOPPED", "REGISTERED"]

    def test_a_job_that_is_stopped_meanwhile_is_followed_by_no_other(self, emulator):
        task = create(**TRIGGERER)
        context = {"ti": TaskInstance(task_id="fine_tune", max_tries=1)}
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context)
        task.hook.fine_tune.stop(deferred.value.kwargs["job_id"])
        emulator.advance(600)
        with pytest.raises(FineTuneJobStoppedError):
            task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        assert statuses(emulator) == ["STOPPED"]

    @waiting
    def test_a_job_of_the_authors_own_id_has_no_next_generation(self, emulator, waits):
        self.stop(emulator, job_id="mine")
        outcome = life(job_id="mine", **waits).run_try()
        assert outcome.state == "up_for_retry"
        assert statuses(emulator) == ["STOPPED"]
        assert "A retry cannot make another" in str(outcome.error)

    @waiting
    def test_a_job_that_is_stopped_while_it_is_waited_for_fails_the_task(self, emulator, waits):
        emulator.set_outcome("STOPPED")
        assert life(**waits).run_try().state == "up_for_retry"
        assert len(emulator.jobs()) == 1

    def test_airflows_alarm_during_the_next_create_is_not_about_the_old_job(self, emulator, monkeypatch):
        first = self.stop(emulator)
        task = create(**TRIGGERER)
        context = {"ti": TaskInstance(task_id="fine_tune", max_tries=1)}
        context["ti"].current_state = lambda: "running"
        context["ti"].xcom_push("return_value", first)
        task.pre_execute(context)
        event = WaitResult(Ending.STOPPED, first, status="STOPPED", summary={"job_id": first}).to_event()
        emulator.advance(600)
        alarm = mock.create_autospec(FineTuneApi.create, side_effect=AirflowTaskTimeout)
        monkeypatch.setattr(FineTuneApi, "create", alarm)
        try:
            task.execute_complete(context, event, first, is_ending=True)
        except AirflowTaskTimeout:
            # Airflow tries the task again, and that try looks for the new job.
            task.on_kill()
        alarm.assert_called_once()
