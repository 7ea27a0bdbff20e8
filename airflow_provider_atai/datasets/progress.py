"""Tells in the task's log how far an upload is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_SECONDS_BETWEEN_LINES = 5.0


class UploadProgress:
    """
    Writes a line every few seconds while a file is sent, and one at the end.

    It is the ``on_progress`` of an upload. The rate counts what this task sent, over all its time.

    :param log: the task's.
    :param file_id: begins every line.
    :param clock: returns seconds.
    """

    def __init__(self, log: Any, file_id: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._file_id = file_id
        self._clock = clock
        self._began: float | None = None
        self._told = 0.0
        self._found = 0
        self._there = 0

    def __call__(self, there: int, total: int) -> None:
        """
        Take note of how far it is.

        :param there: bytes; in the first call those that an earlier try had sent.
        :param total: bytes of the file.
        """
        now = self._clock()
        if self._began is None:
            self._began = self._told = now
            self._found = there
        self._there = there
        if now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        rate = self._rate(now)
        self._log.info(
            "%s: %d of %d bytes are sent (%d %%), %s, %s.",
            self._file_id,
            there,
            total,
            100 * there // total,
            _per_second(rate),
            f"{_duration((total - there) / rate)} left" if rate > 0 else "time left unknown",
        )

    def finish(self) -> None:
        """Write the last line: the file is stored."""
        if self._began is None:
            return
        now = self._clock()
        sent = self._there - self._found
        earlier = f" after {self._found} of an earlier try" if self._found else ""
        self._log.info(
            "%s: %d bytes were sent in %s%s, %s.",
            self._file_id,
            sent,
            _duration(now - self._began),
            earlier,
            _per_second(self._rate(now)),
        )

    def _rate(self, now: float) -> float:
        began = now if self._began is None else self._began
        return max(0.0, (self._there - self._found) / (now - began)) if now > began else 0.0


def _per_second(rate: float) -> str:
    return f"{rate / 1e6:.1f} MB/s" if rate >= 1e5 else f"{rate / 1e3:.1f} kB/s"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
