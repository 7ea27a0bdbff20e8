"""Lives a plan: runs the task as Airflow would, try after try, each process with a fresh operator."""

from __future__ import annotations

import json
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    TaskDeferred,
)

from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from tests.chaos.hazards import (
    OWNER,
    Acted,
    DeferralTimedOut,
    Endless,
    Hazards,
    TriggererGone,
    WorkerKilled,
)
from tests.chaos.history import Green, Wait
from tests.chaos.plan import HORIZON, Plan, Rule, UserAction
from tests.chaos.world import TaskInstance, TaskStateStore, World

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException

try:
    from airflow.triggers.base import TaskSuccessEvent
except ImportError:
    _ENDING_EVENTS: tuple[type, ...] = ()
else:
    _ENDING_EVENTS = (TaskSuccessEvent,)

_MOST_CLEARS = 3
_QUEUED_SECONDS = 5.0
_GIVING_UP = UserAction("mark failed", lingers=False, lateness=0)
_STATE_AFTER = {
    "clear": "cleared",
    "mark failed": "marked failed",
    "mark success": "marked success",
    "drain": "up_for_retry",
}


@dataclass
class Ended:
    """How a process ended, or a try, or a task."""

    state: str
    value: Any = None
    error: BaseException | None = None


@dataclass
class Deferral:
    """What Airflow keeps of a task that is deferred."""

    path: str
    arguments: dict[str, Any]
    timeout: timedelta | None
    method: str
    kwargs: dict[str, Any]

    @classmethod
    def asked_for(cls, deferred: TaskDeferred) -> Deferral:
        path, arguments = deferred.trigger.serialize()
        return cls(
            path,
            _through_json(arguments),
            deferred.timeout,
            deferred.method_name,
            dict(deferred.kwargs or {}),
        )

    @classmethod
    def instead_of_a_worker(cls, task: Any) -> Deferral | None:
        """Return how a task begins that needs no worker to defer; None for one that does."""
        if not getattr(task, "start_from_trigger", False):
            return None
        start = task.start_trigger_args
        return cls(
            start.trigger_cls, _through_json(start.trigger_kwargs), start.timeout, start.next_method, {}
        )

    def trigger(self) -> Any:
        module, _, name = self.path.rpartition(".")
        return getattr(import_module(module), name)(**self.arguments)

    def resume(self, event: Any, context: Any, task: Any) -> Any:
        if event is None:
            return task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        if isinstance(event, Exception):
            failure = {"error": "Trigger failure", "traceback": traceback.format_exception(event)}
            return task.resume_execution("__fail__", failure, context)
        kwargs = {**self.kwargs, "event": _through_json(event.payload)}
        return task.resume_execution(self.method, kwargs, context)


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


