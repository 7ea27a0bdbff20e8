from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_atai.emulator

PACKAGE = Path(airflow_provider_atai.emulator.__file__).parent
OURS = "airflow_provider_atai.emulator"


def module_name(path):
    parts = path.relative_to(PACKAGE.parents[1]).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path):
    """Every import of a file, wherever it stands, as full names: of functions and classes, too."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    return imported


def emulator_modules_of(path):
    """The emulator's modules that a file imports from."""
    imported = {name for name in imports_of(path) if name.startswith(f"{OURS}.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in imported}


@pytest.mark.parametrize("name", MODULES)
def test_the_emulator_imports_nothing_of_the_package_that_it_tests(name):
    """If the emulator and the client shared code, no test could see a mistake in that code."""
    foreign = {
        imported
        for imported in imports_of(MODULES[name])
        if imported.partition(".")[0] in ("airflow", "airflow_provider_atai")
        and not imported.startswith(f"{OURS}.")
    }
    allowed = {"airflow_provider_atai.__version__"} if name == f"{OURS}.routes.control" else set()
    assert foreign == allowed


def test_the_emulator_loads_nothing_of_the_package_that_it_tests():
    code = f"import sys, {', '.join(MODULES)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    foreign = {name for name in loaded.split() if name.startswith("airflow")} - MODULES.keys()
    assert foreign == {"airflow_provider_atai"}


def test_modules_do_not_import_each_other_in_a_circle():
    TopologicalSorter({name: emulator_modules_of(path) for name, path in MODULES.items()}).prepare()


@pytest.mark.parametrize("name", [name for name in MODULES if ".jobs." in name or ".files." in name])
def test_state_does_not_know_who_uses_it(name):
    """Imports point from the routes to jobs and files, and from there to what these have in common."""
    package = name.rpartition(".")[0]
    below = {f"{OURS}.{module}" for module in ("clock", "errors", "ids", "settings", "store", "strict_input")}
    others = {
        module
        for module in emulator_modules_of(MODULES[name])
        if module != package and not module.startswith(f"{package}.")
    }
    assert others <= below


def test_the_pytest_plugin_loads_nothing_heavy():
    code = (
        "import sys, airflow_provider_atai.emulator.pytest_plugin; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"fastapi", "uvicorn", "requests", "pydantic", "airflow"}.isdisjoint(loaded.split())
    assert "airflow_provider_atai" in loaded.split()
