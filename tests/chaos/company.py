"""Other tasks that wait in the same triggerer, each for its own job."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from tests.chaos.history import Crowd, History, Stay

if TYPE_CHECKING:
    from tests.chaos.plan import Plan
    from tests.chaos.world import World


_SHORTEST = 1.0


class Company:
    """The neighbours of one life. Who has seen the end of its job waits no more."""

    def __init__(self, plan: Plan, world: World, history: History, events: Counter[str]) -> None:
        self._world = world
        self._clock = world.clock
        self._history = history
        self._events = events
        self._left = {f"neighbour-{number}": one for number, one in enumerate(plan.odd.neighbours, 1)}

    def make_jobs(self, datasets: list[dict[str, Any]], life: dict[str, float]) -> None:
        """Let each neighbour have a job. Afterwards the service's settings are those of ``life``."""
        for job_id, neighbour in self._left.items():
            self._world.control.set_life(registered=5, starting=30, running=neighbour.running)
            self._world.control.set_outcome(neighbour.outcome, job_id=job_id)
            self._world.control.make_job(job_id, name="neighbour", datasets=datasets)
            self._history.strangers.add(job_id)
        self._world.control.set_life(**life)

    @asynccontextmanager
    async def waiting(self, interval: float) -> AsyncIterator[None]:
        """
        Let the neighbours wait on the running loop inside the block.

        :param interval: seconds between two polls of the task's own job.
        """
        if not self._left:
            yield
            return
        began = self._clock.now
        intervals = [one.arguments["poll_interval"] for one in self._left.values()]
        waits = [asyncio.create_task(self._wait(job_id)) for job_id in self._left]
        try:
            yield
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            # A shorter interval counts as a second.
            shortest = min(max(_SHORTEST, one) for one in [interval, *intervals] if one is not None)
            crowd = Crowd(began, self._clock.now, shortest, len(waits) + 1)
            self._history.crowds.append(crowd)

    async def _wait(self, job_id: str) -> None:
        neighbour = self._left[job_id]
        began, has_ended, error = self._clock.now, True, None
        try:
            trigger = FineTuneJobTrigger(job_id=job_id, known_to_exist=True, **neighbour.arguments)
            await anext(trigger.run())
        except asyncio.CancelledError:
            has_ended = False
            raise
        except Exception as problem:
            error = repr(problem)
        finally:
            if has_ended:
                self._left.pop(job_id)
                kind = "neighbour" if neighbour.is_sound else "neighbour with odd arguments"
                self._events[f"{kind} {'broke' if error else 'ended'}"] += 1
            if neighbour.is_sound:
                interval = neighbour.arguments["poll_interval"]
                stay = Stay(job_id, began, self._clock.now, interval, has_ended, error)
                self._history.stays.append(stay)
