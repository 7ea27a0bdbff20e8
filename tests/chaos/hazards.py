"""
Hits a task's processes: kills, drains, restarts, timeouts and people's actions.

A kill is an exception that no ``except Exception`` catches. It is raised where the process makes a call,
sleeps or hands something over. The system tests send real signals to real processes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.chaos.history import History, Kill
from tests.chaos.interruptions import (
    Acted,
    DeferralTimedOut,
    Endless,
    Interruption,
    TriggererGone,
    WorkerKilled,
)
from tests.chaos.plan import Blow, Plan, UserAction
from tests.harness.airflow_names import AirflowTaskTimeout
from tests.harness.travelling_loop import run_on_loop

if TYPE_CHECKING:
    from tests.chaos.world import World

OWNER = "create"
_FROM_SIGTERM_TO_SIGKILL = 5.0
_ON_KILL_LIMIT = 30.0
_MOST_EXCHANGES = 6000
# The state that Airflow sets at once if a person acts on a running task, and on a deferred one.
_STATE_OF_RUNNING = {
    "clear": "restarting",
    "mark failed": "failed",
    "mark success": "success",
    "drain": "running",
}
_STATE_OF_DEFERRED = {"clear": None, "mark failed": "failed", "mark success": "success"}


class _TriggerRun:
    """One run of a trigger, which any thread can cancel."""

    def __init__(self) -> None:
        self.interruption: Interruption | None = None
        self.over = threading.Event()
        self._running: Callable[[], Any] = lambda: None

    def begin(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)

    def cancel(self, interruption: Interruption) -> None:
        if self.interruption is None:
            self.interruption = interruption
            self._running()
        if threading.current_thread() is not threading.main_thread():
            # The call in this thread cannot be cancelled, so it waits until the trigger is gone.
            self.over.wait(2)


class Hazards:
    """
    Hits the processes of one life.

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
        self._phase = "idle"
        self._processes = 0
        self._exchanges = 0
        self._points = 0
        self._blow: Blow | None = None
        self._in_kill = False
        self._acted: Acted | None = None
        self._task: Any = None
        self._has_tries_left = False
        self._cancel: Callable[[Interruption], None] = lambda interruption: None
        self._late_kill: tuple[Any, int] | None = None

    @contextmanager
    def worker(self, task: Any, *, has_tries_left: bool) -> Iterator[None]:
        """
        Run the block as a worker's process.

        :param has_tries_left: whether the task is retried if this try fails.
        :raises Interruption: if the process was killed or a person acted on the task.
        """
        self._task, self.state, self._has_tries_left = task, "running", has_tries_left
        limit = None
        if task.execution_timeout is not None:
            limit = self._clock.after(task.execution_timeout.total_seconds(), self._time_out)
        try:
            with self._process("worker"):
                try:
                    yield
                except AirflowTaskTimeout:
                    self.events["execution timeout by Airflow"] += 1
                    self._kill(task.on_kill, task.task_id, "execution timeout")
                    self._record_aftermath()
                    raise
        except WorkerKilled:
            # If a person acted, Airflow set the state already and ignores the process's last seconds.
            if self._acted is None:
                self.events["worker killed"] += 1
                raise
        finally:
            if limit is not None:
                limit.cancel()
        if self._acted is not None:
            self._record_aftermath()
            raise self._acted

    def run_trigger(self, trigger: Any, seconds_left: float | None) -> Any:
        """
        Run one trigger as a triggerer does, and return its event.

        :param seconds_left: seconds until Airflow times the deferral out; None for no timeout.
        :raises Interruption: if something ends the trigger before its event.
        """
        run = _TriggerRun()
        self._cancel = run.cancel
        limit = None
        if seconds_left is not None:
            limit = self._clock.after(seconds_left, lambda: self._interrupt(DeferralTimedOut()))
        self.state = "deferred"
        try:
            with self._process("trigger"), suppress(asyncio.CancelledError):
                event = run_on_loop(self._clock, self._fire(trigger, run))
        finally:
            if limit is not None:
                limit.cancel()
        if run.interruption is not None:
            raise run.interruption
        return event

    async def _fire(self, trigger: Any, run: _TriggerRun) -> Any:
        run.begin()
        try:
            async for event in trigger.run():
                return event
            raise RuntimeError("the trigger ended without an event")
        except asyncio.CancelledError:
            if isinstance(run.interruption, Acted):
                await self._kill_trigger(trigger, run.interruption.act)
            raise
        finally:
            with suppress(Exception):
                await trigger.cleanup()
            run.over.set()

    @contextmanager
    def _process(self, phase: str) -> Iterator[None]:
        self._blow = self._plan.blow(self._processes)
        self._processes += 1
        self._points = 0
        self._acted = None
        self._phase = phase
        try:
            yield
        finally:
            self._phase = "idle"

    def on_exchange(self, stage: str, method: str, path: str) -> None:
        """Take note of a request, before it is sent and after its response arrived."""
        self._exchanges += 1
        if self._exchanges > _MOST_EXCHANGES:
            raise Endless(f"more than {_MOST_EXCHANGES // 2} requests, the last of them {method} {path}")
        if stage == "before":
            self.point(f"before {method}")
        self._clock.advance(0.05)
        if stage == "after":
            self.point(f"after {method}")

    def point(self, what: str) -> None:
        """Pass a point at which the process can be hit."""
        if self._in_kill:
            return
        self._points += 1
        self._count_down_late_kill()
        blow = self._blow
        if blow is None or self._points != blow.point or self._phase == "idle":
            return
        self._blow = None
        self.note("Hit at point %d (%s), in the %s.", blow.point, what, self._phase)
        is_drained = isinstance(blow.what, UserAction) and blow.what.action == "drain"
        if isinstance(blow.what, UserAction) and (self._phase == "worker" or not is_drained):
            self.act(blow.what)
        elif self._phase == "worker":
            raise WorkerKilled
        else:
            self._interrupt(TriggererGone(blow.downtime))

    def act(self, act: UserAction) -> None:
        """Let a person act on the task in whatever phase it is."""
        self.note("A person's action: %s, in phase %s.", act.action, self._phase)
        if self._phase == "worker":
            self._act_on_worker(Acted(act))
        else:
            self._interrupt(Acted(act))

    def restart_triggerer(self, downtime: float) -> None:
        """Kill the triggerer. Only a deferred task notices."""
        if self._phase == "trigger":
            self._interrupt(TriggererGone(downtime))

    def _interrupt(self, interruption: Interruption) -> None:
        if self._phase == "trigger":
            self._cancel(interruption)
        elif isinstance(interruption, Acted):
            raise interruption

    def _act_on_worker(self, acted: Acted) -> None:
        if self._acted is not None:
            return
        self.state = _STATE_OF_RUNNING[acted.act.action]
        self._kill(self._task.on_kill, self._task.task_id, acted.act.action)
        self._acted = acted
        if not acted.act.lingers:
            raise WorkerKilled
        self._clock.after(_FROM_SIGTERM_TO_SIGKILL, self._die)

    def _die(self) -> None:
        if self._phase == "worker" and self._acted is not None:
            raise WorkerKilled

    def _time_out(self) -> None:
        if self._phase == "worker" and self._acted is None:
            raise AirflowTaskTimeout("Timeout")

    def _kill(self, on_kill: Callable[[], Any], task_id: str, why: str) -> None:
        reachable = self._world.is_reachable
        first = self._world.logged_requests()
        begun = self._clock.now
        with self._quiet():
            on_kill()
        if not self._is_left_to_the_next_try(why):
            over = self._clock.now + timedelta(seconds=_FROM_SIGTERM_TO_SIGKILL)
            self.history.killings.append((begun, over))
        self._remember_kill(task_id, why, reachable, first, left=self._is_left_to_the_next_try(why))

    def _is_left_to_the_next_try(self, why: str) -> bool:
        """Return whether a worker's ``on_kill`` must leave the job running for the next try."""
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
            await asyncio.wait_for(trigger.on_kill(), _ON_KILL_LIMIT)
        self._excuse(begun, cleared=act.action == "clear")
        # A cleared task runs again, so its job may also be left to the next try.
        left = act.action == "clear"
        self._remember_kill(trigger.task_instance.task_id, act.action, reachable, first, left=left)
        self._record_aftermath()

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
            killing = threading.Thread(target=run_on_loop, args=(self._clock, trigger.on_kill()))
            killing.start()
            killing.join()
        self._excuse(begun, cleared=True)

    def _excuse(self, begun: datetime, *, cleared: bool) -> None:
        """Record that the trigger may have ended the job, unless it knew that the task was cleared."""
        can_tell = self._plan.states_are_readable and self._world.triggerer_knows_states
        if not (cleared and can_tell):
            self.history.killings.append((begun, self._clock.now))

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
            action = self._plan.operator["kill_action"]
            if not left and why != "clear":
                self.history.kills.append(Kill(action, why, reachable, first))

    def _record_aftermath(self) -> None:
        """Record the service's jobs and requests once the killed process is gone."""
        kills = self.history.kills
        if kills and kills[-1].jobs is None and self._world.is_up:
            kills[-1].jobs = self._world.jobs()
            kills[-1].log = self._world.control.requests()[kills[-1].first_request :]
