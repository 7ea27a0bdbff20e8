"""Runs a task as Airflow would: execute, defer, trigger, resume, reschedule, each in a fresh operator."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any

from airflow_provider_atai.compat.sdk import (
    WORKERS_PUSH_LINKS,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
)
from tests.harness.airflow_names import AirflowRescheduleException, TaskDeferred
from tests.harness.task_instance import TaskInstance, through_json

try:
    from airflow.triggers.base import TaskSuccessEvent
except ImportError:
    _ENDING_EVENTS: tuple[type, ...] = ()
else:
    _ENDING_EVENTS = (TaskSuccessEvent,)


def is_end_of_task(event: Any) -> bool:
    """Tell whether a trigger's event ends the task, so that no worker resumes it."""
    return isinstance(event, _ENDING_EVENTS)


@dataclass
class Outcome:
    """
    How a process, a try or a task ended.

    :param state: ``success``, ``failed`` (not retried), ``up_for_retry`` or ``skipped``; of a process also
        ``deferred`` or ``rescheduled``.
    :param value: what it returned; of a deferred process its request, of a rescheduled one the time.
    """

    state: str
    value: Any = None
    error: BaseException | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    deferrals: int = 0
    reschedules: int = 0
    trigger_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Deferral:
    """What Airflow keeps of a deferred task."""

    path: str
    arguments: dict[str, Any]
    timeout: timedelta | None
    method: str
    kwargs: dict[str, Any]
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def asked_for(cls, deferred: TaskDeferred) -> Deferral:
        # Airflow's processes send one another plain types only.
        if type(deferred.timeout) not in (timedelta, type(None)):
            raise TypeError(f"{deferred.timeout!r} cannot be sent")
        path, arguments = deferred.trigger.serialize()
        return cls(
            path,
            through_json(arguments),
            deferred.timeout,
            deferred.method_name,
            dict(deferred.kwargs or {}),
        )

    @classmethod
    def instead_of_a_worker(cls, task: Any) -> Deferral | None:
        """Return how a task begins that the scheduler defers; None if a worker has to start it."""
        if not getattr(task, "start_from_trigger", False):
            return None
        start = task.start_trigger_args
        # The scheduler ends the deferral at the task's execution_timeout if that comes first.
        timeout = min(filter(None, (start.timeout, task.execution_timeout)), default=None)
        return cls(start.trigger_cls, through_json(start.trigger_kwargs), timeout, start.next_method, {})

    def trigger(self) -> Any:
        """Return the trigger, made from its serialised form as a triggerer makes it."""
        module, _, name = self.path.rpartition(".")
        trigger = getattr(import_module(module), name)(**self.arguments)
        trigger.timeout_after = self.began + self.timeout if self.timeout is not None else None
        return trigger

    def resume(self, event: Any, context: Any, task: Any) -> Any:
        """
        Resume the task.

        :param event: the trigger's event, its error, or None if Airflow timed the deferral out.
        """
        if event is None:
            return task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        if isinstance(event, Exception):
            failure = {"error": "Trigger failure", "traceback": traceback.format_exception(event)}
            return task.resume_execution("__fail__", failure, context)
        kwargs = {**self.kwargs, "event": through_json(event.payload)}
        return task.resume_execution(self.method, kwargs, context)


