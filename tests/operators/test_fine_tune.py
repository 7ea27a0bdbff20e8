from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest
import requests

from airflow_provider_atai import retries
from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS, AirflowFailException
from airflow_provider_atai.errors import (
    AtaiConnectionError,
    AtaiRateLimitError,
    AtaiResponseError,
    AtaiServerError,
    FineTuneJobCancelledError,
    FineTuneJobFailedError,
    FineTuneJobNoModelError,
    FineTuneJobStoppedError,
    FineTuneJobTimeoutError,
    FineTuneJobUnreachableError,
)
from airflow_provider_atai.jobs import submission
from airflow_provider_atai.operators.fine_tune import (
    CancelFineTuneJobOperator,
    CreateFineTuneJobOperator,
    StopFineTuneJobOperator,
)
from tests.harness.airflow_names import DAG
from tests.harness.task_instance import TaskInstance, TaskStateStore
from tests.harness.task_life import TaskLife

TRAIN = {"name": "training-set", "split": "train", "file_ids": ["train.csv"]}
JOBS = "/fine-tune/jobs"
WAITS = {
    "worker": {"wait_for_completion": True},
    "triggerer": {"wait_for_completion": True, "deferrable": True},
}


@pytest.fixture(params=WAITS)
def waits(request):
    return WAITS[request.param]


def create(**arguments):
    return CreateFineTuneJobOperator(
        **{"task_id": "fine_tune", "name": "pump-states", "datasets": [TRAIN], **arguments}
    )


def life(**arguments):
    return TaskLife(lambda: create(**arguments))


def posts(emulator):
    return emulator.requests(method="POST", path="*/fine-tune/jobs")


def error_lines(task):
    """Run one try; return its error, and the lines that it logged as errors before Airflow's traceback."""
    with mock.patch.object(retries, "log_of", autospec=True) as log_of:
        error = task.run_try().error
    return error, [call.args[1] for call in log_of.return_value.error.call_args_list]


class TestErrorLine:
    """A failed task's log says why in one line of its own."""

    def test_a_failed_job(self, emulator, waits):
        emulator.set_outcome("FAILED")
        error, lines = error_lines(life(**waits))
        assert lines == [str(error)]

    def test_a_refused_request(self, emulator):
        error, lines = error_lines(life(datasets=[{**TRAIN, "file_ids": ["missing.csv"]}]))
        assert lines == [str(error)]
        assert "missing.csv" in lines[0]

    def test_a_retryable_error_says_what_a_retry_does(self, emulator):
        emulator.add_fault(path=f"{JOBS}**", effect="answer", status=503, count=None)
        error, lines = error_lines(life())
        assert lines == [f"{error} {error.__notes__[0]}"]
        assert "A retry looks for it" in lines[0]

    def test_a_trigger_that_broke_is_told_without_its_traceback(self, emulator):
        ti = TaskInstance(task_id="fine_tune")
        ti.xcom_push("return_value", "job-1")
        failure = {"error": "Trigger failure", "traceback": ["boom"]}
        with (
            mock.patch.object(retries, "log_of", autospec=True) as log_of,
            pytest.raises(AtaiResponseError, match="boom"),
        ):
            create(**WAITS["triggerer"]).resume_execution("__fail__", failure, {"ti": ti})
        (call,) = log_of.return_value.error.call_args_list
        assert "may still run and bill" in call.args[1]
        assert "boom" not in call.args[1]

    def test_a_job_that_cannot_be_ended(self, emulator):
        error, lines = error_lines(TaskLife(lambda: StopFineTuneJobOperator(task_id="end", job_id="missing")))
        assert lines == [str(error)]

    def test_a_success_has_none(self, emulator, waits):
        assert error_lines(life(**waits)) == (None, [])


