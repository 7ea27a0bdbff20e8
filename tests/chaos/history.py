"""What a life records for the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Record = dict[str, Any]


@dataclass
class Kill:
    """
    An ``on_kill`` that ran.

    :param action: the operator's ``kill_action``.
    :param why: what killed the process.
    :param reachable: whether the service was up and accepted the key, fault rules aside.
    :param first_request: how many requests the service had logged before the kill.
    :param jobs: the service's jobs once the killed process was gone; None before that.
    :param log: the service's log of requests from the kill until then.
    """

    action: str
    why: str
    reachable: bool
    first_request: int
    jobs: Sequence[Record] | None = None
    log: Sequence[Record] = ()


@dataclass
class Green:
    """
    A task that ended in success.

    :param waited: whether it waited for the job, so that success claims a model.
    :param value: its return value.
    :param jobs: the service's jobs at that moment.
    """

    task: str
    waited: bool
    value: Any
    jobs: Sequence[Record]


@dataclass
class Wait:
    """
    One try of a task that waits.

    :param downtime: how many seconds of it no triggerer was up.
    """

    task: str
    started: datetime
    ended: datetime
    downtime: float


@dataclass
class History:
    """
    Everything that the verdict needs to know about a life.

    :param state: how the last task ended.
    :param killings: start and end of each kill that was allowed to end the job.
    :param jobs: the service's jobs at the end.
    :param log: the service's log of requests.
    :param trouble: what went wrong with the life itself; None if nothing did.
    """

    state: str = ""
    kills: list[Kill] = field(default_factory=list)
    greens: list[Green] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    killings: list[tuple[datetime, datetime]] = field(default_factory=list)
    jobs: Sequence[Record] = ()
    log: Sequence[Record] = ()
    trouble: str | None = None
