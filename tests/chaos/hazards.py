"""
Hits a task's processes: kills, drains, restarts, timeouts and people's actions.

A kill is an exception that no ``except Exception`` catches. It is raised where the process makes a call,
sleeps or hands something over. The system tests send real signals to real processes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.chaos.company import Company
from tests.chaos.history import Stay
from tests.chaos.interruptions import (
    Acted,
    DeferralTimedOut,
    Endless,
    Interruption,
    TriggererGone,
    WorkerKilled,
)
from tests.chaos.kills import FROM_SIGTERM_TO_SIGKILL, Kills
from tests.chaos.plan import Blow, Plan, UserAction
from tests.harness.airflow_names import AirflowTaskTimeout
from tests.harness.alternating_loop import run_on_loop, standing_aside

if TYPE_CHECKING:
    from tests.chaos.world import World

_MOST_EXCHANGES = 6000
# The state that Airflow sets at once if a person acts on a running task.
_STATE_OF_RUNNING = {
    "clear": "restarting",
    "mark failed": "failed",
    "mark success": "success",
    "drain": "running",
}


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
            with standing_aside():
                self.over.wait(2)


class Hazards(Kills):
    """
    Hits the processes of one life.

    :param note: writes to the life's log.
    """

    def __init__(self, plan: Plan, world: World, note: Callable[..., None]) -> None:
        super().__init__(plan, world, note)
        self.company = Company(plan, world, self.history, self.events)
        self._phase = "idle"
        self._processes = 0
        self._exchanges = 0
        self._points = 0
        self._blow: Blow | None = None
        self._acted: Acted | None = None
        self._task: Any = None
        self._cancel: Callable[[Interruption], None] = lambda interruption: None

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
                    try:
                        self._kill(task.on_kill, task.task_id, "execution timeout")
                    finally:
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
        began, event = self._clock.now, None
        try:
            with self._process("trigger"), suppress(asyncio.CancelledError):
                event = run_on_loop(self._clock, self._fire(trigger, run))
        finally:
            if limit is not None:
                limit.cancel()
            interval = trigger.poll_interval
            self.history.stays.append(
                Stay(trigger.job_id, began, self._clock.now, interval, event is not None)
            )
        if run.interruption is not None:
            raise run.interruption
        return event

    async def _fire(self, trigger: Any, run: _TriggerRun) -> Any:
        run.begin()
        try:
            async with self.company.waiting(trigger.poll_interval):
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
        self._clock.after(FROM_SIGTERM_TO_SIGKILL, self._die)

    def _die(self) -> None:
        if self._phase == "worker" and self._acted is not None:
            raise WorkerKilled

    def _time_out(self) -> None:
        if self._phase == "worker" and self._acted is None:
            raise AirflowTaskTimeout("Timeout")
