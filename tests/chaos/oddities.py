"""What can be odd about a life: services, authors and an Airflow that are not as usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Window = tuple[float, float]


@dataclass(frozen=True)
class Hang:
    """
    Requests hang for a while.

    :param what: ``metrics`` for those alone, ``status`` for everything else but stop and cancel.
    :param window: start and duration in seconds of the life.
    :param seconds: how long the service takes to answer, unless the client gives up before.
    """

    what: Literal["status", "metrics"]
    window: Window
    seconds: float


@dataclass(frozen=True)
class Away:
    """Airflow cannot read the connection for a while, since its API server or a secrets backend is away."""

    source: Literal["API server", "secrets backend"]
    window: Window


@dataclass(frozen=True)
class Neighbour:
    """
    Another task whose trigger waits for its own job in the same triggerer.

    :param running: how long that job trains.
    :param outcome: how it ends.
    :param arguments: of the trigger; some are what no operator would pass.
    """

    running: float
    outcome: str
    arguments: dict[str, Any]

    @property
    def is_sound(self) -> bool:
        """Whether its trigger has valid arguments, so that it has to notice the end of its job."""
        return self.arguments.keys() == {"poll_interval"} and bool(self.arguments["poll_interval"])


@dataclass(frozen=True)
class Oddities:
    """
    What is odd about a life.

    :param makes_own_ids: the service takes no notice of the id that a client asks for.
    :param answers_204: stop and cancel are answered without a body.
    :param clock_behind: how many seconds the service's times are behind.
    :param longest_page: the most records that a page of the list has; None for as many as are asked for.
    :param ignores_offset: the list always begins with its first record.
    :param hangs: when requests hang.
    :param away: when the connection cannot be read.
    :param waits_for_triggerer: how many seconds each deferral waits before a triggerer takes it.
    :param away_after_timeout: how many seconds the service is away once Airflow has timed out a deferral.
    :param neighbours: who else waits in the triggerer.
    :param stranger: somebody else's job has the id that the author chose, with the task's name or another.
    :param changes_request: the author changes the request before the task is cleared.
    :param tidies_up: a last task cancels the job.
    """

    makes_own_ids: bool = False
    answers_204: bool = False
    clock_behind: float = 0.0
    longest_page: int | None = None
    ignores_offset: bool = False
    hangs: tuple[Hang, ...] = ()
    away: tuple[Away, ...] = ()
    waits_for_triggerer: float = 0.0
    away_after_timeout: float = 0.0
    neighbours: tuple[Neighbour, ...] = ()
    stranger: Literal["same name", "other name"] | None = None
    changes_request: bool = False
    tidies_up: bool = False
