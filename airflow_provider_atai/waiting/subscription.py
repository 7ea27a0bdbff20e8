"""
One waiter's place at the shared poll loop, and the threads that make its calls to the service.

requests blocks, so every call runs in a thread: there is one HTTP stack, and the event loop stays free.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob, JobMetrics
    from airflow_provider_atai.errors import AtaiError
    from airflow_provider_atai.waiting.on_worker import JobReader

T = TypeVar("T")

THREADS = 8
POLLING_THREADS = ThreadPoolExecutor(THREADS, thread_name_prefix="atai-poll")
# Metrics have threads of their own, so that they hold up nobody's poll.
METRICS_THREADS = ThreadPoolExecutor(THREADS, thread_name_prefix="atai-metrics")


class Subscription:
    """
    A mailbox for news about one job.

    :param job_id: the job.
    :param interval: the most seconds between two polls.
    :param deadline: when the waiter wants one more poll, whatever it shows.
    :param reader: the poller's hook.
    """

    __slots__ = (
        *("_began", "_interval", "_items", "_reader", "_waiter"),
        *("deadline", "job_id", "max_interval", "status"),
    )

    def __init__(self, job_id: str, *, interval: float, deadline: datetime | None, reader: JobReader) -> None:
        self.job_id = job_id
        # The seconds up to which the interval grows, None if it does not.
        self.max_interval: float | None = None
        self._interval = interval
        self._began = time.monotonic()
        self.deadline = deadline
        # None if the waiter must get the next answer even if nothing changed: at first, and after an error.
        self.status: str | None = None
        self._reader = reader
        self._items: deque[FineTuneJob | AtaiError | JobMetrics] = deque()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def interval(self) -> float:
        """The most seconds until the next poll."""
        if self.max_interval is None:
            return self._interval
        # As long as the wait so far: so it doubles from poll to poll, whoever else the polls are for.
        return min(max(self._interval, time.monotonic() - self._began), self.max_interval)

    def send(self, item: FineTuneJob | AtaiError | JobMetrics) -> None:
        """Put an item into the mailbox."""
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> FineTuneJob | AtaiError | JobMetrics:
        """Wait for the next item in the mailbox."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()

    async def call(self, function: Callable[[JobReader], T]) -> T:
        """
        Call a blocking function with the poller's hook, in a thread but in the waiter's own context.

        It is for the end of a wait, which mostly reads the last metrics.
        """
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(METRICS_THREADS, context.run, function, self._reader)
