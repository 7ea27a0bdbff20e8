"""The Airflow connection of a life, which for a while may not be readable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any
from unittest import mock

CONNECTION_VARIABLE = "AIRFLOW_CONN_ATAI_DEFAULT"


class PublishedConnection:
    """
    The connection as Airflow's processes read it.

    :param on_failure: called each time that somebody tries to read it in vain.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._outage = ExitStack()
        self._document = ""
        self.is_readable = True

    def publish(self, *, host: str, key: str) -> None:
        """Let Airflow know another address or key."""
        self._document = json.dumps({"conn_type": "atai", "host": host, "password": key})
        if self.is_readable:
            os.environ[CONNECTION_VARIABLE] = self._document

    def take_away(self, source: str) -> None:
        """Let it be unreadable: ``source``, an API server or a secrets backend, is away."""
        self.restore()
        self.is_readable = False
        os.environ.pop(CONNECTION_VARIABLE, None)
        for patch in _failing(source, self._on_failure):
            self._outage.enter_context(patch)

    def restore(self) -> None:
        """Let it be readable again."""
        self._outage.close()
        self.is_readable = True
        if self._document:
            os.environ[CONNECTION_VARIABLE] = self._document


def _failing(source: str, on_failure: Callable[[], None]) -> list[Any]:
    def backends(*_: Any, **__: Any) -> list[Any]:
        return [_SealedVault(on_failure)]

    try:
        supervisor = import_module("airflow.sdk.execution_time.supervisor")
        task_runner = import_module("airflow.sdk.execution_time.task_runner")
    except ImportError:
        # Airflow 2 asks its database in the process itself.
        return [
            mock.patch(f"{module}.ensure_secrets_loaded", backends)
            for module in ("airflow.models.connection", "airflow.configuration")
        ]
    if source == "secrets backend":
        return [mock.patch.object(supervisor, "ensure_secrets_backend_loaded", backends)]
    return [mock.patch.object(task_runner, "SUPERVISOR_COMMS", _Supervisor(on_failure), create=True)]


class _SealedVault:
    """A secrets backend that is away."""

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        self._on_failure()
        raise ConnectionError("the vault is sealed")


class _Supervisor:
    """The supervisor of a task whose API server answers with HTTP 500."""

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure

    def send(self, message: Any) -> Any:
        if type(message).__name__ != "GetConnection":
            return None
        self._on_failure()
        comms = import_module("airflow.sdk.execution_time.comms")
        kind = import_module("airflow.sdk.exceptions").ErrorType.API_SERVER_ERROR
        return comms.ErrorResponse(error=kind, detail={"status_code": 500, "message": "Server error"})

    async def asend(self, message: Any) -> Any:
        return self.send(message)
