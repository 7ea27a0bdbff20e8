"""The imports among the API's modules: no circle, and nothing of Airflow."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from airflow_provider_atai import api

PREFIX = "airflow_provider_atai."


def imports() -> dict[str, set[str]]:
    """Return what each module of api/ imports, also inside functions and for type checking."""
    found: dict[str, set[str]] = {}
    for path in Path(api.__path__[0]).glob("*.py"):
        names = found[f"{PREFIX}api.{path.stem}"] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names.add(str(node.module))
            elif isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
    return found


def test_the_modules_import_each_other_without_a_circle() -> None:
    # Raises CycleError, which names the circle.
    order = list(TopologicalSorter(imports()).static_order())
    assert order.index(f"{PREFIX}api.file_records") < order.index(f"{PREFIX}api.upload")


def test_the_modules_import_nothing_of_airflow_or_of_the_layers_above() -> None:
    names = set().union(*imports().values())
    ours = {name for name in names if name.startswith(PREFIX)}
    assert [name for name in ours if not name.startswith((f"{PREFIX}api", f"{PREFIX}errors"))] == []
    assert [name for name in names if name.partition(".")[0] == "airflow"] == []
