"""
Measure what the job pages cost: Airflow's processes, the network, the service and the browser.

    .venv/browser/bin/python -m benchmarks.ui

The processes are Airflow's own, the service is the emulator, and the browser is Chromium.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import requests

from airflow_provider_atai.ui import bundle
from benchmarks import report
from benchmarks.pages import Pages
from benchmarks.processes import REPOSITORY, environment_of_child
from tests.harness.airflow_processes import AirflowProcesses
from tests.harness.child_processes import ChildProcesses

SECONDS = 120
# Airflow and the libraries see every installed distribution but ours.
HIDDEN = """
import importlib.metadata
import importlib_metadata

def hide(library):
    found = library.distributions
    library.distributions = lambda **how: (one for one in found(**how) if one.name != "airflow-provider-atai")

hide(importlib.metadata)
hide(importlib_metadata)
"""
LOAD = """
import json, sys, time
import airflow.plugins_manager
before = set(sys.modules)
began, cpu = time.perf_counter(), time.process_time()
from airflow_provider_atai.ui.plugin import AtaiPlugin
AtaiPlugin()
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps([wall, cpu, len(set(sys.modules) - before)]))
"""


def show_loading(samples: int) -> str:
    """Return what loading the plugin costs any process of Airflow."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="atai-benchmark-") as home:
        # The first process compiles the modules.
        for _ in range(samples + 1):
            done = subprocess.run(
                [sys.executable, "-c", LOAD],
                env=environment_of_child(AIRFLOW_HOME=home),
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                check=True,
            )
            taken.append(json.loads(done.stdout.splitlines()[-1]))
    walls, cpus, modules = zip(*taken[1:], strict=True)
    row = [
        "over airflow.plugins_manager",
        report.milliseconds(statistics.median(walls)),
        report.milliseconds(max(walls)),
        report.milliseconds(statistics.median(cpus)),
        str(modules[-1]),
    ]
    return report.table(("loading the plugin", "median ms", "most ms", "CPU ms", "modules"), [row])


def show_weight() -> str:
    """Return what a browser loads once."""
    files = sorted(bundle.WWW.iterdir())
    contents = [file.read_bytes() for file in files]
    row = [
        "all of www/",
        str(len(files)),
        f"{sum(map(len, contents)) / 1e3:.1f}",
        f"{sum(len(gzip.compress(content)) for content in contents) / 1e3:.1f}",
    ]
    return report.table(("page weight", "files", "kB", "kB gzipped"), [row])


def show_api_server(samples: int) -> str:
    """Return how the API server starts, and its memory, with and without the provider, in turns."""
    taken: dict[str, list[tuple[float, int]]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory(prefix="atai-benchmark-") as folder:
        home = Path(folder)
        hidden = home / "hidden"
        hidden.mkdir()
        (hidden / "sitecustomize.py").write_text(HIDDEN)
        (home / "dags").mkdir()
        for number in range(samples + 1):
            for name, pairs in taken.items():
                settings = {"PYTHONPATH": str(hidden)} if name == "without" else {}
                sample = _start_api_server(home / f"{name}-{number}", home / "dags", settings)
                # The first start compiles the modules.
                if number:
                    pairs.append(sample)
    rows = []
    for name, pairs in taken.items():
        starts, sizes = zip(*pairs, strict=True)
        rows.append(
            [
                f"{name} the provider",
                f"{statistics.median(starts):.2f}",
                f"{min(starts):.2f}",
                f"{max(starts):.2f}",
                report.megabytes(statistics.median(sizes)),
            ]
        )
    header = ("API server", "median s to healthy", "least s", "most s", "MB of its own")
    return report.table(header, rows)


def _start_api_server(home: Path, dags: Path, settings: dict[str, str]) -> tuple[float, int]:
    """Start an API server; return the seconds until it answers, and the bytes that only it holds."""
    with ChildProcesses(home / "logs") as processes:
        airflow = AirflowProcesses(processes, home, dags, settings)
        airflow.command("db", "migrate")
        began = time.monotonic()
        airflow.start_component("api-server")
        processes.wait_until(lambda: _answers(airflow.url), "the API server answers", SECONDS)
        took = time.monotonic() - began
        # Airflow answers every path that it does not know with its own page.
        has_pages = requests.get(f"{airflow.url}/atai/v1/jobs", timeout=10).status_code == 401
        if has_pages != (not settings):
            raise RuntimeError(f"The pages {'are' if has_pages else 'are not'} there, with {settings}")
        process = psutil.Process(processes.children["api-server"].pid)
        family = [process, *process.children(recursive=True)]
        return took, sum(one.memory_full_info().uss for one in family)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/api/v2/version", timeout=1).ok
    except requests.RequestException:
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ui", description=__doc__)
    parser.add_argument("--samples", type=int, default=5, help="starts and pages of each kind (default: 5)")
    parser.add_argument("--records", type=int, nargs="+", default=[1_000, 100_000], help="records of a job")
    parser.add_argument("--window", type=float, default=60.0, help="seconds that tabs are open (default: 60)")
    options = parser.parse_args(arguments)
    print(report.machine(), end="\n\n", flush=True)
    print(show_weight(), show_loading(options.samples), sep="\n\n", end="\n\n", flush=True)
    print(show_api_server(options.samples), end="\n\n", flush=True)
    with ExitStack() as stack:
        pages = Pages(stack)
        print(pages.show_redrawing(), end="\n\n", flush=True)
        print(pages.show_drawing(options.records, options.samples), end="\n\n", flush=True)
        print(pages.show_requests(options.window))


if __name__ == "__main__":
    main()
