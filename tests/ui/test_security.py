"""Who may call which route, and how. Airflow's own web application, mounted by Airflow, checks everything."""

from __future__ import annotations

import pytest

from tests.ui.conftest import add_task, record, statuses

pytestmark = pytest.mark.ui

JSON = {"Content-Type": "application/json"}
READING = ("job", "metrics")
ENDING = ("stop", "cancel")


@pytest.fixture(scope="module")
def audit(web):
    """Return the events of the audit log, newest first."""
    from airflow.models import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def events(dag_id):
        with create_session() as session:
            rows = session.scalars(select(Log).where(Log.dag_id == dag_id).order_by(Log.id.desc()))
            return [(row.event, row.owner, row.task_id, row.run_id) for row in rows]

    return events


def routes_of(router):
    """Yield each route with all dependencies that guard it, whatever router included it."""
    for route in router.routes:
        if hasattr(route, "dependant"):
            yield route, set(calls_of(route.dependant))


def calls_of(dependant):
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from calls_of(dependency)


def unguarded(app):
    """Return the paths of the routes that a user may call without the checks that they need."""
    from airflow.api_fastapi.core_api.security import get_user

    from airflow_provider_atai.ui import access

    reads = {dependency.dependency for dependency in access.READS_TASKS}
    edits = {dependency.dependency for dependency in access.EDITS_RUNS}
    found = []
    for route, calls in routes_of(app):
        if route.path.startswith("/static/"):
            continue
        changes = route.methods - {"GET", "HEAD"}
        wanted = edits if changes else reads if "{dag_id}" in route.path else {get_user}
        if not wanted <= calls or (changes and "{dag_id}" not in route.path):
            found.append(route.path)
    return found


def test_no_route_is_without_a_guard():
    from airflow_provider_atai.ui.app import create_app

    app = create_app()
    assert len(list(routes_of(app))) == 7
    assert unguarded(app) == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/open"), ("GET", "/v1/dags/{dag_id}/open")])
def test_the_walk_notices_a_route_without_a_guard(method, path):
    from airflow_provider_atai.ui.app import create_app

    app = create_app()
    app.add_api_route(path, lambda: None, methods=[method])
    assert unguarded(app) == [path]


def test_the_walk_notices_a_change_that_only_needs_the_right_to_read():
    from airflow_provider_atai.ui import access
    from airflow_provider_atai.ui.app import create_app

    app = create_app()
    app.add_api_route("/v1/dags/{dag_id}/x", lambda: None, methods=["POST"], dependencies=access.READS_TASKS)
    assert unguarded(app) == ["/v1/dags/{dag_id}/x"]


def test_the_application_describes_itself_to_nobody(web):
    for path in ("docs", "redoc", "openapi.json"):
        assert web.client("admin").get(f"/atai/{path}").status_code == 404


@pytest.mark.parametrize("route", READING)
@pytest.mark.parametrize(("user", "code"), [(None, 401), ("viewer", 200), ("user", 200), ("admin", 200)])
def test_who_may_read_a_job(web, task, route, user, code):
    assert web.client(user).get(f"{task}/{route}").status_code == code


@pytest.mark.parametrize("action", ENDING)
@pytest.mark.parametrize(
    ("user", "code"), [(None, 401), ("viewer", 403), ("user", 200), ("op", 200), ("admin", 200)]
)
def test_who_may_end_a_job(web, task, job, atai_emulator, action, user, code):
    atai_emulator.clear_requests()
    answer = web.client(user).post(f"{task}/{action}", json={"job_id": job.id})
    assert answer.status_code == code, answer.text
    asked = atai_emulator.requests(method="PUT", path=f"*/{job.id}/{action}")
    assert len(asked) == (code == 200)


@pytest.mark.parametrize("path", ["jobs", "dags/{dag_id}/jobs"])
@pytest.mark.parametrize(("user", "code"), [(None, 401), ("viewer", 200), ("user", 200)])
def test_who_may_list_jobs(web, task, dag_id, path, user, code):
    assert web.client(user).get(f"/atai/v1/{path.format(dag_id=dag_id)}").status_code == code


