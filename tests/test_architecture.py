"""How the package's modules may depend on one another, and how long they may be."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_atai"
TESTS = Path(__file__).resolve().parent
MOST_LINES = 330


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_in(node):
    """Return every module that runs when this code does, imports inside functions included."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(SOURCES)
        return submodules or {node.module}
    children = node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)
    return {module for child in children for module in imports_in(child)}


IMPORTS = {name: imports_in(ast.parse(source)) for name, source in SOURCES.items()}


def in_any(module, packages):
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def ours(*names):
    return [f"airflow_provider_atai.{name}" for name in names]


# The modules of compat/ that import Airflow; rendering.py does not.
MEETS_AIRFLOW = ("compat.sdk", "compat.task_state", "compat.task_store")

# Who; what it may import of ours (None: anything not forbidden); what it may not import at all.
RULES = {
    "api imports only errors and api": ("api", ours("errors", "api"), ["airflow"]),
    "errors imports nothing of ours": ("errors", [], ["airflow"]),
    "emulator imports nothing else of ours": ("emulator", ours("emulator"), ["airflow"]),
    "compat imports nothing else of ours": ("compat", ours("compat"), []),
    "testing imports only api": ("testing", ours("testing", "api"), []),
    "jobs imports no Airflow and no operator": (
        "jobs",
        None,
        ["airflow", *ours("operators", "sensors", "triggers", "hooks", "emulator"), *ours(*MEETS_AIRFLOW)],
    ),
    "waiting imports no Airflow and no operator": (
        "waiting",
        None,
        ["airflow", *ours("operators", "sensors", "triggers", "hooks", "compat", "emulator")],
    ),
    "datasets imports no operator": (
        "datasets",
        None,
        ours("operators", "sensors", "triggers", "hooks", "emulator"),
    ),
    "hooks imports no operator": ("hooks", None, ours("operators", "sensors", "triggers", "emulator")),
}


@pytest.mark.parametrize("rule", RULES)
def test_imports_point_one_way(rule):
    package, allowed, forbidden = RULES[rule]
    wrong = {
        f"{name} imports {module}"
        for name, modules in IMPORTS.items()
        if in_any(name, ours(package))
        for module in modules
        if in_any(module, forbidden)
        or (
            allowed is not None
            and module in SOURCES.keys() - {"airflow_provider_atai"}
            and not in_any(module, allowed)
        )
    }
    assert wrong == set()


# The one is for tests, the other for Airflow's API server.
@pytest.mark.parametrize("above", ["testing", "ui"])
def test_nothing_imports_what_stands_above(above):
    outside = {name: modules for name, modules in IMPORTS.items() if not in_any(name, ours(above))}
    assert [name for name, modules in outside.items() if any(in_any(m, ours(above)) for m in modules)] == []


def test_no_import_is_circular():
    graph = {name: modules & set(SOURCES) for name, modules in IMPORTS.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_module_is_too_long():
    lengths = {name: source.count("\n") for name, source in SOURCES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_it_sees_imports_inside_functions_and_not_those_for_type_checkers():
    source = """
if TYPE_CHECKING:
    import a
else:
    import b
def function():
    from airflow_provider_atai import errors
    from c.d import e
"""
    assert imports_in(ast.parse(source)) == {"b", "airflow_provider_atai.errors", "c.d"}


def test_test_functions_carry_no_annotations():
    """Mypy checks what runs as a program, and not these files: nothing would keep their annotations true."""
    annotated = set()
    for path in [*TESTS.rglob("test_*.py"), *TESTS.rglob("conftest.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if node.returns or any(argument.annotation for argument in arguments):
                    annotated.add(f"{path.relative_to(TESTS)}: {node.name}")
    assert annotated == set()
