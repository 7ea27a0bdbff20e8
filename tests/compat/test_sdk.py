from __future__ import annotations

import ast
from pathlib import Path

import pytest

from airflow_provider_atai.compat import sdk

PACKAGE = Path(sdk.__file__).resolve().parents[1]
RETRY_POLICY = {"ExceptionRetryPolicy", "RetryAction", "RetryRule"}
# testing/ drives Airflow's own database and DAG files, which nothing of the provider does.
# ui/ runs within Airflow's own web application, which is not there before the version that compat/ names.
APART = ("compat", "emulator", "testing", "ui")
OTHERS = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in APART]


def imported(path):
    """The modules that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("name", sorted(sdk._HOMES))
def test_every_name_is_found_on_this_airflow(name):
    if name in RETRY_POLICY and not sdk.TRIGGERERS_RUN_WHOLE_TASKS:
        with pytest.raises(ImportError, match=f"This version of Airflow has no {name}"):
            getattr(sdk, name)
    else:
        assert getattr(sdk, name) is not None


def test_what_is_typed_is_what_is_found():
    module = ast.parse(Path(sdk.__file__).read_text(encoding="utf-8"))
    (typing,) = [node for node in module.body if isinstance(node, ast.If)]
    typed = {alias.name for line in typing.body for alias in line.names}
    assert typed == set(sdk._HOMES)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Dag'"):
        _ = sdk.Dag


def test_an_operator_raises_what_airflow_itself_catches():
    try:
        from airflow.sdk import exceptions
    except ImportError:
        from airflow import exceptions
    for name in (
        "AirflowFailException",
        "AirflowSkipException",
        "AirflowSensorTimeout",
        "AirflowNotFoundException",
    ):
        assert getattr(sdk, name) is getattr(exceptions, name)


def test_the_logger_of_a_task_is_its_own():
    task = sdk.BaseOperator(task_id="task")
    assert sdk.log_of(task) is task.log


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_other_module_asks_which_airflow_this_is(path):
    airflow = {name for name in imported(path) if name.partition(".")[0] == "airflow"}
    assert airflow <= {"airflow.triggers.base"}
    text = path.read_text(encoding="utf-8")
    assert "AIRFLOW_V_" not in text


def test_nothing_needs_the_compatibility_provider():
    """No released Airflow's constraints have the version of it that is safe in every triggerer."""
    folders = ("airflow_provider_atai", "tests", "example_dags", "demo", "benchmarks")
    for path in (path for folder in folders for path in (PACKAGE.parent / folder).rglob("*.py")):
        assert not any(name.startswith("airflow.providers.common.compat") for name in imported(path)), path
    assert "apache-airflow-providers" not in (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((PACKAGE / "compat").glob("*.py")), ids=lambda path: path.name)
def test_compat_uses_no_other_part_of_the_package(path):
    ours = {name for name in imported(path) if name.startswith("airflow_provider_atai.")}
    assert all(name.startswith("airflow_provider_atai.compat.") for name in ours)
