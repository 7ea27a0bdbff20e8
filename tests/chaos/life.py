"""Runs one life: the task, try after try, while the plan's hazards hit it."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.operators.fine_tune import CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from tests.chaos.hazards import OWNER, Hazards
from tests.chaos.history import Green, Wait
from tests.chaos.interruptions import Acted, DeferralTimedOut, Endless, TriggererGone, WorkerKilled
from tests.chaos.plan import HORIZON, Plan, Rule, UserAction
from tests.harness.airflow_names import AirflowTaskTimeout
from tests.harness.task_instance import TaskInstance, TaskStateStore
from tests.harness.task_life import Deferral, Outcome, TaskTry, is_end_of_task

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import BaseOperator
    from tests.chaos.world import World

_MOST_CLEARS = 3
QUEUED_SECONDS = 5.0
_GIVING_UP = UserAction("mark failed", lingers=False, lateness=0)
_STATE_AFTER = {
    "clear": "cleared",
    "mark failed": "marked failed",
    "mark success": "marked success",
    "drain": "up_for_retry",
}


class HazardousTry(TaskTry):
    """
    One try of a task whose processes may be hit.

    :ivar downtime: how many seconds no triggerer was up.
    """

    def __init__(
        self, build: Callable[[], BaseOperator], ti: TaskInstance, store: Any, world: World, hazards: Hazards
    ) -> None:
        super().__init__(build, ti, store)
        self._world = world
        self._clock = world.clock
        self._hazards = hazards
        self.downtime = 0.0

    def work(self, task: Any, call: Callable[[Any], Any]) -> Outcome:
        with self._hazards.worker(task, has_tries_left=self.ti.try_number <= self.ti.max_tries):
            outcome = super().work(task, call)
            self._hazards.point("hand over")
        return outcome

    def stay_away(self, seconds: float) -> None:
        self._hazards.state = "up_for_reschedule"
        self._clock.advance(seconds)

    def wait_for_event(self, deferral: Deferral) -> Any:
        """
        Run the trigger until it fires, across restarts of the triggerer.

        :return: its event, the exception that it raised, or None if Airflow timed the deferral out.
        """
        event = self._run_trigger(deferral)
        if not is_end_of_task(event):
            self._clock.advance(QUEUED_SECONDS)
        return event

    def _run_trigger(self, deferral: Deferral) -> Any:
        ti = self.ti
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
                self._hazards.events["triggerer restarted"] += 1
                self._hazards.note("The triggerer is down for %.0f s.", gone.downtime)
                self.downtime += gone.downtime
                self._clock.advance(gone.downtime)
            except DeferralTimedOut:
                break
            except Exception as error:
                self._hazards.events["trigger broke"] += 1
                return error
        self._hazards.events["deferral timed out by Airflow"] += 1
        return None

    def end_in_triggerer(self) -> Outcome:
        self._hazards.events["ended in the triggerer"] += 1
        return Outcome("success", self._world.pushed.get("return_value"))


class Life:
    """
    One life in a world.

    :param trace: receives every line of the life's log.
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

    def run(self) -> None:
        """Run the life from its first try to its last."""
        random.seed(self.plan.seed)
        with self._world.life(
            on_exchange=self._hazards.on_exchange, task_state=self._readable_state, note=self._note
        ):
            self._prepare()
            try:
                self._live()
            except Exception as error:
                self.history.trouble = f"the life raised {error!r}"
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
                after(rule.window[0], partial(self._begin_outage, rule))
        if plan.key_rotation is not None:
            moment, delay = plan.key_rotation
            after(moment, lambda: world.rotate_key(f"sk_rotated_{plan.seed}", delay))
        if plan.service_restart is not None:
            moment, delay = plan.service_restart
            after(moment, lambda: world.restart_service(delay))
        for moment, act in plan.user_actions:
            after(moment, partial(self._hazards.act, act))
        for moment, downtime in plan.triggerer_restarts:
            after(moment, partial(self._hazards.restart_triggerer, downtime))
        after(HORIZON, self._give_up)

    def _begin_outage(self, rule: Rule) -> None:
        if self._world.is_up and rule.window is not None:
            self._note("A fault begins: %s.", rule.kind)
            number = self._world.add_rule(rule.kind, rule.rule)
            self._clock.after(rule.window[1], lambda: self._world.remove_rule(number))

    def _give_up(self) -> None:
        self._gave_up = True
        self._hazards.act(_GIVING_UP)

    def _readable_state(self) -> str | None:
        if not self.plan.states_are_readable:
            raise RuntimeError("the supervisor does not respond")
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
                self._note("A person clears the task in state %s.", self.history.state)
            clears += 1

    def _run_tasks(self) -> str:
        """Run the task, and the sensor if the task does not wait; return the last one's state."""
        waits = self.plan.shape in ("worker", "triggerer")
        created = self._run_task(OWNER, self._create, waits=waits)
        if created.state != "success" or waits:
            return created.state
        self._clock.advance(QUEUED_SECONDS)
        return self._run_task("wait", lambda: self._sense(created.value), waits=True).state

    def _run_task(self, task_id: str, build: Callable[[], BaseOperator], *, waits: bool) -> Outcome:
        delays = random.Random(f"{self.plan.seed} {task_id}")
        number = 1
        while True:
            ended = self._run_try(task_id, build, number, waits=waits)
            self._note("Try %d of %s: %s. %s", number, task_id, ended.state, ended.error or ended.value or "")
            if ended.state != "up_for_retry":
                return ended
            if number > self.plan.retries:
                return Outcome("failed", error=ended.error)
            number += 1
            self._clock.advance(delays.uniform(0, 600))

    def _run_try(
        self, task_id: str, build: Callable[[], BaseOperator], number: int, *, waits: bool
    ) -> Outcome:
        started = self._clock.now
        one = HazardousTry(
            build, self._task_instance(task_id, number), self._store(task_id), self._world, self._hazards
        )
        try:
            ended = one.run()
        except WorkerKilled:
            ended = Outcome("up_for_retry", error=WorkerKilled("the worker was killed"))
        except AirflowTaskTimeout as error:
            ended = Outcome("up_for_retry", error=error)
        except Acted as acted:
            ended = self._acted_between(acted)
        self._hazards.state = None if ended.state == "cleared" else ended.state
        if waits:
            self.history.waits.append(Wait(task_id, started, self._clock.now, one.downtime))
        if ended.state == "success":
            self.history.greens.append(Green(task_id, waits, ended.value, self._world.jobs()))
        return ended

    def _acted_between(self, acted: Acted) -> Outcome:
        self.events[acted.act.action] += 1
        return Outcome(_STATE_AFTER[acted.act.action])

    def _task_instance(self, task_id: str, number: int) -> TaskInstance:
        ti = TaskInstance(
            run_id=f"run {self.plan.seed}",
            task_id=task_id,
            try_number=number,
            max_tries=self.plan.retries,
            on_push=lambda: self._hazards.point("push to XCom"),
        )
        if not self._world.triggerer_knows_states:
            # In Airflow 2, tasks read the state from the database.
            ti.current_state = self._readable_state
        return ti

    def _store(self, task_id: str) -> TaskStateStore | None:
        if not self._world.triggerer_knows_states:
            return None
        return self._stores.setdefault(task_id, TaskStateStore())

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
