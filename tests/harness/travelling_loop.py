"""
An event loop whose timers cost no real time.

The threads that the loop calls take turns in the order in which they were asked, so that a simulated life is
the same each time. A call that only waits for time to pass lets the next ones run: see :func:`pause`.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from tests.harness.clock import REAL_SLEEP

if TYPE_CHECKING:
    from tests.harness.clock import Clock

T = TypeVar("T")

# A shorter step would vanish in the rounding of a datetime.
_SHORTEST_STEP = 0.001
# Real seconds. A thread that waits longer for its turn goes on without it, so that nothing can hang.
_LONGEST_WAIT = 20.0
# Real seconds in which something may still happen on a loop that nothing is left to wake.
_BEFORE_A_JUMP = 1.0

_this_thread = threading.local()


class _Stage(Enum):
    QUEUED = auto()
    READY = auto()
    RUNNING = auto()
    # It waits until time has passed.
    PAUSING = auto()
    # It waits for something that the loop or another call does.
    ASIDE = auto()
    FINISHED = auto()


class _Call:
    """A call in a thread. It counts until the thread has finished and the loop has been told."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.stage = _Stage.QUEUED
        self.due = 0.0
        self.woken = threading.Event()

    @property
    def has_a_thread(self) -> bool:
        return self.stage not in (_Stage.QUEUED, _Stage.FINISHED)


class _Turns:
    """The calls of a loop, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: dict[_Call, None] = {}

    def add(self, call: _Call) -> None:
        with self._changed:
            self._calls[call] = None

    def discard(self, call: _Call) -> None:
        with self._changed:
            self._calls.pop(call, None)
            self._changed.notify_all()

    def set(self, call: _Call, stage: _Stage) -> None:
        with self._changed:
            call.stage = stage
            self._changed.notify_all()

    def take(self, call: _Call) -> None:
        """Wait until it is the call's turn."""
        with self._changed:
            if call.stage is not _Stage.RUNNING:
                call.stage = _Stage.READY
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_turn_of(call), _LONGEST_WAIT)
            call.stage = _Stage.RUNNING

    def is_quiet(self) -> bool:
        """Whether no thread is in a call."""
        with self._changed:
            return not any(call.has_a_thread for call in self._calls)

    def must_be_waited_for(self) -> bool:
        """Whether something happens on its own, so that no time may pass."""
        with self._changed:
            return any(
                call.stage in (_Stage.READY, _Stage.RUNNING, _Stage.ASIDE, _Stage.FINISHED)
                or (call.stage is _Stage.QUEUED and self._can_start(call))
                for call in self._calls
            )

    def next_due(self) -> float | None:
        """When the first pausing call goes on."""
        with self._changed:
            return min((call.due for call in self._calls if call.stage is _Stage.PAUSING), default=None)

    def wake_all(self) -> None:
        """Let every pausing call go on at once, its pause cut short."""
        with self._changed:
            for call in self._calls:
                if call.stage is _Stage.PAUSING:
                    call.stage = _Stage.READY
                    call.woken.set()

    def _is_turn_of(self, call: _Call) -> bool:
        for other in self._calls:
            if other is call:
                break
            if other.stage is _Stage.READY or (other.stage is _Stage.QUEUED and self._can_start(other)):
                return False
        return not any(other.stage is _Stage.RUNNING for other in self._calls if other is not call)

    def _can_start(self, call: _Call) -> bool:
        busy = sum(other.has_a_thread and other.executor is call.executor for other in self._calls)
        return busy < getattr(call.executor, "_max_workers", busy + 1)


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the loop's next timer, lets the time until then pass."""

    clock: Clock
    turns: _Turns

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        if self.turns.must_be_waited_for():
            # A thread is in the middle of a call. It is the one that lets time pass.
            return super().select(None)
        ready = super().select(0)
        if not ready:
            seconds = self._seconds(timeout)
            if seconds is None:
                return self._jump()
            self.clock.sleep(max(seconds, _SHORTEST_STEP))
        return ready

    def _seconds(self, timeout: float | None) -> float | None:
        due = None if self.clock.holds_timers else self.turns.next_due()
        if due is None:
            return timeout
        left = due - time.time()
        return left if timeout is None else min(left, timeout)

    def _jump(self) -> Any:
        """Go to the clock's next timer: nothing else can wake a loop that waits for nothing."""
        due = self.clock.next_due
        if due is None or self.clock.holds_timers:
            return super().select(None)
        ready = super().select(_BEFORE_A_JUMP)
        if not ready:
            self.clock.sleep(max(due - time.time(), _SHORTEST_STEP))
        return ready


class TravellingLoop(asyncio.SelectorEventLoop):
    """Lets the clock's time pass while nothing is ready to run."""

    def __init__(self, clock: Clock) -> None:
        self.turns = _Turns()
        selector = _Selector()
        selector.clock = clock
        selector.turns = self.turns
        # Counted from here: asyncio calls a timer that is due within a nanosecond, and beside the seconds
        # since 1970 a nanosecond is lost in rounding, so the loop would spin.
        self._began = time.time()
        super().__init__(selector)

    def time(self) -> float:
        return time.time() - self._began

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        call = _Call(executor)

        def counted() -> T:
            self.turns.take(call)
            _this_thread.loop, _this_thread.call = self, call
            try:
                return func(*args)
            finally:
                _this_thread.loop = _this_thread.call = None
                self.turns.set(call, _Stage.FINISHED)
                with suppress(RuntimeError):  # The loop may have been closed over a cancelled call.
                    self.call_soon_threadsafe(told, None)

        def told(_: Any) -> None:
            if future.done() and not call.has_a_thread:
                self.turns.discard(call)

        self.turns.add(call)
        future = super().run_in_executor(executor, counted)
        future.add_done_callback(told)
        return future


def pause(clock: Clock, seconds: float) -> None:
    """Let time pass in the middle of a call. Calls in other threads of the loop go on meanwhile."""
    call: _Call | None = getattr(_this_thread, "call", None)
    if call is None:
        clock.advance(seconds)
        return
    loop = _this_thread.loop

    def wake() -> None:
        loop.turns.set(call, _Stage.READY)
        call.woken.set()

    call.woken.clear()
    call.due = clock.after(seconds, wake).due
    loop.turns.set(call, _Stage.PAUSING)
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(lambda: None)
    call.woken.wait(_LONGEST_WAIT)
    loop.turns.take(call)


@contextmanager
def standing_aside() -> Iterator[None]:
    """Let other calls of the loop run while this one, if it is in a thread, waits for what they do."""
    call: _Call | None = getattr(_this_thread, "call", None)
    if call is None:
        yield
        return
    turns: _Turns = _this_thread.loop.turns
    turns.set(call, _Stage.ASIDE)
    try:
        yield
    finally:
        turns.take(call)


def run_on_loop(clock: Clock, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a travelling loop of its own, and end nothing before its threads are quiet."""
    loop = TravellingLoop(clock)
    try:
        return loop.run_until_complete(main)
    finally:
        for _ in range(1000):
            loop.turns.wake_all()
            if loop.turns.is_quiet():
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
