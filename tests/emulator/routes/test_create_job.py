"""Which create-job requests are refused, and which are not."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

REMOVED = object()


def changed(body, path, value):
    body = deepcopy(body)
    target: Any = body
    for step in path[:-1]:
        target = target[step]
    if value is REMOVED:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return body


DATASET = ("config", "datasets", 0)


@pytest.mark.parametrize(
    ("path", "value", "code", "said"),
    [
        (("name",), REMOVED, "missing_parameter", "name"),
        (("config",), REMOVED, "missing_parameter", "config"),
        (("config", "datasets"), REMOVED, "missing_parameter", "config.datasets"),
        ((*DATASET, "name"), REMOVED, "missing_parameter", "config.datasets.0.name"),
        ((*DATASET, "split"), REMOVED, "missing_parameter", "config.datasets.0.split"),
        ((*DATASET, "file_ids"), REMOVED, "missing_parameter", "config.datasets.0.file_ids"),
        (("name",), "", "invalid_parameter", "name"),
        (("name",), 7, "invalid_parameter", "name"),
        (("name",), None, "invalid_parameter", "name"),
        (("id",), "", "invalid_parameter", "id"),
        (("id",), "x" * 65, "invalid_parameter", "id"),
        (("id",), 7, "invalid_parameter", "id"),
        (("id",), "a/b", "invalid_parameter", "id"),
        (("id",), "mine/metrics", "invalid_parameter", "id"),
        (("id",), ".", "invalid_parameter", "id"),
        (("id",), "..", "invalid_parameter", "id"),
        (("config",), [], "invalid_parameter", "config"),
        (("config", "model"), 7, "invalid_parameter", "config.model"),
        (("config", "datasets"), [], "invalid_parameter", "config.datasets"),
        (("config", "datasets"), {}, "invalid_parameter", "config.datasets"),
        (("config", "datasets"), ["train.jsonl"], "invalid_parameter", "config.datasets.0"),
        ((*DATASET, "split"), "test", "invalid_parameter", "config.datasets.0.split"),
        ((*DATASET, "split"), "eval", "missing_parameter", "'train'"),
        ((*DATASET, "file_ids"), "train.jsonl", "invalid_parameter", "config.datasets.0.file_ids"),
        ((*DATASET, "file_ids"), [], "invalid_parameter", "config.datasets.0.file_ids"),
        ((*DATASET, "file_ids"), [7], "invalid_parameter", "config.datasets.0.file_ids.0"),
        ((*DATASET, "file_ids"), ["no-such.jsonl"], "invalid_parameter", "no-such.jsonl"),
    ],
)
def test_create_refuses_an_impossible_value(service, path, value, code, said):
    service.upload()
    answer = service("POST", "/fine-tune/jobs", json=changed(service.body(), path, value))
    assert (answer.status_code, service.code_of(answer)) == (400, code)
    (entry,) = answer.json()["errors"]
    assert said in entry["message"]
    assert entry["error_uid"].startswith("err-")
    assert service.control.jobs() == []


def test_error_body_has_an_entry_for_every_mistake(service):
    answer = service("POST", "/fine-tune/jobs", json={"id": "", "config": {}})
    assert answer.status_code == 400
    assert [(entry["code"], entry["message"].split(": ")[0]) for entry in answer.json()["errors"]] == [
        ("missing_parameter", "Missing required parameter"),
        ("invalid_parameter", "Invalid value for id"),
        ("missing_parameter", "Missing required parameter"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"data": b"{", "headers": {"Content-Type": "application/json"}},
        {"data": b"\xff\xfe", "headers": {"Content-Type": "application/json"}},
        {"json": []},
        {"json": "text"},
        {"data": b'{"name": "x"}'},
        {},
        {"data": b'{"name": "\xff"}', "headers": {"Content-Type": "application/json"}},
        {"data": b"[" * 100_000, "headers": {"Content-Type": "application/json"}},
    ],
    ids=["half", "other encoding", "list", "text", "no type", "nothing", "no unicode", "deep"],
)
def test_body_that_is_not_a_json_object_is_refused(service, options):
    answer = service("POST", "/fine-tune/jobs", **options)
    assert answer.status_code == 400
    assert answer.json()["errors"]


@pytest.mark.parametrize("odd", [b"NaN", b"-Infinity", b"1e999", b'"\\ud800"', b"[" * 100_000])
@pytest.mark.parametrize("validation_errors", ["errors", "detail_list"])
def test_json_that_only_python_accepts_is_refused(service, odd, validation_errors):
    service.control.set_switches(validation_errors=validation_errors)
    service.upload()
    body = service.body()
    body["config"]["tags"] = "odd"
    data = json.dumps(body).encode().replace(b'"odd"', odd)
    answer = service("POST", "/fine-tune/jobs", data=data, headers={"Content-Type": "application/json"})
    if validation_errors == "errors":
        assert (answer.status_code, service.code_of(answer)) == (400, "invalid_parameter")
        assert answer.json()["errors"][0]["message"] == "The request body is not JSON"
    else:
        assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "json_invalid")
    assert service.control.jobs() == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "x" * 64),
        (("id",), "with space+and?mark#"),
        (("id",), "..."),
        (("id",), None),
        (("config", "model"), None),
        (("config", "model"), REMOVED),
        (("config", "model"), "Newton::another"),
        (("config", "epochs"), 3),
        (("tags",), ["x"]),
    ],
)
def test_create_accepts_an_unusual_value(service, path, value):
    service.upload()
    answer = service("POST", "/fine-tune/jobs", json=changed(service.body(), path, value))
    assert answer.status_code == 200, answer.text


def test_unknown_file_is_reported_before_a_duplicate_id(service):
    service.created(id="mine")
    assert service.create(id="mine", file_id="no-such.jsonl").status_code == 400


def test_file_uid_is_resolved_to_the_files_name(service):
    """As in the documented example, where the answer names a file that the request names by its id."""
    uid = service.upload()
    (dataset,) = service.create(file_id=uid).json()["config"]["datasets"]
    assert dataset["file_ids"] == ["train.jsonl"]


def test_files_of_another_organisation_are_unknown(start_emulator, service):
    control = start_emulator(None, "--api-key", "sk_one", "--api-key", "sk_two").control
    one, two = type(service)(control, key="sk_one"), type(service)(control, key="sk_two")
    one.upload()
    job = one.create().json()
    assert two.create().status_code == 400
    assert two("GET", f"/fine-tune/jobs/{job['id']}").status_code == 404
    assert two("GET", "/fine-tune/jobs").json() == []
    assert two("GET", "/files/download/train.jsonl").status_code == 404
    upload = one.initiate("half.jsonl")
    assert two("POST", f"/files/uploads/{upload['upload_id']}/abort").status_code == 404
    assert two.initiate("half.jsonl")["upload_id"] != upload["upload_id"]
    two.upload()
    assert two.create().json()["org_uuid"] != job["org_uuid"]
