"""
One waiter's place at the shared poll loop, and the threads that make its calls to the service.

requests blocks, so every call runs in a thread: there is one HTTP stack, and the event loop stays free.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_atai.waiting.on_worker import LAST_METRICS_ATTEMPTS, JobReader, read_metrics
from airflow_provider_atai.waiting.policy import SHORTEST_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob, JobMetrics
    from airflow_provider_atai.errors import AtaiError

# Metrics decide nothing, so the end of a wait comes no more than this many seconds later for their sake.
LAST_METRICS_SECONDS = 10.0

THREADS = 8
POLLING_THREADS = ThreadPoolExecutor(THREADS, thread_name_prefix="atai-poll")
# Metrics have threads of their own, so that they hold up nobody's poll.
METRICS_THREADS = ThreadPoolExecutor(THREADS, thread_name_prefix="atai-metrics")


class Subscription:
    """
    A mailbox for news about one job.

    :param job_id: the job.
    :param interval: the most seconds between two polls; less than a second counts as one.
    :param deadline: when the waiter wants one more poll, whatever it shows.
    :raises ValueError: the deadline has no zone, so it could not be compared with those of the others.
    """

    __slots__ = (
        *("_began", "_interval", "_items", "_waiter"),
        *("deadline", "job_id", "max_interval", "reader", "status"),
    )

    # The poller's hook, from the moment that the poller takes the subscription.
    reader: JobReader

    def __init__(self, job_id: str, *, interval: float, deadline: datetime | None) -> None:
        if deadline is not None and deadline.utcoffset() is None:
            raise ValueError(f"The deadline {deadline.isoformat()} has no time zone.")
        self.job_id = job_id
        # The seconds up to which the interval grows, None if it does not.
        self.max_interval: float | None = None
        self._interval = max(SHORTEST_INTERVAL, interval)
        self._began = time.monotonic()
        self.deadline = deadline
        # None if the waiter must get the next answer even if nothing changed: at first, and after an error.
        self.status: str | None = None
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

    async def last_metrics(self) -> JobMetrics | None:
        """
        Return the metrics of the job, which has ended; None if they cannot be read within ten seconds.

        The seconds count from the call, not from its turn among the threads. However many jobs end together
        while the metrics hang, no event waits for those of the others.
        """
        read = partial(read_metrics, self.reader, self.job_id, max_attempts=LAST_METRICS_ATTEMPTS)
        reading = asyncio.get_running_loop().run_in_executor(METRICS_THREADS, read)
        try:
            return await asyncio.wait_for(reading, LAST_METRICS_SECONDS)
        except TimeoutError:
            return None
