"""``docs/emulator.md`` is complete and true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

import airflow_provider_atai.emulator
from airflow_provider_atai.emulator.control import EmulatorControl
from airflow_provider_atai.emulator.faults import BodyKind, Effect
from airflow_provider_atai.emulator.settings import Life, Switches

PACKAGE = Path(airflow_provider_atai.emulator.__file__).parent
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(Switches.model_fields))
def test_every_switch_is_documented_with_its_default(name):
    field = Switches.model_fields[name]
    assert field.description
    default = json.dumps(field.default).strip('"')
    (row,) = re.findall(rf"^\| `{name}` \|.*$", TEXT, re.MULTILINE)
    assert f"| `{default}` |" in row
    assert row.endswith(f"| {' '.join(str(field.description).split())} |")
    assert all(f"`{position}`" in row for position in get_args(field.annotation))


def test_no_unknown_switch_is_documented():
    table = TEXT.partition("| switch |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(Switches.model_fields)


@pytest.mark.parametrize("word", [*get_args(Effect), *get_args(BodyKind), *Life.model_fields])
def test_every_effect_body_and_duration_is_documented(word):
    assert f"`{word}`" in TEXT


def test_every_control_is_documented():
    names = [name for name in vars(EmulatorControl) if not name.startswith("_") and name != "close"]
    assert [name for name in names if not re.search(rf"`{name}\b", TEXT)] == []


def test_every_error_code_is_documented():
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    codes = set(re.findall(r'(?:RefusedError\(\s*\d+,|error_entry\()\s*"(\w+)"', source))
    codes |= set(re.findall(r'code(?:: str)? ?= ?"(\w+)"', source))
    assert {"conflict", "upload_not_found", "invalid_parameter", "internal_logic_error"} <= codes
    assert [code for code in sorted(codes) if f"`{code}`" not in TEXT] == []
