"""Airflow's own processes, 3 or 2.11, on free ports and with a throw-away home."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.airflow_api import AirflowApi, AirflowApi2, AirflowApi3

if TYPE_CHECKING:
    from tests.harness.child_processes import ChildProcesses

START_SECONDS = 120.0
# The scheduler ends if it waits longer for SQLite's one writer; by default, that is after 5 seconds.
LOCK_SECONDS = 60
USER = "admin"
FAB_BASIC_AUTH = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"
# Settings of the user's own Airflow, service account or proxy must not reach these processes.
FOREIGN = ("AIRFLOW", "ATAI_", "PYTHONPATH", "PYTHONHOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without foreign settings, plus ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost", **more}


@dataclass
class AirflowProcesses:
    """
    A running Airflow.

    :param processes: starts and ends the processes.
    :param home: an empty directory for AIRFLOW_HOME.
    :param dags: the folder with the DAGs.
    :param settings: more environment variables, for example connections.
    :param database: SQLAlchemy address of the metadata database; SQLite in ``home`` by default.
    :param roles: more users of Airflow 3's simple auth manager, each with its role.
    """

    processes: ChildProcesses
    home: Path
    dags: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.major = int(version("apache-airflow").split(".")[0])
        self.port = free_port()
        self.password = secrets.token_urlsafe(12)
        self.database = self.database or f"sqlite:///{self.home}/airflow.db?timeout={LOCK_SECONDS}"
        self.environment = clean_environment(**self._settings())

    @property
    def url(self) -> str:
        """The address of the UI and the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def components(self) -> dict[str, list[str]]:
        """The long-running processes by name, with their arguments for ``airflow``."""
        common = {
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "triggerer": ["triggerer", "--skip-serve-logs"],
        }
        port = str(self.port)
        if self.major == 2:
            return {"webserver": ["webserver", "--port", port, "--workers", "1"], **common}
        return {"api-server": ["api-server", "--port", port], "dag-processor": ["dag-processor"], **common}

    def start(self) -> AirflowApi:
        """
        Create the database and start every component.

        :returns: a client of Airflow's public REST API.
        :raises NotInTimeError: if Airflow does not come up, with the end of its logs.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self.command("db", "migrate")
        if self.major == 2:
            self.command(
                *("users", "create", "--role", "Admin", "--username", USER, "--password", self.password),
                *("--firstname", "Demo", "--lastname", "Demo", "--email", "demo@example.com"),
            )
        else:
            passwords = self.home / "passwords.json"
            passwords.write_text(json.dumps(dict.fromkeys((USER, *self.roles), self.password)))
            passwords.chmod(0o600)
        for name in self.components:
            self.start_component(name)
        return self.wait_until_healthy()

    def start_component(self, name: str) -> None:
        """Start or restart one of :attr:`components`."""
        self.processes.start(
            name, [sys.executable, "-m", "airflow", *self.components[name]], self.environment
        )

    def kill_component(self, name: str) -> None:
        """Kill one of :attr:`components` and its descendants with SIGKILL."""
        self.processes.children.pop(name).kill()

    def wait_until_healthy(self, seconds: float = START_SECONDS) -> AirflowApi:
        """Wait until every component is healthy; return a client that is logged in."""
        api: AirflowApi = (AirflowApi2 if self.major == 2 else AirflowApi3)(self.url, USER, self.password)
        self.processes.wait_until(api.healthy, "every component of Airflow is healthy", seconds)
        api.authenticate()
        return api

    def token(self, user: str) -> str:
        """Log a user in to Airflow 3, and return the token that the browser keeps in a cookie."""
        api = AirflowApi3(self.url, user, self.password)
        api.authenticate()
        return str(api.session.headers["Authorization"]).removeprefix("Bearer ")

    def command(
        self, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """
        Run an ``airflow`` command in the same home, and wait until it ends.

        :param arguments: the command's arguments.
        :param check: whether to raise an error if the command fails.
        :param environment: more environment variables for this command.
        :raises RuntimeError: if the command fails and ``check`` is true, with the end of its output.
        """
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env={**self.environment, "COLUMNS": "1000", **environment},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if check and done.returncode:
            output = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
            raise RuntimeError(f"airflow {arguments[0]} {arguments[1]} failed ({done.returncode}):\n{output}")
        return done

    def _settings(self) -> dict[str, str]:
        """Return the environment: loopback addresses only, and short intervals."""
        secret = secrets.token_urlsafe(64)
        settings = {
            # Airflow 2's SequentialExecutor starts tasks with a bare `airflow`.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__EXECUTOR": self._executor(),
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database,
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            # The scheduler notices lost processes within seconds.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
            # Unpausing a DAG must not start a run for its last schedule.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        if self.major == 2:
            settings |= {
                "AIRFLOW__API__AUTH_BACKENDS": FAB_BASIC_AUTH,
                "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "5",
                "AIRFLOW__WEBSERVER__SECRET_KEY": secret,
                "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            }
        else:
            settings |= {
                "AIRFLOW__API__BASE_URL": self.url,
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self.port),
                "AIRFLOW__API__SECRET_KEY": secret,
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API_AUTH__JWT_SECRET": secret,
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                    f"{user}:{role}" for user, role in {USER: "admin", **self.roles}.items()
                ),
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
                "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
                "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            }
        return {**settings, **self.settings}

    def _executor(self) -> str:
        # Tasks of Airflow 2 write to the database themselves, and SQLite allows only one writer.
        one_at_a_time = self.major == 2 and self.database.startswith("sqlite")
        return "SequentialExecutor" if one_at_a_time else "LocalExecutor"
