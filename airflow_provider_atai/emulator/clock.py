"""
The job clock: it decides the age of jobs and files.

It runs at ``scale`` times real time, can be paused and can be moved forward. One anchor is stored, so after a
restart it shows what it would show if the emulator had run all the time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime


@dataclass(frozen=True)
class JobClock:
    """
    One stretch of the job clock in which its speed does not change.

    :param wall: the real instant at which this stretch began, in seconds since 1970.
    :param job: what the job clock showed then, in seconds.
    :param scale: seconds of the job clock in a real second.
    :param paused: whether the job clock stands still.
    """

    wall: float
    job: float = 0.0
    scale: float = 1.0
    paused: bool = False

    @property
    def rate(self) -> float:
        """Seconds that the job clock moves in a real second."""
        return 0.0 if self.paused else self.scale

    def at(self, wall: float) -> float:
        """Return what the job clock shows at a real instant of this stretch."""
        return self.job + max(0.0, wall - self.wall) * self.rate

    def reached(self, job: float) -> float:
        """Return the real instant at which the job clock came to ``job`` within this stretch."""
        # Whatever the clock jumped over happened at the jump, and that is where the stretch begins.
        if job <= self.job or self.rate == 0:
            return self.wall
        return self.wall + (job - self.job) / self.rate

    def changed(
        self, wall: float, *, scale: float | None = None, paused: bool | None = None, advance: float = 0.0
    ) -> JobClock:
        """Return the stretch that begins at ``wall`` with another speed, or ``advance`` seconds further."""
        return replace(
            self,
            wall=wall,
            job=self.at(wall) + advance,
            scale=self.scale if scale is None else scale,
            paused=self.paused if paused is None else paused,
        )

    def set_back(self, wall: float, *, latest: float) -> JobClock:
        """Return the stretch that begins if real time is set back from ``latest`` to ``wall``."""
        return replace(self, wall=wall, job=self.at(latest))


def real_now() -> float:
    """Return seconds since 1970. If a test in this process travels in time, so does the emulator."""
    return time.time()


def microseconds(instant: float) -> str:
    """Return a job's timestamp, such as ``2026-04-27T14:32:18.421000Z``, for seconds since 1970."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_seconds(instant: float) -> str:
    """Return the expiry of a part URL, such as ``2026-04-28T15:32:18Z``, for seconds since 1970."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
