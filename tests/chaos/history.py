"""What a life records for the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    :param at: when it ran.
    """

    action: str
    why: str
    reachable: bool
    first_request: int
    jobs: Sequence[Record] | None = None
    log: Sequence[Record] = ()
    at: datetime | None = None


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
class Try:
    """
    One try of a task.

    :param waits: whether it waits for its job.
    :param downtime: how many seconds of it no triggerer was up.
    :param state: how it ended: ``success``, ``failed`` (not retried), ``up_for_retry`` or ``skipped``.
    :param value: what it returned.
    :param error: what it raised.
    :param by_itself: whether the task ended it, rather than a kill, a person or a timeout of Airflow's.
    :param has_tries_left: whether the task can be tried again.
    :param jobs_before: the service's jobs when it began.
    :param jobs: the service's jobs when it ended.
    :param told: the XComs that it has left, None if that is unknown.
    :param last_exchange: when it sent its last request.
    :param last_unread: when it last tried to read the connection in vain.
    """

    task: str
    started: datetime
    ended: datetime
    downtime: float = 0.0
    waits: bool = True
    state: str = ""
    value: Any = None
    error: BaseException | None = None
    by_itself: bool = True
    has_tries_left: bool = False
    jobs_before: Sequence[Record] = ()
    jobs: Sequence[Record] = ()
    told: Mapping[str, Any] | None = None
    last_exchange: datetime | None = None
    last_unread: datetime | None = None


@dataclass
class Stay:
    """
    One stay of a trigger in a triggerer.

    :param interval: seconds between two polls of its job.
    :param has_fired: whether it ended by itself.
    :param error: what it raised.
    """

    job_id: str
    began: datetime
    ended: datetime
    interval: float
    has_fired: bool
    error: str | None = None


@dataclass
class Crowd:
    """
    Several triggers that waited in one triggerer.

    :param interval: the shortest of their intervals.
    :param waits: how many there were.
    """

    began: datetime
    ended: datetime
    interval: float
    waits: int


@dataclass
class History:
    """
    Everything that the verdict needs to know about a life.

    :param state: how the last task ended.
    :param killings: start and end of each kill that was allowed to end the job.
    :param trigger_killings: those of them that came from a trigger.
    :param jobs: the service's jobs at the end.
    :param log: the service's log of requests.
    :param trouble: what went wrong with the life itself; None if nothing did.
    :param strangers: the ids of jobs that the task has not made.
    :param remembered: what was stored for the next try, and when.
    :param changed_at: when the author changed the request; None if that did not happen.
    :param tidied_from: when the last task began that cancels the job.
    :param troubles: start and end of each time in which service or connection could not be used as usual.
    :param fault_kinds: what each fault of the log was.
    """

    state: str = ""
    kills: list[Kill] = field(default_factory=list)
    greens: list[Green] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    killings: list[tuple[datetime, datetime]] = field(default_factory=list)
    trigger_killings: list[tuple[datetime, datetime]] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    crowds: list[Crowd] = field(default_factory=list)
    jobs: Sequence[Record] = ()
    log: Sequence[Record] = ()
    trouble: str | None = None
    strangers: set[str] = field(default_factory=set)
    remembered: list[tuple[datetime, str]] = field(default_factory=list)
    changed_at: datetime | None = None
    tidied_from: datetime | None = None
    troubles: Sequence[tuple[datetime, datetime]] = ()
    fault_kinds: Mapping[int, str] = field(default_factory=dict)

    @property
    def own_jobs(self) -> list[Record]:
        """The jobs that the task has made, oldest first."""
        return [job for job in self.jobs if job["id"] not in self.strangers]

    def was_remembered(self, job: Record, until: datetime | None = None) -> bool:
        """Whether the id of a job had been stored for the next try by then, or at all."""
        return any(job["id"] in text for moment, text in self.remembered if until is None or moment <= until)
