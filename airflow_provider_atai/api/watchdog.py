"""Bounds how long a connection may take, even if its bytes arrive one by one."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any


class Watchdog:
    """
    Cuts a connection, from a thread of its own, if something takes too long; a read in progress then ends.

    A socket's own timeout bounds only the wait for the next byte.

    :param connection: the socket; None if it is not known, and then nothing is cut.
    """

    def __init__(self, connection: Any) -> None:
        # Through an https:// proxy, TLS runs inside TLS on a socket further down.
        self._socket = getattr(connection, "socket", connection)
        self._changed = threading.Condition()
        self._cut_at = math.inf
        self._wakes_at = math.inf
        self._is_over = False
        self.has_cut = False

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, name="atai-watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Cut the connection if the block takes longer than this."""
        with self._changed:
            self._cut_at = time.monotonic() + seconds
            if self._cut_at < self._wakes_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._cut_at = math.inf

    def _watch(self) -> None:
        with self._changed:
            while not self._is_over:
                left = self._cut_at - time.monotonic()
                if left <= 0:
                    self.has_cut = True
                    break
                self._wakes_at = self._cut_at
                self._changed.wait(None if math.isinf(left) else min(left, threading.TIMEOUT_MAX))
        if self.has_cut and self._socket is not None:
            with suppress(OSError, TypeError):
                # Not SSLSocket.shutdown, which removes the TLS object that the reading thread uses.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
