"""Reports the progress of an upload in the task's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

_SECONDS_BETWEEN_LINES = 5.0


class UploadProgress:
    """
    Logs a line every few seconds while a file is sent, and one at the end.

    It is the ``on_progress`` of an upload. The rate is the average of what this try sent.

    :param log: the task's logger.
    :param file_id: begins every line.
    :param clock: returns seconds.
    """

    def __init__(
        self, log: logging.Logger, file_id: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._file_id = file_id
        self._clock = clock
        self._began: float | None = None
        self._logged_at = 0.0
        self._found = 0
        self._there = 0

    def __call__(self, there: int, total: int) -> None:
        """
        Take note of the progress.

        :param there: bytes that the service has; in the first call, those that an earlier try sent.
        :param total: bytes of the file.
        """
        now = self._clock()
        if self._began is None:
            self._began = self._logged_at = now
            self._found = there
        self._there = there
        if now - self._logged_at < _SECONDS_BETWEEN_LINES:
            return
        self._logged_at = now
        rate = self._rate(now - self._began)
        self._log.info(
            "%s: %d of %d bytes sent (%d %%), %.2f MB/s, time left: %s.",
            self._file_id,
            there,
            total,
            100 * there // total,
            rate / 1e6,
            timedelta(seconds=round((total - there) / rate)) if rate > 0 else "unknown",
        )

    def finish(self) -> None:
        """Log the last line: the file is stored."""
        if self._began is None:
            return
        seconds = self._clock() - self._began
        self._log.info(
            "%s: %d bytes sent in %.1f s, %.2f MB/s; an earlier try had sent %d bytes.",
            self._file_id,
            self._there - self._found,
            seconds,
            self._rate(seconds) / 1e6,
            self._found,
        )

    def _rate(self, seconds: float) -> float:
        return max(0.0, (self._there - self._found) / seconds) if seconds > 0 else 0.0
