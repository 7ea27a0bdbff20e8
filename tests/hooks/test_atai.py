from __future__ import annotations

import asyncio

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_atai.api.errors import AtaiConfigurationError, AtaiConnectionError
from airflow_provider_atai.hooks.atai import AtaiHook


def read(hook):
    return hook.settings


def aread(hook):
    asyncio.run(hook.aload_settings())


@pytest.fixture(params=[read, aread])
def reading(request):
    return request.param


def test_a_connection_that_airflow_does_not_know_is_no_outage(reading, monkeypatch, airflow_db):
    with pytest.raises(AtaiConfigurationError, match="Airflow knows no connection 'missing'"):
        reading(AtaiHook("missing"))


def test_a_secrets_backend_that_fails_is_an_outage(reading, monkeypatch):
    def sealed(*arguments, **named):
        raise OSError("the vault is sealed")

    async def asealed(*arguments, **named):
        sealed()

    monkeypatch.setattr(BaseHook, "get_connection", sealed)
    monkeypatch.setattr("airflow.providers.common.compat.connection.get_async_connection", asealed)
    with pytest.raises(AtaiConnectionError, match="the vault is sealed") as caught:
        reading(AtaiHook())
    assert caught.value.reason == "connection"
