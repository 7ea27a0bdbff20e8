"""
The pytest fixture ``run_dag``.

pytest loads this module whenever the package is installed, so it imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl
    from airflow_provider_atai.testing.runs import DagRunner


@pytest.fixture(scope="session")
def atai_airflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder for the metadata database of the whole test session."""
    return tmp_path_factory.mktemp("atai_airflow")


@pytest.fixture
def run_dag(atai_emulator: EmulatorControl, atai_airflow_folder: Path) -> DagRunner:
    """
    ``run_dag(dag, conf=None)`` runs a DAG to its end against the emulator, and returns how it ended.

    Every wait passes at once, and the emulator's jobs age with it: hours of training take seconds. Airflow
    uses a metadata database of its own for that, in a temporary folder.
    """
    from airflow_provider_atai.testing.runs import DagRunner

    return DagRunner(atai_airflow_folder)
