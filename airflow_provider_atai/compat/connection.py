"""
Reads a connection, and tells one that does not exist from one that could not be read.

Airflow asks its secrets backends one after the other and swallows what goes wrong. A sealed vault, or an API
server that answers 500, ends in the same "isn't defined" as a connection that nobody has added. Since Airflow
3.1, the API server is one of these backends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.compat.sdk import AirflowNotFoundException

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import Connection

# It reads the process's own environment, so that nothing of it can be away.
_ENVIRONMENT = "EnvironmentVariablesBackend"
_API_SERVER = "ExecutionAPISecretsBackend"
# What other errors may show of a connection that could not be parsed: its URI, or a key.
_SECRETS = re.compile(r"(?<=://)\S*@|(?<=\?)\S+|\bsk[_-]\w+")


def read_connection(get_connection: Callable[[str], Connection], conn_id: str) -> Connection:
    """
    Return a connection.

    :param get_connection: the hook's own way of reading one.
    :param conn_id: the connection's id.
    :raises AirflowNotFoundException: each of Airflow's sources says that it has no such connection, or it is
        in an environment variable that is not a connection.
    :raises ConnectionError: a source could not be asked. Other errors of Airflow may come through as well.
    """
    try:
        return get_connection(conn_id)
    except AirflowNotFoundException:
        # Asked again, since Airflow does not say what went wrong. The second answer is as good as the first.
        for source in _sources():
            _must_be_without(source, conn_id)
        raise


def describe(error: Exception) -> str:
    """Return what may be said of an error that a source of connections has raised."""
    if isinstance(error, ValueError):
        # Its text often contains the value, and here that is a connection with its key.
        return type(error).__name__
    return _SECRETS.sub("***", str(error) if type(error) is ConnectionError else repr(error))


def _must_be_without(source: Any, conn_id: str) -> None:
    name = type(source).__name__
    try:
        found = _ask_api_server(conn_id) if name == _API_SERVER else source.get_connection(conn_id=conn_id)
    except NotImplementedError:
        # It keeps other secrets only.
        return
    except Exception as error:
        if name == _ENVIRONMENT:
            variable = f"AIRFLOW_CONN_{conn_id.upper()}"
            raise AirflowNotFoundException(
                f"the environment variable {variable} is not a connection ({type(error).__name__})"
            ) from None
        raise ConnectionError(f"{name} could not be asked: {describe(error)}") from None
    if found:
        raise ConnectionError(f"{name} had no connection {conn_id} at first, and has one now")


def _ask_api_server(conn_id: str) -> bool:
    """Ask Airflow's API server, as its own backend does, but let what goes wrong through."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ConnectionResult, ErrorResponse, GetConnection

    answer: Any
    try:
        answer = task_runner.SUPERVISOR_COMMS.send(GetConnection(conn_id=conn_id))
    except AirflowRuntimeError as error:
        answer = error.error
    if isinstance(answer, ErrorResponse) and answer.error is ErrorType.CONNECTION_NOT_FOUND:
        return False
    if isinstance(answer, ConnectionResult):
        return True
    # Only the kind and the HTTP status: the details may contain what the server has sent.
    kind = getattr(getattr(answer, "error", None), "value", "no answer")
    status = (getattr(answer, "detail", None) or {}).get("status_code")
    raise ConnectionError(kind if status is None else f"{kind}, HTTP {status}")


def _sources() -> Iterable[Any]:
    try:
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded
    except ImportError:
        from airflow.configuration import ensure_secrets_loaded

        return ensure_secrets_loaded()
    return ensure_secrets_backend_loaded()
