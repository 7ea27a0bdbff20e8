from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def instant(text):
    assert re.fullmatch(TIMESTAMP, text)
    return datetime.fromisoformat(text)


def test_create_answers_the_documented_record(service):
    before = datetime.now(UTC)
    job = service.created()
    assert list(job) == [
        "name",
        "id",
        "config",
        "uuid",
        "org_uuid",
        "status",
        "created_at",
        "updated_at",
        "inference_config_path",
    ]
    assert job["name"] == "pump-states"
    assert re.fullmatch("ft-job-pump-states-[0-9a-f]{8}", job["id"])
    assert job["config"] == service.body()["config"]
    assert re.fullmatch("job_[0-7][0-9a-hjkmnp-tv-z]{25}", job["uuid"])
    assert re.fullmatch("org_[0-7][0-9a-hjkmnp-tv-z]{25}", job["org_uuid"])
    assert job["status"] == "REGISTERED"
    assert before <= instant(job["created_at"]) <= datetime.now(UTC)
    assert job["updated_at"] == job["created_at"]
    assert job["inference_config_path"] is None
    assert service.job(job["id"]) == job


def test_model_is_optional(service):
    service.upload()
    config = {"datasets": service.body()["config"]["datasets"]}
    job = service.create(config=config).json()
    assert job["config"]["model"] == "Newton::c2_4_7b_251215a172f6d7"


def test_create_keeps_a_given_id(service):
    assert service.created(id="mine-1")["id"] == "mine-1"
    assert service.job("mine-1")["name"] == "pump-states"


def test_job_goes_from_registered_to_completed(service):
    job = service.created()
    seen = []
    for seconds in (4, 1, 19, 1, 599, 1, 14, 1):
        service.control.advance(seconds)
        record = service.job(job["id"])
        seen.append((record["status"], record["inference_config_path"]))
        assert instant(job["created_at"]) <= instant(record["updated_at"]) <= datetime.now(UTC)
        assert record["created_at"] == job["created_at"]
    path = f"s3://atai-finetune/inference-configs/{job['id']}.yaml"
    assert seen == [
        ("REGISTERED", None),
        ("STARTING", None),
        ("STARTING", None),
        ("RUNNING", None),
        ("RUNNING", None),
        ("FINALIZING", None),
        ("FINALIZING", None),
        ("COMPLETED", path),
    ]


def test_updated_at_is_the_instant_of_the_change_not_of_the_request(service):
    service.control.set_life(registered=0.05, starting=0.05, running=0.1, finalizing=0.05)
    job = service.created()
    service.control.resume()
    service.control.advance(0.02)
    while (record := service.job(job["id"]))["status"] != "COMPLETED":
        pass
    at_first_sight = record["updated_at"]
    life = (instant(at_first_sight) - instant(job["created_at"])).total_seconds()
    # The life takes 0.25 s, less the jump, plus the time that the requests took before the clock ran.
    assert life >= 0.22
    service.control.advance(1000)
    assert service.job(job["id"])["updated_at"] == at_first_sight


def test_list_is_an_array_of_records(service):
    assert service("GET", "/fine-tune/jobs").json() == []
    jobs = [service.created(id=f"job-{number}") for number in range(5)]
    assert service("GET", "/fine-tune/jobs").json() == jobs[::-1]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [4, 3, 2, 1, 0]),
        ("limit=-1", [4, 3, 2, 1, 0]),
        ("limit=2", [4, 3]),
        ("limit=2&offset=3", [1, 0]),
        ("offset=4", [0]),
        ("offset=9", []),
        ("limit=0", []),
        ("statuses=REGISTERED", [4, 3]),
        ("statuses=REGISTERED&statuses=CANCELLED", [4, 3, 0]),
        ("statuses=REGISTERED&statuses=STARTING&limit=1&offset=2", [2]),
        ("statuses=FAILED", []),
    ],
)
def test_list_pages_and_filters(service, query, numbers):
    for number in range(3):
        service.created(id=f"job-{number}")
    service("PUT", "/fine-tune/jobs/job-0/cancel")
    service.control.advance(10)
    for number in (3, 4):
        service.created(id=f"job-{number}")
    answer = service("GET", f"/fine-tune/jobs?{query}")
    assert [job["id"] for job in answer.json()] == [f"job-{number}" for number in numbers]


