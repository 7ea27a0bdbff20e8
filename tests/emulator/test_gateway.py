from __future__ import annotations

import http.client
import json
import threading
from typing import get_args
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_atai.emulator.faults import BodyKind

JOBS = "/fine-tune/jobs"
MESSAGE = "The emulator was told to answer this"


@pytest.mark.parametrize(
    ("rule", "status", "content_type", "body"),
    [
        ({"body": "detail"}, 503, "application/json", {"detail": MESSAGE}),
        ({"body": "detail", "message": "No."}, 503, "application/json", {"detail": "No."}),
        (
            {"body": "detail_list", "status": 422},
            422,
            "application/json",
            {"detail": [{"loc": ["body"], "msg": MESSAGE, "type": "value_error"}]},
        ),
        (
            {"body": "old_error", "status": 429, "code": "slow", "retry_after": 60},
            429,
            "application/json",
            {"error": {"code": "slow", "message": MESSAGE, "details": {"retry_after": 60}}},
        ),
        ({"body": "json", "status": 200, "content": [1, None]}, 200, "application/json", [1, None]),
    ],
)
def test_answer_has_the_body_of_its_kind(service, rule, status, content_type, body):
    service.control.add_fault(**rule)
    answer = service("GET", JOBS)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, content_type)
    assert answer.json() == body
    assert service("GET", JOBS).json() == []


def test_answer_defaults_to_the_documented_envelope(service):
    service.control.add_fault(status=500, code="internal_logic_error", message="Broken")
    answer = service("GET", JOBS)
    assert (answer.status_code, service.code_of(answer)) == (500, "internal_logic_error")
    assert answer.json()["errors"][0]["message"] == "Broken"


@pytest.mark.parametrize(
    ("body", "status", "content_type", "part"),
    [
        ("html", 503, "text/html; charset=utf-8", "<h1>"),
        ("empty", 503, None, ""),
        ("url_expired", 403, "application/xml", "Request has expired"),
        ("token_expired", 400, "application/xml", "<Code>TokenExpired</Code>"),
    ],
)
def test_answer_can_have_a_body_that_is_not_json(service, body, status, content_type, part):
    service.control.add_fault(body=body)
    answer = service("GET", JOBS)
    assert (answer.status_code, answer.headers.get("Content-Type")) == (status, content_type)
    assert part in answer.text
    assert (answer.text == "") is (part == "")


