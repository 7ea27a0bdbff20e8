from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pendulum
import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.fine_tune import (
    ACTIVE_STATUSES,
    TERMINAL_STATUSES,
    FineTuneApi,
    FineTuneJob,
    JobMetrics,
    JobStatus,
)
from airflow_provider_atai.api.timestamps import parse_timestamp
from airflow_provider_atai.errors import (
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiConnectionError,
    AtaiNotFoundError,
    AtaiResponseError,
)
from tests.api.conftest import http_answer

RECORD: dict[str, Any] = {
    "name": "my-finetune-run",
    "id": "ft-job-my-finetune-run-3de60a5c",
    "config": {"model": "Newton::x", "datasets": [{"name": "t", "split": "train", "file_ids": ["t.jsonl"]}]},
    "uuid": "job_0n5e9s0w2s9kkrvr8p9fq7sk8w",
    "org_uuid": "org_2wh4zfagp480wbt3nhm8tcqw6z",
    "status": "COMPLETED",
    "created_at": "2026-04-27T14:32:18.421000Z",
    "updated_at": "2026-04-27T15:00:00Z",
    "inference_config_path": "s3://bucket/config.yaml",
}
CREATED = pendulum.datetime(2026, 4, 27, 14, 32, 18, 421000)


def test_every_status_is_either_terminal_or_active():
    assert TERMINAL_STATUSES | set(ACTIVE_STATUSES) == {status.value for status in JobStatus}
    assert not TERMINAL_STATUSES & set(ACTIVE_STATUSES)
    assert str(JobStatus.RUNNING) == "RUNNING"


@pytest.mark.parametrize(
    ("path", "metrics", "expected"),
    [
        ("s3://x", None, True),
        ("s3://x", JobMetrics(None, ()), True),
        (None, None, None),
        (None, JobMetrics(None, ()), False),
        (None, JobMetrics(0, ()), False),
        (None, JobMetrics(-1, ()), False),
        (None, JobMetrics(0, ({"step": 0, "loss": 3.1},)), False),
        (None, JobMetrics(200, ()), True),
        (None, JobMetrics(None, ({"step": 0}, {"step": 200})), True),
        (None, JobMetrics(None, ({"loss": 1.8},)), True),
        # An object that is not the documented response tells nothing, and another job would be paid for.
        (None, JobMetrics.from_response({"id": None, "status": None}), None),
        (None, JobMetrics.from_response({"metrics": None}), None),
        (None, JobMetrics.from_response({"metrics": []}), False),
        (None, JobMetrics.from_response({"last_checkpoint_step": 200}), True),
    ],
)
def test_only_an_inference_config_or_the_metrics_show_a_checkpoint(path, metrics, expected):
    job = FineTuneJob(id="job-1", name="j", status="STOPPED", inference_config_path=path)
    assert job.has_checkpoint(metrics) is expected