@pytest.mark.parametrize(
    "query",
    [
        "limit=-2",
        "limit=x",
        "offset=-1",
        "statuses=DONE",
        "statuses=running",
        f"limit={2**63}",
        f"offset={2**63}",
        "limit=1.0",
        "limit=1_0",
        "limit=%2B1",
        "offset=%201",
        "limit=",
    ],
)
def test_list_refuses_an_undocumented_query(service, query):
    answer = service("GET", f"/fine-tune/jobs?{query}")
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/fine-tune/jobs/no-such"),
        ("GET", "/fine-tune/jobs/no-such/metrics"),
        ("PUT", "/fine-tune/jobs/no-such/stop"),
        ("PUT", "/fine-tune/jobs/no-such/cancel"),
    ],
)
def test_unknown_job_is_not_found(service, method, path):
    answer = service(method, path)
    assert (answer.status_code, service.code_of(answer)) == (404, "NOT_FOUND")


def test_id_of_65_characters_is_refused(service):
    answer = service("GET", f"/fine-tune/jobs/{'x' * 65}")
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_parameter")


def test_job_is_found_by_its_quoted_id(service):
    service.created(id="a b+c?d#e")
    assert service.job("a%20b+c%3Fd%23e")["id"] == "a b+c?d#e"


@pytest.mark.parametrize(("seconds", "steps"), [(0, None), (10, None), (155, 200), (325, 600), (530, 1000)])
def test_stop_is_graceful_and_keeps_the_checkpoints(service, seconds, steps):
    service.control.set_life(registered=5, starting=20, running=500, checkpoints=5)
    job = service.created()
    service.control.advance(seconds)
    answer = service("PUT", f"/fine-tune/jobs/{job['id']}/stop")
    assert (answer.status_code, answer.json()["status"]) == (200, "STOPPING")
    service.control.advance(4)
    assert service.job(job["id"])["status"] == "STOPPING"
    again = service("PUT", f"/fine-tune/jobs/{job['id']}/stop")
    assert (again.status_code, again.json()["status"]) == (200, "STOPPING")
    service.control.advance(1)
    record = service.job(job["id"])
    assert (record["status"], record["inference_config_path"]) == ("STOPPED", None)
    service.control.advance(9999)
    assert service.job(job["id"]) == record
    metrics = service("GET", f"/fine-tune/jobs/{job['id']}/metrics").json()
    assert metrics["last_checkpoint_step"] == steps


@pytest.mark.parametrize("seconds", [0, 10, 300, 630])
@pytest.mark.parametrize("stop_first", [False, True])
def test_cancel_ends_at_once(service, seconds, stop_first):
    job = service.created()
    service.control.advance(seconds)
    if stop_first:
        service("PUT", f"/fine-tune/jobs/{job['id']}/stop")
    answer = service("PUT", f"/fine-tune/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    service.control.advance(9999)
    assert service.job(job["id"]) == answer.json()


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "STOPPED", "CANCELLED"])
@pytest.mark.parametrize("action", ["stop", "cancel"])
def test_terminal_job_cannot_be_stopped_or_cancelled(service, end, action):
    service.control.set_outcome(end)
    job = service.created()
    service.control.advance(9999)
    record = service.job(job["id"])
    assert record["status"] == end
    answer = service("PUT", f"/fine-tune/jobs/{job['id']}/{action}")
    assert (answer.status_code, service.code_of(answer)) == (409, "conflict")
    assert service.job(job["id"]) == record


def test_metrics_grow_with_the_checkpoints(service):
    job = service.created()
    path = f"/fine-tune/jobs/{job['id']}/metrics"
    assert service("GET", path).json() == {"last_checkpoint_step": None, "metrics": []}
    service.control.advance(25 + 121)
    first = service("GET", path).json()
    assert (first["last_checkpoint_step"], len(first["metrics"])) == (200, 1)
    service.control.advance(9999)
    whole = service("GET", path).json()
    assert whole["last_checkpoint_step"] == 1000
    assert [record["step"] for record in whole["metrics"]] == [200, 400, 600, 800, 1000]
    assert whole["metrics"][:1] == first["metrics"]
    page = service("GET", f"{path}?limit=2&offset=1").json()
    assert page == {"last_checkpoint_step": 1000, "metrics": whole["metrics"][1:3]}


def test_endless_training_has_no_further_checkpoints(service):
    service.control.set_outcome("RUNNING")
    job = service.created()
    service.control.advance(100_000)
    metrics = service("GET", f"/fine-tune/jobs/{job['id']}/metrics").json()
    assert metrics["last_checkpoint_step"] == 1000


@pytest.mark.parametrize("checkpoints", [3, 6, 7, 49])
def test_completed_job_has_all_checkpoints_despite_rounding(service, checkpoints):
    # Binary fractions cannot hold these durations and instants exactly.
    service.control.set_life(registered=0.1, starting=0.2, running=0.7, checkpoints=checkpoints)
    for number in range(5):
        service.control.advance(0.3)
        service.created(id=f"job-{number}")
        service.control.advance(100)
        metrics = service("GET", f"/fine-tune/jobs/job-{number}/metrics").json()
        assert len(metrics["metrics"]) == checkpoints
