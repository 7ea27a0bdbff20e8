"""
The measured process: many triggers of one kind on one event loop, as in a triggerer without its supervisor.

    python -m benchmarks.waiter atai 10

It reads orders as lines of JSON from its standard input, and responds to each with a line. It measures
itself, because no other process can know its exact CPU time or how late its event loop is.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import structlog

from benchmarks.subjects import SUBJECTS, Subject

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

TICK = 0.005


class Waits:
    """The waits of this process and their events."""

    def __init__(self, subject: Subject, interval: float) -> None:
        self._subject = subject
        self._make = subject.make(interval)
        self._tasks: list[asyncio.Task[None]] = []
        self.events: dict[int, float] = {}
        self.unsuccessful: list[str] = []

    async def start(self, count: int) -> dict[str, Any]:
        """Start the waits one by one, as the triggerer does."""
        began = time.monotonic()
        for index in range(count):
            trigger = self._make(index)
            context = contextvars.copy_context()
            context.run(structlog.contextvars.bind_contextvars, trigger_id=index)
            self._tasks.append(asyncio.create_task(self._wait(index, trigger), context=context))
            await asyncio.sleep(0)
        return {"seconds": time.monotonic() - began}

    async def measure(self, seconds: float) -> dict[str, Any]:
        """Let the waits continue; return the CPU time used and the memory at the end."""
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        gc.collect()
        return {"cpu": cpu, "wall": wall, "rss": psutil.Process().memory_info().rss}

    async def stalls(self, seconds: float) -> dict[str, Any]:
        """Return how late the event loop was for a task that wants to run every 5 ms."""
        return await _stalls(seconds, lambda: False)

    async def events_of(self, count: int, seconds: float) -> dict[str, Any]:
        """Wait until ``count`` waits have ended, and return the times of their events."""
        stalls = await _stalls(seconds, lambda: len(self.events) >= count)
        return {
            **stalls,
            "events": [self.events.get(index) for index in range(len(self._tasks))],
            "unsuccessful": self.unsuccessful[:3],
        }

    async def _wait(self, index: int, trigger: BaseTrigger) -> None:
        async for event in trigger.run():
            self.events[index] = time.monotonic()
            if not self._subject.succeeded(event.payload):
                self.unsuccessful.append(str(event.payload))
            return


async def _stalls(seconds: float, over: Callable[[], bool]) -> dict[str, float]:
    """
    Wake a task every 5 ms until the time is up, and return how many seconds late it woke.

    Other processes can make it late too. ``own`` is the longest delay during which this process itself used
    the CPU, which excludes blocking on the network. ``gc`` is Python's longest garbage collection. It grows
    with the objects in the process, Airflow's included.
    """
    late = [0.0]
    own = 0.0
    with _GarbageCollections() as collections:
        before, cpu_before = time.perf_counter(), time.process_time()
        until = before + seconds
        while before < until and not over():
            await asyncio.sleep(TICK)
            now, cpu = time.perf_counter(), time.process_time()
            late.append(now - before - TICK)
            own = max(own, min(late[-1], cpu - cpu_before))
            before, cpu_before = now, cpu
    late.sort()
    return {"p99": late[int(len(late) * 0.99)], "max": late[-1], "own": own, "gc": collections.longest}


class _GarbageCollections:
    """Times the garbage collections inside a block."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began = 0.0

    def __enter__(self) -> _GarbageCollections:
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, _: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        else:
            self.longest = max(self.longest, now - self._began)


async def _obey(waits: Waits) -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = json.loads(line)
        answer = await getattr(waits, order.pop("do"))(**order)
        print(json.dumps(answer), file=ANSWERS, flush=True)


if __name__ == "__main__":
    from airflow.sdk.log import configure_logging

    # Logging costs what it costs in the triggerer, down to a file. Responses use the standard output.
    ANSWERS = os.fdopen(os.dup(1), "w")
    configure_logging(json_output=True, output=Path(os.devnull).open("wb"))  # noqa: SIM115
    asyncio.run(_obey(Waits(SUBJECTS[sys.argv[1]], float(sys.argv[2]))))
    # Remaining waits end with the process. Closing a thousand clients is not part of the measurement.
    os._exit(0)
