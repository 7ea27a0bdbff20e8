"""What a task does with its job is free of Airflow, and knows no operator."""

from __future__ import annotations

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import airflow_provider_atai.jobs
from tests.compat.test_sdk import imported

JOBS = Path(airflow_provider_atai.jobs.__file__).parent
WITHOUT_AIRFLOW = """
import importlib, sys

class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ImportError(f"{name} is not free of Airflow")

sys.meta_path.insert(0, NoAirflow())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_jobs_can_be_imported_without_airflow():
    modules = [f"airflow_provider_atai.jobs.{path.stem}" for path in JOBS.glob("*.py")]
    assert len(modules) > 5
    subprocess.run([sys.executable, "-c", WITHOUT_AIRFLOW, *modules], check=True)


def test_jobs_and_waiting_import_no_airflow_and_no_operator_anywhere():
    for path in [*JOBS.glob("*.py"), *(JOBS.parent / "waiting").glob("*.py")]:
        for name in imported(path):
            assert name.partition(".")[0] != "airflow", path
            assert not name.startswith(
                tuple(f"airflow_provider_atai.{one}" for one in ("operators", "sensors", "triggers", "hooks"))
            ), path
            if name.startswith("airflow_provider_atai.compat"):
                assert name == "airflow_provider_atai.compat.rendering", path


def test_no_module_above_the_api_is_part_of_an_import_circle():
    package = JOBS.parent
    graph = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if parts[1] not in ("api", "emulator"):
            graph[".".join(parts)] = set(imported(path))
    assert len(graph) > 40
    # Raises CycleError, with the circle.
    TopologicalSorter({name: uses & set(graph) for name, uses in graph.items()}).prepare()
