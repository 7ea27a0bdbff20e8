"""An event loop whose timers cost no real time."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

# A shorter step would vanish in the rounding of a datetime.
_SHORTEST_STEP = 0.001


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the loop's next timer, lets the time until then pass."""

    pass_time: Callable[[float], None]
    is_waiting_for_threads: Callable[[], bool]

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.is_waiting_for_threads():
            # A thread is in the middle of a call. It is the one that lets time pass.
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.pass_time(max(timeout, _SHORTEST_STEP))
        return ready


class _Call:
    """A call in a thread. It counts until the thread has finished and the loop has been told."""

    started = False
    finished = False


class TravellingLoop(asyncio.SelectorEventLoop):
    """
    Lets time pass while nothing is ready to run.

    :param pass_time: lets some seconds pass without waiting for them: ``time.time()`` shows them.
    """

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        self._calls: set[_Call] = set()
        selector = _Selector()
        selector.pass_time = pass_time
        selector.is_waiting_for_threads = lambda: bool(self._calls)
        # Counted from here: asyncio calls a timer that is due within a nanosecond, and beside the seconds
        # since 1970 a nanosecond is lost in rounding, so the loop would spin.
        self._began = time.time()
        super().__init__(selector)

    @property
    def is_quiet(self) -> bool:
        """Whether no thread is in a call."""
        return all(call.finished or not call.started for call in self._calls)

    def time(self) -> float:
        """Return seconds since the loop was made, with those that were travelled."""
        return time.time() - self._began

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run a function in a thread; no time passes in the loop until it returns."""
        call = _Call()

        def counted() -> T:
            call.started = True
            try:
                return func(*args)
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