class TestCreating:
    def test_the_job_is_what_was_asked_for(self, emulator):
        outcome = life(model="Newton::c2_4_3b_251215dfe6a746").run_try()
        (job,) = emulator.jobs()
        assert outcome.value == outcome.xcoms["return_value"] == job["id"]
        assert outcome.deferrals == 0
        (post,) = posts(emulator)
        assert post["body"] == {
            "name": "pump-states",
            "id": job["id"],
            "config": {"model": "Newton::c2_4_3b_251215dfe6a746", "datasets": [TRAIN]},
        }

    def test_without_a_model_the_service_chooses_one(self, emulator):
        life(model="None").run_try()
        assert "model" not in posts(emulator)[0]["body"]["config"]

    def test_the_id_is_looked_up_before_the_job_is_made(self, emulator):
        life().run_try()
        assert [entry["method"] for entry in emulator.requests(path="*/fine-tune/*")] == ["GET", "POST"]

    def test_no_xcom_is_pushed_without_do_xcom_push(self, emulator):
        assert life(do_xcom_push=False, **WAITS["worker"]).run_try().xcoms == {}

    @pytest.mark.parametrize("code", [200, 201])
    def test_any_2xx_is_a_success(self, emulator, code):
        emulator.set_switches(create_status=code)
        assert life().run_try().state == "success"

    def test_the_link_is_pushed_as_soon_as_the_job_exists(self, emulator, monkeypatch):
        connection = emulator.connection_json.replace(
            "{", '{"extra": {"console_url_template": "https://console.example/{job_id}"}, ', 1
        )
        monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", connection)
        outcome = life().run_try()
        link = "FineTuneJobConsoleLink" if SHOWS_PLUGIN_TABS else "FineTuneJobLink"
        assert outcome.xcoms[f"_link_{link}"] == f"https://console.example/{outcome.value}"

    @pytest.mark.parametrize("file_ids", [["missing.csv"]])
    def test_a_refused_request_is_not_retried(self, emulator, file_ids):
        outcome = life(datasets=[{**TRAIN, "file_ids": file_ids}]).run_try()
        assert outcome.state == "failed"
        assert "missing.csv" in str(outcome.error)
        assert "A retry cannot help" in str(outcome.error)

    @pytest.mark.parametrize("datasets", ["[...]", [], [{**TRAIN, "split": "test"}], [None]])
    def test_templates_that_turn_out_wrong_fail_before_any_call(self, emulator, datasets):
        def build():
            task = create(datasets="{{ later }}")
            task.datasets = datasets
            return task

        outcome = TaskLife(build).run_try()
        assert outcome.state == "failed"
        assert "No fine-tune job was created" in str(outcome.error)
        assert emulator.requests(path="*/fine-tune/*") == []


class TestLookingUp:
    """What the service says of the id, and what the next try does."""

    @pytest.mark.parametrize("status", ["REGISTERED", "STARTING", "RUNNING", "FINALIZING", "UNKNOWN", "ODD"])
    def test_an_active_job_is_adopted(self, emulator, status):
        emulator.set_outcome(status, at=0)
        task = life()
        first, second = task.run_try(), task.run_try()
        assert first.value == second.value
        assert len(emulator.jobs()) == len(posts(emulator)) == 1

    def test_a_completed_job_is_adopted(self, emulator):
        task = life()
        first = task.run_try()
        emulator.advance(3600)
        assert task.run_try().value == first.value
        assert len(emulator.jobs()) == 1

    @pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "STOPPED"])
    def test_a_job_without_a_model_leads_to_the_next_generation(self, emulator, status):
        emulator.set_outcome(status, at=1)
        task = life()
        first = task.run_try().value
        emulator.advance(60)
        second, third = task.run_try().value, task.run_try().value
        assert first.endswith("-1")
        assert second == third == f"{first[:-2]}-2"
        assert len(emulator.jobs()) == 2

    @pytest.mark.parametrize("metrics_are_down", [False, True])
    @pytest.mark.parametrize("at", ["STARTING", "RUNNING"])
    def test_a_stopped_job_is_adopted_by_a_task_that_accepts_it_unless_it_left_nothing(
        self, emulator, at, metrics_are_down
    ):
        emulator.set_outcome("STOPPED", at=at)
        task = life(accept_stopped=True)
        first = task.run_try().value
        emulator.advance(3600)
        if metrics_are_down:
            emulator.add_fault(path=f"{JOBS}/*/metrics", effect="answer", status=503, count=None)
        second = task.run_try().value
        assert (second == first) == (at == "RUNNING" or metrics_are_down)

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ({"effect": "answer", "status": 500}, AtaiServerError),
            ({"effect": "answer", "status": 503, "body": "html"}, AtaiServerError),
            ({"effect": "answer", "status": 429}, AtaiRateLimitError),
            ({"effect": "answer", "status": 200, "body": "html"}, AtaiResponseError),
            ({"effect": "answer", "status": 200, "body": "empty"}, AtaiResponseError),
            ({"effect": "answer", "status": 200, "body": "json", "content": []}, AtaiResponseError),
            ({"effect": "answer", "status": 200, "body": "json", "content": {}}, AtaiResponseError),
            (
                {"effect": "answer", "status": 200, "body": "json", "content": {"id": None, "status": "x"}},
                AtaiResponseError,
            ),
            (
                {"effect": "answer", "status": 200, "body": "json", "content": {"id": "o", "status": "x"}},
                AtaiResponseError,
            ),
            ({"effect": "truncate"}, AtaiResponseError),
            ({"effect": "drop_before"}, AtaiConnectionError),
            ({"effect": "drop_midway"}, AtaiConnectionError),
        ],
    )
    def test_an_unclear_response_is_never_taken_for_not_found(self, emulator, fault, error):
        task = life()
        task.run_try()
        emulator.add_fault(method="GET", path=f"{JOBS}/*", count=None, **fault)
        outcome = task.run_try()
        assert outcome.state == "up_for_retry"
        assert isinstance(outcome.error, error)
        assert "A retry looks for it before it creates one" in "".join(outcome.error.__notes__)
        assert len(posts(emulator)) == 1

        emulator.clear_faults()
        assert task.run_try().state == "success"
        assert len(emulator.jobs()) == 1

    @pytest.mark.parametrize("body", ["html", "empty"])
    def test_a_gateways_404_is_checked_against_the_list(self, emulator, body):
        task = life()
        first = task.run_try()
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=404, body=body, count=None)
        assert task.run_try().value == first.value
        assert len(posts(emulator)) == 1

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refused_key_is_not_retried(self, emulator, status):
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=status, count=None)
        assert life().run_try().state == "failed"
        assert posts(emulator) == []

    def test_a_task_whose_generations_are_used_up_fails(self, emulator, monkeypatch):
        monkeypatch.setattr("airflow_provider_atai.jobs.identity.MAX_GENERATIONS", 3)
        emulator.set_outcome("FAILED", name="pump-states", at=1)
        task = life()
        for _ in range(3):
            task.run_try()
            emulator.advance(2)
        outcome = task.run_try()
        assert outcome.state == "failed"
        assert "belongs to a job without a model" in str(outcome.error)


