"""Comparing the jobs of a run and of a DAG, and the list of all jobs."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.test_job_tab import serious

pytestmark = [pytest.mark.ui, pytest.mark.timeout(300)]


def test_a_sweep_is_compared(finished, open_page):
    dag_id, run_id = finished["sweep"]
    page = open_page("viewer").go(f"/dags/{dag_id}/runs/{quote(run_id, safe='')}/plugin/atai-run-jobs")
    expect(page.get_by_text("3 jobs of this run")).to_be_visible()
    expect(page.locator(".atai-chart svg path")).to_have_count(3)
    rows = page.get_by_role("table", name="Final metrics of the jobs").get_by_role("row")
    expect(rows).to_have_count(4)
    best = [float(rows.nth(row).get_by_role("cell").nth(3).inner_text()) for row in (1, 2, 3)]
    assert best == sorted(best)
    apart = page.get_by_role("table", name="Differences in the configuration")
    expect(apart.get_by_text("pump-small")).to_be_visible()
    expect(apart.get_by_role("row")).to_have_count(2)
    page.get_by_role("checkbox", name="Draw train [1]").uncheck()
    expect(page.locator(".atai-chart svg path")).to_have_count(2)
    page.reload()
    expect(page.locator(".atai-chart svg path")).to_have_count(2)
    assert serious(page) == []


def test_the_last_runs_of_a_task_are_compared(finished, open_page):
    page = open_page("viewer").go("/dags/atai_one/plugin/atai-dag-jobs")
    expect(page.get_by_role("heading", name="Jobs of the last runs")).to_be_visible()
    rows = page.get_by_role("table", name="Final metrics of the jobs").get_by_role("row")
    expect(rows).to_have_count(6)
    page.get_by_role("button", name="Training loss").first.click()
    expect(page.locator(".atai-chart svg path").first).to_be_visible()
    assert serious(page) == []


def test_all_jobs_are_listed_and_filtered(finished, open_page):
    page = open_page("viewer").go("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Fine-tune jobs").click()
    table = page.get_by_role("table", name="Fine-tuning jobs, newest first")
    for name in ("pump-done", "pump-stop", "pump-small", "pump-middle", "pump-large"):
        expect(table.get_by_role("link", name=name).first).to_be_visible()
    page.get_by_role("button", name="Failed", exact=True).click()
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table.get_by_text("pump-fail", exact=True)).to_be_visible()
    expect(table.get_by_text("pump-done", exact=True)).to_have_count(0)
    assert serious(page) == []
    table.get_by_role("link", name="pump-fail").click()
    expect(page.get_by_role("heading", name="pump-fail")).to_be_visible()
