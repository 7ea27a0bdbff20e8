"""
Sends what the waits of a triggerer have to tell, without holding any of them up.

A triggerer passes its messages on one by one, about seven a second while a thousand triggers wait. So there
is one sender for an event loop, with one message on its way. A newer message of a waiter takes the place of
an older one that has not been sent.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Hashable
from weakref import WeakKeyDictionary

log = logging.getLogger(__name__)

Send = Callable[[], Awaitable[None]]

# A message can need two requests, and the triggerer's own come first.
_PAUSE = 0.5
_ATTEMPTS = 3
_publishers: WeakKeyDictionary[asyncio.AbstractEventLoop, Publisher] = WeakKeyDictionary()


class Publisher:
    """Sends messages one after the other. Only code on its event loop may call it."""

    def __init__(self) -> None:
        self._messages: dict[Hashable, Send] = {}
        self._sending: asyncio.Task[None] | None = None
        self._under_way: Hashable = None

    def offer(self, waiter: Hashable, send: Send) -> None:
        """
        Send something soon, instead of what the same waiter has offered before.

        :param waiter: whose message it is.
        :param send: sends it. An exception means that it was not sent; it is tried three times.
        """
        self._messages[waiter] = send
        if self._sending is None or self._sending.done():
            # Not in the context of the waiter that comes first, whose log would get the lines of all.
            context = contextvars.Context()
            self._sending = asyncio.get_running_loop().create_task(self._send_all(), context=context)

    def withdraw(self, waiter: Hashable) -> None:
        """Forget what a waiter has offered. What is on its way is not tried again."""
        self._messages.pop(waiter, None)
        if self._under_way == waiter:
            self._under_way = None

    async def _send_all(self) -> None:
        while self._messages:
            # The waiter that has waited longest; a newer message has kept the place of the older one.
            waiter = next(iter(self._messages))
            self._under_way = waiter
            await self._send(self._messages.pop(waiter), waiter)
            await asyncio.sleep(_PAUSE)

    async def _send(self, send: Send, waiter: Hashable) -> None:
        for _ in range(_ATTEMPTS):
            try:
                return await send()
            except Exception as error:
                log.debug("A message to Airflow was not sent: %r", error)
            await asyncio.sleep(_PAUSE)
            if waiter in self._messages or self._under_way != waiter:
                return None
        return None


def publisher() -> Publisher:
    """Return the sender of the event loop that runs."""
    return _publishers.setdefault(asyncio.get_running_loop(), Publisher())
