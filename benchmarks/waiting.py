"""
Measure what waiting costs: our trigger beside those of released providers.

    python -m benchmarks.waiting [--quick]

Every subject has its own process with one event loop. It polls a server in another process, on another CPU if
there are two. README.md explains how each figure is taken.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.processes import Child, module
from benchmarks.services import EmulatorService, Service, SmallService
from benchmarks.subjects import SUBJECTS, Subject, connection_variable

WAITERS_CORE, SERVER_CORE = 0, 1
START_SECONDS = 600.0


@dataclass
class Measured:
    """The figures of one subject, in seconds and bytes."""

    started: float = 0.0
    idle: dict[str, Any] = field(default_factory=dict)
    idle_stalls: dict[str, Any] = field(default_factory=dict)
    steady: dict[str, Any] = field(default_factory=dict)
    stalls: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, float] = field(default_factory=dict)
    spread: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)
    storm: dict[str, Any] = field(default_factory=dict)

    def cpu_per_job(self, count: int) -> float:
        """Return CPU seconds per job per minute, beyond those of the idle process."""
        idle = self.idle["cpu"] / self.idle["wall"]
        return float(self.steady["cpu"] / self.steady["wall"] - idle) * 60 / count

    @property
    def memory(self) -> int:
        """The bytes beyond those of the idle process."""
        return int(self.steady["rss"] - self.idle["rss"])


@dataclass
class Run:
    """One subject while it is measured."""

    subject: Subject
    service: Service
    child: Child
    measured: Measured = field(default_factory=Measured)


def measure(options: argparse.Namespace, names: Sequence[str], count: int) -> dict[str, Measured]:
    """Measure subjects at the same time, on one CPU."""
    with ExitStack() as stack:
        runs = [stack.enter_context(_started(options, SUBJECTS[name], count)) for name in names]
        _all(runs, "idle", "measure", seconds=options.idle_window)
        _all(runs, "idle_stalls", "stalls", seconds=options.idle_window)
        _start_waits(runs, count)
        # The first polls all come at once, and every trigger logs its job's first status. The window begins
        # after that. Ours knows that status at its second poll.
        time.sleep(2.5 * options.interval)
        before = [run.service.counts() for run in runs]
        _all(runs, "steady", "measure", seconds=options.window)
        for run, counts in zip(runs, before, strict=True):
            asked = run.service.counts() - counts
            wall = run.measured.steady["wall"]
            run.measured.requests = {kind: number * 60 / wall for kind, number in asked.items()}
        _all(runs, "stalls", "stalls", seconds=options.stall_window)
        for run in runs:
            _finish(run, count, options)
    return {run.subject.name: run.measured for run in runs}


@contextmanager
def _started(options: argparse.Namespace, subject: Subject, count: int) -> Iterator[Run]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atai-benchmark-")))
        service: Service
        if options.server == "emulator":
            service = stack.enter_context(EmulatorService(count, home, core=SERVER_CORE))
        else:
            service = stack.enter_context(SmallService(count, core=SERVER_CORE))
        environment = {
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            **connection_variable(subject, service.root_url, password=service.api_key),
        }
        argv = module("benchmarks.waiter", subject.name, options.interval, python=subject.python)
        child = stack.enter_context(Child(argv, core=WAITERS_CORE, environment=environment))
        yield Run(subject, service, child)


def _all(runs: Sequence[Run], name: str, order: str, **arguments: float) -> None:
    for run in runs:
        run.child.tell(do=order, **arguments)
    for run in runs:
        setattr(run.measured, name, run.child.hear())


def _start_waits(runs: Sequence[Run], count: int) -> None:
    began = time.monotonic()
    for run in runs:
        run.child.tell(do="start", count=count)
    starting = list(runs)
    while starting:
        for run in [run for run in starting if run.service.seen() >= count]:
            run.measured.started = time.monotonic() - began
            starting.remove(run)
        if time.monotonic() - began > START_SECONDS:
            raise RuntimeError(
                f"{starting[0].subject.name}: not all jobs were polled within {START_SECONDS:.0f} s"
            )
        time.sleep(0.1)
    for run in runs:
        run.child.hear()


def _finish(run: Run, count: int, options: argparse.Namespace) -> None:
    """End half of the jobs one by one within an interval, then the others all at once."""
    patience = 3 * options.interval + count / 50
    half = count // 2 if options.server == "small" else 0
    if half:
        ends = run.service.finish(0, half, options.interval)
        told = run.child.ask(do="events_of", count=half, seconds=patience)
        run.measured.spread = _latencies(run, ends, told["events"][:half], told["unsuccessful"])
    # Without this pause, the jobs would always end at the same moment of the poll interval.
    time.sleep(random.uniform(0, options.interval))
    ends = run.service.finish(half, count - half, 0)
    told = run.child.ask(do="events_of", count=count, seconds=patience)
    run.measured.at_once = _latencies(run, ends, told["events"][half:], told["unsuccessful"])
    run.measured.storm = told


def _latencies(
    run: Run, ends: Sequence[float], events: Sequence[float | None], unsuccessful: Sequence[str]
) -> list[float]:
    missing = sum(event is None for event in events)
    if missing or unsuccessful:
        raise RuntimeError(f"{run.subject.name}: {missing} waits without an event; {unsuccessful}")
    early = sum(event < end for event, end in zip(events, ends, strict=True) if event is not None)
    if early:
        raise RuntimeError(f"{run.subject.name}: {early} waits ended before their jobs")
    return [event - end for event, end in zip(events, ends, strict=True) if event is not None]


STEADY = (
    *("steady state", "requests/min", "of them metrics", "CPU ms/job/min", "MB over idle"),
    *("stall p99 ms", "max ms", "own CPU ms", "of it GC ms", "max when idle ms"),
)
ENDING = (
    *("start and end", "all waiting s", "ends spread: median s", "max s", "ends at once: median s", "max s"),
    *("first to last s", "stall max ms", "own CPU ms", "of it GC ms"),
)


def show(count: int, results: dict[str, Measured]) -> str:
    """Return the tables for one number of waits."""
    steady, ending, ratios = [], [], []
    ours = results.get("atai")
    for name, one in results.items():
        asked = sum(one.requests.values())
        figures = (asked, one.cpu_per_job(count), one.stalls["max"], float(one.memory))
        steady.append(
            [
                name,
                f"{asked:.0f}",
                f"{one.requests.get('metrics', 0):.0f}",
                f"{figures[1] * 1e3:.3f}",
                report.megabytes(one.memory),
                *(report.milliseconds(one.stalls[what]) for what in ("p99", "max", "own", "gc")),
                report.milliseconds(one.idle_stalls["max"]),
            ]
        )
        ending.append(
            [
                name,
                f"{one.started:.1f}",
                *_median_and_max(one.spread),
                *_median_and_max(one.at_once),
                f"{max(one.at_once) - min(one.at_once):.2f}",
                *(report.milliseconds(one.storm[what]) for what in ("max", "own", "gc")),
            ]
        )
        if ours is not None and one is not ours:
            base = (
                sum(ours.requests.values()),
                ours.cpu_per_job(count),
                ours.stalls["max"],
                float(ours.memory),
            )
            ratios.append(
                [f"{name} / atai", *(report.ratio(t, o) for t, o in zip(figures, base, strict=True))]
            )
    parts = [report.table(STEADY, steady), report.table(ENDING, ending)]
    if ratios:
        parts.append(report.table(("ratio", "requests", "CPU", "stall max", "memory"), ratios))
    return "\n\n".join(parts)


def _median_and_max(seconds: Sequence[float]) -> tuple[str, str]:
    return (f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}") if seconds else ("-", "-")


def main() -> None:
    options = _options()
    print(report.machine())
    print(
        f"polled every {options.interval:g} s; windows of {options.window:g} s, for stalls "
        f"{options.stall_window:g} s; server: {options.server}\n",
        flush=True,
    )
    for count in options.waits:
        names = [name for name in options.subjects if name == "atai" or count <= options.peers_up_to]
        together = count <= options.together_up_to
        groups = [names] if together else [[name] for name in names]
        results: dict[str, Measured] = {}
        for group in groups:
            results |= measure(options, group, count)
        how = "side by side on one CPU" if together and len(names) > 1 else "one after the other"
        print(f"{count} waits, {how}\n\n{show(count, results)}", end="\n\n", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--waits", type=int, nargs="+", help="default: 1 10 100 1000 10000")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, help="default: all that can be measured")
    parser.add_argument(
        "--peers-up-to", type=int, default=1000, help="maximum number of waits for peers (default: 1000)"
    )
    parser.add_argument("--interval", type=float, default=10, help="seconds between polls (default: 10)")
    parser.add_argument(
        "--window", type=float, help="seconds of the CPU and request measurement (default: 60)"
    )
    parser.add_argument("--stall-window", type=float, help="seconds of the stall measurement (default: 30)")
    parser.add_argument(
        "--idle-window", type=float, default=5, help="seconds of the idle window (default: 5)"
    )
    parser.add_argument(
        "--together-up-to",
        type=int,
        default=100,
        help="maximum number of waits at which the subjects run side by side on one CPU; with more, they "
        "would make each other's event loops late (default: 100)",
    )
    parser.add_argument(
        "--server", choices=("small", "emulator"), default="small", help="emulator: ours only"
    )
    parser.add_argument("--quick", action="store_true", help="fewer waits, windows of 20 s")
    options = parser.parse_args()
    options.waits = options.waits or ([10, 1000] if options.quick else [1, 10, 100, 1000, 10_000])
    options.window = options.window or (20 if options.quick else 60)
    options.stall_window = options.stall_window or (20 if options.quick else 30)
    emulator = options.server == "emulator"
    options.subjects = options.subjects or (["atai"] if emulator else list(SUBJECTS))
    if emulator and options.subjects != ["atai"]:
        parser.error("the emulator supports only the subject atai")
    return options


if __name__ == "__main__":
    main()