@pytest.mark.parametrize("user", [None, "viewer"])
def test_files_are_for_everybody_and_hold_nothing_secret(web, user):
    from airflow_provider_atai.ui.bundle import WWW, content_hash

    for file in WWW.glob("*.js"):
        answer = web.client(user).get(f"/atai/static/{content_hash()}/{file.name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", ["plugin.py", "..%2Fplugin.py", "..%2F..%2Fplugin.py", "missing.js", ""])
def test_only_the_files_of_the_pages_are_served(web, name):
    assert web.client("admin").get(f"/atai/static/x/{name}").status_code == 404


def test_a_file_of_another_version_is_not_kept(web):
    assert web.client().get("/atai/static/other/page.js").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://testserver"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver.evil.example"}, 403),
    ],
)
def test_another_site_ends_no_job(web, task, job, atai_emulator, headers, code):
    answer = web.client("admin").post(f"{task}/stop", json={"job_id": job.id}, headers=headers)
    assert answer.status_code == code
    assert len(atai_emulator.requests(method="PUT", path=f"*/{job.id}/stop")) == (code == 200)


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
def test_a_form_ends_no_job(web, task, job, atai_emulator, kind):
    body = f'{{"job_id": "{job.id}"}}'
    headers = {"Content-Type": kind} if kind else {}
    answer = web.client("admin").post(f"{task}/cancel", content=body, headers=headers)
    assert answer.status_code == 415
    assert atai_emulator.requests(method="PUT", path=f"*/{job.id}/*") == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_a_post_ends_a_job(web, task, job, atai_emulator, method):
    answer = web.client("admin").request(method, f"{task}/stop", headers=JSON)
    assert answer.status_code == 405
    assert atai_emulator.requests(method="PUT", path=f"*/{job.id}/*") == []


@pytest.mark.parametrize("body", [{}, [], "x", {"job_id": 5}, {"job_id": None}])
def test_a_post_that_names_no_job_ends_none(web, task, job, atai_emulator, body):
    assert web.client("admin").post(f"{task}/stop", json=body).status_code == 422
    assert atai_emulator.requests(method="PUT", path=f"*/{job.id}/*") == []


def test_a_post_about_another_job_ends_none(web, task, job, atai_emulator):
    """The page that a person had before their eyes may be old, and the task may have a new job."""
    answer = web.client("admin").post(f"{task}/cancel", json={"job_id": "the-one-before"})
    assert answer.status_code == 409
    assert job.id in answer.json()["detail"]
    assert atai_emulator.requests(method="PUT", path="*/cancel") == []


@pytest.mark.parametrize("sent", ["query", "body"])
def test_neither_job_nor_connection_can_be_chosen_by_the_caller(web, task, job, atai_emulator, sent):
    other = {"atai_conn_id": "other", "conn_id": "other", "job_id": job.id}
    arguments = {"params": other, "json": {"job_id": job.id}} if sent == "query" else {"json": other}
    assert web.client("admin").post(f"{task}/stop", **arguments).status_code == 200
    assert len(atai_emulator.requests(method="PUT", path=f"*/{job.id}/stop")) == 1


@pytest.mark.parametrize("route", READING)
@pytest.mark.parametrize(
    "path",
    [
        "dags/unknown/runs/r/tasks/fine_tune",
        "dags/{dag_id}/runs/unknown/tasks/fine_tune",
        "dags/{dag_id}/runs/{run_id}/tasks/unknown",
        "dags/~/runs/{run_id}/tasks/fine_tune",
    ],
)
def test_what_airflow_does_not_know_is_not_found(web, task, dag_id, route, path):
    run_id = task.split("/")[6]
    answer = web.client("admin").get(f"/atai/v1/{path.format(dag_id=dag_id, run_id=run_id)}/{route}")
    assert answer.status_code == 404
    assert "no such" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["dags/unknown/jobs", "dags/{dag_id}/jobs?run_id=unknown", "dags/~/jobs"])
def test_lists_of_what_airflow_does_not_know_are_not_found(web, task, dag_id, path):
    assert web.client("admin").get(f"/atai/v1/{path.format(dag_id=dag_id)}").status_code == 404


