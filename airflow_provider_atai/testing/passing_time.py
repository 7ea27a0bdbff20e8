"""Time that passes at once while somebody waits for it, for a DAG run and for the emulator alike."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING
from unittest import mock

from airflow_provider_atai.api import response_body, watchdog
from airflow_provider_atai.testing.travelling_loop import TravellingLoop

if TYPE_CHECKING:
    import time_machine

# time.monotonic itself travels with time-machine before version 3. On Linux and macOS this is the same clock.
_real_monotonic = time.perf_counter
_real_sleep = time.sleep
# The threads in which the provider polls. Those of the emulator and of Airflow's API live in real time.
_TRAVELLING = ("atai-poll", "atai-metrics")
# dag.test() looks for a task that is due, sleeps a second, and looks again. It reads the database each time.
_LONGEST_PAUSE = 30.0


class PassingTime:
    """
    A clock that runs in real time, and jumps over every wait.

    :param traveller: what ``time_machine.travel()`` gives.
    """

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller
        self._thread = threading.current_thread()
        self._passed = 0.0
        self._pause = 1.0

    def sleep(self, seconds: float) -> None:
        """Stand in for ``time.sleep``."""
        if not self.travels():
            _real_sleep(seconds)
        elif _is_loop_of_dag_test(sys._getframe(1)):
            self.pass_time(self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        else:
            self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        """Let some seconds pass."""
        self._passed += seconds
        self._traveller.shift(timedelta(seconds=seconds))

    def monotonic(self) -> float:
        """Stand in for ``time.monotonic``, which does not travel by itself."""
        return _real_monotonic() + (self._passed if self.travels() else 0.0)

    def travels(self) -> bool:
        """Return whether the waits of this thread pass at once."""
        thread = threading.current_thread()
        return thread is self._thread or thread.name.startswith(_TRAVELLING)


@contextmanager
def passing_time(start: datetime) -> Iterator[PassingTime]:
    """
    Let every wait of this thread pass at once: sleeps, event loops, and those of the provider's threads.

    :param start: when it is at the beginning, with a zone.
    """
    import time_machine

    new_event_loop = asyncio.events.new_event_loop
    real_time = SimpleNamespace(monotonic=_real_monotonic)

    def loop_of_this_thread() -> asyncio.AbstractEventLoop:
        return TravellingLoop(clock.pass_time) if clock.travels() else new_event_loop()

    with ExitStack() as stack:
        clock = PassingTime(stack.enter_context(time_machine.travel(start)))
        for patch in (
            mock.patch.object(time, "sleep", clock.sleep),
            mock.patch.object(time, "monotonic", clock.monotonic),
            mock.patch.object(asyncio.events, "new_event_loop", loop_of_this_thread),
            # An answer comes over a real socket, in real time.
            mock.patch.object(response_body, "time", real_time),
            mock.patch.object(watchdog, "time", real_time),
        ):
            stack.enter_context(patch)
        yield clock


def _is_loop_of_dag_test(frame: FrameType) -> bool:
    is_airflow = str(frame.f_globals.get("__name__")).startswith("airflow.")
    return is_airflow and frame.f_code.co_name == "test"