class TestOwnJobId:
    def test_a_job_of_that_id_and_name_is_adopted_whoever_made_it(self, emulator):
        first = life(job_id="weekly").run_try()
        other = TaskLife(lambda: create(job_id="weekly"), run_id="other").run_try()
        assert first.value == other.value == "weekly"
        assert len(posts(emulator)) == 1

    def test_a_job_of_another_name_is_left_alone(self, emulator):
        life(job_id="weekly").run_try()
        outcome = life(job_id="weekly", name="valve-states").run_try()
        assert outcome.state == "failed"
        assert "is called 'pump-states', not 'valve-states'" in str(outcome.error)
        assert [job["status"] for job in emulator.jobs()] == ["REGISTERED"]

    def test_it_excludes_a_new_job_in_each_try(self):
        with pytest.raises(ValueError, match="Leave one of them out"):
            create(job_id="weekly", reattach=False)


class TestAChangedRequest:
    """A DAG is changed while its job runs, and the task is cleared."""

    @pytest.mark.parametrize(
        ("action", "status"), [("cancel", "CANCELLED"), ("stop", "STOPPING"), ("leave", "REGISTERED")]
    )
    def test_the_superseded_job_is_ended(self, emulator, action, status):
        store = TaskStateStore()
        TaskLife(lambda: create(kill_action=action), store=store).run_try()
        changed = create(kill_action=action, model="Newton::c2_4_3b_251215dfe6a746")
        assert TaskLife(lambda: changed, store=store).run_try().state == "success"
        assert [job["status"] for job in emulator.jobs()] == [status, "REGISTERED"]

    def test_a_superseded_job_whose_try_was_lost_right_after_the_post_is_ended(self, emulator):
        store = TaskStateStore()
        emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
        gone = mock.patch.object(submission, "_pause", autospec=True, side_effect=KeyboardInterrupt)
        with gone, pytest.raises(KeyboardInterrupt):
            TaskLife(create, store=store).run_try()
        TaskLife(lambda: create(name="other"), store=store).run_try()
        assert [job["status"] for job in emulator.jobs()] == ["CANCELLED", "REGISTERED"]

    def test_a_job_that_is_over_is_left_alone(self, emulator):
        store = TaskStateStore()
        TaskLife(create, store=store).run_try()
        emulator.advance(3600)
        TaskLife(lambda: create(name="other"), store=store).run_try()
        assert emulator.requests(method="PUT") == []

    def test_the_same_request_and_the_next_generation_end_nothing(self, emulator):
        store = TaskStateStore()
        emulator.set_outcome("FAILED", at=1)
        task = TaskLife(create, store=store)
        task.run_try()
        emulator.advance(60)
        task.run_try()
        task.run_try()
        assert [job["status"] for job in emulator.jobs()] == ["FAILED", "REGISTERED"]
        assert emulator.requests(method="PUT") == []


