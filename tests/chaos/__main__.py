"""
Run random lives of tasks, and count the broken promises.

    make chaos LIVES=1000 SEED=1
    .venv/airflow-3/bin/python -m tests.chaos [--lives 1000] [--seed 1] [--replay SEED]

A life is one task of one DAG run, from its first try to its last, against the emulator over real HTTP. Its
seed decides what happens to it. Sleeping only moves the clock, so nothing waits. The exit status is 1 if a
promise was broken.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.lives import Report, live, live_share, prepare_airflow


def replay(seed: int) -> int:
    """Run one life, and print its log line by line."""
    from tests.chaos.odd_plans import draw
    from tests.chaos.world import World

    print(draw(seed))
    with tempfile.TemporaryDirectory(prefix="atai-chaos-") as folder, World(Path(folder)) as world:
        _, verdict = live(world, seed, trace=print)
        for entry in world.control.requests(path="*/fine-tune/*"):
            fault = f" (fault {entry['fault']})" if entry["fault"] else ""
            print(f"{entry['time'][11:23]} {entry['method']} {entry['path']} -> {entry['status']}{fault}")
        for job in world.control.jobs():
            change = f"created {job['created_at']}, last change {job['updated_at']}"
            print(f"{job['id']}: {job['status']}, {change}")
    for promise, what in verdict.broken:
        print(f"BROKEN: {promise}: {what}")
    return 1 if verdict.broken else 0


def show(report: Report, seconds: float) -> None:
    """Print the results."""
    from tests.chaos.verdict import PROMISES

    print(f"lives            {report.lives} in {seconds:.0f} s")
    print(f"requests         {report.requests}")
    print(f"jobs created     {report.jobs}")
    print(f"jobs justified   {report.justified}")
    print("faults and other events:")
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
        print("To see what happened: python -m tests.chaos --replay SEED")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--lives", type=int, default=1000, help="number of lives (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first life (default: 1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one per CPU")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one life and print its log")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Otherwise sets of text have another order in each process, and a seed another life.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
    if arguments.replay is not None:
        with tempfile.TemporaryDirectory(prefix="atai-chaos-home-") as home:
            prepare_airflow(home)
            return replay(arguments.replay)

    started = time.monotonic()
    seeds = range(arguments.seed, arguments.seed + arguments.lives)
    shares = [seeds[first :: arguments.processes] for first in range(arguments.processes)]
    total = Report()
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for report in pool.imap_unordered(live_share, [list(share) for share in shares if share]):
            total.add(report)
    show(total, time.monotonic() - started)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
