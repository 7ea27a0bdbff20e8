from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import airflow_provider_atai.emulator

PACKAGE = Path(airflow_provider_atai.emulator.__file__).parent


def test_of_the_provider_only_the_status_names_are_used() -> None:
    """A mistake that the emulator and the client shared could not be seen in a test."""
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    foreign = {
        name
        for name in imported
        if name.startswith("airflow") and not name.startswith("airflow_provider_atai.emulator.")
    }
    assert foreign == {
        "airflow_provider_atai.__version__",
        "airflow_provider_atai.api.fine_tune.JobStatus",
    }


def test_the_pytest_plugin_loads_nothing_heavy() -> None:
    code = (
        "import sys, airflow_provider_atai.emulator.pytest_plugin; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"fastapi", "uvicorn", "requests", "pydantic", "airflow"}.isdisjoint(loaded.split())
    assert "airflow_provider_atai" in loaded.split()
