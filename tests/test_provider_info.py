from __future__ import annotations

import importlib
import json
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.hooks.settings import KNOWN_EXTRAS
from airflow_provider_atai.provider_info import get_provider_info

INFO = get_provider_info()


def test_airflow_finds_the_provider():
    found = entry_points(group="apache_airflow_provider")
    (entry_point,) = [entry for entry in found if entry.value.startswith("airflow_provider_atai")]
    assert entry_point.load() is get_provider_info


def test_airflow_accepts_the_provider_info():
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


@pytest.mark.parametrize(
    "module",
    [
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for entry in INFO[kind]
        for module in entry["python-modules"]
    ],
)
def test_its_modules_exist(module):
    assert importlib.import_module(module)


@pytest.mark.parametrize("path", [INFO["connection-types"][0]["hook-class-name"], *INFO["extra-links"]])
def test_its_classes_exist(path):
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name)


def test_the_form_and_the_hook_agree():
    (connection,) = INFO["connection-types"]
    assert connection["connection-type"] == AtaiHook.conn_type
    assert connection["hook-name"] == AtaiHook.hook_name
    assert set(connection["conn-fields"]) == set(KNOWN_EXTRAS)

    form = connection["ui-field-behaviour"]
    assert AtaiHook.get_ui_field_behaviour() == {key.replace("-", "_"): value for key, value in form.items()}
