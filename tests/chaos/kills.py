"""Calls ``on_kill`` as Airflow does, on the worker and in the triggerer, and records what came of it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.chaos.history import History, Kill
from tests.harness.alternating_loop import run_on_loop

if TYPE_CHECKING:
    from tests.chaos.plan import Plan, UserAction
    from tests.chaos.world import World

OWNER = "create"
FROM_SIGTERM_TO_SIGKILL = 5.0
_ON_KILL_LIMIT = 30.0
# The state that Airflow sets at once if a person acts on a deferred task.
_STATE_OF_DEFERRED = {"clear": None, "mark failed": "failed", "mark success": "success"}


class Kills:
    """
    The kills of one life.

    :param note: writes to the life's log.
    """

    def __init__(self, plan: Plan, world: World, note: Callable[..., None]) -> None:
        self._plan = plan
        self._world = world
        self._clock = world.clock
        self.note = note
        self.history = History()
        self.events: Counter[str] = Counter()
        self.state: str | None = "queued"
        self._in_kill = False
        self._has_tries_left = False
        self._late_kill: tuple[Any, int] | None = None

    def _kill(self, on_kill: Callable[[], Any], task_id: str, why: str) -> None:
        reachable = self._world.is_reachable
        first = self._world.logged_requests()
        begun = self._clock.now
        try:
            with self._quiet():
                on_kill()
        finally:
            self._note_kill(task_id, why, reachable, first, begun)

    def _note_kill(self, task_id: str, why: str, reachable: bool, first: int, begun: datetime) -> None:
        if not self._is_left_to_the_next_try(why):
            over = self._clock.now + timedelta(seconds=FROM_SIGTERM_TO_SIGKILL)
            self.history.killings.append((begun, over))
        self._remember_kill(task_id, why, reachable, first, left=self._is_left_to_the_next_try(why))

    def _is_left_to_the_next_try(self, why: str) -> bool:
        """Return whether a worker's ``on_kill`` must leave the job running for the next try."""
        if why == "execution timeout" or not self._plan.reattaches:
            return False
        if why == "clear" and self._plan.states_are_readable:
            return True
        is_told = self._plan.states_are_readable and why in ("mark failed", "mark success")
        return self._has_tries_left and not is_told

    async def _kill_trigger(self, trigger: Any, act: UserAction) -> None:
        if not self._plan.kills_reach_triggers:
            return
        if act.action == "clear" and act.lateness:
            self._late_kill = trigger, act.lateness
            return
        self.state = _STATE_OF_DEFERRED[act.action]
        reachable = self._world.is_reachable
        first = self._world.logged_requests()
        begun = self._clock.now
        with self._quiet():
            await asyncio.wait_for(self._on_kill_of(trigger), _ON_KILL_LIMIT)
        self._excuse(begun, cleared=act.action == "clear")
        # A cleared task runs again, so its job may also be left to the next try.
        left = act.action == "clear" and self._plan.reattaches
        self._remember_kill(trigger.task_instance.task_id, act.action, reachable, first, left=left)
        self._record_aftermath()

    async def _on_kill_of(self, trigger: Any) -> None:
        # Airflow logs what on_kill raises, and goes on.
        try:
            await trigger.on_kill()
        except Exception as error:
            self.note("on_kill raised %r.", error)
            self.history.trouble = f"on_kill of a trigger raised {error!r}"

    def _count_down_late_kill(self) -> None:
        if self._late_kill is None:
            return
        trigger, left = self._late_kill
        self._late_kill = (trigger, left - 1) if left > 1 else None
        if self._late_kill is not None:
            return
        self.note("The late on_kill of the cleared task's trigger runs; the task is %s.", self.state)
        self.events["late kill of a cleared trigger"] += 1
        begun = self._clock.now
        with self._quiet():
            # The next try's trigger may be running on this thread's loop.
            killing = threading.Thread(target=run_on_loop, args=(self._clock, self._on_kill_of(trigger)))
            killing.start()
            killing.join()
        self._excuse(begun, cleared=True)

    def _excuse(self, begun: datetime, *, cleared: bool) -> None:
        """Record that the trigger may have ended the job, unless it knew that the task was cleared."""
        can_tell = self._plan.states_are_readable and self._world.triggerer_knows_states
        if not (cleared and can_tell and self._plan.reattaches):
            self.history.killings.append((begun, self._clock.now))
            self.history.trigger_killings.append((begun, self._clock.now))

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Let nothing hit the process inside the block."""
        self._in_kill = self._clock.holds_timers = True
        try:
            yield
        finally:
            self._in_kill = self._clock.holds_timers = False

    def _remember_kill(self, task_id: str, why: str, reachable: bool, first: int, *, left: bool) -> None:
        self.events[f"on_kill: {why}"] += 1
        self.note("on_kill has run (%s).", why)
        if task_id == OWNER:
            chosen = "timeout_action" if why == "execution timeout" else "kill_action"
            if not left and (why != "clear" or not self._plan.reattaches):
                self.history.kills.append(
                    Kill(self._plan.operator[chosen], why, reachable, first, at=self._clock.now)
                )

    def _record_aftermath(self) -> None:
        """Record the service's jobs and requests once the killed process is gone."""
        kills = self.history.kills
        if kills and kills[-1].jobs is None and self._world.control.is_up:
            kills[-1].jobs = self._world.jobs()
            kills[-1].log = self._world.control.requests()[kills[-1].first_request :]
