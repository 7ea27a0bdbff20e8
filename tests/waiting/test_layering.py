from __future__ import annotations

import ast
from pathlib import Path

import pytest

import airflow_provider_atai

PACKAGE = Path(airflow_provider_atai.__file__).parent
PURE = ("deadline", "policy", "result", "summary", "watch")


def modules_of(area):
    return sorted((PACKAGE / area).glob("*.py"), key=str)


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


def from_airflow(path):
    return {name for name in imports_of(path) if name.partition(".")[0] == "airflow"}


@pytest.mark.parametrize("path", modules_of("waiting"), ids=lambda path: path.stem)
def test_waiting_imports_neither_airflow_nor_the_layers_above(path):
    assert not from_airflow(path)
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("airflow_provider_atai.")}
    assert ours <= {"api", "errors", "waiting"}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_has_no_way_to_wait_or_to_call(name):
    imported = imports_of(PACKAGE / "waiting" / f"{name}.py")
    assert not imported & {"asyncio", "concurrent.futures", "contextvars", "requests", "threading", "time"}
    ours = {module for module in imported if module.startswith("airflow_provider_atai.waiting.")}
    assert ours <= {f"airflow_provider_atai.waiting.{pure}" for pure in PURE}


def test_datasets_import_only_airflows_object_storage():
    found = {(path.stem, name) for path in modules_of("datasets") for name in from_airflow(path)}
    assert found == {("sources", "airflow.providers.common.compat.sdk")}