@pytest.mark.parametrize("retry_after", [7, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_retry_after_is_sent_as_given(service, retry_after):
    service.control.add_fault(status=429, retry_after=retry_after)
    assert service("GET", JOBS).headers["Retry-After"] == str(retry_after)
    assert "Retry-After" not in service("GET", JOBS).headers


@pytest.mark.parametrize(
    "rule",
    [
        {"effect": "merge", "content": {"status": "ODD"}},
        {"effect": "delay"},
        {"effect": "truncate"},
        *({"body": body} for body in get_args(BodyKind)),
    ],
)
def test_retry_after_comes_with_every_answer(service, rule):
    service.control.add_fault(retry_after=7, **rule)
    assert service("GET", JOBS).headers["Retry-After"] == "7"


def test_answer_carries_nothing_out(service):
    service.upload()
    service.control.add_fault(method="POST", path=JOBS)
    assert service.create().status_code == 503
    assert service.control.jobs() == []


def test_client_sees_the_answer_to_a_large_request(service):
    service.control.add_fault(method="PUT", path="/_storage/**", body="token_expired")
    content = b"x" * 8_000_000
    (part,) = service.initiate(num_bytes=len(content))["parts"]
    url = urlsplit(part["url"])
    # This client gives up if the connection breaks while it is sending, and would not see an early answer.
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    connection.request("PUT", f"{url.path}?{url.query}", body=content)
    answer = connection.getresponse()
    assert (answer.status, b"TokenExpired" in answer.read()) == (400, True)
    connection.close()
    assert requests.put(part["url"], data=content, timeout=30).status_code == 200


@pytest.mark.parametrize(("effect", "jobs"), [("drop_before", 0), ("drop_after", 1)])
def test_dropped_connection_before_or_after_the_effect(service, effect, jobs):
    service.upload()
    fault = service.control.add_fault(method="POST", path=JOBS, effect=effect)
    with pytest.raises(requests.ConnectionError, match=r"RemoteDisconnected|ConnectionResetError"):
        service.create()
    assert len(service.control.jobs()) == jobs
    assert service.control.fired(fault) == 1
    assert service.control.requests("POST", f"*{JOBS}")[-1]["status"] is None
    assert service.create().status_code == 200


def test_drop_midway_sends_half_of_the_body(service):
    job = service.created()
    service.control.add_fault(path=f"{JOBS}/*", effect="drop_midway")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        service("GET", f"{JOBS}/{job['id']}")
    assert service.job(job["id"]) == job


def test_drop_midway_of_an_empty_body_drops_the_whole_answer(service):
    upload = service.initiate(num_bytes=2)
    service.control.add_fault(path="/files/uploads/**", effect="drop_midway")
    with pytest.raises(requests.ConnectionError):
        service("POST", f"/files/uploads/{upload['upload_id']}/abort")
    assert service.control.state()["unfinished_uploads"] == 0


def test_truncate_frames_half_of_the_body_as_whole(service):
    job = service.created()
    whole = json.dumps(job, separators=(",", ":"))
    service.control.add_fault(path=f"{JOBS}/*", effect="truncate")
    answer = service("GET", f"{JOBS}/{job['id']}")
    assert answer.status_code == 200
    assert answer.text == whole[: len(whole) // 2]


def test_merge_changes_the_answer_and_nothing_else(service):
    service.control.add_fault(path="/files", effect="merge", content={"is_valid": False})
    answer = service.post_file("a.txt", b"x", "text/plain")
    assert (answer.status_code, answer.json()["is_valid"], answer.json()["file_id"]) == (200, False, "a.txt")
    job = service.created()
    service.control.add_fault(path=f"{JOBS}/*", effect="merge", content={"status": "ODD"})
    assert service.job(job["id"]) == job | {"status": "ODD"}
    assert service.job(job["id"]) == job


def test_merge_leaves_an_answer_that_is_not_an_object(service):
    service.control.add_fault(effect="merge", content={"x": 1})
    assert service("GET", JOBS).json() == []


def test_delay_is_between_the_effect_and_the_answer(service):
    service.upload()
    service.control.add_fault(method="POST", path=JOBS, effect="delay", delay=300)
    with pytest.raises(requests.ReadTimeout):
        service.session.post(f"{service.control.base_url}{JOBS}", json=service.body(), timeout=0.5)
    assert len(service.control.jobs()) == 1
    # Meanwhile the emulator answers other requests.
    assert service.create().status_code == 200


def test_delay_passes_the_answer_on(service):
    job = service.created()
    service.control.add_fault(path=f"{JOBS}/*", effect="delay", delay=0.01)
    assert service.job(job["id"]) == job


def test_faults_come_before_the_key(service):
    service.control.add_fault(status=502)
    assert requests.get(f"{service.control.base_url}{JOBS}", timeout=30).status_code == 502


def test_controls_are_never_hit(service):
    service.control.add_fault(count=None, effect="drop_before")
    assert service.control.state()["faults"] == 1


def test_dropped_connection_leaves_the_others_open(service):
    service.control.add_fault(path=f"{JOBS}/slow", effect="drop_after", delay=0.2)
    service.created(id="slow")
    slow: list[Exception | requests.Response] = []

    def call():
        try:
            slow.append(type(service)(service.control)("GET", f"{JOBS}/slow"))
        except requests.ConnectionError as error:
            slow.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    answers = [service("GET", JOBS).status_code for _ in range(20)]
    thread.join()
    assert answers == [200] * 20
    assert isinstance(slow[0], requests.ConnectionError)


def test_dropped_connection_sends_nothing_at_all(service):
    service.control.add_fault(effect="drop_before")
    connection = http.client.HTTPConnection(urlsplit(service.control.root_url).netloc, timeout=30)
    connection.request("GET", "/v0.5/fine-tune/jobs")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        connection.getresponse()
    connection.close()


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("body", get_args(BodyKind))
def test_status_without_a_body_is_answered_without_one(service, caplog, status, body):
    service.control.add_fault(status=status, body=body)
    answer = service("GET", JOBS)
    assert (answer.status_code, answer.content) == (status, b"")
    # The connection is still good for the next request.
    assert service("GET", JOBS).status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("effect", ["merge", "truncate", "drop_midway", "delay"])
def test_changed_answer_without_a_body_disturbs_nothing(service, caplog, effect):
    """Two rules cannot hit one request, so the answer without a body is that of an abort."""
    service.control.add_fault(effect=effect, content={"a": 1}, path="/files/uploads/*/abort")
    path = f"/files/uploads/{service.initiate()['upload_id']}/abort"
    try:
        assert service("POST", path).status_code == 200
    except requests.ConnectionError:
        assert effect == "drop_midway"
    assert service("GET", JOBS).status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
