"""What ends a process of the task: exceptions that no ``except Exception`` catches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.plan import UserAction


class Interruption(BaseException):
    """Something ends what the task does at the moment."""


class WorkerKilled(Interruption):
    """The worker's process is gone."""


class TriggererGone(Interruption):
    """The triggerer is gone for a while."""

    def __init__(self, downtime: float) -> None:
        super().__init__()
        self.downtime = downtime


class DeferralTimedOut(Interruption):
    """Airflow itself ends the deferral."""


class Acted(Interruption):
    """A person acted on the task."""

    def __init__(self, act: UserAction) -> None:
        super().__init__()
        self.act = act


class Endless(BaseException):
    """The life makes requests without end."""
