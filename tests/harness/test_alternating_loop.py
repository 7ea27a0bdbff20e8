from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.harness.alternating_loop import pause, run_on_loop, standing_aside


@pytest.fixture
def two_threads():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def call(clock, log, name, *pauses):
    for seconds in pauses:
        log.append(f"{name} {clock.now:%M:%S}")
        pause(clock, seconds)
    log.append(f"{name} {clock.now:%M:%S}")


def in_threads(threads, *calls):
    async def run():
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(threads, one) for one in calls))

    return run()


def test_pauses_in_several_threads_overlap(clock, two_threads):
    log, begin = [], clock.now
    run_on_loop(
        clock, in_threads(two_threads, partial(call, clock, log, "a", 30), partial(call, clock, log, "b", 20))
    )
    assert log == ["a 00:00", "b 00:00", "b 00:20", "a 00:30"]
    assert (clock.now - begin).total_seconds() == 30


def test_call_waits_for_a_free_thread(clock, two_threads):
    log = []
    calls = [partial(call, clock, log, name, 10) for name in "abc"]
    run_on_loop(clock, in_threads(two_threads, *calls))
    assert log == ["a 00:00", "b 00:00", "a 00:10", "b 00:10", "c 00:10", "c 00:20"]


def test_timer_of_the_loop_comes_in_the_middle_of_a_pause(clock, two_threads):
    log = []

    async def tick():
        await asyncio.sleep(5)
        log.append(f"tick {clock.now:%M:%S}")

    async def both():
        await asyncio.gather(tick(), in_threads(two_threads, partial(call, clock, log, "a", 30)))

    run_on_loop(clock, both())
    assert log == ["a 00:00", "tick 00:05", "a 00:30"]


def test_call_that_stands_aside_lets_the_next_one_run(clock, two_threads):
    log = []

    def wait_for_the_other(done):
        with standing_aside():
            assert done.wait(10)
        log.append("a")

    def be_the_other(done):
        log.append("b")
        done.set()

    done = threading.Event()
    run_on_loop(
        clock, in_threads(two_threads, partial(wait_for_the_other, done), partial(be_the_other, done))
    )
    assert log == ["b", "a"]


def test_loop_that_nothing_wakes_goes_to_the_clocks_next_timer(clock):
    async def wait_for_ever():
        waiting = asyncio.get_running_loop().create_future()
        clock.after(3600, lambda: waiting.get_loop().call_soon_threadsafe(waiting.set_result, None))
        await waiting

    begin = clock.now
    run_on_loop(clock, wait_for_ever())
    assert (clock.now - begin).total_seconds() == 3600


def test_end_of_the_loop_cuts_pauses_short(clock, two_threads):
    log, begin = [], clock.now

    async def leave_a_call_behind():
        asyncio.get_running_loop().run_in_executor(two_threads, call, clock, log, "a", 3600)
        await asyncio.sleep(1)

    run_on_loop(clock, leave_a_call_behind())
    assert log == ["a 00:00", "a 00:01"]
    assert (clock.now - begin).total_seconds() == pytest.approx(1, abs=0.01)
