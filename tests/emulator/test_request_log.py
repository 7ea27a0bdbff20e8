from __future__ import annotations

import http.client
import json
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import requests


def test_log_entry_of_a_request(service):
    service("GET", "/fine-tune/jobs?limit=3&statuses=RUNNING")
    service("POST", "/fine-tune/jobs", json={"name": "é"})
    service("GET", "/fine-tune/jobs/a%20b%2Fc")
    entries = service.control.requests()
    times = [entry.pop("time") for entry in entries]
    assert times == sorted(times)
    assert all(time.endswith("Z") for time in times)
    assert entries == [
        {
            "method": "GET",
            "path": "/v0.5/fine-tune/jobs",
            "query": "limit=3&statuses=RUNNING",
            "status": 200,
            "fault": None,
            "body": None,
        },
        {
            "method": "POST",
            "path": "/v0.5/fine-tune/jobs",
            "query": "",
            "status": 400,
            "fault": None,
            "body": {"name": "é"},
        },
        {
            "method": "GET",
            "path": "/v0.5/fine-tune/jobs/a%20b%2Fc",
            "query": "",
            "status": 404,
            "fault": None,
            "body": None,
        },
    ]


def test_body_that_is_not_json_is_kept_as_text(service):
    service("POST", "/fine-tune/jobs", data=b"{", headers={"Content-Type": "application/json"})
    assert service.control.requests()[0]["body"] == "{"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"a": NaN}', '{"a": NaN}'),
        (b'{"a": 1e999}', '{"a": 1e999}'),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        (b"[" * 100_000, "[" * 100_000),
        (b'"\xff"', "\ufffd"),
    ],
    ids=["nan", "infinite", "lone surrogate", "deep", "no unicode"],
)
def test_odd_body_does_not_break_the_log(service, body, shown):
    service("POST", "/fine-tune/jobs", data=body, headers={"Content-Type": "application/json"})
    service("GET", "/fine-tune/jobs")
    assert [entry["body"] for entry in service.control.requests()] == [shown, None]


@pytest.mark.parametrize("effect", ["answer", "drop_before", "drop_after"])
def test_body_of_a_request_that_a_fault_hits_is_kept(service, effect):
    service.control.add_fault(effect=effect)
    body = service.body("no-such.jsonl")
    with suppress(requests.ConnectionError):
        service("POST", "/fine-tune/jobs", json=body)
    (entry,) = service.control.requests()
    assert (entry["fault"] is not None, entry["body"]) == (True, body)


def test_neither_keys_nor_signatures_nor_contents_are_logged(service):
    upload = service.initiate(num_bytes=8)
    (part,) = upload["parts"]
    requests.put(part["url"], data=b"contents", timeout=30)
    service.post_file("a.txt", b"contents", "text/plain")
    type(service)(service.control, key="sk_wrong")("GET", "/fine-tune/jobs")
    log = json.dumps(service.control.requests())
    assert len(service.control.requests()) == 4
    for secret in ("sk_emulator", "sk_wrong", part["url"].rpartition("=")[2], "contents"):
        assert secret not in log
    assert "X-Emulator-Signature=removed" in log


def test_controls_are_not_logged_and_the_log_can_be_cleared(service):
    service("GET", "/fine-tune/jobs")
    service.control.state()
    assert len(service.control.requests()) == 1
    service.control.clear_requests()
    assert service.control.requests() == []


def test_log_can_be_filtered_by_method_and_path(service):
    service("GET", "/fine-tune/jobs")
    service("GET", "/fine-tune/jobs/x")
    service("PUT", "/fine-tune/jobs/x/cancel")
    assert len(service.control.requests("GET")) == 2
    assert len(service.control.requests(path="*/jobs/*")) == 2
    assert len(service.control.requests("GET", "*/jobs/x")) == 1


@pytest.mark.parametrize("forget", ["clear_requests", "reset"])
def test_request_that_ends_late_does_not_change_another_entry(service, forget):
    connection = http.client.HTTPConnection(urlsplit(service.control.root_url).netloc, timeout=30)
    connection.putrequest("POST", "/v0.5/fine-tune/jobs")
    connection.putheader("Authorization", f"Bearer {service.control.api_key}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{")
    while not service.control.requests():
        pass
    getattr(service.control, forget)()
    service("GET", "/fine-tune/jobs")
    connection.send(b"}")
    assert connection.getresponse().status == 400
    connection.close()
    (entry,) = service.control.requests()
    assert (entry["method"], entry["status"], entry["body"]) == ("GET", 200, None)
