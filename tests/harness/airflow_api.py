"""The parts of Airflow's public REST API that the demo and the system tests use."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import requests

TIMEOUT = (5.0, 30.0)
# Seconds between the attempts at a request for which SQLite had no time.
_PAUSES = (1.0, 2.0, 4.0)


class AirflowApi:
    """
    The calls that Airflow 2 and Airflow 3 share.

    Call :meth:`authenticate` first; only :meth:`healthy` works without it. Every call raises
    :class:`requests.HTTPError` with the text of the response if Airflow refuses it.
    """

    version: str
    health_path: str
    components: tuple[str, ...]

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self.user = user
        self.password = password
        self.session = requests.Session()
        # Neither ~/.netrc nor a proxy may interfere with calls to this process's own children.
        self.session.trust_env = False

    def authenticate(self) -> None:
        """Log the session in."""
        self.session.auth = (self.user, self.password)

    def request(self, method: str, *segments: str, **kwargs: Any) -> Any:
        """Call ``/api/<version>/<segments>``; return the decoded body, or None if it is empty."""
        path = "/".join(quote(segment, safe="") for segment in segments)
        url = f"{self.url}/api/{self.version}/{path}"
        for pause in (*_PAUSES, None):
            answer = self.session.request(method, url, timeout=TIMEOUT, **kwargs)
            if pause is None or not _is_refused_by_sqlite(answer):
                break
            time.sleep(pause)
        if not answer.ok:
            raise requests.HTTPError(
                f"{method} {path}: HTTP {answer.status_code}: {answer.text[:500]}", response=answer
            )
        return answer.json() if answer.content else None

    def healthy(self) -> bool:
        """Return whether every component has sent a heartbeat recently."""
        answer = self.session.get(f"{self.url}/{self.health_path}", timeout=TIMEOUT)
        answer.raise_for_status()
        health = answer.json()
        return all((health.get(name) or {}).get("status") == "healthy" for name in self.components)

    def dag(self, dag_id: str) -> Any:
        """Return Airflow's record of a DAG."""
        return self.request("GET", "dags", dag_id)

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG, so that its runs start."""
        self.request("PATCH", "dags", dag_id, params={"update_mask": "is_paused"}, json={"is_paused": False})

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the DAG files that cannot be imported, with their stack traces."""
        return list(self.request("GET", "importErrors")["import_errors"])

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Trigger a run of a DAG; return its run id."""
        run = self.request("POST", "dags", dag_id, "dagRuns", json=self.trigger_body(conf or {}))
        return str(run["dag_run_id"])

    def trigger_body(self, conf: dict[str, Any]) -> dict[str, Any]:
        """Return the request body that triggers a run."""
        return {"conf": conf}

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.request("GET", "dags", dag_id, "dagRuns", run_id)["state"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a DAG."""
        return list(self.request("GET", "dags", dag_id, "dagRuns")["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return a DAG run's task instances by task id, or ``task_id[map_index]`` if mapped."""
        answer = self.request("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances")
        return {
            one["task_id"] if one["map_index"] < 0 else f"{one['task_id']}[{one['map_index']}]": one
            for one in answer["task_instances"]
        }

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """Return an XCom of a task, its return value by default."""
        entry = self.request(
            *("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries"),
            key,
            params={"stringify": "false", "map_index": map_index},
        )
        return entry["value"]

    def xcom_keys(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> set[str]:
        """Return the keys of a task's XComs."""
        answer = self.request(
            *("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries"),
            params={"map_index": map_index},
        )
        return {str(entry["key"]) for entry in answer["xcom_entries"]}

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the addresses of a task's buttons, by their names."""
        path = ("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "links")
        answer = self.request(*path, params={"map_index": map_index})
        return dict(answer.get("extra_links", answer))

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try of a task, including its trigger, as text."""
        answer = self.request(
            *("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "logs", str(try_number)),
            params={"full_content": "true"},
            headers={"Accept": "application/json"},
        )
        return self.log_text(answer["content"])

    @staticmethod
    def log_text(content: Any) -> str:
        """Return the text of a log response's content."""
        return str(content)

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks of a DAG run in any state, so that they run again."""
        self.request(
            *("POST", "dags", dag_id, "clearTaskInstances"),
            json={
                "dag_run_id": run_id,
                "task_ids": list(task_ids),
                "only_failed": False,
                "dry_run": False,
                "reset_dag_runs": True,
            },
        )

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task ``failed``, ``success`` or ``skipped``, as a person does in the UI."""
        self.request(
            *("PATCH", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id),
            json=self.mark_body(state),
        )

    def mark_body(self, state: str) -> dict[str, Any]:
        """Return the request body that sets a task's state."""
        return {"new_state": state}


class AirflowApi3(AirflowApi):
    """The API of Airflow 3, with tokens of the simple auth manager."""

    version = "v2"
    health_path = "api/v2/monitor/health"
    components = ("metadatabase", "scheduler", "triggerer", "dag_processor")

    def authenticate(self) -> None:
        """Get a token for the session."""
        answer = self.session.post(
            f"{self.url}/auth/token",
            json={"username": self.user, "password": self.password},
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def trigger_body(self, conf: dict[str, Any]) -> dict[str, Any]:
        """Return the request body that triggers a run without a logical date."""
        return {"conf": conf, "logical_date": None}

    @staticmethod
    def log_text(content: Any) -> str:
        """Return one line per structured message."""
        return "\n".join(
            line if isinstance(line, str) else f"{line.get('timestamp') or ''} {line['event']}"
            for line in content
        )


class AirflowApi2(AirflowApi):
    """The API of Airflow 2.11, with basic authentication."""

    version = "v1"
    health_path = "api/v1/health"
    components = ("metadatabase", "scheduler", "triggerer")

    @staticmethod
    def log_text(content: Any) -> str:
        """Return the log's text, which arrives as the ``repr`` of a list of (host, text) pairs."""
        return str(content).replace("\\n", "\n")

    def mark_body(self, state: str) -> dict[str, Any]:
        """Return the request body that sets a task's state."""
        return {"new_state": state, "dry_run": False}


def _is_refused_by_sqlite(answer: requests.Response) -> bool:
    """Tell whether the database was locked, and so nothing has happened: it takes one writer at a time."""
    return answer.status_code == 500 and "database" in answer.text.lower()
