"""
Runs any number of lives and adds up their results.

:func:`prepare_airflow` must run before Airflow is imported, so only functions import it. What the spawned
processes run is here, because they cannot import it from ``__main__``.
"""

from __future__ import annotations

import logging
import os
import tempfile
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
    """The results of any number of lives."""

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
    """Run one life and judge it."""
    from tests.chaos.life import Life
    from tests.chaos.odd_plans import draw
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
    """Run lives one after the other in a new world."""
    from tests.chaos.world import World

    total = Report()
    with tempfile.TemporaryDirectory(prefix="atai-chaos-") as folder, World(Path(folder)) as world:
        for seed in seeds:
            total.add(live(world, seed)[0])
    return total


@contextmanager
def logs_to(write: Callable[[str], None]) -> Iterator[None]:
    """Send everything that is logged to ``write`` only."""

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
    """Hide the user's own Airflow and connections. Call it before Airflow is imported."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "ATAI_API_"))]:
        del os.environ[name]
    os.environ.update(AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", NO_PROXY="127.0.0.1")


def live_share(seeds: Sequence[int]) -> Report:
    """Run some of the lives in a spawned process."""
    with tempfile.TemporaryDirectory(prefix="atai-chaos-home-") as home:
        prepare_airflow(home)
        return live_all(seeds)
