"""The parts of Airflow's public REST API that the demo and the system tests use."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

TIMEOUT = (5.0, 30.0)


class AirflowApi:
    """
    What is the same in the API of Airflow 2 and Airflow 3.

    :meth:`authenticate` comes first; only :meth:`healthy` goes without. Every call raises
    :class:`requests.HTTPError`, with the answer's text, when Airflow refuses it.
    """

    version: str
    health_path: str
    components: tuple[str, ...]

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self.user = user
        self.password = password
        self.session = requests.Session()
        # No ~/.netrc and no proxy between this process and its own children.
        self.session.trust_env = False

    def authenticate(self) -> None:
        """Make the session one of a logged-in user."""
        self.session.auth = (self.user, self.password)

    def request(self, method: str, *segments: str, **kwargs: Any) -> Any:
        """Call ``/api/<version>/<segments>``; return the decoded answer, or None when there is none."""
        path = "/".join(quote(segment, safe="") for segment in segments)
        answer = self.session.request(
            method, f"{self.url}/api/{self.version}/{path}", timeout=TIMEOUT, **kwargs
        )
        if not answer.ok:
            raise requests.HTTPError(
                f"{method} {path}: HTTP {answer.status_code}: {answer.text[:500]}", response=answer
            )
        return answer.json() if answer.content else None

    def healthy(self) -> bool:
        """Tell whether every component has sent a heartbeat lately."""
        answer = self.session.get(f"{self.url}/{self.health_path}", timeout=TIMEOUT)
        answer.raise_for_status()
        health = answer.json()
        return all((health.get(name) or {}).get("status") == "healthy" for name in self.components)

    def dag(self, dag_id: str) -> Any:
        """Return what Airflow knows about a DAG."""
        return self.request("GET", "dags", dag_id)

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs begin."""
        self.request("PATCH", "dags", dag_id, params={"update_mask": "is_paused"}, json={"is_paused": False})

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the DAG files that cannot be imported, with their stack traces."""
        return list(self.request("GET", "importErrors")["import_errors"])

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Begin a run of a DAG; return its run id."""
        run = self.request("POST", "dags", dag_id, "dagRuns", json=self.trigger_body(conf or {}))
        return str(run["dag_run_id"])

    def trigger_body(self, conf: dict[str, Any]) -> dict[str, Any]:
        """Return the request body that begins a run."""
        return {"conf": conf}

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.request("GET", "dags", dag_id, "dagRuns", run_id)["state"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a DAG run by task id; mapped ones as ``task_id[map_index]``."""
        answer = self.request("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances")
        return {
            one["task_id"] if one["map_index"] < 0 else f"{one['task_id']}[{one['map_index']}]": one
            for one in answer["task_instances"]
        }

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return one XCom of a task as the Python value it was."""
        entry = self.request(
            *("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries", key),
            params={"stringify": "false"},
        )
        return entry["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try of a task, trigger included, as text."""
        answer = self.request(
            *("GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "logs", str(try_number)),
            params={"full_content": "true"},
            headers={"Accept": "application/json"},
        )
        return self.log_text(answer["content"])

    @staticmethod
    def log_text(content: Any) -> str:
        """Return the text of a log answer's content."""
        return str(content)

    def clear(self, dag_id: str, run_id: str, *task_ids: str, only_failed: bool = False) -> None:
        """Clear tasks of a DAG run, so that they run again."""
        self.request(
            *("POST", "dags", dag_id, "clearTaskInstances"),
            json={
                "dag_run_id": run_id,
                "task_ids": list(task_ids),
                "only_failed": only_failed,
                "dry_run": False,
                "reset_dag_runs": True,
            },
        )

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Set the state of a task as a person does in the UI: ``failed``, ``success`` or ``skipped``."""
        self.request(
            *("PATCH", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id),
            json=self.mark_body(state),
        )

    def mark_body(self, state: str) -> dict[str, Any]:
        """Return the request body that sets a task's state."""
        return {"new_state": state}


class AirflowApi3(AirflowApi):
    """The API of Airflow 3, with the simple auth manager's tokens."""

    version = "v2"
    health_path = "api/v2/monitor/health"
    components = ("metadatabase", "scheduler", "triggerer", "dag_processor")

    def authenticate(self) -> None:
        """Get a token."""
        answer = self.session.post(
            f"{self.url}/auth/token",
            json={"username": self.user, "password": self.password},
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def trigger_body(self, conf: dict[str, Any]) -> dict[str, Any]:
        """Return the request body that begins a run without a logical date."""
        return {"conf": conf, "logical_date": None}

    @staticmethod
    def log_text(content: Any) -> str:
        """Return a line for each of the structured messages."""
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
        """Return the text of a log, which comes as the source code of a list of pairs (host, text)."""
        return str(content).replace("\\n", "\n")

    def mark_body(self, state: str) -> dict[str, Any]:
        """Return the request body that sets a task's state."""
        return {"new_state": state, "dry_run": False}
