"""What Airflow says when a connection cannot be read, and what that means."""

from __future__ import annotations

import asyncio
import json

import pytest

from airflow_provider_atai.compat.connection import read_connection
from airflow_provider_atai.compat.sdk import WORKERS_PUSH_LINKS, AirflowNotFoundException, BaseHook
from airflow_provider_atai.hooks.atai import AtaiHook
from tests.harness.airflows_connections import Supervisor, TriggerersSupervisor

DOCUMENT = {"conn_type": "atai", "host": "http://service.example", "password": "sk_secret"}
of_airflow_3 = pytest.mark.skipif(not WORKERS_PUSH_LINKS, reason="tasks of Airflow 2 have no supervisor")


@pytest.fixture
def supervisor(monkeypatch):
    """Put the task under a supervisor that gives these answers."""

    def supervise(made):
        from airflow.sdk.execution_time import task_runner

        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", made, raising=False)
        return made

    return supervise


# In Airflow 2, the database is one of the sources.
pytestmark = [] if WORKERS_PUSH_LINKS else pytest.mark.usefixtures("airflow_db")


def read():
    return read_connection(BaseHook.get_connection, "atai_default")


def test_a_connection_that_was_never_there_is_missing():
    with pytest.raises(AirflowNotFoundException):
        read()


def test_a_vault_that_knows_the_connection(vault):
    vault(json.dumps(DOCUMENT))
    assert read().host == DOCUMENT["host"]


def test_a_vault_that_answers_has_no_connection(vault):
    vault(None)
    with pytest.raises(AirflowNotFoundException):
        read()


def test_a_vault_that_cannot_be_asked_is_not_a_missing_connection(vault):
    vault(OSError("the vault is sealed"))
    with pytest.raises(ConnectionError, match=r"Vault could not be asked: OSError.*the vault is sealed"):
        read()


def test_a_vault_that_is_back_at_the_second_question_is_not_a_missing_connection(vault):
    vault(OSError("the vault is sealed"), json.dumps(DOCUMENT))
    with pytest.raises(ConnectionError, match="has one now"):
        read()


def test_a_backend_for_other_secrets_does_not_count(vault):
    vault(NotImplementedError())
    with pytest.raises(AirflowNotFoundException):
        read()


@pytest.mark.parametrize(
    "value", ['{"conn_type": "atai", "password": "sk_secret"', "atai://:sk_secret@a://b://c"]
)
def test_a_variable_that_is_not_a_connection_is_named_without_its_value(monkeypatch, value):
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", value)
    with pytest.raises(AirflowNotFoundException, match="AIRFLOW_CONN_ATAI_DEFAULT is not a conn") as raised:
        read()
    assert "sk_secret" not in str(raised.value)
    assert raised.value.__suppress_context__


@of_airflow_3
class TestApiServer:
    def test_it_has_the_connection(self, supervisor):
        supervisor(Supervisor(DOCUMENT))
        assert read().host == DOCUMENT["host"]

    def test_it_has_none(self, supervisor):
        made = supervisor(Supervisor("not found"))
        with pytest.raises(AirflowNotFoundException):
            read()
        assert made.asked == 2

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (500, "API_SERVER_ERROR, HTTP 500"),
            (503, "API_SERVER_ERROR, HTTP 503"),
            (ConnectionResetError("supervisor gone"), "supervisor gone"),
            (EOFError("Request socket closed"), "Request socket closed"),
        ],
    )
    def test_it_cannot_be_asked(self, supervisor, answer, says):
        supervisor(Supervisor(answer))
        with pytest.raises(ConnectionError, match=f"ExecutionAPISecretsBackend could not be asked.*{says}"):
            read()

    def test_it_sends_what_is_not_a_connection(self, supervisor):
        supervisor(Supervisor({**DOCUMENT, "port": "sk_secret"}))
        with pytest.raises(ConnectionError, match=r"could not be asked: ValidationError$"):
            read()

    def test_it_is_back_and_has_none(self, supervisor):
        supervisor(Supervisor(500, "not found"))
        with pytest.raises(AirflowNotFoundException):
            read()

    def test_it_goes_away_after_it_had_none(self, supervisor):
        supervisor(Supervisor("not found", 500))
        with pytest.raises(ConnectionError):
            read()

    def test_it_is_asked_even_if_the_vault_has_none(self, supervisor, vault):
        vault(None)
        supervisor(Supervisor(500))
        with pytest.raises(ConnectionError):
            read()

    def test_many_triggers_read_at_once(self, supervisor):
        async def run():
            supervisor(TriggerersSupervisor(asyncio.get_running_loop(), DOCUMENT))
            hooks = [AtaiHook() for _ in range(50)]
            await asyncio.gather(*(hook.aload_settings() for hook in hooks))
            return {hook.settings.api_key for hook in hooks}

        assert asyncio.run(run()) == {DOCUMENT["password"]}
