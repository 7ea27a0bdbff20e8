from __future__ import annotations

import subprocess
import sys


def test_the_pytest_plugin_loads_nothing_heavy():
    """pytest loads it in every environment that has the package, whatever is tested there."""
    code = (
        "import sys, airflow_provider_atai.testing.pytest_plugin; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"fastapi", "time_machine", "requests", "pydantic", "airflow"}.isdisjoint(loaded.split())
    assert "airflow_provider_atai" in loaded.split()
