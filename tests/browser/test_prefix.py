"""An Airflow that is served under a path, as behind a company's proxy."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.site import Visit, tab
from tests.harness.airflow_processes import free_port

pytestmark = [pytest.mark.ui, pytest.mark.timeout(300)]


@pytest.fixture
def prefixed(site):
    """The address of a second API server on the same database, whose base URL has a path."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/air/flow"
    environment = {**site.airflow.environment, "AIRFLOW__API__BASE_URL": url, "AIRFLOW__API__PORT": str(port)}
    command = [sys.executable, "-m", "airflow", "api-server", "--port", str(port)]

    def answers():
        try:
            return requests.get(f"{url}/api/v2/version", timeout=1).ok
        except requests.RequestException:
            return False

    site.processes.start("prefixed", command, environment)
    site.processes.wait_until(answers, "the second API server answers", 120)
    yield url
    site.processes.children.pop("prefixed").stop()


def test_the_pages_work_under_a_path(site, finished, chromium, prefixed):
    context = site.log_in(chromium, "viewer")
    visit = Visit(context.new_page(), prefixed)
    page = visit.go(tab(*finished["pump-done"], "train"))
    expect(page.get_by_text("Step 1000", exact=True)).to_be_visible()
    expect(page.locator(".atai-chart svg path").first).to_be_visible()
    page = visit.go("/plugin/atai-jobs")
    table = page.get_by_role("table", name="Fine-tuning jobs, newest first")
    table.get_by_role("link", name="pump-done").first.click()
    expect(page.get_by_role("heading", name="pump-done")).to_be_visible()
    ours = [urlsplit(url).path for url in visit.requests if "/atai/" in url]
    assert len(ours) > 10
    assert [path for path in ours if not path.startswith("/air/flow/atai/")] == []
    assert (visit.foreign, visit.errors) == ([], [])
    context.close()
