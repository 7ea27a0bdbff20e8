"""Who may call a route, and how. Airflow's own checks, named for what they protect here."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from airflow.api_fastapi.logging.decorators import action_logging
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import Depends, HTTPException, Request, Response

from airflow_provider_atai.compat.sdk import base_url


def never_stored(response: Response) -> None:
    """Let no browser and no proxy keep an answer: the next user may not be allowed to see it."""
    response.headers["Cache-Control"] = "no-store"


def from_our_pages(request: Request) -> None:
    """
    Refuse a call that changes something unless a page of this Airflow makes it.

    Airflow knows its user by a cookie, which a browser also sends for other pages. They cannot send JSON
    without asking first, and browsers say where a call comes from.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON: the content type must be application/json.")
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        allowed = site == "same-origin"
    else:
        origin = request.headers.get("origin")
        # A proxy may have changed the Host header, and then Airflow's own address is the right one.
        hosts = {request.headers.get("host"), urlsplit(base_url()).netloc}
        allowed = origin is None or urlsplit(origin).netloc in hosts
    if not allowed:
        raise HTTPException(403, "This call comes from another site. Use the buttons of the job's page.")


# requires_access_dag() takes the DAG from the path parameter `dag_id`, so each route needs one of that name.
SIGNED_IN = [Depends(get_user), Depends(never_stored)]
READS_TASKS = [
    *SIGNED_IN,
    Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)),
    Depends(requires_access_dag("GET", DagAccessEntity.XCOM)),
]
# What may be read decides over whether a DAG is shown at all, so it comes before the right to change.
EDITS_RUNS = [
    Depends(from_our_pages),
    *READS_TASKS,
    Depends(requires_access_dag("PUT", DagAccessEntity.RUN)),
]


def audited(event: str) -> list[Any]:
    """
    Return what records a call in Airflow's audit log, also if it is refused afterwards.

    :param event: its name there. Names with ``connection`` or ``variable`` are masked in another way.
    """
    log_action = action_logging(event=event)

    async def record(request: Request, user: GetUserDep) -> None:
        # In the session of the request, Airflow 3.1 forgets the entry if the call is refused.
        with create_session() as session:
            await log_action(request, session, user)

    return [Depends(record)]


def may_edit_runs(user: Any, dag_id: str) -> bool:
    """Tell whether a user may edit the runs of a DAG, as :data:`EDITS_RUNS` checks it."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    manager = get_auth_manager()
    return bool(
        manager.is_authorized_dag(
            method="PUT",
            access_entity=DagAccessEntity.RUN,
            details=details,
            user=user,
        )
    )


def readable_dags(user: Any) -> set[str]:
    """Return the DAGs that a user may read."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))
