"""Which requests a fault rule hits, and which rules are refused."""

from __future__ import annotations

import pytest
import requests

from airflow_provider_atai.emulator.control import EmulatorControlError
from airflow_provider_atai.emulator.faults import FaultRule

JOBS = "/fine-tune/jobs"


@pytest.mark.parametrize(
    ("method", "pattern", "request_", "matches"),
    [
        ("*", "**", ("GET", "/v0.5/fine-tune/jobs"), True),
        ("GET", "**", ("POST", "/v0.5/fine-tune/jobs"), False),
        ("*", "/fine-tune/jobs", ("POST", "/v0.5/fine-tune/jobs"), True),
        ("*", "/v0.5/fine-tune/jobs", ("POST", "/v0.5/fine-tune/jobs"), True),
        ("*", "/fine-tune/jobs", ("GET", "/v0.5/fine-tune/jobs/x"), False),
        ("*", "/fine-tune/jobs/*", ("GET", "/v0.5/fine-tune/jobs/x"), True),
        ("*", "/fine-tune/jobs/*", ("GET", "/v0.5/fine-tune/jobs/x/metrics"), False),
        ("*", "/fine-tune/jobs/*/metrics", ("GET", "/v0.5/fine-tune/jobs/x/metrics"), True),
        ("*", "/fine-tune/**", ("GET", "/v0.5/fine-tune/jobs/x/metrics"), True),
        ("*", "/fine-tune/jobs/a.c", ("GET", "/v0.5/fine-tune/jobs/abc"), False),
        ("*", "/files", ("POST", "/api/files"), True),
        ("*", "/files/**", ("POST", "/v0.5/files"), True),
        ("*", "/files/**", ("POST", "/v0.5/files/uploads/initiate"), True),
        ("*", "/files/**", ("POST", "/v0.5/filesystem"), False),
        ("*", "/fine-tune/**/metrics", ("GET", "/v0.5/fine-tune/jobs/x/metrics"), True),
        ("*", "/fine-tune/**/jobs", ("GET", "/v0.5/fine-tune/jobs"), True),
        ("*", "**/jobs", ("GET", "/v0.5/fine-tune/jobs"), True),
        ("*", "/**", ("GET", "/v0.5/fine-tune/jobs"), True),
        ("get", "**", ("GET", "/v0.5/fine-tune/jobs"), True),
        ("*", "/_storage/**", ("PUT", "/_storage/upl_x/0"), True),
    ],
)
def test_rule_matches_method_and_path(method, pattern, request_, matches):
    assert FaultRule(method=method, path=pattern).matches(*request_) is matches


@pytest.mark.parametrize(
    ("skip", "count", "statuses"),
    [
        (0, 1, [503, 200, 200, 200]),
        (0, 2, [503, 503, 200, 200]),
        (2, 1, [200, 200, 503, 200]),
        (1, None, [200, 503, 503, 503]),
    ],
)
def test_rule_skips_and_counts_its_hits(service, skip, count, statuses):
    fault = service.control.add_fault(path=JOBS, skip=skip, count=count)
    assert [service("GET", JOBS).status_code for _ in statuses] == statuses
    assert service.control.fired(fault) == statuses.count(503)


def test_first_rule_that_applies_wins(service):
    first = service.control.add_fault(path=JOBS, status=500)
    second = service.control.add_fault(path=JOBS, status=502)
    assert [service("GET", JOBS).status_code for _ in range(3)] == [500, 502, 200]
    assert (service.control.fired(first), service.control.fired(second)) == (1, 1)
    assert [request["fault"] for request in service.control.requests()] == [first, second, None]


def test_cleared_faults_do_nothing(service):
    service.control.add_fault(count=None)
    assert service("GET", JOBS).status_code == 503
    service.control.clear_faults()
    assert (service("GET", JOBS).status_code, service.control.faults()) == (200, [])


@pytest.mark.parametrize("forget", ["clear_faults", "reset"])
def test_fault_number_is_never_reused(service, forget):
    old = service.control.add_fault(path=JOBS)
    getattr(service.control, forget)()
    new = service.control.add_fault(path=JOBS)
    assert service("GET", JOBS).status_code == 503
    assert service.control.fired(new) == 1
    with pytest.raises(EmulatorControlError, match=f"no fault {old}"):
        service.control.fired(old)


@pytest.mark.parametrize(
    "rule",
    [
        {"effect": "explode"},
        {"status": 42},
        {"count": 0},
        {"skip": -1},
        {"delay": -1},
        {"no_such": 1},
        {"body": "x"},
        {"method": "FETCH"},
        {"path": "fine-tune/jobs"},
        {"path": "http://127.0.0.1/v0.5/fine-tune/jobs"},
        {"path": "*"},
        {"path": ""},
        {"path": "/fine-tune/jobs?limit=1"},
        {"effect": "merge"},
        {"effect": "merge", "content": [1]},
    ],
)
def test_impossible_rule_is_refused(service, rule):
    with pytest.raises(EmulatorControlError, match="HTTP 422"):
        service.control.add_fault(**rule)
    assert service.control.faults() == []


def test_infinite_delay_is_refused(service):
    url = f"{service.control.root_url}/_emulator/faults"
    answer = requests.post(url, data=b'{"delay": 1e999}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert service.control.faults() == []
