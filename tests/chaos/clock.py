"""
Time that passes only when somebody sleeps, for worker code and event loops alike.

The clock stands still while code runs, so that a life is the same each time it is replayed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import time_machine

T = TypeVar("T")

_REAL_MONOTONIC = time.monotonic
_REAL_SLEEP = time.sleep
# The emulator's own event loop lives in real time: only its job clock travels.
_REAL_THREADS = frozenset({"atai-emulator"})
# Below this, a step would vanish in the rounding of a datetime.
_SHORTEST_STEP = 0.001


class Timer:
    """Something that is due at a moment, until it is cancelled."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Clock:
    """
    Travelled time, with timers that go off as it passes.

    :param traveller: what time_machine.travel(..., tick=False) gives.
    """

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self.holds_timers = False

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def start_at(self, moment: datetime) -> None:
        """Go to a moment, and forget the timers of what was before."""
        self._timers.clear()
        self._traveller.move_to(moment)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call something when some seconds have passed; what it raises, it raises where the time passed."""
        timer = Timer(time.time() + seconds, action)
        heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
        return timer

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
        # A timer may have moved the time beyond where the one who waited wanted to go.
        if moment > time.time():
            self._traveller.move_to(moment)

    def sleep(self, seconds: float) -> None:
        """Stand in for time.sleep."""
        if threading.current_thread().name in _REAL_THREADS:
            _REAL_SLEEP(seconds)
        else:
            self.advance(seconds)

    @staticmethod
    def monotonic() -> float:
        """Stand in for time.monotonic, which time_machine leaves alone."""
        return _REAL_MONOTONIC() if threading.current_thread().name in _REAL_THREADS else time.time()


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Instead of waiting for the next timer of its loop, lets the time until then pass."""

    clock: Clock
    is_waiting_for_threads: Callable[[], bool]

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.is_waiting_for_threads():
            # A thread is in the middle of a call. It is the one that lets time pass.
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.clock.advance(max(timeout, _SHORTEST_STEP))
        return ready


class _Call:
    """A call in a thread. It counts until the thread is through and the loop has been told."""

    started = False
    finished = False


class TravellingLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers cost no real time."""

    def __init__(self, clock: Clock) -> None:
        self._calls: set[_Call] = set()
        selector = _Selector()
        selector.clock = clock
        selector.is_waiting_for_threads = lambda: bool(self._calls)
        # Counted from here: beside the seconds since 1970, the nanosecond within which asyncio calls a timer
        # due would be lost in rounding, and it would turn in circles.
        self._began = time.time()
        super().__init__(selector)

    @property
    def is_quiet(self) -> bool:
        """Whether no thread is in a call any more."""
        return all(call.finished or not call.started for call in self._calls)

    def time(self) -> float:
        return time.time() - self._began

    def run_in_executor(self, executor: Any, function: Callable[..., T], *args: Any) -> Any:
        call = _Call()

        def counted() -> T:
            call.started = True
            try:
                return function(*args)
            finally:
                call.finished = True
                with suppress(RuntimeError):  # The loop may have been closed over a cancelled call.
                    self.call_soon_threadsafe(told, None)

        def told(_: Any) -> None:
            if future.done() and (call.finished or not call.started):
                self._calls.discard(call)

        self._calls.add(call)
        future = super().run_in_executor(executor, counted)
        future.add_done_callback(told)
        return future


def run_on_loop(clock: Clock, main: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on a travelling loop of its own."""
    loop = TravellingLoop(clock)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        # A thread's call outlives the task that waited for it.
        for _ in range(1000):
            if loop.is_quiet:
                break
            _REAL_SLEEP(0.002)
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _end_tasks() -> None:
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