class TaskTry:
    """
    One try of a task, process after process.

    :param build: makes the operator; called for every process that Airflow would start.
    :param ti: the try's task instance.
    :param store: what outlives the try, for Airflow versions that have such a store.
    """

    def __init__(self, build: Callable[[], BaseOperator], ti: TaskInstance, store: Any = None) -> None:
        self._build = build
        self.ti = ti
        self.deferrals: list[Deferral] = []
        self.reschedules = 0
        self._context: Any = {"ti": ti, "task_instance": ti, "run_id": ti.run_id}
        if store is not None:
            self._context["task_state_store"] = store

    def run(self) -> Outcome:
        """Run the try through all its deferrals and reschedules."""
        call: Callable[[Any], Any] = self._execute
        task = self._build()
        deferral = Deferral.instead_of_a_worker(task)
        while True:
            if deferral is not None:
                self.deferrals.append(deferral)
                event = self.wait_for_event(deferral)
                if is_end_of_task(event):
                    return self.end_in_triggerer()
                call = partial(deferral.resume, event, self._context)
                deferral = None
                task = self._build()
            outcome = self.work(task, call)
            if outcome.state == "deferred":
                deferral = Deferral.asked_for(outcome.value)
            elif outcome.state == "rescheduled":
                self.reschedules += 1
                # Airflow clears the XComs of a task that starts, unless it resumes after a deferral.
                self.ti.xcoms.clear()
                self.ti.first_reschedule = self.ti.first_reschedule or self.ti.start_date
                self.stay_away((outcome.value - datetime.now(UTC)).total_seconds())
                task = self._build()
            else:
                return outcome

    def _execute(self, task: Any) -> Any:
        return task.execute(self._context)

    def work(self, task: Any, call: Callable[[Any], Any]) -> Outcome:
        """Be a worker's process."""
        task.pre_execute(self._context)
        outcome = outcome_of(task, call)
        if WORKERS_PUSH_LINKS:
            # However a process ends, Airflow 3 pushes the links that the operator then has.
            links = {link.xcom_key: link.get_link(task, ti_key=None) for link in task.operator_extra_links}
            self.ti.xcoms.update({key: url for key, url in links.items() if url})
        return outcome

    def wait_for_event(self, deferral: Deferral) -> Any:
        """Be the triggerer, and return the event of the trigger."""

        async def first_event() -> Any:
            async for event in deferral.trigger().run():
                return event
            raise AssertionError("the trigger ended without an event")

        return asyncio.run(first_event())

    def end_in_triggerer(self) -> Outcome:
        """Return how a task ended that its trigger has ended."""
        return Outcome("success")

    def stay_away(self, seconds: float) -> None:
        """Let the time of a reschedule pass."""
        time.sleep(seconds)


def outcome_of(task: Any, call: Callable[[Any], Any]) -> Outcome:
    """Return what Airflow makes of a call of a task."""
    try:
        return Outcome("success", call(task))
    except TaskDeferred as deferred:
        return Outcome("deferred", deferred)
    except AirflowRescheduleException as reschedule:
        return Outcome("rescheduled", reschedule.reschedule_date)
    except AirflowSkipException as error:
        return Outcome("skipped", error=error)
    except (AirflowFailException, AirflowSensorTimeout) as error:
        return Outcome("failed", error=error)
    except Exception as error:
        return Outcome("up_for_retry", error=error)


class TaskLife:
    """
    One task in one DAG run, try after try.

    :param build: makes the operator; called for every process that Airflow would start.
    """

    def __init__(
        self,
        build: Callable[[], BaseOperator],
        *,
        run_id: str = "run",
        map_index: int = -1,
        max_tries: int = 0,
        store: Any = None,
    ) -> None:
        self._build = build
        self._run_id = run_id
        self._map_index = map_index
        self._max_tries = max_tries
        self._store = store
        self.tries = 0

    def run_try(self) -> Outcome:
        """Run one try to its end."""
        self.tries += 1
        first: list[BaseOperator] = [self._build()]
        ti = TaskInstance(
            task_id=first[0].task_id,
            run_id=self._run_id,
            map_index=self._map_index,
            try_number=self.tries,
            max_tries=self._max_tries,
        )
        one = TaskTry(lambda: first.pop() if first else self._build(), ti, self._store)
        outcome = one.run()
        outcome.xcoms = ti.xcoms
        outcome.deferrals, outcome.reschedules = len(one.deferrals), one.reschedules
        if one.deferrals:
            outcome.trigger_kwargs = one.deferrals[-1].arguments
        return outcome
