"""Makes a whole process live by one travelling clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import SimpleNamespace
from unittest import mock

import time_machine

from airflow_provider_atai.api import response_body, watchdog
from airflow_provider_atai.testing.travelling_loop import TravellingLoop
from tests.harness.clock import REAL_MONOTONIC, Clock, in_real_time

REAL_TIME = SimpleNamespace(monotonic=REAL_MONOTONIC)


@contextmanager
def time_travel(start: datetime) -> Iterator[Clock]:
    """Let every wait of this process pass at once: sleeps, event loops, and Airflow's own."""
    real_loop = asyncio.events.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        return real_loop() if in_real_time() else TravellingLoop(clock.sleep)

    with ExitStack() as stack:
        clock = Clock(stack.enter_context(time_machine.travel(start, tick=False)))
        for patch in (
            mock.patch.object(time, "sleep", clock.sleep),
            mock.patch.object(time, "monotonic", clock.monotonic),
            mock.patch.object(asyncio.events, "new_event_loop", new_event_loop),
            # An answer comes over a real socket, in real time.
            mock.patch.object(response_body, "time", REAL_TIME),
            mock.patch.object(watchdog, "time", REAL_TIME),
        ):
            stack.enter_context(patch)
        yield clock
