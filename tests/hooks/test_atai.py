from __future__ import annotations

import asyncio

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_atai.errors import AtaiConfigurationError, AtaiConnectionError
from airflow_provider_atai.hooks.atai import AtaiHook


def read(hook):
    return hook.settings


def aread(hook):
    asyncio.run(hook.aload_settings())


@pytest.mark.parametrize("reading", [read, aread])
@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (AirflowNotFoundException("x"), AtaiConfigurationError, "Airflow knows no connection 'atai_default'"),
        (OSError("the vault is sealed"), AtaiConnectionError, "the vault is sealed"),
        (RuntimeError("no answer"), AtaiConnectionError, "cannot read the connection 'atai_default'"),
    ],
)
def test_a_connection_that_airflow_cannot_give_raises_our_error(monkeypatch, reading, raised, kind, says):
    def fail(*arguments, **named):
        raise raised

    async def afail(*arguments, **named):
        raise raised

    monkeypatch.setattr(BaseHook, "get_connection", fail)
    monkeypatch.setattr("airflow.providers.common.compat.connection.get_async_connection", afail)
    with pytest.raises(kind, match=says):
        reading(AtaiHook())