class TestPosting:
    """What the operator does, by the outcome of the POST."""

    @pytest.mark.parametrize("policy", ["conflict", "return_existing", "create_second"])
    @pytest.mark.parametrize("effect", ["drop_after", "drop_before", "drop_midway", "truncate"])
    def test_a_lost_response_makes_no_second_job(self, emulator, effect, policy):
        emulator.set_switches(duplicate_job_id=policy)
        emulator.add_fault(method="POST", path=JOBS, effect=effect, count=1)
        outcome = life().run_try()
        assert outcome.state == "success"
        assert len(emulator.jobs()) == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
    def test_a_server_error_is_looked_into_before_the_next_post(self, emulator, status):
        emulator.add_fault(method="POST", path=JOBS, effect="answer", status=status, count=2)
        outcome = life().run_try()
        assert outcome.state == "success"
        calls = [entry["method"] for entry in emulator.requests(path="*/fine-tune/*")]
        assert calls == ["GET", "POST", "GET", "POST", "GET", "POST"]
        assert len(emulator.jobs()) == 1

    def test_posts_are_bounded(self, emulator):
        emulator.add_fault(method="POST", path=JOBS, effect="answer", status=503, count=None)
        outcome = life().run_try()
        assert outcome.state == "up_for_retry"
        assert isinstance(outcome.error, AtaiServerError)
        assert len(posts(emulator)) == 4

    def test_a_failed_lookup_after_a_lost_post_is_repeated_by_the_next_try(self, emulator):
        emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, skip=1, count=4)
        task = life()
        assert task.run_try().state == "up_for_retry"
        assert task.run_try().state == "success"
        assert len(emulator.jobs()) == len(posts(emulator)) == 1

    @pytest.mark.parametrize(
        ("status", "body"), [(400, "errors"), (401, "detail"), (403, "errors"), (404, "html")]
    )
    def test_a_refused_lookup_after_a_lost_post_proves_nothing(self, emulator, status, body):
        emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
        refused = {"method": "GET", "effect": "answer", "status": status, "body": body}
        emulator.add_fault(path=f"{JOBS}/*", skip=1, count=1, **refused)
        emulator.add_fault(path=JOBS, count=1, **refused)
        task = life()
        outcome = task.run_try()
        assert outcome.state == "up_for_retry"
        assert "A retry looks for it before it creates one" in "".join(outcome.error.__notes__)
        emulator.clear_faults()
        assert task.run_try().state == "success"
        assert len(emulator.jobs()) == len(posts(emulator)) == 1

    def test_a_gateways_404_everywhere_is_retryable(self, emulator):
        emulator.add_fault(path=f"{JOBS}**", effect="answer", status=404, body="html", count=None)
        task = life()
        assert task.run_try().state == "up_for_retry"
        emulator.clear_faults()
        assert task.run_try().state == "success"

    def test_an_id_that_was_taken_meanwhile_is_adopted(self, emulator):
        task = life()
        first = task.run_try()
        # The lookup misses the job, as if another try made it in between.
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=404, count=1)
        assert task.run_try().value == first.value
        assert len(emulator.jobs()) == 1

    @pytest.mark.parametrize("status", [400, 401, 403, 413, 422])
    def test_a_refusal_is_final(self, emulator, status):
        emulator.add_fault(method="POST", path=JOBS, effect="answer", status=status, count=None)
        outcome = life().run_try()
        assert outcome.state == "failed"
        assert "This try created no fine-tune job. A retry cannot help" in str(outcome.error)
        assert "The emulator was told to answer this" in str(outcome.error)
        assert len(posts(emulator)) == 1

    def test_retry_after_is_obeyed(self, emulator, clock):
        emulator.add_fault(method="POST", path=JOBS, effect="answer", status=429, retry_after=17, count=1)
        life().run_try()
        assert clock.slept == [17]


class TestIdentity:
    def test_runs_tasks_and_mapped_tasks_have_jobs_of_their_own(self, emulator):
        lives = [
            TaskLife(create),
            TaskLife(create, run_id="other"),
            TaskLife(create, map_index=0),
            TaskLife(create, map_index=1),
            TaskLife(lambda: create(task_id="other")),
            TaskLife(lambda: create(model="Newton::c2_4_3b_251215dfe6a746")),
        ]
        for task in lives:
            task.run_try()
            task.run_try()
        assert len({job["id"] for job in emulator.jobs()}) == len(lives) == len(emulator.jobs())

    def test_without_reattach_each_try_makes_one_job_even_if_a_response_is_lost(self, emulator):
        task = life(reattach=False)
        task.run_try()
        emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
        task.run_try()
        assert len(emulator.jobs()) == 2

    def test_an_own_id_is_used_as_it_is(self, emulator):
        task = life(job_id="my-job")
        assert task.run_try().value == task.run_try().value == "my-job"
        assert len(emulator.jobs()) == 1

    @pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "STOPPED"])
    def test_an_own_id_has_no_next_generation(self, emulator, status):
        emulator.set_outcome(status, at=1)
        task = life(job_id="my-job")
        task.run_try()
        emulator.advance(10)
        outcome = task.run_try()
        assert outcome.state == "failed"
        assert "my-job" in str(outcome.error)
        assert len(emulator.jobs()) == 1


