"""The part of ``benchmarks.ui`` that looks at the pages with a browser."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from playwright.sync_api import sync_playwright

from benchmarks import report
from tests.browser.site import Site, Visit, tab
from tests.harness.airflow_processes import AirflowProcesses
from tests.harness.child_processes import ChildProcesses
from tests.harness.datasets import store_dataset
from tests.harness.emulator_process import start_emulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECONDS = 120
TABS = (0, 1, 10)
# A page reads the metrics again after 15 seconds, and the API server keeps an answer for 12.
METRICS_KEPT_SECONDS = 13
DAG_ID, SWEEP_ID, TASK_ID = "trains_alone", "trains_eight", "train"
# The tasks do not wait, so only the pages ask the service about their jobs.
DAG_FILE = f"""
from airflow.sdk import DAG
from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator

settings = {{
    "task_id": "{TASK_ID}",
    "datasets": [{{"name": "training-set", "split": "train", "file_ids": ["train.csv"]}}],
    "wait_for_completion": False,
}}
with DAG("{DAG_ID}", schedule=None):
    CreateFineTuneJobOperator(name="alone", **settings)
with DAG("{SWEEP_ID}", schedule=None):
    CreateFineTuneJobOperator.partial(**settings).expand(name=[f"one-of-eight-{{n}}" for n in range(8)])
