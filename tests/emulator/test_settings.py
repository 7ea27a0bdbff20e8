"""Each switch, in both positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_provider_atai.emulator.control import EmulatorControlError
from airflow_provider_atai.emulator.settings import Switches


def create_status(service):
    service.upload()
    return service.create().status_code


def duplicate_job_id(service):
    first = service.created(id="mine")
    answer = service.create(id="mine", name="second")
    if answer.status_code == 409:
        return service.code_of(answer)
    found = service.job("mine")
    assert found == answer.json()
    return [job["name"] for job in service.control.jobs()], found["uuid"] == first["uuid"]


def job_ids(service):
    service.upload()
    made = service.create(id="mine").json()["id"]
    return made == "mine", service("GET", "/fine-tune/jobs/mine").status_code, service.job(made)["id"] == made


def terminal_action(service):
    job = service.created()
    service("PUT", f"/fine-tune/jobs/{job['id']}/cancel")
    answer = service("PUT", f"/fine-tune/jobs/{job['id']}/stop")
    return answer.status_code, answer.json().get("status")


def stop_finalizing(service):
    job = service.created()
    service.control.advance(630)
    assert service.job(job["id"])["status"] == "FINALIZING"
    answer = service("PUT", f"/fine-tune/jobs/{job['id']}/stop")
    service.control.advance(9999)
    return answer.status_code, answer.json().get("status"), service.job(job["id"])["status"]


def file_ids(service):
    uid = service.upload()
    answers = [service.create(file_id=file_id) for file_id in ("train.jsonl", uid)]
    return [answer.ok and answer.json()["config"]["datasets"][0]["file_ids"] for answer in answers]


def required_splits(service):
    service.upload()

    def is_taken(*splits):
        datasets = [{"name": "x", "split": split, "file_ids": ["train.jsonl"]} for split in splits]
        return bool(service.create(config={"datasets": datasets}).ok)

    return is_taken("eval"), is_taken("train"), is_taken("train", "eval")


def extra_fields(service):
    service.upload()
    config = service.body()["config"]
    config["datasets"][0]["weight"] = 2
    statuses = [service.create(config=config).status_code]
    upload = service.initiate("a.txt", 2, "text/plain")
    part = service.put_part(upload["parts"][0], b"ab")
    body = {"filename": "b.txt", "num_bytes": 2, "file_type": "text/plain", "odd": 1}
    statuses.append(service("POST", "/files/uploads/initiate", json=body).status_code)
    for call, body in (
        ("parts/urls", {"part_numbers": [1], "odd": 1}),
        ("parts/checkpoint", {"parts": [part | {"odd": 1}]}),
        ("complete", {"parts": [part], "odd": 1}),
    ):
        path = f"/files/uploads/{upload['upload_id']}/{call}"
        statuses.append(service("POST", path, json=body).status_code)
    return statuses


def unknown_model(service):
    service.upload()
    config = service.body()["config"] | {"model": "Newton::other"}
    answer = service.create(config=config)
    return answer.ok or service.code_of(answer)


def get_job_by_uuid(service):
    return service("GET", f"/fine-tune/jobs/{service.created()['uuid']}").status_code


def list_order(service):
    service.created(id="old")
    service.created(id="new")
    return [job["id"] for job in service("GET", "/fine-tune/jobs").json()]


def completed_inference_config(service):
    job = service.created()
    service.control.advance(9999)
    record = service.job(job["id"])
    return record["status"], record["inference_config_path"] is not None


def stopped_inference_config(service):
    early, late = service.created(id="early"), service.created(id="late")
    service("PUT", f"/fine-tune/jobs/{early['id']}/stop")
    service.control.advance(300)
    service("PUT", f"/fine-tune/jobs/{late['id']}/stop")
    service.control.advance(9)
    return [service.job(job["id"])["inference_config_path"] for job in (early, late)]


def lost_file_fails_job(service):
    waiting, running = service.created(id="waiting"), service.created(id="running")
    service.control.set_outcome("RUNNING", job_id="running", at=0)
    service("DELETE", "/files/delete/train.jsonl")
    service.control.advance(9999)
    return [service.job(job["id"])["status"] for job in (waiting, running)]


def third_party_endpoints(service):
    service.created(id="mine")
    status = service("GET", "/fine-tune/status")
    deleted = service("DELETE", "/fine-tune/jobs/mine")
    return status.ok and status.json(), deleted.status_code, len(service.control.jobs())


def fine_tune_under_api(service):
    return service.under("/api")("GET", "/fine-tune/jobs").status_code


def validation_errors(service):
    answer = service("POST", "/fine-tune/jobs", json={"name": "x"})
    return answer.status_code, answer.json().get("detail", "envelope")


def authentication_errors(service):
    answer = requests.get(f"{service.control.base_url}/fine-tune/jobs", timeout=30)
    return answer.status_code, list(answer.json())


def not_found_errors(service):
    answer = service("GET", "/fine-tune/jobs/x")
    return answer.status_code, list(answer.json())


def part_number_base(service):
    service.control.set_switches(part_size=5)
    return [part["part_number"] for part in service.initiate(num_bytes=12)["parts"]]


def part_content_type(service):
    (part,) = service.initiate(num_bytes=2)["parts"]
    return requests.put(part["url"], b"ab", headers={"Content-Type": "text/csv"}, timeout=30).status_code


def part_size(service):
    upload = service.initiate(num_bytes=500 * 1024**2)
    return [part["length"] for part in upload["parts"]][:3]


def presigned_url_seconds(service):
    (part,) = service.initiate(num_bytes=2)["parts"]
    answer = requests.put(part["url"], data=b"ab", timeout=30)
    return answer.status_code, "Request has expired" in answer.text


def initiate_over_unfinished(service):
    first = service.initiate()
    body = {"filename": "train.jsonl", "file_type": "text/csv", "num_bytes": 7, "resume_if_started": True}
    answer = service("POST", "/files/uploads/initiate", json=body)
    return answer.status_code, requests.put(first["parts"][0]["url"], data=b"ab", timeout=30).status_code


def direct_max_bytes(service):
    body = {"filename": "a.csv", "file_type": "text/csv", "num_bytes": 1_000_001}
    return service("POST", "/files/uploads/initiate", json=body).status_code


def proxy_max_bytes(service):
    return service.post_file("a.txt", b"x" * 100_001, "text/plain").status_code


def proxy_application_json(service):
    return service.post_file("a.json", b"{}", "application/json").status_code


MISSING_CONFIG = [{"loc": ["body", "config"], "msg": "Field required", "type": "missing"}]
POSITIONS: list[tuple[Callable[[Any], Any], Any, Any]] = [
    (create_status, 200, 200),
    (create_status, 201, 201),
    (duplicate_job_id, "conflict", "conflict"),
    (duplicate_job_id, "return_existing", (["pump-states"], True)),
    (duplicate_job_id, "create_second", (["pump-states", "second"], False)),
    (job_ids, "as_asked", (True, 200, True)),
    (job_ids, "own", (False, 404, True)),
    (terminal_action, "conflict", (409, None)),
    (terminal_action, "return_record", (200, "CANCELLED")),
    (stop_finalizing, "stopping", (200, "STOPPING", "STOPPED")),
    (stop_finalizing, "conflict", (409, None, "COMPLETED")),
    (stop_finalizing, "ignored", (200, "FINALIZING", "COMPLETED")),
    (file_ids, "resolved", [["train.jsonl"], ["train.jsonl"]]),
    (file_ids, "echoed", [["train.jsonl"], False]),
    (required_splits, "none", (True, True, True)),
    (required_splits, "train", (False, True, True)),
    (required_splits, "train_and_eval", (False, False, True)),
    (extra_fields, "accepted", [200] * 5),
    (extra_fields, "refused", [400] * 5),
    (unknown_model, "accepted", True),
    (unknown_model, "refused", "invalid_model_version"),
    (get_job_by_uuid, False, 404),
    (get_job_by_uuid, True, 200),
    (list_order, "newest_first", ["new", "old"]),
    (list_order, "oldest_first", ["old", "new"]),
    (completed_inference_config, True, ("COMPLETED", True)),
    (completed_inference_config, False, ("COMPLETED", False)),
    (stopped_inference_config, False, [None, None]),
    (stopped_inference_config, True, [None, "s3://atai-finetune/inference-configs/late.yaml"]),
    (lost_file_fails_job, True, ["FAILED", "RUNNING"]),
    (lost_file_fails_job, False, ["COMPLETED", "RUNNING"]),
    (third_party_endpoints, False, (False, 404, 1)),
    (third_party_endpoints, True, ({"status": "BUSY"}, 200, 0)),
    (fine_tune_under_api, False, 404),
    (fine_tune_under_api, True, 200),
    (validation_errors, "errors", (400, "envelope")),
    (validation_errors, "detail_list", (422, MISSING_CONFIG)),
    (authentication_errors, "detail", (401, ["detail"])),
    (authentication_errors, "errors", (401, ["errors"])),
    (not_found_errors, "errors", (404, ["errors"])),
    (not_found_errors, "detail", (404, ["detail"])),
    (part_number_base, 0, [0, 1, 2]),
    (part_number_base, 1, [1, 2, 3]),
    (part_content_type, "accepted", 200),
    (part_content_type, "refused", 403),
    (part_size, 419_430_400, [419_430_400, 104_857_600]),
    (part_size, 262_144_000, [262_144_000, 262_144_000]),
    (presigned_url_seconds, 3600.0, (200, False)),
    (presigned_url_seconds, 0, (403, True)),
    (initiate_over_unfinished, "conflict", (409, 200)),
    (initiate_over_unfinished, "replace", (200, 404)),
    (direct_max_bytes, 250_000_000_000, 200),
    (direct_max_bytes, 1_000_000, 413),
    (proxy_max_bytes, 512_000_000, 200),
    (proxy_max_bytes, 100_000, 413),
    (proxy_application_json, "accepted", 200),
    (proxy_application_json, "refused", 400),
]


@pytest.mark.parametrize(
    ("behaviour", "position", "expected"),
    POSITIONS,
    ids=[f"{behaviour.__name__}={position}" for behaviour, position, _ in POSITIONS],
)
def test_switch_changes_the_behaviour(service, behaviour, position, expected):
    service.control.set_switches(**{behaviour.__name__: position})
    assert behaviour(service) == expected


def test_every_switch_is_tested_in_its_default_position_and_another():
    tested = [(behaviour.__name__, position) for behaviour, position, _ in POSITIONS]
    for name, default in Switches().model_dump().items():
        positions = [position for tested_name, position in tested if tested_name == name]
        assert default in positions
        assert len(positions) >= 2


@pytest.mark.parametrize(
    "changes",
    [
        {"no_such": 1},
        {"create_status": 204},
        {"get_job_by_uuid": "yes"},
        {"presigned_url_seconds": 1e12},
        {"presigned_url_seconds": -1e12},
        {"part_size": 2**63},
        {"direct_max_bytes": 2**63},
        {"proxy_max_bytes": 2**63},
    ],
)
def test_unknown_switch_or_position_is_refused(service, changes):
    before = service.control.switches()
    with pytest.raises(EmulatorControlError, match="HTTP 400"):
        service.control.set_switches(**changes)
    assert service.control.switches() == before


@pytest.mark.parametrize("changes", [{"no_such": 1}, {"running": 0}, {"checkpoints": 0}, {"ingest": -1}])
def test_impossible_duration_is_refused(service, changes):
    with pytest.raises(EmulatorControlError, match="HTTP 400"):
        service.control.set_life(**changes)


def test_durations_apply_to_jobs_that_are_created_afterwards(service):
    before = service.created()
    service.control.set_life(registered=1, starting=1, running=10, finalizing=1)
    after = service.created()
    service.control.advance(13)
    assert service.job(before["id"])["status"] == "STARTING"
    assert service.job(after["id"])["status"] == "COMPLETED"
