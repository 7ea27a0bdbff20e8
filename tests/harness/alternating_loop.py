"""
An event loop whose timers cost no real time, and whose threads take turns.

The threads that the loop calls take turns in the order in which they were asked, and with the loop itself, so
that a simulated life is the same each time. A call that only waits for time to pass lets the next ones run:
see :func:`pause`.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
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
_THREADS = 6
# Real seconds in which something may still happen on a loop that nothing is left to wake.
_BEFORE_A_JUMP = 1.0

_this_thread = threading.local()


class _Stage(Enum):
    # No thread has it yet.
    QUEUED = auto()
    # The same, but the next free thread may run it.
    CHOSEN = auto()
    # Its thread waits for its turn.
    READY = auto()
    RUNNING = auto()
    # It waits until time has passed.
    PAUSING = auto()
    # It waits for something that the loop or another call does.
    ASIDE = auto()
    FINISHED = auto()


_WITHOUT_A_THREAD = (_Stage.QUEUED, _Stage.CHOSEN, _Stage.FINISHED)
_BUSY = (_Stage.CHOSEN, _Stage.RUNNING, _Stage.FINISHED)


class _Call:
    """A call in a thread. It counts until the thread has finished and the loop has been told."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.stage = _Stage.QUEUED
        self.due = 0.0

    @property
    def has_a_thread(self) -> bool:
        return self.stage not in _WITHOUT_A_THREAD


class _Turns:
    """
    The calls of a loop, in the order in which they were asked for.

    One runs at a time, and only while the loop has nothing to do.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: dict[_Call, None] = {}

    def add(self, call: _Call) -> None:
        with self._changed:
            self._calls[call] = None

    def discard(self, call: _Call) -> None:
        with self._changed:
            self._calls.pop(call, None)

    def set(self, call: _Call, stage: _Stage) -> None:
        with self._changed:
            call.stage = stage
            self._changed.notify_all()

    def begin(self, call: _Call) -> bool:
        """Let a thread have the call; return whether it is its turn."""
        with self._changed:
            is_chosen = call.stage is _Stage.CHOSEN
            call.stage = _Stage.RUNNING if is_chosen else _Stage.READY
            return is_chosen

    def wait(self, call: _Call) -> None:
        """Wait in the call's thread until it is its turn."""
        with self._changed:
            self._changed.wait_for(lambda: call.stage is _Stage.RUNNING, _LONGEST_WAIT)
            call.stage = _Stage.RUNNING

    def is_quiet(self) -> bool:
        """Whether no thread is in a call."""
        with self._changed:
            return not any(call.has_a_thread for call in self._calls)

    def something_happens(self) -> bool:
        """Give the next call its turn; return False if no call does anything before time passes."""
        with self._changed:
            if any(call.stage in _BUSY for call in self._calls):
                return True
            for call in self._calls:
                if call.stage is _Stage.READY:
                    call.stage = _Stage.RUNNING
                    self._changed.notify_all()
                    return True
                if call.stage is _Stage.QUEUED and self._has_a_free_thread(call.executor):
                    call.stage = _Stage.CHOSEN
                    return True
            return any(call.stage is _Stage.ASIDE for call in self._calls)

    def next_due(self) -> float | None:
        """When the first pausing call goes on."""
        with self._changed:
            return min((call.due for call in self._calls if call.stage is _Stage.PAUSING), default=None)

    def cut_short(self) -> None:
        """Let every call go on at once, without its turn or the rest of its pause."""
        with self._changed:
            for call in self._calls:
                if call.stage in (_Stage.PAUSING, _Stage.READY):
                    call.stage = _Stage.RUNNING
            self._changed.notify_all()

    def _has_a_free_thread(self, executor: Any) -> bool:
        busy = sum(call.has_a_thread and call.executor is executor for call in self._calls)
        return busy < getattr(executor, "_max_workers", 1)


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the loop's next timer, lets the time until then pass."""

    clock: Clock
    turns: _Turns

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if ready:
            return ready
        if self.turns.something_happens():
            # A thread is in the middle of a call. It is the one that lets time pass.
            return super().select(None)
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


class AlternatingLoop(asyncio.SelectorEventLoop):
    """While nothing is ready, lets its threads run one at a time, and then the clock's time pass."""

    def __init__(self, clock: Clock) -> None:
        self.turns = _Turns()
        selector = _Selector()
        selector.clock = clock
        selector.turns = self.turns
        # Counted from here: asyncio calls a timer that is due within a nanosecond, and beside the seconds
        # since 1970 a nanosecond is lost in rounding, so the loop would spin.
        self._began = time.time()
        self._threads: ThreadPoolExecutor | None = None
        super().__init__(selector)

    def time(self) -> float:
        return time.time() - self._began

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        if executor is None:
            executor = self._own_executor()
        call = _Call(executor)

        def counted() -> T:
            if not self.turns.begin(call):
                self.wait_for_turn(call)
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

    def wake(self) -> None:
        """Let the loop look around, whatever it waits for."""
        with suppress(RuntimeError):
            self.call_soon_threadsafe(lambda: None)

    def wait_for_turn(self, call: _Call) -> None:
        """Wait in the call's thread until the loop lets it run."""
        self.wake()
        self.turns.wait(call)

    def _own_executor(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="travelling")
            self.set_default_executor(self._threads)
        return self._threads


def pause(clock: Clock, seconds: float) -> None:
    """Let time pass in the middle of a call. Calls in other threads of the loop go on meanwhile."""
    call: _Call | None = getattr(_this_thread, "call", None)
    if call is None:
        clock.advance(seconds)
        return
    loop: AlternatingLoop = _this_thread.loop
    call.due = clock.after(seconds, lambda: loop.turns.set(call, _Stage.READY)).due
    loop.turns.set(call, _Stage.PAUSING)
    loop.wait_for_turn(call)


@contextmanager
def standing_aside() -> Iterator[None]:
    """Let other calls of the loop run while this one, if it is in a thread, waits for what they do."""
    call: _Call | None = getattr(_this_thread, "call", None)
    if call is None:
        yield
        return
    loop: AlternatingLoop = _this_thread.loop
    loop.turns.set(call, _Stage.ASIDE)
    loop.wake()
    try:
        yield
    finally:
        loop.turns.set(call, _Stage.READY)
        loop.wait_for_turn(call)


def run_on_loop(clock: Clock, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a travelling loop of its own, and end nothing before its threads are quiet."""
    loop = AlternatingLoop(clock)
    try:
        return loop.run_until_complete(main)
    finally:
        for _ in range(1000):
            loop.turns.cut_short()
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
