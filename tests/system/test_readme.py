"""README's test of a DAG, as a user runs it: a fresh environment, the wheel, and nothing of this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flit_core.buildapi import build_wheel

from tests.harness.airflow_processes import clean_environment

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).resolve().parents[2]
UV = REPOSITORY / ".uv" / "bin" / "uv"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.M | re.S
)


def block_with(text):
    (block,) = [block for block in BLOCKS if text in block]
    return block


def uv(*arguments):
    return subprocess.run([UV, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(params=["3", "2.11"])
def airflow(request):
    return request.param


@pytest.fixture
def fresh_environment(airflow, tmp_path, monkeypatch):
    """An environment with what the pins name and the wheel, as installed by somebody else; its folder."""
    wanted = sys.executable if airflow == "3" else uv("python", "find", "--system", ">=3.11,<3.13")
    monkeypatch.chdir(REPOSITORY)
    wheel = tmp_path / build_wheel(str(tmp_path))
    environment = tmp_path / "environment"
    python = str(environment / "bin" / "python")
    uv("venv", "-q", "--python", wanted, str(environment))
    uv("pip", "sync", "-q", "--require-hashes", "--python", python, f"requirements/airflow-{airflow}.txt")
    uv("pip", "install", "-q", "--no-deps", "--python", python, str(wheel))
    return environment


def test_the_test_of_the_dag_passes_as_it_is_written(airflow, fresh_environment, tmp_path):
    dag, test = block_with("def train_pump_states"), block_with("def test_a_failed_training")
    if airflow == "2.11":
        # As the comment in the block says.
        dag = re.sub(r"^from airflow\.sdk import .*# on Airflow 2\.11: (.*)$", r"\1", dag, flags=re.MULTILINE)
    folder, home = tmp_path / "project", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / "train_pump_states.py").write_text(dag)
    (folder / "test_train_pump_states.py").write_text(test)
    path = f"{fresh_environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["pytest", "-q", "--show-capture=no"],
        cwd=folder,
        env=clean_environment(HOME=str(home), PATH=path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert not (home / "airflow" / "airflow.db").exists()
