"""
Time that passes only when somebody sleeps, for worker code and event loops alike.

The clock stands still while code runs, so a simulated task lives the same life each time.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import time_machine

REAL_MONOTONIC = time.monotonic
REAL_SLEEP = time.sleep
# The emulator's own event loop runs in real time: only its job clock travels.
_REAL_THREADS = frozenset({"atai-emulator"})


class Timer:
    """An action that is due at a moment, unless it is cancelled."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Clock:
    """
    Travelled time, with timers that go off as it passes.

    :param traveller: what ``time_machine.travel(..., tick=False)`` gives.
    """

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self.holds_timers = False
        self.on_sleep: list[Callable[[], None]] = []
        self.slept: list[float] = []

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def start_at(self, moment: datetime) -> None:
        """Go to a moment, and forget the timers set before."""
        self._timers.clear()
        self._traveller.move_to(moment)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` after some seconds; an exception surfaces in whoever lets the time pass."""
        timer = Timer(time.time() + seconds, action)
        heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
        return timer

    @property
    def next_due(self) -> float | None:
        """When the next timer goes off, in seconds since 1970; None without a timer."""
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        target = time.time() + max(0.0, seconds)
        while not self.holds_timers and self._timers and self._timers[0][0] <= target:
            _, _, timer = heapq.heappop(self._timers)
            if timer.action is not None:
                self._go_to(timer.due)
                timer.action()
        self._go_to(target)

    def _go_to(self, moment: float) -> None:
        # A timer may have moved the time beyond the moment that the sleeper wanted.
        if moment > time.time():
            self._traveller.move_to(moment)

    def sleep(self, seconds: float) -> None:
        """Stand in for time.sleep."""
        if in_real_time():
            REAL_SLEEP(seconds)
            return
        self.slept.append(seconds)
        self.advance(seconds)
        for action in list(self.on_sleep):
            action()

    @staticmethod
    def monotonic() -> float:
        """Stand in for time.monotonic, which time_machine leaves alone."""
        return REAL_MONOTONIC() if in_real_time() else time.time()


def in_real_time() -> bool:
    """Tell whether the current thread lives in real time."""
    return threading.current_thread().name in _REAL_THREADS
