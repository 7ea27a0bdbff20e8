"""
One poll loop for all the jobs that a triggerer waits for over one connection.

A single job is polled with a GET. If there are several, the loop lists the active jobs in pages, and GETs
only those that are not listed. The list never proves that a job has ended: its order is not documented, and
its pages can shift while they are read. A job that is missing there costs a GET, never a wrong answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_atai.api.fine_tune import TERMINAL_STATUSES
from airflow_provider_atai.errors import (
    AtaiAuthenticationError,
    AtaiError,
    AtaiGatewayNotFoundError,
    AtaiGatewayRefusalError,
    AtaiRateLimitError,
    AtaiResponseError,
    PermanentError,
)
from airflow_provider_atai.waiting.job_listing import Paging, list_active
from airflow_provider_atai.waiting.metrics_turns import take_metrics_turns
from airflow_provider_atai.waiting.on_worker import JobReader, poll, read_metrics, utcnow
from airflow_provider_atai.waiting.policy import SHORTEST_INTERVAL, retry_delay
from airflow_provider_atai.waiting.subscription import METRICS_THREADS, POLLING_THREADS, THREADS, Subscription
from airflow_provider_atai.waiting.watch import TRAINING_STATUSES

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob

log = logging.getLogger(__name__)

T = TypeVar("T")

# How many seconds the list is left alone after it could not be used.
_LIST_PAUSE = 300.0
# Waking a thousand waiters at once would hold up the other triggers on the event loop.
_BATCH = 25


@asynccontextmanager
async def subscribe(
    key: Hashable,
    connect: Callable[[], JobReader],
    *,
    job_id: str,
    interval: float,
    deadline: datetime | None,
) -> AsyncIterator[Subscription]:
    """
    Join the poll loop of a connection. It starts with the first waiter and ends with the last.

    :param key: identifies the connection: waiters with equal keys share a loop.
    :param connect: makes a hook for the poll loop, which closes it at the end.
    :param job_id: the job to poll.
    :param interval: the most seconds between two polls; less than a second counts as one.
    :param deadline: when the waiter wants one more poll, whatever it shows.
    :raises ValueError: the deadline has no zone.
    """
    # Made first: whatever is wrong with it, the others' loop does not get to know.
    subscription = Subscription(job_id, interval=interval, deadline=deadline)
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(key)
    if poller is None:
        poller = pollers[key] = JobPoller(connect())
    poller.add(subscription)
    try:
        yield subscription
    finally:
        poller.remove(subscription)
        if poller.is_idle and pollers.get(key) is poller:
            del pollers[key]
            poller.stop()


_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, JobPoller]] = WeakKeyDictionary()


class JobPoller:
    """
    Polls jobs for any number of waiters.

    :param reader: a hook that nobody else uses.
    """

    def __init__(self, reader: JobReader) -> None:
        self._reader = reader
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._metrics_due_at: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._next_poll = time.monotonic()
        self._failures = 0
        self._list_requests = 1
        self._list_again_at = time.monotonic()
        self._paging = Paging()
        self._logged = ""
        self._metrics_task: asyncio.Task[None] | None = None
        # Without its own context, the loop would log into the first waiter's task for as long as it lives.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    @property
    def is_idle(self) -> bool:
        """Whether there are no waiters left."""
        return not self._subscriptions

    def add(self, subscription: Subscription) -> None:
        """Add a waiter. It brings the next poll forward only to within its own interval."""
        subscription.reader = self._reader
        self._subscriptions.setdefault(subscription.job_id, []).append(subscription)
        interval, deadline = subscription.interval, subscription.deadline
        now = time.monotonic()
        # A pause after a failure is not cut short: the service may have asked for it.
        if not self._failures and now + interval < self._next_poll:
            self._next_poll = now + interval
            self._wake.set()
        elif deadline is not None and now + (deadline - utcnow()).total_seconds() < self._next_poll:
            self._wake.set()

    def remove(self, subscription: Subscription) -> None:
        """Remove a waiter."""
        waiters = self._subscriptions[subscription.job_id]
        waiters.remove(subscription)
        if not waiters:
            del self._subscriptions[subscription.job_id]

    def stop(self) -> None:
        """End the loop."""
        self._task.cancel()
        self._reader.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._round()
            except (Exception, asyncio.CancelledError) as error:
                # Only stop() or the end of the event loop may end this one, not a call that was cancelled.
                if self._task.cancelling():
                    raise
                await self._outlive(error)

    async def _round(self) -> None:
        self._wake.clear()
        seconds = self._seconds_to_next()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        if time.monotonic() >= self._next_poll:
            await self._poll()
        await self._poll_at_deadlines()

    async def _outlive(self, error: BaseException) -> None:
        """Report an error that nobody foresaw as an outage, so that no waiter is left with a dead loop."""
        problem = _unexpected(error)
        if str(problem) != self._logged:
            self._logged = str(problem)
            log.error("%s All waits on this connection treat that as an outage.", problem, exc_info=error)
        # Not the waiters' interval: nothing here depends on what may have failed.
        self._pause(problem, SHORTEST_INTERVAL)
        for waiter in list(self._waiters()):
            waiter.status = None
            waiter.send(problem)
        # Without this, a loop that fails before it waits would spin.
        await asyncio.sleep(SHORTEST_INTERVAL)

    def _seconds_to_next(self) -> float:
        seconds = self._next_poll - time.monotonic()
        deadlines = [waiter.deadline for waiter in self._waiters() if waiter.deadline is not None]
        if deadlines:
            seconds = min(seconds, (min(deadlines) - utcnow()).total_seconds())
        return max(0.0, seconds)

    async def _poll(self) -> None:
        job_ids = list(self._subscriptions)
        try:
            unlisted = await self._poll_list(job_ids)
        except AtaiError as error:
            self._pause(error, self._shortest_interval())
            for position, job_id in enumerate(job_ids):
                await self._send(job_id, error, position)
            return
        trouble = await self._get(unlisted)
        if trouble is not None:
            self._pause(trouble, self._shortest_interval())
            return
        self._failures = 0
        self._next_poll = time.monotonic() + self._shortest_interval()
        self._start_reading_metrics()

    def _pause(self, error: AtaiError, interval: float) -> None:
        self._failures += 1
        delay = retry_delay(error, failures=self._failures, poll_interval=interval, jitter=random.random())
        self._next_poll = time.monotonic() + delay

    def _shortest_interval(self) -> float:
        return min((waiter.interval for waiter in self._waiters()), default=0.0)

    async def _poll_list(self, job_ids: list[str]) -> list[str]:
        """Read the list if that is cheaper than GETs, and return the jobs that it does not show."""
        if len(job_ids) <= self._list_requests or time.monotonic() < self._list_again_at:
            return job_ids
        known = {
            job_id: None if any(waiter.status is None for waiter in waiters) else waiters[0].status
            for job_id, waiters in self._subscriptions.items()
        }
        try:
            listing = await self._call(lambda reader: list_active(reader.fine_tune, known, self._paging))
        except AtaiAuthenticationError:
            raise
        except (
            PermanentError,
            AtaiGatewayNotFoundError,
            AtaiGatewayRefusalError,
            AtaiResponseError,
        ):
            # Whatever is wrong with the list, GETs may still work. They only cost more requests.
            self._list_again_at = time.monotonic() + _LIST_PAUSE
            return job_ids
        self._list_requests = max(1, listing.requests)
        if self._paging.is_ignored and len(listing.seen) < 2:
            self._list_again_at = time.monotonic() + _LIST_PAUSE
        for position, (job_id, job) in enumerate(listing.changed.items()):
            await self._send(job_id, job, position)
        return [job_id for job_id in job_ids if job_id not in listing.seen]

    async def _get(self, job_ids: Iterable[str]) -> AtaiError | None:
        """GET jobs, a few at a time, and return an error if the whole service seems to be in trouble."""
        pending = list(job_ids)
        errors: list[AtaiError] = []
        for start in range(0, len(pending), THREADS):
            some = pending[start : start + THREADS]
            answers = await asyncio.gather(*(self._call(partial(_safe_poll, job_id)) for job_id in some))
            for position, (job_id, seen) in enumerate(zip(some, answers, strict=True)):
                await self._send(job_id, seen, position)
                if isinstance(seen, AtaiError) and not isinstance(seen, PermanentError):
                    errors.append(seen)
        limited = [error for error in errors if isinstance(error, AtaiRateLimitError)]
        if limited:
            return max(limited, key=lambda error: error.retry_after or 0.0)
        return errors[0] if errors and len(errors) == len(self._subscriptions) else None

    async def _poll_at_deadlines(self) -> None:
        now = utcnow()
        late = [one for one in self._waiters() if one.deadline is not None and one.deadline <= now]
        for waiter in late:
            waiter.deadline = None
            waiter.status = None
        await self._get({waiter.job_id for waiter in late})

    def _start_reading_metrics(self) -> None:
        if self._metrics_task is not None and not self._metrics_task.done():
            return
        training = {waiter.job_id for waiter in self._waiters() if waiter.status in TRAINING_STATUSES}
        # Never more requests for metrics than for statuses: with many jobs, each has its turn less often.
        turns = take_metrics_turns(self._metrics_due_at, training, self._list_requests, time.monotonic())
        if turns:
            self._metrics_task = asyncio.get_running_loop().create_task(self._read_metrics(turns))

    async def _read_metrics(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            if job_id not in self._subscriptions:
                continue
            metrics = await self._call(partial(read_metrics, job_id=job_id), METRICS_THREADS)
            if metrics is not None:
                for waiter in self._subscriptions.get(job_id, ()):
                    waiter.send(metrics)

    async def _send(self, job_id: str, seen: FineTuneJob | AtaiError, position: int) -> None:
        status = None if isinstance(seen, AtaiError) else seen.status
        for waiter in self._subscriptions.get(job_id, ()):
            # The policy may still wait for a COMPLETED job's model, so a terminal status is always news.
            if status is None or status != waiter.status or status in TERMINAL_STATUSES:
                waiter.status = status
                waiter.send(seen)
        if position % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)

    def _waiters(self) -> Iterable[Subscription]:
        return (waiter for waiters in self._subscriptions.values() for waiter in waiters)

    async def _call(self, function: Callable[[JobReader], T], threads: Executor = POLLING_THREADS) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, function, self._reader)


def _safe_poll(job_id: str, reader: JobReader) -> FineTuneJob | AtaiError:
    # One odd job must not end the loop that all the others wait for.
    try:
        return poll(reader, job_id)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: BaseException) -> AtaiError:
    return AtaiResponseError(f"Polling failed unexpectedly: {error!r}.")
