"""A real Airflow and a real emulator, started once for all system tests."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.airflow_processes import AirflowProcesses, clean_environment
from tests.harness.child_processes import ChildProcesses
from tests.harness.emulator_process import start_emulator

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl
    from tests.harness.airflow_api import AirflowApi

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
FAULTS = Path(__file__).resolve().parent / "dags"


@dataclass(frozen=True)
class System:
    """
    The running Airflow and emulator.

    :param processes: all processes.
    :param airflow: Airflow's processes.
    :param api: Airflow's REST API.
    :param emulator: the controls of the service that ``atai_default`` connects to.
    :param emulator_data: the folder with the emulator's state.
    """

    processes: ChildProcesses
    airflow: AirflowProcesses
    api: AirflowApi
    emulator: EmulatorControl
    emulator_data: Path

    def restart_emulator(self):
        """Kill the emulator, and restart it at the same address with the same state."""
        self.processes.children.pop("emulator").kill()
        port = self.emulator.root_url.rpartition(":")[2]
        argv = [sys.executable, "-m", "airflow_provider_atai.emulator", "--port", port]
        argv += ["--api-key", self.emulator.api_key]
        self.processes.start("emulator", [*argv, "--data-dir", str(self.emulator_data)], clean_environment())
        self.processes.wait_until(self.emulator.state, "the emulator responds again", 60)


@pytest.fixture(scope="session")
def system(tmp_path_factory):
    home = tmp_path_factory.mktemp("system")
    with ChildProcesses(home / "logs") as processes:
        emulator = start_emulator(processes, home / "emulator")
        dags = home / "dags"
        dags.mkdir()
        (dags / "examples").symlink_to(EXAMPLES)
        (dags / "faults").symlink_to(FAULTS)
        settings = {
            "AIRFLOW_CONN_ATAI_DEFAULT": emulator.connection_json,
            # Airflow gives a killed triggerer up after a few seconds.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
            "ATAI_TEST_GATE": str(home / "gate"),
            # Scheduled DAGs are scheduled, so that an unpaused one shows every run that it gets.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
        }
        airflow = AirflowProcesses(processes, home / "airflow", dags, settings)
        api = airflow.start()
        yield System(processes, airflow, api, emulator, home / "emulator")
