"""Requests that arrive while an upload is being completed."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from airflow_provider_atai.emulator.files import uploads

if TYPE_CHECKING:
    import requests

CONTENT = b"0123456789ab"


class Completion:
    """A complete request that has begun and does not end before ``finish`` is called."""

    def __init__(self, service, may_go_on, pool):
        self._service = service
        self._may_go_on = may_go_on
        self._pool = pool
        service.control.set_switches(part_size=5)
        upload = service.initiate("a.txt", len(CONTENT), "text/plain")
        self._path = f"/files/uploads/{upload['upload_id']}"
        self.tokens = [service.put_part(part, CONTENT) for part in upload["parts"]]
        self.first: Future[requests.Response]

    def call(self, name, body):
        """Make a call on the upload from another thread."""
        caller = type(self._service)(self._service.control)
        return self._pool.submit(caller, "POST", f"{self._path}/{name}", json=body)

    def finish(self):
        """Let the request end, and return its answer."""
        self._may_go_on.set()
        return self.first.result(30)


@pytest.fixture
def completion(service, monkeypatch):
    has_begun, may_go_on = threading.Event(), threading.Event()
    assemble = uploads.assemble

    def slowly(*arguments):
        has_begun.set()
        assert may_go_on.wait(30)
        return assemble(*arguments)

    monkeypatch.setattr(uploads, "assemble", slowly)
    with ThreadPoolExecutor(4) as pool:
        completion = Completion(service, may_go_on, pool)
        completion.first = completion.call("complete", {"parts": completion.tokens})
        assert has_begun.wait(30)
        yield completion
        may_go_on.set()


def test_file_that_arrives_during_completion_is_not_overwritten(service, completion):
    assert service.post_file("a.txt", b"other", "text/plain").status_code == 200
    answer = completion.finish()
    assert (answer.status_code, service.code_of(answer)) == (409, "conflict")
    assert service("GET", "/files/download/a.txt").content == b"other"
    # The upload is open again.
    assert service("DELETE", "/files/delete/a.txt").status_code == 200
    assert completion.call("complete", {"parts": completion.tokens}).result(30).status_code == 200
    assert service("GET", "/files/download/a.txt").content == CONTENT


@pytest.mark.parametrize("policy", ["conflict", "replace"])
@pytest.mark.parametrize("resume", [False, True])
def test_initiate_during_completion_is_a_conflict(service, completion, policy, resume):
    service.control.set_switches(initiate_over_unfinished=policy)
    body = {"filename": "a.txt", "file_type": "text/plain", "num_bytes": 12, "resume_if_started": resume}
    assert service("POST", "/files/uploads/initiate", json=body).status_code == 409
    assert service.control.state()["unfinished_uploads"] == 1
    assert service("GET", "/files/download/a.txt").status_code == 400
    assert completion.finish().status_code == 200


@pytest.mark.parametrize("name", ["complete", "abort", "parts/checkpoint", "parts/urls"])
def test_calls_during_completion_wait_for_its_end(service, completion, name):
    second = completion.call(name, {"parts": completion.tokens, "part_numbers": [0]})
    while len(service.control.requests(path=f"*/{name}")) < (2 if name == "complete" else 1):
        pass
    # The emulator has answered another request after it got this call.
    assert service("GET", "/files/metadata/a.txt").status_code == 404
    assert not second.done()
    assert completion.finish().status_code == 200
    assert (second.result(30).status_code, service.code_of(second.result())) == (409, "conflict")
    assert service("GET", "/files/download/a.txt").content == CONTENT


def test_reset_during_completion_forgets_the_upload(service, completion):
    service.control.reset()
    answer = completion.finish()
    assert (answer.status_code, service.code_of(answer)) == (404, "upload_not_found")
    assert service.control.files() == []
