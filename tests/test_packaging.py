"""What is published, and what is pinned."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from flit_core.buildapi import build_wheel

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    return zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path)))


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = wheel.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"airflow_provider_atai"}
    assert "airflow_provider_atai/py.typed" in names
    sources = {
        path.relative_to(REPOSITORY).as_posix()
        for kind in ("py", "js")
        for path in REPOSITORY.glob(f"airflow_provider_atai/**/*.{kind}")
    }
    assert "airflow_provider_atai/ui/www/page.js" in sources
    assert sources <= set(names)


def test_wheel_announces_itself(wheel):
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    sections = wheel.read(entry_points).decode()
    assert "[apache_airflow_provider]" in sections
    assert "[airflow.plugins]" in sections
    assert "[pytest11]" in sections
    assert "atai-emulator=" in sections


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "requirements").glob("*.txt")), ids=lambda path: path.name
)
def test_requirements_have_versions_and_hashes_but_no_addresses(file):
    text = file.read_text()
    assert "://" not in text
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in line and line.endswith("\\") for line in requirements)
    assert text.count("--hash=sha256:") >= len(requirements)
