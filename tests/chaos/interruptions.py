"""Exceptions that end a process of the task and that no ``except Exception`` catches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.plan import UserAction


class Interruption(BaseException):
    """Something ends the process that runs the task."""


class WorkerKilled(Interruption):
    """The worker's process is killed."""


class TriggererGone(Interruption):
    """The triggerer is down for a while."""

    def __init__(self, downtime: float) -> None:
        super().__init__()
        self.downtime = downtime


class DeferralTimedOut(Interruption):
    """Airflow times the deferral out."""


class Acted(Interruption):
    """A person acted on the task."""

    def __init__(self, act: UserAction) -> None:
        super().__init__()
        self.act = act


class Endless(BaseException):
    """The life does not stop sending requests."""
