"""One try of a task whose processes may be hit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.chaos.interruptions import DeferralTimedOut, TriggererGone
from tests.harness.task_life import Deferral, Outcome, TaskTry, is_end_of_task, outcome_of

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import BaseOperator
    from tests.chaos.hazards import Hazards
    from tests.chaos.plan import Plan
    from tests.chaos.world import World
    from tests.harness.task_instance import TaskInstance

QUEUED_SECONDS = 5.0


def _raise(error: Exception) -> None:
    raise error


class HazardousTry(TaskTry):
    """
    One try of a task whose processes may be hit.

    :ivar downtime: how many seconds no triggerer was up.
    """

    def __init__(
        self,
        build: Callable[[], BaseOperator],
        ti: TaskInstance,
        store: Any,
        *,
        plan: Plan,
        world: World,
        hazards: Hazards,
    ) -> None:
        super().__init__(build, ti, store)
        self._world = world
        # Trigger and worker push to the same place.
        world.pushed = ti.xcoms
        self._clock = world.clock
        self._hazards = hazards
        self.downtime = 0.0
        self._plan = plan

    def work(self, task: Any, call: Callable[[Any], Any]) -> Outcome:
        try:
            with self._hazards.worker(task, has_tries_left=self.ti.try_number <= self.ti.max_tries):
                outcome = super().work(task, call)
                self._hazards.point("hand over")
        except Exception as error:
            # on_kill raised it, so it takes the place of Airflow's timeout.
            return outcome_of(error, _raise)
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
        self._wait_for_triggerer(ends_at)
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
        if self._plan.odd.away_after_timeout:
            self._hazards.events["service away after Airflow's timeout"] += 1
            self._world.begin_outage(self._plan.odd.away_after_timeout)
        return None

    def _wait_for_triggerer(self, ends_at: datetime | None) -> None:
        seconds = self._plan.odd.waits_for_triggerer
        if ends_at is not None:
            seconds = min(seconds, (ends_at - self._clock.now).total_seconds())
        if seconds > 0:
            self._hazards.events["no triggerer had capacity"] += 1
            self._hazards.state = "deferred"
            self.downtime += seconds
            self._clock.advance(seconds)

    def end_in_triggerer(self) -> Outcome:
        self._hazards.events["ended in the triggerer"] += 1
        return Outcome("success", self._world.pushed.get("return_value"))
