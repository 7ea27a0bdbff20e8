"""Paths that there are not, or that a switch leaves out."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/fine-tune/jobs/x"),
        ("DELETE", f"/fine-tune/jobs/{'x' * 65}"),
        ("GET", "/fine-tune/status"),
        ("PATCH", "/fine-tune/status"),
    ],
)
@pytest.mark.parametrize("prefix", ["/v0.5", "/api"])
def test_what_only_a_third_party_knows_is_an_unknown_path(
    service: Any, method: str, path: str, prefix: str
) -> None:
    service.control.set_switches(fine_tune_under_api=True)
    service.created(id="x")
    answer = service.under(prefix)(method, path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert service.job("x")


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/fine-tune/jobs/x", {}),
        ("GET", f"/fine-tune/jobs/{'x' * 65}", {}),
        ("GET", "/fine-tune/jobs?limit=x", {}),
        ("PATCH", "/fine-tune/jobs", {}),
        ("POST", "/fine-tune/jobs", {"data": b"{", "headers": {"Content-Type": "application/json"}}),
        ("DELETE", "/fine-tune/jobs/x", {}),
    ],
)
def test_the_fine_tune_api_under_api_is_an_unknown_path(
    service: Any, method: str, path: str, options: dict[str, Any]
) -> None:
    service.control.set_switches(third_party_endpoints=True)
    service.created(id="x")
    answer = service.under("/api")(method, path, **options)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert service.job("x")


def test_the_runner_is_busy_with_the_jobs_of_the_caller(start_emulator: Any, service: Any) -> None:
    control = start_emulator(None, "--api-key", "sk_one", "--api-key", "sk_two").control
    one, two = (type(service)(control, key=key) for key in ("sk_one", "sk_two"))
    control.set_switches(third_party_endpoints=True)
    control.pause()
    one.created()
    statuses = [caller("GET", "/fine-tune/status").json()["status"] for caller in (one, two)]
    assert statuses == ["BUSY", "READY"]


@pytest.mark.parametrize(
    ("path", "is_json"), [("/v0.5/no-such", True), ("/fine-tune/jobs", False), ("/", False)]
)
def test_unknown_paths(service: Any, path: str, is_json: bool) -> None:
    answer = service.under("")("GET", path)
    assert answer.status_code == 404
    assert (answer.content != b"") is is_json
