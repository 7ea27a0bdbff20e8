"""
Measure what importing our operators and sensors costs a DAG file, beside those of other providers.

    python -m benchmarks.imports

Every sample is a new process. Before the clock starts, it imports what any DAG file imports: ``airflow.sdk``
with a DAG, an operator and a sensor. The subjects take turns, so that a busy minute affects all of them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.processes import REPOSITORY, environment_of_child
from benchmarks.subjects import OURS, PEERS

HTTP_LIBRARIES = ("aiohttp", "http.client", "httpx", "requests", "urllib3")
_BASE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator"
_SAMPLE = f"""
import json, sys, time
{_BASE}
before = set(sys.modules)
began, cpu = time.perf_counter(), time.process_time()
IMPORTS
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps({{"wall": wall, "cpu": cpu, "modules": sorted(set(sys.modules) - before)}}))
"""


@dataclass(frozen=True)
class Library:
    """
    A provider whose imports are measured.

    :param name: its name in the table.
    :param python: the interpreter of its environment.
    :param modules: the modules with its operators and sensors.
    """

    name: str
    python: Path
    modules: tuple[str, ...]

    @property
    def statements(self) -> str:
        return "\n".join(f"import {module}" for module in self.modules)


def _peer(name: str, *modules: str) -> Library:
    return Library(name, PEERS, tuple(f"airflow.providers.{module}" for module in modules))


LIBRARIES = (
    Library(
        "atai",
        OURS,
        (
            "airflow_provider_atai.operators.datasets",
            "airflow_provider_atai.operators.fine_tune",
            "airflow_provider_atai.sensors.fine_tune",
        ),
    ),
    _peer("airbyte", "airbyte.operators.airbyte", "airbyte.sensors.airbyte"),
    _peer("dbt-cloud", "dbt.cloud.operators.dbt", "dbt.cloud.sensors.dbt"),
    _peer("openai", "openai.operators.openai", "openai.operators.agent"),
    _peer(
        "anthropic",
        "anthropic.operators.batch",
        "anthropic.operators.agent",
        "anthropic.sensors.batch",
    ),
)


@dataclass(frozen=True)
class Sample:
    """One import: wall seconds, CPU seconds, and the modules that it loaded."""

    wall: float
    cpu: float
    modules: list[str]


def take(library: Library, home: str) -> Sample:
    """Import a library in a new process."""
    done = _python(library, home, "-c", _SAMPLE.replace("IMPORTS", library.statements))
    return Sample(**json.loads(done.stdout))


def _python(library: Library, home: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(library.python), *arguments],
        cwd=REPOSITORY,
        env=environment_of_child(AIRFLOW_HOME=home),
        capture_output=True,
        text=True,
        check=True,
    )


def slowest(library: Library, home: str, count: int) -> list[list[str]]:
    """Return the slowest imports, each with its own time and the time with its imports."""
    code = f"{_BASE}\nimport sys\nprint('---', file=sys.stderr, flush=True)\n{library.statements}"
    told = _python(library, home, "-X", "importtime", "-c", code).stderr.partition("---\n")[2]
    found = re.findall(r"^import time: +(\d+) \| +(\d+) \|( +)(\S+)$", told, re.MULTILINE)
    found.sort(key=lambda line: -int(line[0]))
    return [[name, f"{int(own) / 1e3:.1f}", f"{int(all_) / 1e3:.1f}"] for own, all_, _, name in found[:count]]


def show(samples: dict[str, list[Sample]]) -> str:
    """Return the table of all subjects."""
    walls = {name: statistics.median(sample.wall for sample in taken) for name, taken in samples.items()}
    rows = []
    for name, taken in samples.items():
        modules = taken[-1].modules
        http = [library for library in HTTP_LIBRARIES if library in modules]
        rows.append(
            [
                name,
                report.milliseconds(walls[name]),
                report.milliseconds(min(sample.wall for sample in taken)),
                report.milliseconds(statistics.median(sample.cpu for sample in taken)),
                str(len(modules)),
                report.ratio(walls[name], walls["atai"]) if "atai" in walls else "-",
                ", ".join(http) or "none",
            ]
        )
    header = ("over airflow.sdk", "median ms", "least ms", "CPU ms", "modules", "/ atai", "HTTP libraries")
    return report.table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--samples", type=int, default=15, help="processes per subject (default: 15)")
    parser.add_argument("--dearest", type=int, default=12, help="how many imports to list (default: 12)")
    options = parser.parse_args(arguments)
    print(report.machine(), end="\n\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="atai-benchmark-") as home:
        for library in LIBRARIES:
            # The first import compiles the modules.
            take(library, home)
        samples: dict[str, list[Sample]] = {library.name: [] for library in LIBRARIES}
        for _ in range(options.samples):
            for library in LIBRARIES:
                samples[library.name].append(take(library, home))
        print(show(samples), end="\n\n")
        header = ("our slowest imports", "own ms (traced)", "with theirs ms")
        print(report.table(header, slowest(LIBRARIES[0], home, options.dearest)))


if __name__ == "__main__":
    main()
