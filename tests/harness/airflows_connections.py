"""Stands in for where Airflow keeps connections: a secrets backend, and the supervisor of a task."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar

try:
    _BASE: Any = import_module("airflow.sdk.bases.secrets_backend")
except ImportError:
    _BASE = import_module("airflow.secrets.base_secrets")


class Vault(_BASE.BaseSecretsBackend):  # type: ignore[misc]
    """
    A secrets backend whose answers a test chooses: an error to raise, or a connection as JSON, or None.

    Each question takes the next answer; the last one stays.
    """

    answers: ClassVar[list[Exception | str | None]] = [None]

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def forget_backends() -> None:
    """Let Airflow read again which secrets backend it has: 3.3.2 keeps the one that it has made."""
    with suppress(ImportError, AttributeError):
        import_module("airflow.sdk.configuration").clear_secrets_backends_cache()


class Supervisor:
    """
    The supervisor of a task or of a triggerer, as its API server's answers come through Airflow 3.

    :param answers: what each question after a connection gets: its fields, ``"not found"``, the HTTP status
        of the API server, or an exception of the transport. The last one stays.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def send(self, message: Any) -> Any:
        if type(message).__name__ != "GetConnection":
            return None
        self.asked += 1
        return self._answer(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], message)

    async def asend(self, message: Any) -> Any:
        return self.send(message)

    def _answer(self, answer: Any, message: Any) -> Any:
        comms = import_module("airflow.sdk.execution_time.comms")
        exceptions = import_module("airflow.sdk.exceptions")
        if isinstance(answer, dict):
            empty = dict.fromkeys(("host", "schema", "login", "password", "port", "extra"))
            return comms.ConnectionResult(conn_id=message.conn_id, **{**empty, **answer})
        if answer == "not found":
            kind = exceptions.ErrorType.CONNECTION_NOT_FOUND
            return comms.ErrorResponse(error=kind, detail={"conn_id": message.conn_id})
        if isinstance(answer, int):
            detail = {"status_code": answer, "message": "Server error"}
            error = comms.ErrorResponse(error=exceptions.ErrorType.API_SERVER_ERROR, detail=detail)
            raise exceptions.AirflowRuntimeError(error)
        raise answer


class TriggerersSupervisor(Supervisor):
    """
    The same in a triggerer, as strict as Airflow's versions are together.

    Airflow 3.1 to 3.3.1 refuse a call from the loop's own thread while another is under way. Before 3.2.2,
    the answer is read on the loop that asgiref knows, which has to be the triggerer's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *answers: Any) -> None:
        super().__init__(*answers)
        self._loop = loop
        self._loop_thread = threading.get_ident()

    def send(self, message: Any) -> Any:
        from asgiref.sync import async_to_sync

        if threading.get_ident() == self._loop_thread:
            raise import_module("airflow.sdk.execution_time.comms").DeadlockImminentError(message)
        return async_to_sync(self.asend)(message)

    async def asend(self, message: Any) -> Any:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("the supervisor's answer is read on another loop")
        await asyncio.sleep(0)
        return super().send(message)