class Life:
    """
    One life in a world.

    :param trace: is given every line of the life's log.
    """

    def __init__(self, plan: Plan, world: World, *, trace: Callable[[str], None] = lambda line: None) -> None:
        self.plan = plan
        self._world = world
        self._clock = world.clock
        self._trace = trace
        self._hazards = Hazards(plan, world, self._note)
        self.history = self._hazards.history
        self.events = self._hazards.events
        self._stores: dict[str, TaskStateStore] = {}
        self._gave_up = False
        self._downtime = 0.0

    def run(self) -> None:
        """Live it."""
        random.seed(self.plan.seed)
        with self._world.life(
            on_exchange=self._hazards.on_exchange, task_state=self._readable_state, note=self._note
        ):
            self._prepare()
            try:
                self._live()
            except Exception as error:
                self.history.trouble = f"it broke: {error!r}"
                self._note("%s", traceback.format_exc())
            except Endless as endless:
                self.history.trouble = str(endless)
            self.history.jobs = self._world.jobs()
            self.history.log = self._world.control.requests()
            self._note("The life ended: %s.", self.history.state)
        self.events.update(self._world.hits)

    def _note(self, text: str, *arguments: Any) -> None:
        self._trace(f"{self._clock.now:%H:%M:%S} {text % arguments if arguments else text}")

    def _prepare(self) -> None:
        plan, world, after = self.plan, self._world, self._clock.after
        world.control.set_switches(**plan.switches)
        world.control.set_life(**plan.job_life)
        self._dataset = world.store_dataset()
        for outcome in plan.outcomes:
            world.control.set_outcome(**outcome)
        for rule in plan.rules:
            if rule.window is None:
                world.add_rule(rule.kind, rule.rule)
            else:
                after(rule.window[0], lambda r=rule: self._begin_outage(r))
        if plan.key_rotation is not None:
            moment, delay = plan.key_rotation
            after(moment, lambda: world.rotate_key(f"sk_rotated_{plan.seed}", delay))
        if plan.service_restart is not None:
            moment, delay = plan.service_restart
            after(moment, lambda: world.restart_service(delay))
        for moment, act in plan.user_actions:
            after(moment, lambda a=act: self._hazards.act(a))
        for moment, downtime in plan.triggerer_restarts:
            after(moment, lambda d=downtime: self._hazards.restart_triggerer(d))
        after(HORIZON, self._give_up)

    def _begin_outage(self, rule: Rule) -> None:
        if self._world.is_up and rule.window is not None:
            self._note("It begins: %s.", rule.kind)
            number = self._world.add_rule(rule.kind, rule.rule)
            self._clock.after(rule.window[1], lambda: self._world.remove_rule(number))

    def _give_up(self) -> None:
        self._gave_up = True
        self._hazards.act(_GIVING_UP)

    def _readable_state(self) -> str | None:
        if not self.plan.states_are_readable:
            raise RuntimeError("the supervisor gives no answers")
        return self._hazards.state

    def _live(self) -> None:
        clears = 0
        while True:
            try:
                self.history.state = self._run_tasks()
            except Acted as acted:
                self.history.state = self._acted_between(acted).state
            if self.history.state == "cleared":
                if clears == _MOST_CLEARS:
                    return
            elif self._gave_up or clears >= self.plan.clears_after_the_end:
                return
            else:
                self.events["cleared after the end"] += 1
                self._note("A person clears the task, which is %s.", self.history.state)
            clears += 1

    def _run_tasks(self) -> str:
        """Run the task, and where it does not wait the sensor; return how the last of them ended."""
        waits = self.plan.shape in ("worker", "triggerer")
        created = self._run_task(OWNER, self._create, waits=waits)
        if created.state != "success" or waits:
            return created.state
        self._clock.advance(_QUEUED_SECONDS)
        return self._run_task("wait", lambda: self._sense(created.value), waits=True).state

    def _run_task(self, task_id: str, build: Callable[[], BaseOperator], *, waits: bool) -> Ended:
        delays = random.Random(f"{self.plan.seed} {task_id}")
        number = 1
        while True:
            ended = self._run_try(task_id, build, number, waits=waits)
            self._note("Try %d of %s: %s. %s", number, task_id, ended.state, ended.error or ended.value or "")
            if ended.state != "up_for_retry":
                return ended
            if number > self.plan.retries:
                return Ended("failed", error=ended.error)
            number += 1
            self._clock.advance(delays.uniform(0, 600))

    def _run_try(self, task_id: str, build: Callable[[], BaseOperator], number: int, *, waits: bool) -> Ended:
        started, downtime = self._clock.now, self._downtime
        try:
            ended = self._run_processes(task_id, build, number)
        except WorkerKilled:
            ended = Ended("up_for_retry", error=WorkerKilled("the worker was killed"))
        except AirflowTaskTimeout as error:
            ended = Ended("up_for_retry", error=error)
        except Acted as acted:
            ended = self._acted_between(acted)
        self._hazards.state = None if ended.state == "cleared" else ended.state
        if waits:
            spent_without = self._downtime - downtime
            self.history.waits.append(Wait(task_id, started, self._clock.now, spent_without))
        if ended.state == "success":
            self.history.greens.append(Green(task_id, waits, ended.value, self._world.jobs()))
        return ended

    def _acted_between(self, acted: Acted) -> Ended:
        self.events[acted.act.action] += 1
        return Ended(_STATE_AFTER[acted.act.action])

    def _run_processes(self, task_id: str, build: Callable[[], BaseOperator], number: int) -> Ended:
        """Run one try through all its deferrals and reschedules."""
        ti = TaskInstance(
            dag_id="dag",
            run_id=f"run {self.plan.seed}",
            task_id=task_id,
            map_index=-1,
            try_number=number,
            max_tries=self.plan.retries,
            start_date=self._clock.now,
            first_reschedule=None,
            xcoms={},
            on_push=lambda: self._hazards.point("push to XCom"),
        )
        context: Any = {"ti": ti, "task_instance": ti, "run_id": ti.run_id}
        if self._world.triggerer_knows_states:
            context["task_state_store"] = self._stores.setdefault(task_id, TaskStateStore())
        else:
            # There, tasks have the database.
            ti.current_state = self._readable_state
        self._world.first_reschedule = None
        call: Callable[[Any], Any] = lambda task: task.execute(context)  # noqa: E731
        task = build()
        deferral = Deferral.instead_of_a_worker(task)
        while True:
            if deferral is not None:
                event = self._defer(deferral, ti)
                if isinstance(event, _ENDING_EVENTS):
                    self.events["ended in the triggerer"] += 1
                    return Ended("success", self._world.pushed.get("return_value"))
                call = partial(deferral.resume, event, context)
                deferral = None
                self._clock.advance(_QUEUED_SECONDS)
                task = build()
            with self._hazards.worker(task, has_tries_left=number <= self.plan.retries):
                task.pre_execute(context)
                ended = _outcome_of(task, call)
                self._hazards.point("hand over")
            if ended.state == "deferred":
                deferral = Deferral.asked_for(ended.value)
            elif ended.state == "rescheduled":
                self._hazards.state = "up_for_reschedule"
                self._world.first_reschedule = ti.first_reschedule = ti.first_reschedule or ti.start_date
                self._clock.advance((ended.value - self._clock.now).total_seconds())
                task = build()
            else:
                return ended

    def _defer(self, deferral: Deferral, ti: Any) -> Any:
        """
        Run the trigger until it fires, wherever it is started again.

        :return: its event, the error that it broke with, or None when Airflow timed it out.
        """
        ends_at = None if deferral.timeout is None else self._clock.now + deferral.timeout
        while ends_at is None or self._clock.now < ends_at:
            trigger = deferral.trigger()
            trigger.timeout_after = ends_at
            trigger.task_instance = SimpleNamespace(
                dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=-1, try_number=ti.try_number
            )
            left = None if ends_at is None else (ends_at - self._clock.now).total_seconds()
            try:
                return self._hazards.run_trigger(trigger, left)
            except TriggererGone as gone:
                self.events["triggerer restarted"] += 1
                self._note("The triggerer is gone for %.0f s.", gone.downtime)
                self._downtime += gone.downtime
                self._clock.advance(gone.downtime)
            except DeferralTimedOut:
                break
            except Exception as error:
                self.events["trigger broke"] += 1
                return error
        self.events["deferral timed out by Airflow"] += 1
        return None

    def _create(self) -> BaseOperator:
        plan = self.plan
        limit = plan.execution_timeout
        return CreateFineTuneJobOperator(
            task_id=OWNER,
            name=f"life {plan.seed}",
            datasets=[self._dataset],
            job_id=plan.own_job_id,
            wait_for_completion=plan.shape in ("worker", "triggerer"),
            deferrable=plan.shape == "triggerer",
            execution_timeout=None if limit is None else timedelta(seconds=limit),
            **plan.operator,
        )

    def _sense(self, job_id: str) -> BaseOperator:
        return FineTuneJobSensor(
            task_id="wait",
            job_id=job_id,
            mode="reschedule" if self.plan.shape == "reschedule" else "poke",
            deferrable=self.plan.shape == "deferred sensor",
            start_from_trigger=self.plan.shape == "sensor without workers",
            end_from_trigger=self.plan.shape == "sensor without workers",
            **self.plan.sensor,
        )


def _outcome_of(task: BaseOperator, call: Callable[[Any], Any]) -> Ended:
    try:
        return Ended("success", call(task))
    except TaskDeferred as deferred:
        return Ended("deferred", deferred)
    except AirflowRescheduleException as reschedule:
        return Ended("rescheduled", reschedule.reschedule_date)
    except AirflowSkipException as error:
        return Ended("skipped", error=error)
    except (AirflowFailException, AirflowSensorTimeout) as error:
        return Ended("failed", error=error)
    except Exception as error:
        return Ended("up_for_retry", error=error)
