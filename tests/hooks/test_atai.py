from __future__ import annotations

import asyncio
import json

import pytest

from airflow_provider_atai.compat.sdk import WORKERS_PUSH_LINKS, AirflowNotFoundException, BaseHook
from airflow_provider_atai.errors import AtaiConfigurationError, AtaiConnectionError
from airflow_provider_atai.hooks.atai import AtaiHook

# In Airflow 2, the database is one of the sources of connections.
pytestmark = [] if WORKERS_PUSH_LINKS else pytest.mark.usefixtures("airflow_db")


def read(hook):
    return hook.settings


def aread(hook):
    asyncio.run(hook.aload_settings())


@pytest.mark.parametrize("reading", [read, aread])
@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (AirflowNotFoundException("x"), AtaiConfigurationError, "Airflow knows no connection 'atai_default'"),
        (ValueError("not a port: 'sk_secret'"), AtaiConnectionError, "'atai_default': ValueError$"),
        (OSError("the vault is sealed"), AtaiConnectionError, "the vault is sealed"),
        (RuntimeError("no answer"), AtaiConnectionError, "cannot read the connection 'atai_default'"),
        (RuntimeError(), AtaiConnectionError, r"cannot read the connection 'atai_default': RuntimeError\(\)"),
    ],
)
def test_a_connection_that_airflow_cannot_give_raises_our_error(monkeypatch, reading, raised, kind, says):
    def fail(*arguments, **named):
        raise raised

    monkeypatch.setattr(BaseHook, "get_connection", fail)
    with pytest.raises(kind, match=says):
        reading(AtaiHook())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"extra": "sk_secret"}, "must be a JSON object. The API key belongs in the Password field"),
        ({"login": "sk_secret"}, "something in its Login field"),
        ({"host": "sk_secret"}, "looks like an API key"),
        ({"password": "x", "host": "https://api.example/v0.5?key=secret"}, "has a query"),
    ],
)
def test_a_test_says_where_a_misplaced_key_belongs(monkeypatch, fields, says):
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", json.dumps({"conn_type": "atai", **fields}))
    works, message = AtaiHook().test_connection()
    assert not works
    assert says in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "text",
    [
        "Invalid connection string: atai://:secret@https://https://service.example",
        "Invalid connection string: atai://a:se/secret@service.example",
        "GET https://vault.example/v1/connections?token=secret: 503",
        "the service refuses sk_secret",
    ],
)
def test_what_a_backend_says_of_a_connection_shows_no_secret(monkeypatch, text):
    def fail(*arguments, **named):
        raise RuntimeError(text)

    monkeypatch.setattr(BaseHook, "get_connection", fail)
    with pytest.raises(AtaiConnectionError, match=r"\*\*\*") as raised:
        read(AtaiHook())
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__
