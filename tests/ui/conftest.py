"""Airflow's own web application in this process, with the plugin, users and task instances."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS

USERS = ("viewer", "user", "op", "admin")
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

_runs = count(1)


def record(job_id, **fields):
    """Return the XCom atai_job of a task that has created a job and waits for it."""
    return {
        "job_id": job_id,
        "atai_conn_id": "atai_default",
        "role": "create",
        "name": "pump-states",
        "model": None,
        "datasets": [{"name": "training-set", "split": "train", "file_ids": ["train.csv"]}],
        "created_at": START.isoformat(),
        "known_at": START.isoformat(),
        "try_number": 1,
        "waits": True,
        "own_id": False,
        "accept_stopped": False,
        "reattach": True,
        "kill_action": "cancel",
        "timeout_action": "stop",
        **fields,
    }


def statuses(job_id, *names):
    """Return the XCom atai_statuses with a status a minute."""
    entries = [
        {"status": name, "at": (START + timedelta(minutes=number)).isoformat()}
        for number, name in enumerate(names)
    ]
    return {"job_id": job_id, "statuses": entries}


@pytest.fixture(scope="session")
def web(airflow_db):
    """The application and a way to log in."""
    if not SHOWS_PLUGIN_TABS:
        pytest.skip("This Airflow shows no tabs of plugins")
    settings = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{user}" for user in USERS),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a" * 64,
        "AIRFLOW__API__BASE_URL": "http://testserver/",
    }
    with mock.patch.dict(os.environ, settings):
        from airflow.api_fastapi.app import create_app, get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from fastapi.testclient import TestClient

        app = create_app(apps="core")

        def client(user=None, **options):
            made = TestClient(app, raise_server_exceptions=False, **options)
            if user is not None:
                account = SimpleAuthManagerUser(username=user, role=user)
                made.cookies.set("_token", get_auth_manager().generate_jwt(account))
            return made

        yield SimpleNamespace(app=app, client=client)


def add_task(dag_id, run_id=None, task_id="fine_tune", map_index=-1, *, xcoms=None, **fields):
    """Add a task instance with its run, its DAG and its XComs; return its path."""
    from airflow.models import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import insert, select

    number = next(_runs)
    run_id = run_id or f"run-{number}"
    with create_session() as session:
        if session.get(DagBundleModel, "tests") is None:
            session.execute(insert(DagBundleModel).values(name="tests", active=True))
        if session.get(DagModel, dag_id) is None:
            session.add(DagModel(dag_id=dag_id, bundle_name="tests", fileloc="f.py"))
            session.flush()
        query = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        dag_run_id = session.scalar(query)
        if dag_run_id is None:
            values = {
                "dag_id": dag_id,
                "run_id": run_id,
                "run_type": "manual",
                "state": "running",
                "run_after": START + timedelta(seconds=number),
                "logical_date": START + timedelta(seconds=number),
                "start_date": START,
                "log_template_id": 1,
                "clear_number": 0,
            }
            session.execute(insert(DagRun).values(**values))
            dag_run_id = session.scalar(query)
        values = {
            "task_id": task_id,
            "dag_id": dag_id,
            "run_id": run_id,
            "map_index": map_index,
            "state": "running",
            "try_number": 1,
            "max_tries": 0,
            "start_date": START,
            "pool": "default_pool",
            "pool_slots": 1,
            "operator": "CreateFineTuneJobOperator",
            **fields,
        }
        session.execute(insert(TaskInstance).values(**values))
        for key, value in (xcoms or {}).items():
            session.execute(
                insert(XComModel).values(
                    dag_run_id=dag_run_id,
                    dag_id=dag_id,
                    run_id=run_id,
                    task_id=task_id,
                    map_index=map_index,
                    key=key,
                    value=value,
                    timestamp=START + timedelta(seconds=number),
                )
            )
    return f"/atai/v1/dags/{dag_id}/runs/{run_id}/tasks/{task_id}"


@pytest.fixture
def dag_id(web):
    """A name that no other test has used."""
    return f"dag_{next(_runs)}"


@pytest.fixture
def no_readings():
    """Forget what other tests have read of the service."""
    from airflow_provider_atai.ui import service

    for name in ("_jobs", "_listed_jobs", "_finished_jobs", "_metrics"):
        getattr(service, name)._kept.clear()


@pytest.fixture
def job(atai_emulator, no_readings):
    """A job that trains for ten minutes, and has begun."""
    from airflow_provider_atai.hooks.atai import AtaiHook
    from tests.harness.datasets import store_dataset

    made = AtaiHook().fine_tune.create(name="pump-states", datasets=[store_dataset(atai_emulator)])
    atai_emulator.pause()
    atai_emulator.advance(200)
    return made


@pytest.fixture
def task(dag_id, job):
    """The path of a task that waits for that job."""
    return add_task(
        dag_id,
        xcoms={"atai_job": record(job.id), "atai_statuses": statuses(job.id, "REGISTERED", "RUNNING")},
    )
