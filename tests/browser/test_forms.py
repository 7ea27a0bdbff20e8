"""The connection form and the trigger form of the example, as people fill them in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.ui, pytest.mark.timeout(300)]

RETRAINING = "atai_scheduled_retraining"


def test_a_connection_is_added_with_the_form(site, open_page):
    page = open_page().go("/connections")
    page.get_by_role("button", name="Add Connection").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Connection ID").fill("atai_form")
    dialog.get_by_role("combobox").first.click()
    page.keyboard.type("Archetype")
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("API base URL")).to_be_visible()
    for hidden in ("Login", "Port", "Schema"):
        expect(dialog.get_by_text(hidden, exact=True)).to_have_count(0)
    dialog.get_by_label("API base URL").fill(site.emulator.base_url)
    dialog.get_by_label("API key").fill(site.emulator.api_key)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("cell", name="atai_form")).to_be_visible()
    stored = site.api.request("GET", "connections", "atai_form")
    assert (stored["conn_type"], stored["host"]) == ("atai", site.emulator.base_url)


@pytest.mark.parametrize(("is_good", "said"), [(True, "accepted the API key"), (False, "key")])
def test_a_key_is_tried_out(site, is_good, said):
    """What the button *Test* calls; on 3.3.2 it refuses every saved connection without a port."""
    key = site.emulator.api_key if is_good else "sk_wrong"
    body = {
        "connection_id": "tried_out",
        "conn_type": "atai",
        "host": site.emulator.base_url,
        "password": key,
    }
    answer = site.api.request("POST", "connections", "test", json=body)
    assert answer["status"] is is_good
    assert said in answer["message"]
    assert site.emulator.api_key not in answer["message"]


def trigger_form(visit):
    page = visit.go(f"/dags/{RETRAINING}")
    page.get_by_role("button", name="Trigger Dag").click()
    dialog = page.get_by_role("dialog")
    for section in ("Data", "Job"):
        dialog.get_by_role("button", name=section, exact=True).click()
    expect(dialog.get_by_text("Training data")).to_be_visible()
    return page, dialog


def test_a_wrong_parameter_starts_no_run(site, open_page):
    site.processes.wait_until(lambda: site.api.dag(RETRAINING), "Airflow knows the DAG", 60)
    before = len(site.api.runs(RETRAINING))
    # The browser logs that Airflow refuses the run.
    page, dialog = trigger_form(open_page(errors_expected=True))
    dialog.locator("input[name='element_train_path']").fill("relative/train.csv")
    dialog.get_by_role("button", name="Trigger").click()
    expect(page.get_by_text("train_path").first).to_be_visible()
    page.wait_for_timeout(1000)
    assert len(site.api.runs(RETRAINING)) == before


def test_the_right_parameters_start_a_run(site, open_page):
    _, dialog = trigger_form(open_page())
    dialog.locator("input[name='element_job_name']").fill("from-the-form")
    dialog.get_by_role("button", name="Trigger").click()
    site.processes.wait_until(lambda: site.api.runs(RETRAINING), "there is a run", 30)
    (run,) = site.api.runs(RETRAINING)
    assert run["conf"]["job_name"] == "from-the-form"
