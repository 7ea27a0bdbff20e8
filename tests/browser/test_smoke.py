"""One visit to a job's tab, for every Airflow that can show it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_job_tab import job_tab, serious

pytestmark = [pytest.mark.ui, pytest.mark.timeout(300)]


def test_the_tab_shows_a_job_that_trains_and_asks_before_it_ends_it(site, runs, open_page):
    page = open_page("user").go(job_tab(runs, "pump-watch"))
    header = page.get_by_role("region", name="The job", exact=True)
    expect(header.get_by_text("RUNNING", exact=True)).to_be_visible()
    expect(page.locator(".atai-chart svg path")).to_have_count(3)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog", name="Cancel this job?")).to_be_visible()
    page.get_by_role("button", name="Keep it running").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert serious(page) == []


def test_the_pages_follow_each_other(site, finished, open_page):
    page = open_page("viewer").go("/plugin/atai-jobs")
    table = page.get_by_role("table", name="Fine-tuning jobs, newest first")
    table.get_by_role("link", name="pump-fail").click()
    expect(page.get_by_role("region", name="Why it ended")).to_be_visible()
    page.go_back()
    table.get_by_role("link", name="pump-middle").click()
    expect(page.get_by_role("heading", name="pump-middle")).to_be_visible()
