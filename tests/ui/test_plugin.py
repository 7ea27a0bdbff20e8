"""What Airflow is told of the pages, and what that costs the processes that do not show them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from unittest import mock

import pytest

from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS
from airflow_provider_atai.ui import bundle
from airflow_provider_atai.ui.plugin import PAGES, AtaiPlugin

shown = pytest.mark.skipif(not SHOWS_PLUGIN_TABS, reason="This Airflow shows no tabs of plugins")
WEB = ("fastapi", "starlette", "airflow.api_fastapi", "airflow_provider_atai.ui.app", "sqlalchemy.orm")


def test_airflow_finds_the_plugin_by_its_entry_point():
    (found,) = [
        entry
        for entry in entry_points(group="airflow.plugins")
        if entry.value.startswith("airflow_provider_atai.")
    ]
    assert found.load() is AtaiPlugin


def test_an_airflow_that_shows_no_tabs_is_told_of_none():
    with mock.patch("airflow_provider_atai.ui.plugin.SHOWS_PLUGIN_TABS", new=False):
        plugin = AtaiPlugin()
        assert (plugin.react_apps, plugin.fastapi_apps) == ([], [])


def test_loading_the_plugin_imports_nothing_of_the_web():
    script = """
import json, sys
import airflow.plugins_manager
before = set(sys.modules)
from airflow_provider_atai.ui.plugin import AtaiPlugin
plugin = AtaiPlugin()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in imported if name.startswith(WEB)] == []
    assert [name for name in imported if name.startswith("airflow_provider_atai.")] == [
        "airflow_provider_atai.compat",
        "airflow_provider_atai.compat.sdk",
        "airflow_provider_atai.ui",
        "airflow_provider_atai.ui.bundle",
        "airflow_provider_atai.ui.plugin",
    ]


@shown
def test_each_page_is_valid_for_airflow():
    from airflow.api_fastapi.core_api.datamodels.plugins import ReactAppResponse

    apps = [ReactAppResponse.model_validate(app) for app in AtaiPlugin().react_apps]
    assert [(app.name, app.destination, app.url_route) for app in apps] == list(PAGES)
    assert len({app.url_route for app in apps}) == len({app.name for app in apps}) == 4


@shown
@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("http://localhost:8080", ""),
        ("http://localhost:8080/", ""),
        ("https://x.example/air/flow/", "/air/flow"),
    ],
)
def test_the_address_has_the_path_that_airflow_is_served_under(base_url, path):
    with mock.patch.dict(os.environ, {"AIRFLOW__API__BASE_URL": base_url}):
        (url,) = {app["bundle_url"] for app in AtaiPlugin().react_apps}
    assert url == f"{path}/atai/static/{bundle.content_hash()}/page.js"


def test_the_components_are_known_by_the_names_that_airflow_looks_up():
    entry = (bundle.WWW / "page.js").read_text()
    for name, _, _ in PAGES:
        assert f'globalThis["{name}"]' in entry


def test_another_content_has_another_address(tmp_path, monkeypatch):
    (tmp_path / "page.js").write_text("1")
    monkeypatch.setattr(bundle, "WWW", tmp_path)
    bundle.content_hash.cache_clear()
    first = bundle.content_hash()
    (tmp_path / "page.js").write_text("2")
    bundle.content_hash.cache_clear()
    assert bundle.content_hash() != first
    monkeypatch.undo()
    bundle.content_hash.cache_clear()


def test_the_pages_weigh_less_than_60_kilobytes():
    assert sum(file.stat().st_size for file in bundle.WWW.iterdir()) < 60_000


def test_the_pages_name_no_other_host():
    for file in Path(bundle.WWW).iterdir():
        assert "//" not in file.read_text().replace("// ", "").replace("https?:", ""), file.name
