"""Calls in another thread, for an event loop and for the handler of a signal, which may not make them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def off_the_loop(function: Callable[[], T]) -> T:
    """
    Call a function that asks Airflow something, without blocking the event loop, and return its result.

    Airflow's synchronous calls may not be made on the loop's own thread: Airflow 3.1 to 3.3.1 raise
    ``DeadlockImminentError`` if another call is under way (apache/airflow#71891). Nor does any other thread
    do: a triggerer before 3.2.2 sends its requests with asgiref's ``async_to_sync``. In a thread that asgiref
    did not start, that reads the supervisor's answers on the wrong loop, and the next request gets them.
    """
    from asgiref.sync import sync_to_async

    # Not in the one thread that asgiref keeps for everybody, which one hanging secrets backend would hold up.
    return await sync_to_async(function, thread_sensitive=False)()


def within(seconds: float, function: Callable[[], T]) -> T:
    """
    Call a function in a thread of its own and return its result. For the handler of a signal.

    The signal may have interrupted code that holds a lock which the function needs. The handler itself would
    wait for it forever.

    :raises TimeoutError: there is no result after so many seconds. The thread is left behind.
    """
    result: Future[T] = Future()

    def call() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=call, name="atai-within", daemon=True).start()
    try:
        return result.result(seconds)
    except TimeoutError:
        if result.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
