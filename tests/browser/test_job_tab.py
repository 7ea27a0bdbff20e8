"""The job's tab on a task, as people see it."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.site import tab

pytestmark = [pytest.mark.ui, pytest.mark.timeout(300)]

METRICS = "**/fine-tune/jobs/*/metrics"
WAITING = "pump-watch"


def job_tab(runs, name, task_id="train", map_index=-1):
    return tab(*runs[name], task_id, map_index)


def serious(page):
    """Return what axe finds within our pages that keeps somebody from using them."""
    found = Axe().run(page, context=".atai").response["violations"]
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_a_job_that_trains_is_watched_until_it_ends(site, runs, open_page):
    page = open_page("viewer").go(job_tab(runs, "pump-done"))
    header = page.get_by_role("region", name="The job", exact=True)
    expect(header.get_by_text("RUNNING")).to_be_visible()
    expect(header.get_by_text("deferred")).to_be_visible()
    expect(header.get_by_text("Read from the service")).to_be_visible()
    expect(page.get_by_role("heading", name="pump-done")).to_be_visible()
    training = page.get_by_role("region", name="Training", exact=True)
    expect(training.locator("svg path")).to_have_count(3)
    before = training.locator("svg path").first.get_attribute("d")
    checkpoints = page.get_by_role("table", name="Checkpoints, newest first").get_by_role("row")
    known = checkpoints.count()

    # The chart grows without a click.
    site.emulator.advance(120)
    expect(checkpoints).to_have_count(known + 1)
    expect(training.get_by_text(f"Step {200 * known}", exact=True)).to_be_visible()
    assert training.locator("svg path").first.get_attribute("d") != before

    site.emulator.advance(3600)
    expect(header.get_by_text("COMPLETED", exact=True)).to_be_visible()
    expect(header.get_by_text("success", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    data = page.get_by_role("region", name="Model and data")
    expect(data.get_by_text(re.compile("inference-configs/"))).to_be_visible()
    expect(data.get_by_text("train.csv")).to_be_visible()
    timeline = page.get_by_role("table", name="Statuses of the job, oldest first")
    for status in ("REGISTERED", "RUNNING", "COMPLETED"):
        expect(timeline.get_by_text(status, exact=True)).to_be_visible()
    assert serious(page) == []


def test_neither_a_job_that_is_over_nor_a_hidden_tab_is_asked_about_again(finished, open_page):
    over, hidden = open_page(), open_page()
    page = over.go(job_tab(finished, "pump-done"))
    expect(page.get_by_text("Step 1000", exact=True)).to_be_visible()
    page = hidden.go(job_tab(finished, WAITING))
    expect(page.get_by_text("Read from the service")).to_be_visible()
    # A browser without a window shows all its tabs.
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.wait_for_timeout(500)
    for visit in (over, hidden):
        visit.requests.clear()
    page.wait_for_timeout(7000)
    assert [url for visit in (over, hidden) for url in visit.requests if "/atai/v1/" in url] == []
    with page.expect_response("**/atai/v1/**/job?*"):
        page.evaluate(hide, False)


def test_a_failed_job_says_why_and_what_a_retry_will_do(finished, open_page):
    page = open_page().go(job_tab(finished, "pump-fail"))
    why = page.get_by_role("region", name="Why it ended")
    expect(why.get_by_text("FAILED. It no longer runs")).to_be_visible()
    expect(why.get_by_text("starts a new job, which is paid for again")).to_be_visible()
    assert serious(page) == []


def test_a_mapped_task_has_its_own_job(finished, open_page):
    page = open_page().go(job_tab(finished, "sweep", map_index=1))
    expect(page.get_by_role("heading", name="pump-middle")).to_be_visible()


def test_a_task_without_a_job_is_a_quiet_sentence(finished, open_page):
    page = open_page().go(job_tab(finished, "pump-done", task_id="other"))
    expect(page.get_by_text("This task has no fine-tune job.")).to_be_visible()


def test_the_links_on_the_task_lead_to_the_tab_and_to_the_console(finished, open_page):
    page = open_page().go(job_tab(finished, "pump-done").replace("plugin/atai-job", "details"))
    expect(page.get_by_role("link", name="Job in the console")).to_have_attribute(
        "href", re.compile(r"^https://console\.example/pump-done-")
    )
    # The other one of this name is the tab itself.
    page.get_by_role("link", name="Fine-tune job").last.click()
    expect(page.get_by_role("heading", name="pump-done")).to_be_visible()


def test_clicking_from_page_to_page_keeps_them_all_alive(finished, open_page):
    page = open_page().go(job_tab(finished, "pump-done"))
    expect(page.get_by_role("heading", name="pump-done")).to_be_visible()
    page.get_by_role("link", name=finished["pump-done"][1]).first.click()
    page.get_by_role("link", name="Compare jobs").click()
    expect(page.get_by_text("1 job of this run")).to_be_visible()
    page.get_by_role("link", name="atai_one").first.click()
    page.get_by_role("link", name="Fine-tuning", exact=True).click()
    expect(page.get_by_role("heading", name="Jobs of the last runs")).to_be_visible()


def test_what_was_chosen_is_in_the_address(finished, open_page):
    page = open_page().go(job_tab(finished, "pump-done"))
    page.get_by_role("button", name="Logarithmic").click()
    page.get_by_role("button", name="By time").click()
    page.get_by_role("button", name="Learning rate").click()
    page.reload()
    for name in ("Logarithmic", "By time"):
        expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Learning rate")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".atai-chart svg path")).to_have_count(2)


def test_the_chart_is_read_by_keyboard_and_as_a_table(finished, open_page):
    page = open_page().go(job_tab(finished, "pump-done"))
    chart = page.get_by_role("slider")
    chart.focus()
    page.keyboard.press("End")
    expect(chart).to_have_attribute("aria-valuetext", re.compile("Step 1000: Training loss"))
    page.keyboard.press("ArrowLeft")
    expect(chart).to_have_attribute("aria-valuetext", re.compile("Step 800: "))
    expect(page.locator(".atai-chart .tip")).to_be_visible()
    page.get_by_role("button", name="Show as a table").press("Enter")
    expect(page.get_by_role("table", name="Values of Loss").get_by_role("row")).to_have_count(6)
    assert serious(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_it_fits_and_can_be_read(finished, open_page, scheme, width):
    visit = open_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    visit.page.add_init_script(f"localStorage.setItem('chakra-ui-color-mode', '{scheme}')")
    visit.page.add_init_script(f"localStorage.setItem('theme', '{scheme}')")
    page = visit.go(job_tab(finished, "pump-done"))
    expect(page.get_by_text("Step 1000", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.className").find(scheme) >= 0
    # Nothing of ours is wider than its place.
    assert page.evaluate("(n => n.scrollWidth - n.clientWidth)(document.querySelector('.atai'))") <= 1
    assert serious(page) == []


def answers(site, job_id, metrics):
    return site.emulator.add_fault(
        path=f"**/fine-tune/jobs/{job_id}/metrics",
        effect="answer",
        status=200,
        count=None,
        body="json",
        content={"last_checkpoint_step": 5, "metrics": metrics},
    )


HOSTILE = [
    {"step": "<img src=x onerror=alert(1)>", "loss": "<script>alert(1)</script>"},
    {"step": 1, "loss": "NaN", "eval_loss": None, "note": "x" * 5_000_000},
    {"step": 2, "loss": [1], "eval_loss": {"a": 1}},
    {"step": 3, "loss": 2.5, "eval_loss": 2.0, "learning_rate": -1},
    {"step": 4, "loss": 0, "eval_loss": 1e300, "wall_time_sec": "soon"},
]


# A job each: the API server keeps its metrics for some seconds.
@pytest.mark.parametrize(
    ("name", "records", "said"),
    [
        ("pump-cancel", HOSTILE, "3 records have values that are not a number"),
        (
            "pump-stop",
            [{"step": n, "loss": 1 + n % 7, "eval_loss": 2} for n in range(100_000)],
            "Step 99999",
        ),
        (WAITING, [], "No checkpoint yet."),
    ],
    ids=["hostile values", "100,000 records", "nothing"],
)
def test_whatever_the_metrics_hold(site, finished, open_page, name, records, said):
    (job,) = [job for job in site.emulator.jobs() if job["name"] == name]
    answers(site, job["id"], records)
    try:
        page = open_page().go(job_tab(finished, name))
        expect(page.get_by_text(said, exact=not said.startswith("3 records"))).to_be_visible()
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        assert page.locator(".atai script, .atai img").count() == 0
    finally:
        site.emulator.clear_faults()


def test_markup_in_a_name_stays_text(site, finished, open_page):
    (job,) = [job for job in site.emulator.jobs() if job["name"] == WAITING]
    name = "<img src=x onerror=document.title='hit'>"
    record = {key: job[key] for key in ("id", "status", "config")}
    site.emulator.add_fault(
        path=f"**/fine-tune/jobs/{job['id']}",
        effect="answer",
        status=200,
        count=None,
        body="json",
        content={**record, "name": name},
    )
    try:
        page = open_page().go(job_tab(finished, WAITING))
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        assert page.locator(".atai img").count() == 0
    finally:
        site.emulator.clear_faults()


def test_a_service_that_is_away_and_comes_back(site, finished, open_page):
    page = open_page().go(job_tab(finished, WAITING))
    expect(page.get_by_text("Read from the service")).to_be_visible()
    site.emulator.add_fault(path="**/fine-tune/**", status=503, count=None)
    try:
        expect(page.get_by_text("The service cannot be reached. Last read")).to_be_visible()
        expect(page.get_by_text("RUNNING").first).to_be_visible()
    finally:
        site.emulator.clear_faults()
    expect(page.get_by_text("Read from the service")).to_be_visible()


def test_a_page_that_is_left_while_it_reads_says_no_error(finished, open_page):
    visit = open_page()
    page = visit.page
    # Nobody answers.
    page.route("**/atai/v1/**/metrics?*", lambda route: None)
    with page.expect_request("**/atai/v1/**/metrics?*"):
        visit.go(job_tab(finished, WAITING))
    page.get_by_role("link", name="Dags").first.click()
    expect(page.get_by_role("heading", name=WAITING)).to_have_count(0)
    page.wait_for_timeout(300)


def test_somebody_who_is_logged_out_is_told_so(finished, open_page):
    visit = open_page(errors_expected=True)
    page = visit.go(job_tab(finished, WAITING))
    expect(page.get_by_text("Read from the service")).to_be_visible()
    # Only ours: as soon as Airflow's own calls are refused, it shows its login.
    refusal = {"status": 401, "content_type": "application/json", "body": '{"detail": "Token Expired"}'}
    page.route("**/atai/v1/**", lambda route: route.fulfill(**refusal))
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    # What was read before stays.
    expect(page.get_by_role("heading", name=WAITING)).to_be_visible()