class TestRecord:
    def test_the_documented_record_is_read(self):
        job = FineTuneJob.from_record(RECORD)
        assert (job.id, job.name, job.status) == (RECORD["id"], "my-finetune-run", "COMPLETED")
        assert job.uuid == RECORD["uuid"]
        assert job.config == RECORD["config"]
        assert job.created_at == CREATED
        assert isinstance(job.created_at, pendulum.DateTime)
        assert job.created_at.timezone_name == "UTC"
        assert job.updated_at == pendulum.datetime(2026, 4, 27, 15)
        assert job.inference_config_path == "s3://bucket/config.yaml"
        assert job.is_terminal

    def test_a_record_needs_only_id_and_status(self):
        job = FineTuneJob.from_record({"id": "a", "status": "RUNNING"})
        assert job == FineTuneJob(id="a", name="", status="RUNNING")
        assert not job.is_terminal

    def test_null_fields_count_as_absent(self):
        nulls = dict.fromkeys(RECORD) | {"id": "a", "status": "RUNNING"}
        job = FineTuneJob.from_record(nulls)
        assert job == FineTuneJob(id="a", name="", status="RUNNING")

    @pytest.mark.parametrize("status", ["PAUSED", "completed", "COMPLETED ", "SUCCEEDED"])
    def test_an_undocumented_status_is_kept_and_active(self, status):
        job = FineTuneJob.from_record(RECORD | {"status": status})
        assert job.status == status
        assert not job.is_terminal

    def test_unknown_fields_are_ignored(self):
        odd = RECORD | {"price": 5, "error": {"why": "x"}}
        assert FineTuneJob.from_record(odd) == FineTuneJob.from_record(RECORD)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("created_at", "yesterday"),
            ("created_at", 1_777_300_338),
            ("updated_at", {"$date": 1}),
            ("inference_config_path", ["s3://x"]),
            ("inference_config_path", ""),
            ("uuid", 7),
            ("name", 7),
            ("config", "x"),
        ],
    )
    def test_a_field_of_the_wrong_type_is_ignored(self, field, value):
        odd = FineTuneJob.from_record(RECORD | {field: value})
        absent = {name: known for name, known in RECORD.items() if name != field}
        assert odd == FineTuneJob.from_record(absent)
        assert not getattr(odd, field)

    @pytest.mark.parametrize(
        ("record", "complaint"),
        [
            (None, "nothing instead of a job record"),
            ([RECORD], "a list instead of a job record"),
            ("job", "str 'job' instead of a job record"),
            ({}, "whose id is nothing"),
            (RECORD | {"id": None}, "whose id is nothing"),
            (RECORD | {"id": 7}, "whose id is int '7'"),
            (RECORD | {"id": ""}, "whose id is str ''"),
            (RECORD | {"id": ".."}, r"whose id is str '\.\.'"),
            (RECORD | {"id": "\ud800"}, r"whose id is str '\\ud800'"),
            (RECORD | {"status": None}, "whose status is nothing"),
            (RECORD | {"status": " "}, "whose status is str ' '"),
            (RECORD | {"status": {"phase": "x"}}, "whose status is an object"),
            (RECORD | {"status": ["RUNNING"]}, "whose status is a list"),
        ],
    )
    def test_a_malformed_record_is_refused(self, record, complaint):
        with pytest.raises(AtaiResponseError, match=complaint):
            FineTuneJob.from_record(record)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-04-27T14:32:18.421000Z", CREATED),
        ("2026-04-27T14:32:18.421Z", CREATED),
        ("2026-04-27T14:32:18.421000123Z", CREATED),
        ("2026-04-27T16:32:18.421+02:00", CREATED),
        ("2026-04-27T14:32:18.421", CREATED),
        ("2026-04-27 14:32:18.421+00:00", CREATED),
        ("2099-01-01T00:00:00Z", pendulum.datetime(2099, 1, 1)),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("2026-13-01T00:00:00Z", None),
        ("P1D", None),
        (None, None),
        (1.5, None),
    ],
)
def test_parse_timestamp(text, moment):
    assert parse_timestamp(text) == moment


class TestMetrics:
    def test_the_documented_response_is_read(self):
        record = {
            "step": 200,
            "loss": 1.842,
            "eval_loss": 1.901,
            "learning_rate": 0.0002,
            "wall_time_sec": 312.4,
        }
        metrics = JobMetrics.from_response({"last_checkpoint_step": 600, "metrics": [record]})
        assert metrics == JobMetrics(last_checkpoint_step=600, records=(record,))

    @pytest.mark.parametrize(
        ("answer", "step", "records"),
        [
            ({}, None, ()),
            ({"last_checkpoint_step": None, "metrics": None}, None, ()),
            ({"last_checkpoint_step": 600.0, "metrics": {}}, 600, ()),
            ({"last_checkpoint_step": 600.5}, None, ()),
            ({"last_checkpoint_step": True}, None, ()),
            ({"last_checkpoint_step": float("nan")}, None, ()),
            ({"metrics": [1, {"odd": []}, None]}, None, ({"odd": []},)),
        ],
    )
    def test_a_free_form_response_is_read(self, answer, step, records):
        assert JobMetrics.from_response(answer) == JobMetrics(last_checkpoint_step=step, records=records)

    @pytest.mark.parametrize("answer", [None, [], "x", 1])
    def test_a_response_that_is_not_an_object_is_refused(self, answer):
        with pytest.raises(AtaiResponseError, match="instead of a job's metrics"):
            JobMetrics.from_response(answer)