"""
# Changes the scale of the loss, which draws all curves again, and lets the browser lay them out.
REDRAW = """async () => {
  const path = () => document.querySelector(".atai-chart svg path").getAttribute("d"), times = [];
  const buttons = ["Logarithmic", "Linear"].map((name) =>
    [...document.querySelectorAll(".atai button")].find((button) => button.textContent === name));
  for (let i = 0; i < 30; i++) {
    await new Promise(requestAnimationFrame);
    const before = path(), began = performance.now();
    buttons[i % 2].click();
    // React draws what a click has changed before the next task.
    await null;
    document.querySelector(".atai-chart").getBoundingClientRect();
    times.push(performance.now() - began);
    if (path() === before) throw new Error("nothing was drawn again");
  }
  return times;
}"""


class Pages:
    """A real Airflow with one job that trains, and a browser."""

    def __init__(self, stack: ExitStack) -> None:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atai-benchmark-")))
        processes = stack.enter_context(ChildProcesses(home / "logs"))
        emulator = start_emulator(processes, home / "emulator")
        (home / "dags").mkdir()
        (home / "dags" / "trains.py").write_text(DAG_FILE)
        settings = {"AIRFLOW_CONN_ATAI_DEFAULT": emulator.connection_json}
        airflow = AirflowProcesses(processes, home / "airflow", home / "dags", settings)
        self.site = Site(processes, airflow, airflow.start(), emulator)
        store_dataset(emulator)
        emulator.set_life(running=3600, checkpoints=40)
        self.run_id = self.site.run(DAG_ID)
        self.sweep_id = self.site.run(SWEEP_ID)
        for run in ((DAG_ID, self.run_id), (SWEEP_ID, self.sweep_id)):
            self.site.wait_for_run(*run)
        emulator.pause()
        emulator.advance(900)
        (self.job_id,) = [str(job["id"]) for job in emulator.jobs() if job["name"] == "alone"]
        playwright = stack.enter_context(sync_playwright())
        found = shutil.which("chromium") or shutil.which("google-chrome")
        self._browser: Browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        stack.callback(self._browser.close)
        self._context = self.site.log_in(self._browser, "admin")

    def open(self, path: str) -> Page:
        """Open a page in a new tab."""
        return Visit(self._context.new_page(), self.site.airflow.url).go(path)

    @property
    def job_tab(self) -> str:
        return tab(DAG_ID, self.run_id, TASK_ID)

    def show_drawing(self, counts: Sequence[int], samples: int) -> str:
        """Return how long a job with many records takes to be drawn."""
        rows = []
        for count in counts:
            self._serve(count, self.job_id)
            drawn, again, asked, sizes = [], [], [], []
            for _ in range(samples + 1):
                time.sleep(METRICS_KEPT_SECONDS)
                asked.append(self._ask_emulator())
                seconds, size = self._draw()
                drawn.append(seconds)
                sizes.append(size)
                again.append(self._draw()[0])
            # The first page fills the browser's cache with Airflow's own UI.
            median = [statistics.median(figures[1:]) for figures in (drawn, again, asked, sizes)]
            rows.append([f"{count:,} records", *(f"{figure * 1e3:.0f}" for figure in median[:3])])
            rows[-1].append(f"{median[3] / 1e3:.1f}")
        self.site.emulator.clear_faults()
        header = (
            "from the address to a drawn curve",
            "first ms",
            "again ms",
            "emulator alone ms",
            "kB of metrics",
        )
        return report.table(header, rows)

    def _serve(self, count: int, job_id: str) -> None:
        self.site.emulator.clear_faults()
        records = [
            {"step": n, "loss": 2 + n % 7, "eval_loss": 3 + n % 5, "wall_time_sec": n} for n in range(count)
        ]
        self.site.emulator.add_fault(
            path=f"**/fine-tune/jobs/{job_id}/metrics",
            effect="answer",
            status=200,
            count=None,
            body="json",
            content={"last_checkpoint_step": count - 1, "metrics": records},
        )

    def _ask_emulator(self) -> float:
        emulator = self.site.emulator
        began = time.monotonic()
        requests.get(
            f"{emulator.base_url}/fine-tune/jobs/{self.job_id}/metrics",
            headers={"Authorization": f"Bearer {emulator.api_key}"},
            timeout=SECONDS,
        ).raise_for_status()
        return time.monotonic() - began

    def _draw(self) -> tuple[float, int]:
        """Open the tab; return the seconds until there is a curve, and the bytes of the metrics."""
        sizes: list[int] = []
        page = self._context.new_page()
        page.on("response", lambda got: sizes.append(len(got.body())) if "/metrics" in got.url else None)
        began = time.monotonic()
        page.goto(f"{self.site.airflow.url}{self.job_tab}")
        page.locator(".atai-chart svg path").first.wait_for()
        took = time.monotonic() - began
        page.close()
        return took, sizes[0]

    def show_redrawing(self) -> str:
        """Return how long eight series of a thousand points take to be drawn again."""
        self._serve(1000, "*")
        page = self.open(f"/dags/{SWEEP_ID}/runs/{quote(self.sweep_id, safe='')}/plugin/atai-run-jobs")
        page.locator(".atai-chart svg path").nth(7).wait_for()
        times = sorted(page.evaluate(REDRAW))
        page.close()
        self.site.emulator.clear_faults()
        row = ["8 series of 1,000 points", f"{statistics.median(times):.1f}", f"{times[-1]:.1f}"]
        return report.table(("drawn again", "median ms", "most ms"), [row])

    def show_requests(self, window: float) -> str:
        """Return what open tabs ask of the API server and of the service in a minute."""
        rows = []
        for count in TABS:
            visits = [Visit(self._context.new_page(), self.site.airflow.url) for _ in range(count)]
            for visit in visits:
                visit.go(self.job_tab).locator(".atai-chart svg path").first.wait_for()
            time.sleep(METRICS_KEPT_SECONDS)
            before, began = len(self._asked()), time.monotonic()
            for visit in visits:
                visit.requests.clear()
            while (left := window - (time.monotonic() - began)) > 0:
                self._listen(visits, min(left, 1.0))
            minutes = (time.monotonic() - began) / 60
            of_tabs = sum("/atai/v1/" in url for visit in visits for url in visit.requests)
            rows.append(
                [
                    f"{count} open tabs",
                    f"{of_tabs / minutes:.0f}",
                    f"{(len(self._asked()) - before) / minutes:.0f}",
                ]
            )
            for visit in visits:
                visit.page.close()
        header = ("a job that trains", "requests/min to the API server", "requests/min to the service")
        return report.table(header, rows)

    def _asked(self) -> list[dict[str, Any]]:
        return self.site.emulator.requests(method="GET", path=f"*/fine-tune/jobs/{self.job_id}*")

    def _listen(self, visits: list[Visit], seconds: float) -> None:
        # Playwright hands on what pages did only while it is called.
        if visits:
            visits[0].page.wait_for_timeout(seconds * 1000)
        else:
            time.sleep(seconds)