class TestWaiting:
    def test_a_completed_job_is_a_success(self, emulator, waits):
        outcome = life(**waits).run_try()
        (job,) = emulator.jobs()
        assert outcome.state == "success"
        assert outcome.value == outcome.xcoms["return_value"] == job["id"]
        assert outcome.xcoms["job"]["inference_config_path"] == job["inference_config_path"]
        assert outcome.xcoms["job"]["status"] == "COMPLETED"
        assert outcome.deferrals == ("deferrable" in waits)

    @pytest.mark.parametrize(
        ("ending", "error", "says"),
        [
            ("FAILED", FineTuneJobFailedError, "starts a new job, which is paid for again"),
            ("CANCELLED", FineTuneJobCancelledError, "starts a new job"),
            ("STOPPED", FineTuneJobStoppedError, "accept_stopped=True"),
        ],
    )
    def test_a_job_that_ends_without_a_model_fails_the_task(self, emulator, waits, ending, error, says):
        emulator.set_outcome(ending)
        task = life(**waits)
        outcome = task.run_try()
        assert (outcome.state, type(outcome.error)) == ("up_for_retry", error)
        assert says in str(outcome.error)
        # The id stays known although the task failed.
        assert outcome.xcoms["return_value"] == emulator.jobs()[0]["id"]

        assert task.run_try().state == "success"
        assert [job["status"] for job in emulator.jobs()] == [ending, "COMPLETED"]

    def test_a_stopped_job_can_be_accepted(self, emulator, waits):
        emulator.set_outcome("STOPPED")
        outcome = life(accept_stopped=True, **waits).run_try()
        assert outcome.state == "success"
        assert outcome.xcoms["job"]["status"] == "STOPPED"

    @pytest.mark.parametrize("interval", [timedelta(seconds=60), 60])
    def test_the_interval_is_kept_however_it_is_written(self, emulator, waits, interval):
        assert life(poll_interval=interval, **waits).run_try().state == "success"
        polls = emulator.requests(method="GET", path=f"*{JOBS}/{emulator.jobs()[0]['id']}")
        assert len(polls) == pytest.approx(13, abs=1)

    def test_a_job_stopped_before_it_had_a_checkpoint_is_followed_by_another(self, emulator, waits):
        emulator.set_outcome("STOPPED", at="STARTING")
        task = life(accept_stopped=True, **waits)
        outcome = task.run_try()
        assert (outcome.state, type(outcome.error)) == ("up_for_retry", FineTuneJobStoppedError)
        assert "metrics name no checkpoint" in str(outcome.error)
        assert "starts a new job, which is paid for again" in str(outcome.error)
        assert task.run_try().state == "success"
        assert [job["status"] for job in emulator.jobs()] == ["STOPPED", "COMPLETED"]

    def test_a_stopped_job_whose_metrics_cannot_be_read_is_adopted_again(self, emulator, waits):
        emulator.set_outcome("STOPPED")
        emulator.add_fault(path=f"{JOBS}/*/metrics", effect="answer", status=503, count=None)
        task = life(accept_stopped=True, **waits)
        outcome = task.run_try()
        assert (outcome.state, type(outcome.error)) == ("up_for_retry", FineTuneJobStoppedError)
        assert "adopts the same job" in str(outcome.error)
        emulator.clear_faults()
        assert task.run_try().state == "success"
        assert len(emulator.jobs()) == 1

    def test_a_completed_job_without_a_model_is_retried_and_adopted(self, emulator, waits):
        emulator.set_outcome("COMPLETED", inference_config=False)
        task = life(**waits)
        outcome = task.run_try()
        assert (outcome.state, type(outcome.error)) == ("up_for_retry", FineTuneJobNoModelError)
        task.run_try()
        assert len(emulator.jobs()) == 1

    def test_an_outage_fails_the_try_and_the_next_try_adopts_the_job(self, emulator, waits):
        task = life(**waits)
        fault = emulator.add_fault(
            method="GET", path=f"{JOBS}/*", effect="answer", status=503, skip=2, count=None
        )
        outcome = task.run_try()
        assert (outcome.state, type(outcome.error)) == ("up_for_retry", FineTuneJobUnreachableError)
        assert emulator.fired(fault) > 3
        emulator.clear_faults()
        assert task.run_try().state == "success"
        assert len(emulator.jobs()) == 1

    def test_nothing_but_ids_and_times_goes_to_the_triggerer(self, emulator):
        outcome = life(timeout=3600, **WAITS["triggerer"]).run_try()
        assert set(outcome.trigger_kwargs) == {
            "job_id",
            "atai_conn_id",
            "poll_interval",
            "max_interval",
            "deadline",
            "outage_tolerance",
            "kill_action",
            "reattach",
            "known_to_exist",
            "before_timeout",
            "end_task",
            "accept_stopped",
            "push_xcom",
        }
        assert emulator.api_key not in repr(outcome.trigger_kwargs)