class TestScriptedResponses:
    @pytest.fixture
    def api(self, client):
        return FineTuneApi(client)

    def test_another_job_than_the_one_asked_for_is_refused(self, bad_server, api):
        bad_server.answer(http_answer(200, json.dumps(RECORD)))
        for call in (api.get, api.stop, api.cancel):
            with pytest.raises(AtaiResponseError, match="asked for job mine and answered with job 'ft-job"):
                call("mine")

    def test_a_job_can_be_asked_for_by_its_uuid(self, bad_server, api):
        bad_server.answer(http_answer(200, json.dumps(RECORD)))
        assert api.get(RECORD["uuid"]).id == RECORD["id"]

    def test_a_created_job_has_the_id_of_the_response(self, bad_server, api):
        bad_server.answer(http_answer(201, json.dumps(RECORD)))
        job = api.create(name="n", datasets=RECORD["config"]["datasets"], job_id="mine")
        assert job.id == RECORD["id"]
        assert json.loads(bad_server.requests[0].body)["id"] == "mine"

    @pytest.mark.parametrize(
        "answer", [http_answer(503, "{}"), http_answer(429, "{}"), b"", http_answer(200)]
    )
    def test_a_create_is_never_sent_twice(self, bad_server, api, answer):
        bad_server.answer(answer)
        with pytest.raises(Exception, match=r"HTTP|lost|nothing"):
            api.create(name="n", datasets=[])
        assert len(bad_server.requests) == 1

    @pytest.mark.parametrize("answer", [{"jobs": []}, {}, None, "x"])
    def test_a_response_that_is_not_a_list_is_refused(self, bad_server, api, answer):
        bad_server.answer(http_answer(200, json.dumps(answer)))
        with pytest.raises(AtaiResponseError, match="instead of a list of jobs"):
            api.list()

    def test_unreadable_records_do_not_hide_the_others(self, bad_server, api):
        bad_server.answer(http_answer(200, json.dumps([None, RECORD, {"id": "x"}, RECORD, 5])))
        assert [job.id for job in api.list()] == [RECORD["id"]] * 2

    def test_a_list_of_only_unreadable_records_is_refused(self, bad_server, api):
        bad_server.answer(http_answer(200, json.dumps([{"job_id": "x"}])))
        with pytest.raises(AtaiResponseError, match="whose id is nothing"):
            api.list()

    def test_the_list_sends_its_parameters(self, bad_server, api):
        bad_server.answer(http_answer(200, "[]"))
        assert api.list() == []
        assert api.list(limit=0, offset=5, statuses=("RUNNING", "STARTING")) == []
        assert [sent.target for sent in bad_server.requests] == [
            "/v0.5/fine-tune/jobs",
            "/v0.5/fine-tune/jobs?limit=0&offset=5&statuses=RUNNING&statuses=STARTING",
        ]

    @pytest.mark.parametrize("action", ["stop", "cancel"])
    def test_ending_a_job_is_repeated_unless_options_forbid_it(self, bad_server, api, action):
        bad_server.answer(http_answer(503), http_answer(200, json.dumps(RECORD)))
        assert getattr(api, action)(RECORD["id"]).status == "COMPLETED"
        assert [(sent.method, sent.target, sent.body) for sent in bad_server.requests] == [
            ("PUT", f"/v0.5/fine-tune/jobs/{RECORD['id']}/{action}", b"")
        ] * 2
        bad_server.answer(b"")
        with pytest.raises(AtaiConnectionError):
            getattr(api.with_options(timeout=1.0, max_attempts=1), action)(RECORD["id"])
        assert len(bad_server.requests) == 3

    @pytest.mark.parametrize("status", ["CANCELLED", "STOPPED", "STOPPING", "COMPLETED"])
    @pytest.mark.parametrize("action", ["stop", "cancel"])
    def test_ending_a_job_without_a_word_is_looked_up(self, bad_server, api, action, status):
        bad_server.answer(http_answer(204), http_answer(200, json.dumps(RECORD | {"status": status})))
        assert getattr(api, action)(RECORD["id"]).status == status
        assert [sent.method for sent in bad_server.requests] == ["PUT", "GET"]

    @pytest.mark.parametrize(
        ("look", "error", "message"),
        [
            (
                http_answer(200, json.dumps(RECORD | {"status": "RUNNING"})),
                AtaiResponseError,
                "it is RUNNING",
            ),
            (http_answer(400, "{}"), AtaiBadRequestError, "HTTP 400"),
        ],
        ids=["running", "unclear"],
    )
    def test_a_job_that_may_still_run_is_not_taken_for_ended(self, *, bad_server, api, look, error, message):
        bad_server.answer(http_answer(204), look)
        with pytest.raises(error, match=message):
            api.cancel(RECORD["id"])


