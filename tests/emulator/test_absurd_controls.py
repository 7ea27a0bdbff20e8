"""Whatever number a control is given, the emulator refuses it or goes on: no 500, and none later."""

from __future__ import annotations

import json

import pytest

HUGE = (1e300, -1e300, 10**30, -(10**30), 10**4000)
NUMBERS = [
    *HUGE,
    -1,
    0,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e-300,
    2**63,
    1e9,
    True,
    "1e400",
    "\ud800",
]
FIELDS = [
    ("PATCH", "/clock", lambda number: {"scale": number}),
    ("PATCH", "/clock", lambda number: {"advance": number}),
    *(
        ("PATCH", "/life", lambda number, name=name: {name: number})
        for name in ("registered", "starting", "running", "finalizing", "stopping", "checkpoints")
    ),
    ("PATCH", "/life", lambda number: {"checkpoint_steps": number}),
    ("PATCH", "/life", lambda number: {"ingest": number}),
    ("POST", "/outcomes", lambda number: {"outcome": {"status": "FAILED", "at": number}}),
    ("POST", "/outcomes", lambda number: {"outcome": {"status": "RUNNING", "for_seconds": number}}),
    ("POST", "/outcomes", lambda number: {"outcome": {"status": number}, "job_id": number}),
    ("POST", "/faults", lambda number: {"path": "/x", "skip": number}),
    ("POST", "/faults", lambda number: {"path": "/x", "count": number}),
    ("POST", "/faults", lambda number: {"path": "/x", "status": number}),
    ("POST", "/faults", lambda number: {"path": "/x", "delay": number}),
    ("POST", "/faults", lambda number: {"path": "/fine-tune/jobs/y", "retry_after": number}),
    ("POST", "/faults", lambda number: {"path": "/fine-tune/jobs/y", "body": "json", "content": number}),
    ("POST", "/faults", lambda number: {"path": "/fine-tune/jobs/y", "body": "html", "message": number}),
    ("PATCH", "/switches", lambda number: {"part_size": number}),
    ("PATCH", "/switches", lambda number: {"presigned_url_seconds": number}),
    ("PATCH", "/switches", lambda number: {"direct_max_bytes": number}),
    ("PATCH", "/switches", lambda number: {"proxy_max_bytes": number}),
    (
        "PUT",
        "/api-key",
        lambda number: {"api_key": "sk_two" if number else "sk_emulator", "organisation": number},
    ),
]


def control(service, method, path, body):
    # json.dumps writes NaN and Infinity, which requests refuses to send.
    url = f"{service.control.root_url}/_emulator{path}"
    headers = {"Content-Type": "application/json"}
    return service.session.request(method, url, data=json.dumps(body), headers=headers, timeout=30)


@pytest.mark.parametrize(("method", "path", "body"), FIELDS)
def test_no_number_breaks_the_emulator(service, caplog, method, path, body):
    service.upload()
    for number in NUMBERS:
        # Twice: what is finite once need not be so if it is added up.
        for _ in range(2):
            assert control(service, method, path, body(number)).status_code in (200, 400, 422)
        answer = service.create()
        assert answer.status_code == 200, answer.text
        job = answer.json()["id"]
        for then in ("", "/metrics", "/stop", "/cancel"):
            sent = service("PUT" if then in ("/stop", "/cancel") else "GET", f"/fine-tune/jobs/{job}{then}")
            assert sent.status_code in (200, 409), sent.text
        service("GET", "/fine-tune/jobs/y")
        initiated = {"filename": "b.csv", "file_type": "text/csv", "num_bytes": 2, "resume_if_started": True}
        assert service("POST", "/files/uploads/initiate", json=initiated).status_code in (200, 413)
        assert service("GET", "/files/metadata/train.jsonl").status_code == 200
        assert service.control.state()["clock"]["job_time"] < float("inf")
        assert isinstance(service.control.jobs(), list)
        service.control.advance(1)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


@pytest.mark.parametrize("fault_id", ["nan", str(10**30), "-1", "1e3"])
def test_no_number_of_a_fault_breaks_the_emulator(service, fault_id):
    url = f"{service.control.root_url}/_emulator/faults?fault_id={fault_id}"
    assert service.session.delete(url, timeout=30).status_code == 422
    assert service.control.faults() == []
