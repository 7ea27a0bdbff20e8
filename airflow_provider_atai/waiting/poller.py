"""
One poll loop for all the jobs that a triggerer waits for over one connection.

While one job is waited for, the loop GETs it; while several are, it lists the active ones in pages and GETs
only those that are not among them. The list is never taken as proof of an end: its order is not documented
and its pages can shift while they are read, so a job that is missing there costs a GET and never leads to a
wrong answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
import weakref
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_atai.api.fine_tune import TERMINAL_STATUSES
from airflow_provider_atai.errors import (
    AtaiAuthenticationError,
    AtaiError,
    AtaiGatewayNotFoundError,
    AtaiRateLimitError,
    AtaiResponseError,
    PermanentError,
)
from airflow_provider_atai.waiting.job_listing import list_active
from airflow_provider_atai.waiting.metrics_turns import MetricsTurns
from airflow_provider_atai.waiting.on_worker import JobReader, look, read_metrics, utcnow
from airflow_provider_atai.waiting.policy import retry_delay
from airflow_provider_atai.waiting.subscription import Subscription
from airflow_provider_atai.waiting.thread_pools import THREADS, metrics_threads, polling_threads

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob

T = TypeVar("T")

# How long to do without the list after it could not be used.
_LIST_PAUSE = 300.0
# Waking a thousand waiters in one go would hold up the other triggers on the event loop.
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
    Take part in the poll loop of a connection, which starts with the first waiter and ends with the last.

    :param key: what tells connections apart: waiters with equal keys share a loop.
    :param connect: makes a hook for the poll loop, which closes it at the end.
    :param job_id: the job to be told of.
    :param interval: seconds after which news must have come at the latest.
    :param deadline: when the waiter wants a last look, whatever it shows.
    """
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(key)
    if poller is None:
        poller = pollers[key] = JobPoller(connect())
    subscription = poller.add(job_id, interval=interval, deadline=deadline)
    try:
        yield subscription
    finally:
        poller.remove(subscription)
        if poller.is_idle and pollers.get(key) is poller:
            del pollers[key]
            poller.stop()


_POLLERS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, JobPoller]] = (
    weakref.WeakKeyDictionary()
)


