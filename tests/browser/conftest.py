"""A real Airflow, a real emulator and a real Chromium, started once for all tests in the browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="make ui has the browser")

from playwright.sync_api import expect, sync_playwright

from tests.browser.site import SECONDS, Site, Visit
from tests.harness.airflow_processes import AirflowProcesses
from tests.harness.child_processes import ChildProcesses
from tests.harness.datasets import store_dataset
from tests.harness.emulator_process import start_emulator

expect.set_options(timeout=SECONDS * 1000)
HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "example_dags"
ROLES = {"viewer": "viewer", "user": "user"}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    home = tmp_path_factory.mktemp("browser")
    with ChildProcesses(home / "logs") as processes:
        emulator = start_emulator(processes, home / "emulator")
        dags = home / "dags"
        dags.mkdir()
        (dags / "examples").symlink_to(EXAMPLES)
        (dags / "pages").symlink_to(HERE / "dags")
        console = {"extra": {"console_url_template": "https://console.example/{job_id}"}}
        connection = json.dumps({**json.loads(emulator.connection_json), **console})
        settings = {"AIRFLOW_CONN_ATAI_DEFAULT": connection}
        airflow = AirflowProcesses(processes, home / "airflow", dags, settings, roles=ROLES)
        yield Site(processes, airflow, airflow.start(), emulator)


@pytest.fixture(scope="session")
def runs(site):
    """Runs by the name of their job, each of which trains and waits; and a sweep."""
    emulator = site.emulator
    store_dataset(emulator)
    emulator.pause()
    emulator.set_outcome("FAILED", name="pump-fail")
    for name in ("pump-stop", "pump-cancel", "pump-watch"):
        emulator.set_outcome("RUNNING", name=name)
    names = ("pump-done", "pump-fail", "pump-stop", "pump-cancel", "pump-watch")
    found = {name: ("atai_one", site.run("atai_one", {"name": name})) for name in names}
    found["sweep"] = ("atai_sweep", site.run("atai_sweep"))
    jobs = len(names) + 3
    site.processes.wait_until(lambda: len(emulator.jobs()) == jobs, f"there are {jobs} jobs", 120)
    emulator.advance(330)
    return found


@pytest.fixture(scope="session")
def finished(site, runs):
    """The same runs after those that end have ended."""
    site.emulator.advance(3600)
    for name in ("pump-done", "sweep"):
        assert site.wait_for_run(*runs[name]) == "success"
    return runs


@pytest.fixture(scope="session")
def chromium():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("There is no Chromium. `make ui` installs it from Debian's packages if it may.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def contexts():
    """Browser profiles by user and options: what was loaded once is in their cache."""
    made = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def open_page(chromium, contexts, site):
    """Open pages as a user; at the end, no page has said an error or called another host."""
    opened = []

    def open_as(user="admin", *, errors_expected=False, **options):
        profile = (user, json.dumps(options, sort_keys=True))
        if profile not in contexts:
            contexts[profile] = site.log_in(chromium, user, **options)
        visit = Visit(contexts[profile].new_page(), site.airflow.url)
        opened.append((visit, errors_expected))
        return visit

    yield open_as
    for visit, errors_expected in opened:
        visit.page.close()
        assert visit.foreign == []
        if not errors_expected:
            assert visit.errors == []
