"""The fixtures that tests of several areas share; tests/conftest.py makes them known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl
    from tests.harness.clock import Clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Let every wait of the provider and of Airflow pass at once; the emulator's jobs age with it."""
    from tests.harness.task_instance import sensors_without_database
    from tests.harness.time_travel import time_travel

    with time_travel(datetime(2026, 11, 23, 12, 0, tzinfo=UTC)) as clock, sensors_without_database():
        yield clock


@pytest.fixture
def emulator(atai_emulator: EmulatorControl, clock: Clock) -> EmulatorControl:
    """An emulator that has a file to train on and whose jobs age as the clock's time passes."""
    from tests.harness.datasets import store_dataset

    store_dataset(atai_emulator)
    return atai_emulator


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch, atai_emulator: EmulatorControl) -> Iterator[Callable[..., None]]:
    """Keep the emulator's connection in a secrets backend; return a function that chooses its answers."""
    from tests.harness.airflows_connections import Vault, forget_backends

    monkeypatch.delenv("AIRFLOW_CONN_ATAI_DEFAULT")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", f"{Vault.__module__}.Vault")
    forget_backends()
    yield lambda *answers: monkeypatch.setattr(Vault, "answers", list(answers))
    monkeypatch.undo()
    forget_backends()