class JobPoller:
    """
    Looks at jobs for any number of waiters.

    :param reader: a hook of the poller's own.
    """

    def __init__(self, reader: JobReader) -> None:
        self._reader = reader
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._metrics = MetricsTurns()
        self._wake = asyncio.Event()
        self._next_poll = time.monotonic()
        self._failures = 0
        self._list_requests = 1
        self._list_again_at = time.monotonic()
        self._metrics_task: asyncio.Task[None] | None = None
        # A context of its own, or all that is logged here would land in the log of the first waiter's task.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits any more."""
        return not self._subscriptions

    def add(self, job_id: str, *, interval: float, deadline: datetime | None) -> Subscription:
        """
        Take in a waiter. It does not cause a poll before one is due, but by its own interval at the
        latest.
        """
        subscription = Subscription(job_id, interval=interval, deadline=deadline, reader=self._reader)
        self._subscriptions.setdefault(job_id, []).append(subscription)
        now = time.monotonic()
        # A pause after a failure is not cut short: the service may have asked for it.
        if not self._failures and now + interval < self._next_poll:
            self._next_poll = now + interval
            self._wake.set()
        elif deadline is not None and now + (deadline - utcnow()).total_seconds() < self._next_poll:
            self._wake.set()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a waiter."""
        waiters = self._subscriptions[subscription.job_id]
        waiters.remove(subscription)
        if not waiters:
            del self._subscriptions[subscription.job_id]
            self._metrics.forget(subscription.job_id)

    def stop(self) -> None:
        """End the loop."""
        self._task.cancel()
        if self._metrics_task is not None:
            self._metrics_task.cancel()
        self._reader.close()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._seconds_to_next())
            try:
                if time.monotonic() >= self._next_poll:
                    await self._poll()
                await self._look_for_the_late()
            except Exception as error:
                # Nobody may be left waiting for a loop that is gone. The waiters take it for an outage, which
                # ends them at the latest when their tolerance does.
                await self._pause_after(_unexpected(error), list(self._subscriptions))

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
            await self._pause_after(error, job_ids)
            return
        trouble = await self._get(unlisted)
        if trouble is not None:
            await self._pause_after(trouble)
            return
        self._failures = 0
        self._next_poll = time.monotonic() + self._shortest_interval()
        self._begin_fetching_metrics()

    async def _pause_after(self, error: AtaiError, job_ids: Iterable[str] = ()) -> None:
        self._failures += 1
        delay = retry_delay(
            error, failures=self._failures, poll_interval=self._shortest_interval(), jitter=random.random()
        )
        self._next_poll = time.monotonic() + delay
        for position, job_id in enumerate(job_ids):
            await self._send(job_id, error, position)

    def _shortest_interval(self) -> float:
        return min((waiter.interval for waiter in self._waiters()), default=0.0)

    async def _poll_list(self, job_ids: list[str]) -> list[str]:
        """
        Look for the jobs in the list, where that is cheaper than GETs, and return those it does not
        show.
        """
        if len(job_ids) <= self._list_requests or time.monotonic() < self._list_again_at:
            return job_ids
        known = {job_id: waiters[0].status for job_id, waiters in self._subscriptions.items()}
        for job_id, waiters in self._subscriptions.items():
            if any(waiter.status is None for waiter in waiters):
                known[job_id] = None
        wanted = frozenset(job_ids)
        try:
            listing = await self._call(lambda reader: list_active(reader.fine_tune, wanted, known))
        except AtaiAuthenticationError:
            raise
        except (PermanentError, AtaiGatewayNotFoundError, AtaiResponseError):
            # Whatever is wrong with the list, GETs may still be answered, if at a higher price.
            self._list_again_at = time.monotonic() + _LIST_PAUSE
            return job_ids
        self._list_requests = max(1, listing.requests)
        for position, (job_id, job) in enumerate(listing.changed.items()):
            await self._send(job_id, job, position)
        return [job_id for job_id in job_ids if job_id not in listing.seen]

    async def _get(self, job_ids: Iterable[str]) -> AtaiError | None:
        """
        GET jobs, some at a time, and return an error where the service as a whole seems to be in
        trouble.
        """
        pending = list(job_ids)
        errors: list[AtaiError] = []
        for start in range(0, len(pending), THREADS):
            some = pending[start : start + THREADS]
            looks = await asyncio.gather(*(self._call(partial(_safe_look, job_id)) for job_id in some))
            for position, (job_id, seen) in enumerate(zip(some, looks, strict=True)):
                await self._send(job_id, seen, position)
                if isinstance(seen, AtaiError) and not isinstance(seen, PermanentError):
                    errors.append(seen)
        limited = [error for error in errors if isinstance(error, AtaiRateLimitError)]
        if limited:
            return max(limited, key=lambda error: error.retry_after or 0.0)
        return errors[0] if errors and len(errors) == len(self._subscriptions) else None

    async def _look_for_the_late(self) -> None:
        now = utcnow()
        late = [
            waiter for waiter in self._waiters() if waiter.deadline is not None and waiter.deadline <= now
        ]
        for waiter in late:
            waiter.deadline = None
            waiter.status = None
        await self._get({waiter.job_id for waiter in late})

    def _begin_fetching_metrics(self) -> None:
        if self._metrics_task is not None and not self._metrics_task.done():
            return
        training = [job_id for job_id, waiters in self._subscriptions.items() if waiters[0].is_training]
        # Never more requests for metrics than for the statuses: with many jobs, each has its turn less often.
        due = self._metrics.due(training, at_most=self._list_requests, now=time.monotonic())
        if due:
            self._metrics_task = asyncio.get_running_loop().create_task(self._fetch_metrics(due))

    async def _fetch_metrics(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            metrics = await self._call(partial(read_metrics, job_id=job_id), metrics_threads())
            if metrics is not None:
                for waiter in self._subscriptions.get(job_id, ()):
                    waiter.send(metrics)

    async def _send(self, job_id: str, seen: FineTuneJob | AtaiError, position: int) -> None:
        status = None if isinstance(seen, AtaiError) else seen.status
        for waiter in self._subscriptions.get(job_id, ()):
            # The policy may wait on after an end that shows no model yet, so an end is news each time.
            if status is None or status != waiter.status or status in TERMINAL_STATUSES:
                waiter.status = status
                waiter.send(seen)
        if position % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)

    def _waiters(self) -> Iterable[Subscription]:
        return (waiter for waiters in self._subscriptions.values() for waiter in waiters)

    async def _call(self, function: Callable[[JobReader], T], threads: Executor | None = None) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads or polling_threads(), function, self._reader)


def _safe_look(job_id: str, reader: JobReader) -> FineTuneJob | AtaiError:
    # One job's oddity must not end the loop that all the others wait for.
    try:
        return look(reader, job_id)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> AtaiError:
    return AtaiResponseError(f"Looking at the jobs failed in an unforeseen way: {error!r}")
