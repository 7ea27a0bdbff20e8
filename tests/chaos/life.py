"""Runs one life: the task, try after try, while the plan's hazards hit it."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.compat.task_store import JOB_KEY
from tests.chaos.hazards import Hazards
from tests.chaos.history import Green, Try
from tests.chaos.interruptions import Acted, Endless, WorkerKilled
from tests.chaos.kills import OWNER
from tests.chaos.plan import HORIZON, Plan, Rule, UserAction
from tests.chaos.tasks import canceller, creator, name_of, sensor
from tests.chaos.tries import QUEUED_SECONDS, HazardousTry
from tests.harness.airflow_names import AirflowTaskTimeout
from tests.harness.task_instance import TaskInstance, TaskStateStore, through_json
from tests.harness.task_life import Outcome

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import BaseOperator
    from tests.chaos.world import World

_MOST_CLEARS = 3
_GIVING_UP = UserAction("mark failed", lingers=False, lateness=0)
_STATE_AFTER = {
    "clear": "cleared",
    "mark failed": "marked failed",
    "mark success": "marked success",
    "drain": "up_for_retry",
}


class _Store(TaskStateStore):
    """A task's store, which also tells what it is given."""

    def __init__(self, on_set: Callable[[str], None]) -> None:
        super().__init__()
        self._on_set = on_set

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        # What was seen of a job helps no try to find it.
        if key == JOB_KEY:
            self._on_set(repr(value))


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
        self._changes = 0
        self._tries: Counter[str] = Counter()

    def run(self) -> None:
        """Run the life from its first try to its last."""
        random.seed(self.plan.seed)
        with self._world.life(
            self.plan.odd,
            on_exchange=self._hazards.on_exchange,
            task_state=self._readable_state,
            note=self._note,
        ):
            self._prepare()
            try:
                self._live()
                if self.plan.odd.tidies_up:
                    self._tidy_up()
            except Exception as error:
                self.history.trouble = f"the life raised {error!r}"
                self._note("%s", traceback.format_exc())
            except Endless as endless:
                self.history.trouble = str(endless)
            self.history.jobs = self._world.jobs()
            self.history.log = self._world.control.requests()
            self.history.troubles, self.history.fault_kinds = self._world.troubles, self._world.rules
            self._note("The life ended: %s.", self.history.state)
        self.events.update(self._world.hits)

    def _note(self, text: str, *arguments: Any) -> None:
        self._trace(f"{self._clock.now:%H:%M:%S} {text % arguments if arguments else text}")

    def _prepare(self) -> None:
        plan, world, after = self.plan, self._world, self._clock.after
        world.control.set_switches(**plan.switches)
        self._dataset = world.store_dataset()
        self._hazards.company.make_jobs([self._dataset], plan.job_life)
        world.control.set_life(**plan.job_life)
        if plan.odd.stranger is not None and plan.own_job_id is not None:
            name = name_of(plan) if plan.odd.stranger == "same name" else "theirs"
            world.control.make_job(plan.own_job_id, name=name, datasets=[self._dataset])
            self.history.strangers.add(plan.own_job_id)
            self.events[f"job of a stranger with the {plan.odd.stranger}"] += 1
        self._prepare_oddities()
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

    def _prepare_oddities(self) -> None:
        odd, world, after = self.plan.odd, self._world, self._clock.after
        for hang in odd.hangs:
            after(hang.window[0], partial(world.begin_hang, hang))
        for away in odd.away:
            after(away.window[0], partial(world.take_connection_away, away))
        flags = {
            "service with ids of its own": odd.makes_own_ids,
            "service that answers 204": odd.answers_204,
            "service whose clock is behind": odd.clock_behind,
            "service whose list is capped": odd.longest_page,
            "service that ignores the offset": odd.ignores_offset,
            "task with a new job in each try": not self.plan.reattaches,
        }
        self.events.update(kind for kind, is_odd in flags.items() if is_odd)

    def _begin_outage(self, rule: Rule) -> None:
        if self._world.control.is_up and rule.window is not None:
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
            if self.plan.odd.changes_request and not self._changes:
                self._note("The author changes the request.")
                self.events["request changed"] += 1
                self._changes = 1
                self.history.changed_at = self._clock.now

    def _run_tasks(self) -> str:
        """Run the task, and the sensor if the task does not wait; return the last one's state."""
        waits = self.plan.shape in ("worker", "triggerer")
        created = self._run_task(
            OWNER, lambda: creator(self.plan, self._dataset, changes=self._changes), waits=waits
        )
        if created.state != "success" or waits:
            return created.state
        self._clock.advance(QUEUED_SECONDS)
        return self._run_task("wait", lambda: sensor(self.plan, created.value), waits=True).state

    def _tidy_up(self) -> None:
        """Let a last task cancel the task's job, whatever became of it."""
        jobs = [job for job in self._world.jobs() if job["id"] not in self.history.strangers]
        if jobs and not self._gave_up:
            self.history.tidied_from = self._clock.now
            with suppress(Acted):
                ended = self._run_task("tidy", lambda: canceller(jobs[-1]["id"]), waits=False)
                self.events[f"tidied up: {ended.state}"] += 1

    def _run_task(self, task_id: str, build: Callable[[], BaseOperator], *, waits: bool) -> Outcome:
        delays = random.Random(f"{self.plan.seed} {task_id}")
        # A cleared task goes on counting its tries, and gets its retries anew.
        max_tries = self._tries[task_id] + self.plan.retries
        while True:
            self._tries[task_id] += 1
            number = self._tries[task_id]
            ended = self._run_try(task_id, build, number, max_tries, waits=waits)
            self._note("Try %d of %s: %s. %s", number, task_id, ended.state, ended.error or ended.value or "")
            if ended.state != "up_for_retry":
                return ended
            if number > max_tries:
                return Outcome("failed", error=ended.error)
            self._clock.advance(delays.uniform(0, 600))

    def _run_try(
        self, task_id: str, build: Callable[[], BaseOperator], number: int, max_tries: int, *, waits: bool
    ) -> Outcome:
        one = HazardousTry(
            build,
            self._task_instance(task_id, number, max_tries),
            self._store(task_id),
            plan=self.plan,
            world=self._world,
            hazards=self._hazards,
        )
        history, world, started = self.history, self._world, self._clock.now
        before = world.control.jobs() if world.control.is_up else []
        by_itself = False
        try:
            ended = one.run()
            by_itself = True
        except WorkerKilled:
            ended = Outcome("up_for_retry", error=WorkerKilled("the worker was killed"))
        except AirflowTaskTimeout as error:
            ended = Outcome("up_for_retry", error=error)
        except Acted as acted:
            ended = self._acted_between(acted)
        self._hazards.state = None if ended.state == "cleared" else ended.state
        now = self._clock.now
        history.tries.append(
            Try(
                task_id,
                started,
                now,
                downtime=one.downtime,
                waits=waits,
                state=ended.state,
                value=ended.value,
                error=ended.error,
                by_itself=by_itself,
                has_tries_left=number <= max_tries,
                jobs_before=before,
                jobs=world.control.jobs() if world.control.is_up else [],
                told=through_json(one.ti.xcoms),
                last_exchange=world.last_exchange,
                last_unread=world.last_unread,
            )
        )
        if ended.state == "success":
            history.greens.append(Green(task_id, waits, ended.value, world.jobs()))
        return ended

    def _acted_between(self, acted: Acted) -> Outcome:
        self.events[acted.act.action] += 1
        return Outcome(_STATE_AFTER[acted.act.action])

    def _task_instance(self, task_id: str, number: int, max_tries: int) -> TaskInstance:
        ti = TaskInstance(
            run_id=f"run {self.plan.seed}",
            task_id=task_id,
            try_number=number,
            max_tries=max_tries,
            on_push=lambda: self._hazards.point("push to XCom"),
        )
        if not self._world.triggerer_knows_states:
            # In Airflow 2, tasks read the state from the database.
            ti.current_state = self._readable_state
        return ti

    def _store(self, task_id: str) -> TaskStateStore | None:
        if not self._world.triggerer_knows_states:
            return None
        return self._stores.setdefault(task_id, _Store(self._remember))

    def _remember(self, text: str) -> None:
        self.history.remembered.append((self._clock.now, text))
