"""``docs/emulator.md`` is complete and true."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
import requests

import airflow_provider_atai.emulator
from airflow_provider_atai.emulator.control import EmulatorControl
from airflow_provider_atai.emulator.faults import BodyKind, Effect
from airflow_provider_atai.emulator.settings import Life, Switches

PACKAGE = Path(airflow_provider_atai.emulator.__file__).parent
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")


ADDRESS = "http://127.0.0.1:8765"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if not line.startswith("#")]
CURL = [line for line in COMMANDS if line.startswith("curl ")]


@pytest.mark.parametrize("command", CURL)
def test_every_request_in_the_document_is_taken(atai_emulator, command):
    arguments = ArgumentParser()
    arguments.add_argument("-X", default="GET")
    arguments.add_argument("--json")
    arguments.add_argument("url")
    given = arguments.parse_args(shlex.split(command)[1:])
    headers = {"Content-Type": "application/json"} if given.json else {}
    url = given.url.replace(ADDRESS, atai_emulator.root_url)
    answer = requests.request(given.X, url, data=given.json, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text


def test_every_body_in_the_table_is_sent_by_a_command():
    """A command shows how a body is nested, which the table abbreviates."""
    table = TEXT.partition("| `EmulatorControl` | HTTP |")[2].partition("\n\n")[0]
    bodies = dict(re.findall(r"`\w+(?:`, `\w+)? /_emulator(/[\w-]+)` `(\{.+?\})` \|", table))
    assert set(bodies) == {"/clock", "/outcomes", "/api-key"}
    for path, body in bodies.items():
        sent = "".join(command for command in CURL if command.endswith(path))
        assert [field for field in re.findall(r'"(\w+)"', body) if f'"{field}"' not in sent] == []


def test_the_commands_that_install_and_start_are_real(start_emulator):
    install, start, connect = (line for line in COMMANDS if line not in CURL)
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extra,) = re.fullmatch(rf"pip install '{project['name']}\[(\w+)\]'", install).groups()
    assert extra in project["optional-dependencies"]
    program, *options = shlex.split(start)
    assert program in project["scripts"]
    emulator = start_emulator(None, *options, "--port", "0")
    assert emulator.control.state()["clock"]["scale"] == 60
    shown = start_emulator().announcement.rpartition(":")[0]
    assert f"# {shown}:8765/v0.5" in TEXT
    value = shlex.split(connect)[1].partition("=")[2]
    assert json.loads(value) == json.loads(EmulatorControl(ADDRESS).connection_json)


def test_the_example_of_the_controls_runs(atai_emulator):
    (example,) = [block for block in blocks("python") if "EmulatorControl(" in block]
    exec(example.replace(ADDRESS, atai_emulator.root_url), {})
    assert (atai_emulator.state()["clock"]["scale"], len(atai_emulator.faults())) == (60, 1)


def test_the_example_of_the_fixtures_runs(run_dag, atai_emulator, tmp_path):
    from airflow_provider_atai.compat.sdk import BaseOperator
    from airflow_provider_atai.operators.datasets import UploadDatasetOperator
    from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
    from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

    try:
        from airflow.sdk import DAG
    except ImportError:  # Airflow 2
        from airflow import DAG
    (tmp_path / "train.jsonl").write_text("{}\n")
    with DAG("my_dag", schedule=None, default_args={"retries": 1}) as my_dag:
        upload = UploadDatasetOperator(task_id="upload", path=str(tmp_path / "train.jsonl"), name="n")
        job = CreateFineTuneJobOperator(task_id="create", name="n", datasets=[upload.output])
        wait = FineTuneJobSensor(
            task_id="wait", job_id=job.output, deferrable=True, timeout=timedelta(hours=12)
        )
        wait >> BaseOperator(task_id="after")
    (example,) = [block for block in blocks("python") if "def test_" in block]
    namespace = {}
    exec(example, namespace)
    (test,) = [value for name, value in namespace.items() if name.startswith("test_")]
    test(run_dag, atai_emulator, my_dag)


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
