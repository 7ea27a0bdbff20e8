"""
The pytest fixture ``atai_emulator``.

pytest loads this module whenever the package is installed, so it imports nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl


@pytest.fixture(scope="session")
def atai_emulator_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorControl]:
    """Run one emulator in a thread, on a free port, for the whole test session."""
    from airflow_provider_atai.emulator.control import EmulatorControl
    from airflow_provider_atai.emulator.settings import HOW_TO_INSTALL

    try:
        from airflow_provider_atai.emulator.server import ThreadedServer
        from airflow_provider_atai.emulator.state import Emulator
    except ModuleNotFoundError as error:
        raise RuntimeError(f"The fixture atai_emulator needs an extra: {HOW_TO_INSTALL}") from error

    emulator = Emulator(tmp_path_factory.mktemp("atai_emulator"))
    with ThreadedServer(emulator) as server:
        control = EmulatorControl(server.root_url)
        yield control
        control.close()


@pytest.fixture
def atai_emulator(atai_emulator_server: EmulatorControl, monkeypatch: pytest.MonkeyPatch) -> EmulatorControl:
    """
    An empty emulator, and the Airflow connection ``atai_default`` to it.

    The job clock runs in real time; ``advance``, ``set_time_scale`` and ``pause`` change that. The emulator
    is in the test's own process: if a test travels in time, the emulator's jobs age with it.
    """
    atai_emulator_server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", atai_emulator_server.connection_json)
    # A proxy could not reach the emulator. Some HTTP clients read the one name, some the other.
    listed = [os.environ[name] for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)]
    host = str(urlsplit(atai_emulator_server.root_url).hostname)
    direct = "*" if "*" in listed else ",".join([*listed, host])
    monkeypatch.setenv("NO_PROXY", direct)
    monkeypatch.setenv("no_proxy", direct)
    return atai_emulator_server
