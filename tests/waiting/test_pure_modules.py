from __future__ import annotations

import ast
from pathlib import Path

import pytest

import airflow_provider_atai

PACKAGE = Path(airflow_provider_atai.__file__).parent
PURE = ("deadline", "history", "policy", "result", "summary", "watch")


def imports_of(path):
    """Return the modules that a file imports, wherever in the file that stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(node.module)
    return found


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_has_no_way_to_wait_or_to_call(name):
    imported = imports_of(PACKAGE / "waiting" / f"{name}.py")
    assert not imported & {"asyncio", "concurrent.futures", "contextvars", "requests", "threading", "time"}
    ours = {module for module in imported if module.startswith("airflow_provider_atai.waiting.")}
    assert ours <= {f"airflow_provider_atai.waiting.{pure}" for pure in PURE}
