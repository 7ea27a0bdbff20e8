"""What a task does with its job is free of Airflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import airflow_provider_atai.jobs

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
