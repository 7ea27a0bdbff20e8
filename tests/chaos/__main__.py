"""
Break whole lives of tasks at random, and count broken promises.

    .venv/airflow-3/bin/python -m tests.chaos [--lives 1000] [--seed 1] [--replay SEED]

Each life is one DAG run's task, from its first try to its last, against the emulator over real HTTP. A seed
decides what befalls it. Time is travelled, so nothing waits. The exit status is 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos.verdict import Verdict
    from tests.chaos.world import World


@dataclass
class Report:
    """What a number of lives came to."""

    lives: int = 0
    jobs: int = 0
    justified: int = 0
    requests: int = 0
    events: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.lives += other.lives
        self.jobs += other.jobs
        self.justified += other.justified
        self.requests += other.requests
        self.events += other.events
        self.states += other.states
        self.broken += other.broken
        self.failures += other.failures


def live(
    world: World, seed: int, *, trace: Callable[[str], None] = lambda line: None
) -> tuple[Report, Verdict]:
    """Live one life, and judge it."""
    from tests.chaos.life import Life
    from tests.chaos.plan import draw
    from tests.chaos.verdict import judge

    life = Life(draw(seed), world, trace=trace)
    with logs_to(trace):
        life.run()
    verdict = judge(life.plan, life.history)
    report = Report(
        lives=1,
        jobs=verdict.jobs,
        justified=verdict.justified,
        requests=len(life.history.log),
        events=life.events,
        states=Counter([life.history.state]),
        broken=Counter(promise for promise, _ in verdict.broken),
        failures=[(seed, promise, what) for promise, what in verdict.broken],
    )
    return report, verdict


def live_all(seeds: Iterable[int]) -> Report:
    """Live lives one after the other, in a world of their own."""
    from tests.chaos.world import World

    total = Report()
    with tempfile.TemporaryDirectory(prefix="atai-chaos-") as folder, World(Path(folder)) as world:
        for seed in seeds:
            total.add(live(world, seed)[0])
    return total


@contextmanager
def logs_to(write: Callable[[str], None]) -> Iterator[None]:
    """Give everything that is logged to ``write`` and to nobody else."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            write(f"           {record.levelname.lower()}: {record.getMessage()}")

    roots = [logging.getLogger(name) for name in ("", "airflow.task", "airflow.processor")]
    handlers = [(logger, logger.handlers, logger.level, logger.propagate) for logger in roots]
    processors: list[Any] = []
    with suppress(ImportError):
        # Airflow 3 logs with structlog, Airflow 2 with the standard library.
        import structlog

        processors = structlog.get_config()["processors"]
    kept = list(processors)

    def write_event(logger: Any, level: str, event: dict[str, Any]) -> Any:
        text = str(event.get("event"))
        arguments = event.get("positional_args") or ()
        write(f"           {level}: {text % tuple(arguments) if arguments else text}")
        raise structlog.DropEvent

    lines = Lines()
    for logger in roots:
        logger.handlers, logger.propagate = ([lines] if logger.name == "root" else []), True
        logger.setLevel(logging.INFO)
    processors[:] = [write_event] if processors else []
    try:
        yield
    finally:
        processors[:] = kept
        for logger, old, level, propagate in handlers:
            logger.handlers, logger.propagate = old, propagate
            logger.setLevel(level)


def prepare_airflow(home: str) -> None:
    """Keep somebody's own Airflow and service out of it. Before anything imports Airflow."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "ATAI_API_"))]:
        del os.environ[name]
    os.environ.update(AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", NO_PROXY="127.0.0.1")


def _work(seeds: Sequence[int]) -> Report:
    with tempfile.TemporaryDirectory(prefix="atai-chaos-home-") as home:
        prepare_airflow(home)
        return live_all(seeds)


def replay(seed: int) -> int:
    """Print one life's log, line by line."""
    from tests.chaos.plan import draw
    from tests.chaos.world import World

    print(draw(seed))
    with tempfile.TemporaryDirectory(prefix="atai-chaos-") as folder, World(Path(folder)) as world:
        _, verdict = live(world, seed, trace=print)
        for entry in world.control.requests(path="*/fine-tune/*"):
            fault = f" (fault {entry['fault']})" if entry["fault"] else ""
            print(f"{entry['time'][11:23]} {entry['method']} {entry['path']} -> {entry['status']}{fault}")
        for job in world.control.jobs():
            print(f"{job['id']}: {job['status']}, made {job['created_at']}, last change {job['updated_at']}")
    for promise, what in verdict.broken:
        print(f"BROKEN: {promise}: {what}")
    return 1 if verdict.broken else 0


def show(report: Report, seconds: float) -> None:
    """Print what the lives came to."""
    from tests.chaos.verdict import PROMISES

    print(f"lives            {report.lives} in {seconds:.0f} s")
    print(f"requests         {report.requests}")
    print(f"jobs made        {report.jobs}")
    print(f"jobs justified   {report.justified}")
    print("faults and what else befell the tasks:")
    for kind, number in sorted(report.events.items()):
        print(f"  {number:6d}  {kind}")
    print("how the lives ended:")
    for state, number in report.states.most_common():
        print(f"  {number:6d}  {state}")
    print("broken promises:")
    for promise in PROMISES:
        print(f"  {report.broken[promise]:6d}  {promise}")
    for seed, promise, what in sorted(report.failures):
        print(f"seed {seed}: {promise}: {what}")
    if report.failures:
        print("See what happened with: python -m tests.chaos --replay SEED")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--lives", type=int, default=1000, help="how many lives (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first life (default: 1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="worlds side by side")
    parser.add_argument("--replay", type=int, metavar="SEED", help="live one life and print its log")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        with tempfile.TemporaryDirectory(prefix="atai-chaos-home-") as home:
            prepare_airflow(home)
            return replay(arguments.replay)

    started = time.monotonic()
    seeds = range(arguments.seed, arguments.seed + arguments.lives)
    shares = [seeds[first :: arguments.processes] for first in range(arguments.processes)]
    total = Report()
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for report in pool.imap_unordered(_work, [list(share) for share in shares if share]):
            total.add(report)
    show(total, time.monotonic() - started)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
