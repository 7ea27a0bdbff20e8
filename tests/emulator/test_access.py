from __future__ import annotations

import pytest
import requests

from airflow_provider_atai.emulator.control import EmulatorControlError

PATHS = [
    ("GET", "/v0.5/fine-tune/jobs"),
    ("POST", "/v0.5/fine-tune/jobs"),
    ("PUT", "/v0.5/fine-tune/jobs/x/cancel"),
    ("GET", "/v0.5/files/metadata"),
    ("POST", "/v0.5/files"),
    ("POST", "/v0.5/files/uploads/initiate"),
    ("DELETE", "/v0.5/files/delete/x"),
    ("GET", "/api/files/metadata"),
    ("GET", "/v0.5/no-such"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer sk_wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "sk_emulator"},
        {"Authorization": "Basic sk_emulator"},
        {"X-API-Key": "sk_emulator"},
    ],
    ids=["none", "wrong", "empty", "no scheme", "basic", "other header"],
)
def test_request_without_a_valid_key_is_a_401(service, method, path, headers):
    # The body is invalid, too: the answer shows that the key is checked first.
    answer = requests.request(
        method, f"{service.control.root_url}{path}", headers=headers, data=b"{", timeout=30
    )
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Invalid API key" if "Authorization" in headers else "Missing API key"}


def test_rotated_key_replaces_the_old_one_until_reset(service):
    job = service.created()
    service.control.set_api_key("sk_new")
    assert service("GET", f"/fine-tune/jobs/{job['id']}").status_code == 401
    assert type(service)(service.control, key="sk_new").job(job["id"]) == job
    service.control.reset()
    assert service("GET", "/fine-tune/jobs").status_code == 200


def test_key_belongs_to_one_organisation(start_emulator, service):
    control = start_emulator(
        None, "--api-key", "sk_one", "--api-key", "sk_two", "--api-key", "sk_one"
    ).control
    one, two = (type(service)(control, key=key) for key in ("sk_one", "sk_two"))
    orgs = [one.created()["org_uuid"], two.created()["org_uuid"]]
    with pytest.raises(EmulatorControlError, match="Another organisation"):
        control.set_api_key("sk_two")
    assert [one.created()["org_uuid"], two.created()["org_uuid"]] == orgs


def test_reset_gives_every_organisation_its_own_key_again(start_emulator, service):
    control = start_emulator(None, "--api-key", "sk_one", "--api-key", "sk_two").control
    orgs = [type(service)(control, key=key).created()["org_uuid"] for key in ("sk_one", "sk_two")]
    control.set_api_key("sk_three")
    control.set_api_key("sk_one", organisation=1)
    assert type(service)(control, key="sk_one").created()["org_uuid"] == orgs[1]
    control.reset()
    assert [type(service)(control, key=key).created()["org_uuid"] for key in ("sk_one", "sk_two")] == orgs


def test_controls_need_no_key(service):
    assert requests.get(f"{service.control.root_url}/_emulator", timeout=30).status_code == 200


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
def test_third_party_routes_are_unknown_paths_by_default(service, method, path, prefix):
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
def test_fine_tune_api_under_api_is_an_unknown_path_by_default(service, method, path, options):
    service.control.set_switches(third_party_endpoints=True)
    service.created(id="x")
    answer = service.under("/api")(method, path, **options)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert service.job("x")


def test_runner_status_counts_only_the_jobs_of_the_caller(start_emulator, service):
    control = start_emulator(None, "--api-key", "sk_one", "--api-key", "sk_two").control
    one, two = (type(service)(control, key=key) for key in ("sk_one", "sk_two"))
    control.set_switches(third_party_endpoints=True)
    control.pause()
    one.created()
    statuses = [caller("GET", "/fine-tune/status").json()["status"] for caller in (one, two)]
    assert statuses == ["BUSY", "READY"]


@pytest.mark.parametrize(
    ("path", "is_json"),
    [("/v0.5/no-such", True), ("/fine-tune/jobs", False), ("/fine-tune/status", False), ("/", False)],
)
def test_unknown_path_is_a_404_and_has_a_body_only_under_the_api(service, path, is_json):
    answer = service.under("")("GET", path)
    assert answer.status_code == 404
    assert (answer.content != b"") is is_json