class TestTimeout:
    @pytest.mark.parametrize(
        ("action", "status"), [("stop", "STOPPING"), ("cancel", "CANCELLED"), ("leave", "RUNNING")]
    )
    @pytest.mark.parametrize(
        "limit", [{"timeout": 300}, {"execution_timeout": timedelta(seconds=300)}], ids=["own", "airflow's"]
    )
    def test_the_job_gets_what_its_author_chose(self, emulator, waits, limit, action, status):
        outcome = life(timeout_action=action, **limit, **waits).run_try()
        assert (outcome.state, type(outcome.error)) == ("failed", AirflowFailException)
        assert isinstance(outcome.error.__cause__, FineTuneJobTimeoutError)
        assert emulator.jobs()[0]["status"] == status
        assert "not finished at its deadline" in str(outcome.error)

    def test_retries_do_not_renew_the_timeout(self, emulator, waits, clock):
        emulator.set_outcome("RUNNING")
        task = life(timeout=1200, timeout_action="leave", **waits)
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=400, skip=3, count=1)
        assert task.run_try().state == "failed"
        clock.sleep(1000)
        outcome = task.run_try()
        assert isinstance(outcome.error.__cause__, FineTuneJobTimeoutError)
        created, now = emulator.jobs()[0]["created_at"], emulator.requests()[-1]["time"]
        assert (seconds(now) - seconds(created)).total_seconds() == pytest.approx(1200, abs=5)

    @pytest.mark.parametrize("effect", [None, "drop_after"])
    def test_a_service_whose_clock_is_behind_gives_a_new_job_its_time(self, emulator, waits, clock, effect):
        behind = (clock.now - timedelta(minutes=20)).isoformat()
        emulator.add_fault(path=f"{JOBS}**", effect="merge", content={"created_at": behind}, count=None)
        if effect:
            emulator.add_fault(method="POST", path=JOBS, effect=effect, count=1)
        outcome = life(timeout=900, **waits).run_try()
        assert outcome.error is None
        assert emulator.jobs()[0]["status"] == "COMPLETED"

    def test_a_refused_timeout_action_is_named_in_the_error(self, emulator, waits):
        emulator.add_fault(method="PUT", path=f"{JOBS}/**", effect="answer", status=400, count=None)
        outcome = life(timeout=300, **waits).run_try()
        assert "may still run and bill. Stop it by hand." in str(outcome.error)


def seconds(text):
    from datetime import datetime

    return datetime.fromisoformat(text)


class TestAfterTheCreation:
    def test_a_404_for_a_job_that_was_just_made_is_an_outage(self, emulator, waits):
        """The response may come from a replica that lags behind, or from a gateway that speaks JSON."""
        fault = {"method": "GET", "path": f"{JOBS}/*", "effect": "answer", "status": 404, "body": "detail"}
        emulator.add_fault(skip=1, count=3, **fault)
        assert life(**waits).run_try().state == "success"
        assert [job["status"] for job in emulator.jobs()] == ["COMPLETED"]


class TestBrokenTrigger:
    """Airflow resumes the task with ``__fail__`` if the trigger is gone."""

    def resume(self, error, ti=None, **arguments):
        ti = ti or TaskInstance(task_id="fine_tune")
        task = create(**WAITS["triggerer"], **arguments)
        return task.resume_execution(
            "__fail__", {"error": error, "traceback": ["boom"]}, {"ti": ti, "run_id": "run"}
        )

    @pytest.mark.parametrize("error", ["Trigger timeout", "Trigger/execution timeout"])
    @pytest.mark.parametrize(("action", "status"), [("stop", "STOPPING"), ("leave", "RUNNING")])
    def test_airflows_own_timeout_still_ends_the_job(self, emulator, error, action, status):
        life().run_try()
        emulator.advance(60)
        with pytest.raises(AirflowFailException, match="not finished at its deadline") as raised:
            self.resume(error, timeout_action=action)
        assert isinstance(raised.value.__cause__, FineTuneJobTimeoutError)
        assert emulator.jobs()[0]["status"] == status

    def test_the_job_that_this_try_has_pushed_is_ended(self, emulator):
        """Whatever has become of the request meanwhile, and whatever the service has called the job."""
        job_id = life(name="before").run_try().value
        ti = TaskInstance(task_id="fine_tune")
        ti.xcom_push("return_value", job_id)
        task = create(**WAITS["triggerer"])
        with pytest.raises(AirflowFailException, match=f"{job_id} had not finished"):
            task.resume_execution("__fail__", {"error": "Trigger timeout"}, {"ti": ti, "run_id": "run"})
        assert [job["status"] for job in emulator.jobs()] == ["STOPPING"]

    def test_a_trigger_that_broke_leaves_the_job_to_the_next_try(self, emulator):
        job_id = life().run_try().value
        with pytest.raises(AtaiResponseError, match=f"{job_id} may still run.*looks for its job") as raised:
            self.resume("Trigger failure")
        assert "boom" in str(raised.value)
        assert emulator.jobs()[0]["status"] == "REGISTERED"

    @pytest.mark.parametrize("pushed", [True, False])
    def test_a_job_that_completed_while_no_triggerer_had_room_is_a_success(self, emulator, pushed):
        job_id = life().run_try().value
        emulator.advance(3600)
        ti = TaskInstance(task_id="fine_tune")
        if pushed:
            ti.xcom_push("return_value", job_id)
        outcome = self.resume("Trigger timeout", ti)
        assert outcome == job_id
        assert ti.xcoms["job"]["status"] == "COMPLETED"
        assert ti.xcoms["job"]["inference_config_path"].startswith("s3://")
        assert emulator.requests(method="PUT") == []

    def test_a_job_that_failed_meanwhile_fails_the_task_as_in_time(self, emulator):
        emulator.set_outcome("FAILED")
        ti = TaskInstance(task_id="fine_tune")
        ti.xcom_push("return_value", life().run_try().value)
        emulator.advance(3600)
        with pytest.raises(FineTuneJobFailedError, match="starts a new job, which is paid for again"):
            self.resume("Trigger timeout", ti)
        assert emulator.requests(method="PUT") == []

    def test_a_blip_at_the_last_look_decides_nothing(self, emulator):
        job_id = life().run_try().value
        emulator.advance(3600)
        ti = TaskInstance(task_id="fine_tune")
        ti.xcom_push("return_value", job_id)
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, count=2)
        assert self.resume("Trigger timeout", ti) == job_id

    @pytest.mark.parametrize(
        ("action", "down", "status", "says"),
        [
            ("stop", "GET", "STOPPING", "Asked the service to stop"),
            ("stop", "*", "RUNNING", "may still run and bill. Stop it by hand."),
            ("leave", "*", "RUNNING", "goes on running and billing"),
        ],
    )
    def test_a_job_that_cannot_be_read_at_the_last_look_gets_its_action(
        self, emulator, action, down, status, says
    ):
        job_id = life().run_try().value
        emulator.advance(60)
        ti = TaskInstance(task_id="fine_tune")
        ti.xcom_push("return_value", job_id)
        emulator.add_fault(method=down, path=f"{JOBS}/**", effect="answer", status=503, count=None)
        with pytest.raises(AirflowFailException, match=f"{job_id} could not be read at its dead") as raised:
            self.resume("Trigger timeout", ti, timeout_action=action)
        assert isinstance(raised.value.__cause__, FineTuneJobTimeoutError)
        assert says in str(raised.value)
        assert "not retried" in str(raised.value)
        assert emulator.jobs()[0]["status"] == status

    def test_a_job_that_cannot_be_looked_for_at_the_timeout_gets_its_action(self, emulator):
        life(do_xcom_push=False).run_try()
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, count=None)
        with pytest.raises(AirflowFailException, match=r"cannot be looked for.*may still run and bill"):
            self.resume("Trigger timeout")
        assert emulator.jobs()[0]["status"] == "STOPPING"

    def test_a_job_that_cannot_be_looked_for_after_the_trigger_broke_is_left_to_a_retry(self, emulator):
        life(do_xcom_push=False).run_try()
        emulator.add_fault(method="GET", path=f"{JOBS}/*", effect="answer", status=503, count=None)
        with pytest.raises(AtaiResponseError, match=r"may still run and bill\. A retry"):
            self.resume("Trigger failure")
        assert emulator.requests(method="PUT") == []

    def test_without_a_job_nothing_is_ended(self, emulator):
        with pytest.raises(AtaiResponseError, match="No job of this task was found"):
            self.resume("Trigger timeout")

    def test_the_latest_generation_is_ended(self, emulator):
        emulator.set_outcome("FAILED", at=1)
        task = life()
        task.run_try()
        emulator.advance(60)
        second = task.run_try().value
        with pytest.raises(AirflowFailException, match=second):
            self.resume("Trigger timeout")
        assert [job["status"] for job in emulator.jobs()] == ["FAILED", "STOPPING"]


