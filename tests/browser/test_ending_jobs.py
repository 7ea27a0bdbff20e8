"""Stopping and cancelling a job from its tab."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_job_tab import job_tab, serious

pytestmark = [pytest.mark.ui, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("name", "button", "question", "status"),
    [
        ("pump-stop", "Stop gracefully", "Stop this job gracefully?", "STOPPED"),
        ("pump-cancel", "Cancel", "Cancel this job?", "CANCELLED"),
    ],
)
def test_a_user_ends_a_job(site, runs, open_page, name, button, question, status):
    page = open_page("user").go(job_tab(runs, name))
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog", name=question)
    expect(dialog.get_by_text("has 2 retries left: a retry starts a new job")).to_be_visible()
    assert serious(page) == []
    # A second thought costs nothing.
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert site.emulator.requests(method="PUT", path="*/fine-tune/jobs/*/*") == [] or name == "pump-cancel"

    page.get_by_role("button", name=button).press("Enter")
    expect(dialog.get_by_role("button", name="Keep it running")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The service says that the job is")).to_be_visible()
    site.emulator.advance(120)
    header = page.get_by_role("region", name="The job", exact=True)
    expect(header.get_by_text(status, exact=True)).to_be_visible()
    # The task notices at its next poll, and is tried again in an hour.
    expect(header.get_by_text("up_for_retry", exact=True)).to_be_visible()
    (job,) = [job for job in site.emulator.jobs() if job["name"] == name]
    assert job["status"] == status


def test_a_viewer_is_told_why_not(site, runs, open_page):
    page = open_page("viewer").go(job_tab(runs, "pump-watch"))
    for name in ("Stop gracefully", "Cancel"):
        button = page.get_by_role("button", name=name)
        expect(button).to_be_disabled()
        expect(button).to_have_accessible_description(
            "Only users who may edit the runs of this DAG can do this."
        )
    expect(page.get_by_text("Only users who may edit the runs of this DAG can do this.")).to_be_visible()


def test_a_service_that_refuses_is_quoted(site, runs, open_page):
    # The browser logs every answer that is an error.
    page = open_page("user", errors_expected=True).go(job_tab(runs, "pump-watch"))
    site.emulator.add_fault(path="**/stop", status=403, body="errors", count=None)
    try:
        page.get_by_role("button", name="Stop gracefully").click()
        page.get_by_role("dialog").get_by_role("button", name="Stop gracefully").click()
        expect(page.get_by_text("The service did not stop the job")).to_be_visible()
    finally:
        site.emulator.clear_faults()
    expect(page.get_by_text("RUNNING").first).to_be_visible()
