from __future__ import annotations

import asyncio
import threading

import pytest

from airflow_provider_atai.compat.threads import off_the_loop, within


def test_a_function_off_the_loop_runs_in_another_thread_that_reaches_the_loop():
    from asgiref.sync import async_to_sync

    async def which_loop():
        return asyncio.get_running_loop()

    async def run():
        thread = await off_the_loop(threading.get_ident)
        return thread, await off_the_loop(async_to_sync(which_loop)), asyncio.get_running_loop()

    thread, reached, loop = asyncio.run(run())
    assert thread != threading.get_ident()
    assert reached is loop


def test_one_that_hangs_does_not_hold_up_the_next():
    hangs = threading.Event()

    async def run():
        hanging = asyncio.create_task(off_the_loop(lambda: hangs.wait(60)))
        await asyncio.sleep(0)
        try:
            return await off_the_loop(lambda: "answered")
        finally:
            hangs.set()
            await hanging

    assert asyncio.run(run()) == "answered"


def test_an_error_comes_through():
    def fail():
        raise OSError("sealed")

    with pytest.raises(OSError, match="sealed"):
        asyncio.run(off_the_loop(fail))
    with pytest.raises(OSError, match="sealed"):
        within(60, fail)


def test_within_returns_the_result_of_another_thread():
    assert within(60, threading.get_ident) != threading.get_ident()


def test_within_does_not_wait_longer():
    hangs = threading.Event()
    try:
        with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
            within(0.01, lambda: hangs.wait(60))
    finally:
        hangs.set()


def test_a_timeout_of_the_function_itself_is_not_ours():
    def fail():
        raise TimeoutError("of the vault")

    with pytest.raises(TimeoutError, match="of the vault"):
        within(60, fail)