class TestKill:
    @pytest.mark.parametrize(
        ("action", "status"), [("stop", "STOPPING"), ("cancel", "CANCELLED"), ("leave", "RUNNING")]
    )
    def test_a_kill_on_the_worker_applies_the_kill_action(self, emulator, clock, action, status):
        task = create(kill_action=action, **WAITS["worker"])

        def kill():
            if emulator.jobs()[0]["status"] == "RUNNING":
                clock.on_sleep.clear()
                task.on_kill()
                raise KeyboardInterrupt

        clock.on_sleep.append(kill)
        with pytest.raises(KeyboardInterrupt):
            TaskLife(lambda: task).run_try()
        assert emulator.jobs()[0]["status"] == status

    def test_a_kill_before_there_is_a_job_asks_nothing(self, emulator):
        create().on_kill()
        assert emulator.requests(path="*/fine-tune/*") == []

    def test_a_job_that_is_over_is_left_alone(self, emulator):
        task = create()
        TaskLife(lambda: task).run_try()
        emulator.advance(3600)
        task.on_kill()
        assert emulator.jobs()[0]["status"] == "COMPLETED"

    @pytest.mark.parametrize("effect", ["drop_before", "drop_after"])
    def test_an_unreachable_service_does_not_keep_the_worker(self, emulator, effect):
        task = create()
        TaskLife(lambda: task).run_try()
        fault = emulator.add_fault(method="PUT", path=f"{JOBS}/**", effect=effect, count=None)
        task.on_kill()
        assert emulator.fired(fault) == 1

    def test_a_job_whose_response_was_lost_is_ended_by_a_kill(self, emulator):
        task = create()
        with mock.patch.object(submission, "_pause", autospec=True, side_effect=KeyboardInterrupt):
            emulator.add_fault(method="POST", path=JOBS, effect="drop_after", count=1)
            with pytest.raises(KeyboardInterrupt):
                TaskLife(lambda: task).run_try()
        task.on_kill()
        assert [job["status"] for job in emulator.jobs()] == ["CANCELLED"]


