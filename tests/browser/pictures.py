"""
Takes the pictures of the documents from the real UI, in light and dark: ``make screenshots``.

They show what the tests look at: Airflow's own processes, the emulator and Chromium.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

from tests.browser.site import Site, Visit, tab
from tests.harness.airflow_processes import AirflowProcesses
from tests.harness.child_processes import ChildProcesses
from tests.harness.datasets import store_dataset
from tests.harness.emulator_process import start_emulator

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PICTURES = REPOSITORY / "docs" / "pictures"
RETRAINING = "atai_scheduled_retraining"
SECONDS = 180


def connection_form(page: Page) -> None:
    page.get_by_role("button", name="Add Connection").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Connection ID").fill("atai_default")
    dialog.get_by_role("combobox").first.click()
    page.keyboard.type("Archetype")
    page.keyboard.press("Enter")
    dialog.get_by_text("API base URL").wait_for()


def trigger_form(page: Page) -> None:
    page.get_by_role("button", name="Trigger Dag").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Data", exact=True).click()
    for part in ("train", "eval"):
        dialog.locator(f"input[name='element_{part}_path']").fill(f"/data/pump_{part}.jsonl")


def graph(page: Page) -> None:
    page.evaluate("""localStorage.setItem("default_dag_view", '"graph"')""")
    page.reload()
    page.locator(".react-flow__node").get_by_text("hand_over").wait_for()
    border = page.get_by_role("separator").first.bounding_box() or {}
    page.mouse.move(border["x"] + border["width"] / 2, 300)
    page.mouse.down()
    page.mouse.move(page.evaluate("innerWidth") * 0.68, 300, steps=5)
    page.mouse.up()
    page.locator(".react-flow__controls-fitview").click()


def chart(page: Page) -> None:
    page.locator(".atai-chart svg path").first.wait_for()


def failure(page: Page) -> None:
    page.get_by_role("region", name="Why it ended").wait_for()


def take(site: Site) -> None:
    """Make the runs, and a picture of each page in both colour schemes."""
    emulator = site.emulator
    store_dataset(emulator)
    emulator.pause()
    emulator.set_outcome("FAILED", name="pump-fail")
    emulator.set_outcome("RUNNING", name="pump-states")
    emulator.set_life(running=7200, checkpoints=40, checkpoint_steps=50)
    failed = site.run("atai_one", {"name": "pump-fail"})
    training = site.run("atai_one", {"name": "pump-states"})
    sweep = site.run("atai_sweep")
    retraining = site.run(RETRAINING)
    site.processes.wait_until(lambda: len(emulator.jobs()) == 6, "there are six jobs", SECONDS)
    for _ in range(20):
        emulator.advance(240)
        time.sleep(1.2)
    site.wait_for_state("atai_one", failed, "train", "failed", "up_for_retry")
    run = quote(sweep, safe="")
    pages: dict[str, tuple[str, Callable[[Page], None], int]] = {
        "connection-form": ("/connections", connection_form, 900),
        "trigger-form": (f"/dags/{RETRAINING}", trigger_form, 1000),
        "graph": (f"/dags/{RETRAINING}/runs/{quote(retraining, safe='')}", graph, 760),
        "job-training": (tab("atai_one", training, "train"), chart, 1500),
        "job-failed": (tab("atai_one", failed, "train"), failure, 1300),
        "comparison": (f"/dags/atai_sweep/runs/{run}/plugin/atai-run-jobs", chart, 1150),
    }
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for name, (path, prepare, height) in pages.items():
                # A profile each: Airflow remembers the graph and its width for all pages of DAGs.
                context = site.log_in(browser, "admin", color_scheme=scheme)
                context.add_init_script(f"localStorage.setItem('theme', '{scheme}')")
                visit = Visit(context.new_page(), site.airflow.url)
                visit.page.set_viewport_size({"width": 1280, "height": height})
                prepare(visit.go(path))
                # Airflow moves its dialogs and its graph into place.
                visit.page.wait_for_timeout(2500)
                visit.page.screenshot(path=PICTURES / f"{name}-{scheme}.png")
                context.close()
                print(f"docs/pictures/{name}-{scheme}.png")
        browser.close()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="atai-pictures-") as folder:
        home = Path(folder)
        with ChildProcesses(home / "logs") as processes:
            emulator = start_emulator(processes, home / "emulator")
            dags = home / "dags"
            dags.mkdir()
            (dags / "examples").symlink_to(REPOSITORY / "example_dags")
            (dags / "pages").symlink_to(HERE / "dags")
            console = {"extra": {"console_url_template": "https://console.example/{job_id}"}}
            connection = json.dumps({**json.loads(emulator.connection_json), **console})
            settings = {"AIRFLOW_CONN_ATAI_DEFAULT": connection}
            airflow = AirflowProcesses(processes, home / "airflow", dags, settings)
            take(Site(processes, airflow, airflow.start(), emulator))
    return 0


if __name__ == "__main__":
    sys.exit(main())
