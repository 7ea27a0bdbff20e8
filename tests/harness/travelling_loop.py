"""Runs coroutines on an event loop whose timers cost no real time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_atai.testing.travelling_loop import TravellingLoop
from tests.harness.clock import REAL_SLEEP

if TYPE_CHECKING:
    from tests.harness.clock import Clock

T = TypeVar("T")


def run_on_loop(clock: Clock, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a travelling loop of its own, and end nothing before its threads are quiet."""
    loop = TravellingLoop(clock.sleep)
    try:
        return loop.run_until_complete(main)
    finally:
        for _ in range(1000):
            if loop.is_quiet:
                break
            REAL_SLEEP(0.002)
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _end_tasks() -> None:
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