@pytest.mark.parametrize(
    ("operator", "status"), [(StopFineTuneJobOperator, "STOPPING"), (CancelFineTuneJobOperator, "CANCELLED")]
)
class TestEnding:
    def run(self, operator, job_id):
        return TaskLife(lambda: operator(task_id="end", job_id=job_id)).run_try()

    def test_a_running_job_is_ended(self, emulator, operator, status):
        job_id = life().run_try().value
        emulator.advance(60)
        assert self.run(operator, job_id).value == status
        assert emulator.jobs()[0]["status"] == status

    def test_a_job_that_is_over(self, emulator, operator, status):
        job_id = life().run_try().value
        emulator.advance(3600)
        assert self.run(operator, job_id).value == "COMPLETED"

    @pytest.mark.parametrize("code", [400, 409, 422])
    def test_a_terminal_job_is_fine_however_the_service_refuses(self, emulator, operator, status, code):
        job_id = life().run_try().value
        emulator.advance(3600)
        emulator.add_fault(method="PUT", path=f"{JOBS}/**", effect="answer", status=code, count=1)
        assert self.run(operator, job_id).value == "COMPLETED"

    @pytest.mark.parametrize("job_id", [None, "None", ""])
    def test_without_a_job_the_task_is_skipped(self, emulator, operator, status, job_id):
        """A teardown after a task that made no job."""
        task = operator(task_id="end", job_id="{{ later }}")
        task.job_id = job_id
        outcome = TaskLife(lambda: task).run_try()
        assert outcome.state == "skipped"
        assert "There is no job to" in str(outcome.error)
        assert emulator.requests(path="*/fine-tune/*") == []

    def test_a_missing_job_fails_at_once_and_says_what_to_do(self, emulator, operator, status):
        outcome = self.run(operator, "missing")
        assert outcome.state == "failed"
        for part in (
            "knows no job 'missing'",
            "retry cannot help",
            "job_id=fine_tune.output",
            "atai_default",
        ):
            assert part in str(outcome.error)
        assert "still runs and bills" not in str(outcome.error)

    def test_a_task_instead_of_its_output_is_refused(self, operator, status):
        with pytest.raises(ValueError, match=r"is the task 'fine_tune' itself.*job_id=fine_tune\.output"):
            operator(task_id="end", job_id=create())

    def test_an_unreachable_service_is_retried(self, emulator, operator, status):
        job_id = life().run_try().value
        emulator.add_fault(method="PUT", path=f"{JOBS}/**", effect="answer", status=503, count=None)
        outcome = self.run(operator, job_id)
        assert outcome.state == "up_for_retry"
        assert "may still run and bill" in "".join(outcome.error.__notes__)

    def test_a_conflict_on_a_running_job_is_an_error(self, emulator, operator, status):
        job_id = life().run_try().value
        emulator.add_fault(method="PUT", path=f"{JOBS}/**", effect="answer", status=409, count=1)
        assert self.run(operator, job_id).state == "failed"


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"datasets": "train.csv"}, "must be a list, not the string"),
            ({"name": ""}, "name must be a non-empty string"),
            ({"job_id": "x" * 65}, "65 characters"),
            ({"kill_action": "kill"}, 'kill_action must be "cancel"'),
            ({"timeout_action": None}, 'timeout_action must be "cancel"'),
            ({"timeout": 0}, "timeout must be a positive number"),
            ({"timeout": timedelta.max}, "timeout must be .* at most 365 days"),
            ({"timeout": 1e12}, "timeout must be .* at most 365 days"),
            ({"execution_timeout": timedelta.max}, "execution_timeout must be .* at most 365 days"),
            ({"poll_interval": -1}, "poll_interval must be a positive number"),
            ({"poll_interval": None}, "poll_interval must be a positive number"),
            ({"deferrable": True}, "Add wait_for_completion=True"),
        ],
    )
    def test_wrong_arguments_fail_when_the_dag_is_parsed(self, arguments, says):
        with pytest.raises(ValueError, match=says):
            create(**arguments)

    def test_deferrable_by_default_is_accepted_on_a_task_that_does_not_wait(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
        assert create(deferrable=True).deferrable

    def test_nothing_is_sent_or_read_when_the_dag_is_parsed(self, monkeypatch):
        monkeypatch.setattr(requests.Session, "request", mock.Mock(side_effect=AssertionError))
        monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", "not json{")
        with DAG(dag_id="parsed", schedule=None):
            job = create()
            StopFineTuneJobOperator(task_id="stop", job_id=job.output)
            CreateFineTuneJobOperator.partial(task_id="many", name="x").expand(datasets=[[TRAIN], [TRAIN]])

    def test_template_fields_exist(self):
        task = create()
        assert all(hasattr(task, name) for name in task.template_fields)
        assert {"name", "datasets", "model", "job_id", "atai_conn_id"} <= set(task.template_fields)


def test_the_task_instances_stand_in_has_the_methods_of_airflows():
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        from airflow.models.taskinstance import TaskInstance as RuntimeTaskInstance
    assert callable(RuntimeTaskInstance.xcom_push)
    assert callable(TaskInstance.xcom_push)