class TestEmulator:
    """The whole life of jobs against the emulator."""

    @pytest.fixture
    def api(self, atai_emulator):
        atai_emulator.pause()
        with AtaiClient(base_url=atai_emulator.base_url, api_key=atai_emulator.api_key) as client:
            source = client.request(
                "POST",
                "files",
                "uploads",
                "initiate",
                json={"filename": "t.jsonl", "file_type": "application/x-ndjson", "num_bytes": 2},
            )
            part = source["parts"][0]
            token = client.put_part(part["url"], b"{}")
            tokens = {"parts": [{"part_number": part["part_number"], "part_token": token}]}
            client.request("POST", "files", "uploads", source["upload_id"], "complete", json=tokens)
            yield FineTuneApi(client)

    DATASETS = ({"name": "t", "split": "train", "file_ids": ["t.jsonl"]},)

    def test_a_job_is_created_read_and_measured(self, api, atai_emulator):
        created = api.create(
            name="run", datasets=self.DATASETS, model="Newton::c2_4_3b_251215dfe6a746", job_id="my.id"
        )
        assert (created.id, created.name, created.status) == ("my.id", "run", "REGISTERED")
        assert created.config["model"] == "Newton::c2_4_3b_251215dfe6a746"
        assert api.metrics("my.id").last_checkpoint_step is None
        atai_emulator.advance(100_000)
        done = api.get("my.id")
        assert done.status == "COMPLETED"
        assert done.is_terminal
        assert done.inference_config_path
        assert done.created_at == created.created_at
        assert done.updated_at is not None
        assert created.created_at is not None
        assert done.updated_at > created.created_at
        metrics = api.metrics("my.id")
        assert metrics.records[-1]["step"] == metrics.last_checkpoint_step

    def test_list_with_limit_offset_and_statuses(self, api, atai_emulator):
        for job_id in ("a", "b", "c"):
            api.create(name="run", datasets=self.DATASETS, job_id=job_id)
        api.cancel("b")
        assert {job.id for job in api.list()} == {"a", "b", "c"}
        assert {job.id for job in api.list(statuses=ACTIVE_STATUSES)} == {"a", "c"}
        assert [job.status for job in api.list(statuses=["CANCELLED"])] == ["CANCELLED"]
        pages = [job.id for offset in range(3) for job in api.list(limit=1, offset=offset)]
        assert sorted(pages) == ["a", "b", "c"]

    def test_stop_and_cancel_end_a_job(self, api, atai_emulator):
        for job_id in ("a", "b"):
            api.create(name="run", datasets=self.DATASETS, job_id=job_id)
        atai_emulator.advance(100)
        assert api.stop("a").status == "STOPPING"
        assert api.cancel("b").status == "CANCELLED"
        atai_emulator.advance(100)
        assert api.get("a").status == "STOPPED"
        for call in (api.stop, api.cancel):
            with pytest.raises(AtaiConflictError):
                call("a")

    def test_refused_requests_raise_their_error(self, api):
        api.create(name="run", datasets=self.DATASETS, job_id="a")
        with pytest.raises(AtaiConflictError):
            api.create(name="run", datasets=self.DATASETS, job_id="a")
        with pytest.raises(AtaiNotFoundError):
            api.get("no-such-job")
        with pytest.raises(AtaiBadRequestError):
            api.create(name="run", datasets=self.DATASETS, job_id="x" * 65)


def test_reading_jobs_needs_no_http_library():
    code = (
        "import sys, airflow_provider_atai.api.fine_tune, airflow_provider_atai.errors\n"
        "print([name for name in ('requests', 'urllib3', 'pendulum') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