def test_an_unmapped_task_has_no_mapped_instance(web, task):
    assert web.client("admin").get(f"{task}/job?map_index=0").status_code == 404
    assert web.client("admin").get(f"{task}/job?map_index=x").status_code == 422


@pytest.fixture
def forbidden(web, monkeypatch):
    """Let nobody read a DAG, as an auth manager with rights per DAG can."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    names = set()
    allowed = SimpleAuthManager.is_authorized_dag

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if details is not None and details.id in names:
            return False
        return allowed(self, method=method, user=user, access_entity=access_entity, details=details)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", is_authorized_dag)
    return names


def test_a_dag_that_a_user_may_not_read_is_closed(web, task, dag_id, job, forbidden, atai_emulator):
    forbidden.add(dag_id)
    admin = web.client("admin")
    atai_emulator.clear_requests()
    for route in READING:
        assert admin.get(f"{task}/{route}").status_code == 403
    for action in ENDING:
        assert admin.post(f"{task}/{action}", json={"job_id": job.id}).status_code == 403
    assert admin.get(f"/atai/v1/dags/{dag_id}/jobs").status_code == 403
    assert atai_emulator.requests(path="*/fine-tune/*") == []


def test_a_list_leaves_out_what_a_user_may_not_read(web, dag_id, task, job, forbidden):
    hidden = f"{dag_id}_hidden"
    add_task(
        hidden, xcoms={"atai_job": record("job-hidden"), "atai_statuses": statuses("job-hidden", "FAILED")}
    )

    def listed():
        return {row["dag_id"] for row in web.client("admin").get("/atai/v1/jobs?limit=100").json()["jobs"]}

    assert {dag_id, hidden} <= listed()
    forbidden.add(hidden)
    assert dag_id in listed()
    assert hidden not in listed()


@pytest.mark.parametrize("action", ENDING)
@pytest.mark.parametrize(("user", "code"), [("user", 200), ("viewer", 403)])
def test_who_ends_a_job_or_tries_to_is_in_the_audit_log(web, task, dag_id, job, audit, action, user, code):
    assert web.client(user).post(f"{task}/{action}", json={"job_id": job.id}).status_code == code
    run_id = task.split("/")[6]
    assert audit(dag_id) == [(f"atai_fine_tune_{action}", user, "fine_tune", run_id)]


def test_reading_is_not_audited(web, task, dag_id, audit):
    web.client("user").get(f"{task}/job")
    assert audit(dag_id) == []


@pytest.mark.parametrize(("user", "allowed"), [("viewer", False), ("user", True)])
def test_the_tab_knows_who_may_end_the_job(web, task, user, allowed):
    actions = web.client(user).get(f"{task}/job").json()["actions"]
    assert {name: action["allowed"] for name, action in actions.items()} == {
        "stop": allowed,
        "cancel": allowed,
    }
    assert all((action["reason"] is None) == allowed for action in actions.values())


def test_answers_are_not_kept_by_browsers(web, task, dag_id):
    for path in (f"{task}/job", f"{task}/metrics", "/atai/v1/jobs", f"/atai/v1/dags/{dag_id}/jobs"):
        assert web.client("viewer").get(path).headers["cache-control"] == "no-store"


def test_the_key_is_in_no_answer(web, task, dag_id, job, atai_emulator):
    echo = {"errors": [{"code": "x", "message": f"no such key: {atai_emulator.api_key}"}]}
    fault = atai_emulator.add_fault(
        path="**/fine-tune/jobs/**", effect="answer", status=401, count=None, body="json", content=echo
    )
    for path in (f"{task}/job", f"{task}/metrics", f"/atai/v1/dags/{dag_id}/jobs"):
        answer = web.client("admin").get(path)
        assert answer.status_code == 200
        assert atai_emulator.api_key not in answer.text
    answer = web.client("admin").post(f"{task}/stop", json={"job_id": job.id})
    assert answer.status_code == 502
    assert atai_emulator.api_key not in answer.text
    assert atai_emulator.fired(fault) >= 3


def test_the_mounted_application_is_the_one_that_is_walked(web):
    mounted = [route.app for route in web.app.routes if getattr(route, "path", None) == "/atai"]
    assert len(mounted) == 1
    assert unguarded(mounted[0]) == []
