"""What a life leaves behind for the verdict."""

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

    :param action: what the author wants done to the job.
    :param reachable: whether the service ran and took the key, fault rules aside.
    :param first_request: how many requests the service had logged before.
    :param jobs: the service's jobs when the killed process was gone.
    :param log: the service's log from the kill until then.
    """

    at: datetime
    action: str
    why: str
    reachable: bool
    first_request: int
    jobs: Sequence[Record] | None = None
    log: Sequence[Record] = ()


@dataclass
class Green:
    """
    A task that the operator let succeed.

    :param waited: whether it waited for the job, so that success means that there is a model.
    :param value: what it returned.
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

    :param downtime: for how many seconds of it there was no triggerer.
    """

    task: str
    started: datetime
    ended: datetime
    downtime: float


@dataclass
class History:
    """
    :param state: how the last task ended.
    :param jobs: the service's jobs at the end.
    :param log: the service's log of requests.
    :param killings: from when until when the task was being killed, so that its job might be ended.
    :param trouble: what went wrong with the life itself, None if nothing.
    """

    state: str = ""
    kills: list[Kill] = field(default_factory=list)
    greens: list[Green] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    killings: list[tuple[datetime, datetime]] = field(default_factory=list)
    jobs: Sequence[Record] = ()
    log: Sequence[Record] = ()
    trouble: str | None = None
