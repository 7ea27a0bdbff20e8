"""Runs a task as Airflow would: execute, defer, trigger, resume, reschedule, each in a fresh operator."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
import time_machine
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    TaskDeferred,
)

from airflow_provider_atai.waiting.subscription import Subscription

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException

SENSOR_MODULE = "airflow.sdk.bases.sensor"
try:
    import_module(SENSOR_MODULE)
except ImportError:
    SENSOR_MODULE = "airflow.sensors.base"


class TaskInstance:
    """What the operators use of Airflow's task instance."""

    def __init__(self, *, dag_id="dag", run_id="run", task_id="task", map_index=-1, try_number=1):
        self.dag_id = dag_id
        self.run_id = run_id
        self.task_id = task_id
        self.map_index = map_index
        self.try_number = try_number
        self.max_tries = 0
        self.start_date = datetime.now(UTC)
        self.xcoms: dict[str, Any] = {}
        self.first_reschedule: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


@dataclass
class Outcome:
    """How a try ended: ``success``, ``failed`` (not retried), ``up_for_retry`` or ``skipped``."""

    state: str
    value: Any = None
    error: BaseException | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    deferrals: int = 0
    reschedules: int = 0
    trigger_kwargs: dict[str, Any] = field(default_factory=dict)


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
    ):
        self.build = build
        self.run_id = run_id
        self.map_index = map_index
        self.max_tries = max_tries
        self.store = store
        self.tries = 0

    def run_try(self) -> Outcome:
        """Run one try to its end."""
        self.tries += 1
        task = self.build()
        ti = TaskInstance(
            task_id=task.task_id, run_id=self.run_id, map_index=self.map_index, try_number=self.tries
        )
        ti.max_tries = self.max_tries
        outcome = Outcome("success", xcoms=ti.xcoms)
        context: Any = {"ti": ti, "task_instance": ti, "run_id": self.run_id}
        if self.store is not None:
            context["task_state_store"] = self.store
        task.pre_execute(context)
        step: Callable[[], Any] = lambda: task.execute(context)  # noqa: E731
        while True:
            try:
                outcome.value = step()
            except TaskDeferred as defer:
                outcome.deferrals += 1
                # Airflow's processes send one another plain types only.
                if type(defer.timeout) not in (timedelta, type(None)):
                    raise TypeError(f"{defer.timeout!r} cannot be sent") from None
                event = run_trigger(defer.trigger, outcome)
                resumed = self.build()
                kwargs = {**(defer.kwargs or {}), "event": event}
                step = lambda r=resumed, d=defer, k=kwargs: r.resume_execution(  # noqa: E731
                    d.method_name, k, context
                )
                continue
            except AirflowRescheduleException as reschedule:
                outcome.reschedules += 1
                ti.first_reschedule = ti.first_reschedule or ti.start_date
                time.sleep((reschedule.reschedule_date - datetime.now(UTC)).total_seconds())
                again = self.build()
                step = lambda a=again: a.execute(context)  # noqa: E731
                continue
            except AirflowSkipException as error:
                outcome.state, outcome.error = "skipped", error
            except (AirflowFailException, AirflowSensorTimeout) as error:
                outcome.state, outcome.error = "failed", error
            except Exception as error:
                outcome.state, outcome.error = "up_for_retry", error
            return outcome


def run_trigger(trigger: Any, outcome: Outcome) -> Any:
    """Run a trigger the way the triggerer does: from its serialised form, on an event loop of its own."""
    path, kwargs = trigger.serialize()
    outcome.trigger_kwargs = json.loads(json.dumps(kwargs))
    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**outcome.trigger_kwargs)

    async def first_event() -> Any:
        async for event in again.run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    return json.loads(json.dumps(asyncio.run(first_event())))


class TaskStateStore(dict[str, Any]):
    """Like the store of Airflow 3.3: it outlives a try, and on some versions a clear."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, traveller: time_machine.Traveller):
        self._traveller = traveller
        self.on_sleep: list[Callable[[], None]] = []
        self.slept: list[float] = []
        self.listening = False
        self._receive = Subscription.receive
        self.first_reschedule = datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._traveller.shift(timedelta(seconds=max(0.0, seconds)))
        for action in list(self.on_sleep):
            action()

    async def rest(self, wake: Any, seconds: float) -> None:
        # Time goes on only when the waiter has dealt with what it was sent, and listens again.
        await asyncio.sleep(0)
        while not self.listening:
            await asyncio.sleep(0.001)
        self.sleep(seconds)

    async def receive(self, subscription: Subscription) -> Any:
        self.listening = True
        try:
            return await self._receive(subscription)
        finally:
            self.listening = False

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def clock(monkeypatch):
    """Let every wait of the provider and of Airflow pass at once; the emulator's jobs age with it."""
    with time_machine.travel(datetime(2026, 11, 23, 12, 0, tzinfo=UTC), tick=True) as traveller:
        clock = Clock(traveller)
        stand_in = SimpleNamespace(sleep=clock.sleep, monotonic=time.time)
        monkeypatch.setattr("airflow_provider_atai.waiting.on_worker.time", stand_in)
        monkeypatch.setattr("airflow_provider_atai.jobs.submission.time", stand_in)
        for module in ("api.client", "api.part_sending", "datasets.store"):
            monkeypatch.setattr(f"airflow_provider_atai.{module}.time", stand_in)
        monkeypatch.setattr(f"{SENSOR_MODULE}.time", stand_in)
        monkeypatch.setattr("airflow_provider_atai.waiting.poller.time", stand_in)
        monkeypatch.setattr("airflow_provider_atai.waiting.poller.rest", clock.rest)
        monkeypatch.setattr(Subscription, "receive", lambda subscription: clock.receive(subscription))  # noqa: PLW0108
        monkeypatch.setattr("airflow_provider_atai.triggers.fine_tune.sleep", clock.asleep)
        monkeypatch.setattr(f"{__name__}.time", stand_in)
        if SENSOR_MODULE == "airflow.sensors.base":
            # Airflow 2 looks these up in its database; a TaskInstance of ours carries them.
            monkeypatch.setattr(f"{SENSOR_MODULE}._orig_start_date", lambda **key: clock.first_reschedule)
            monkeypatch.setattr(f"{SENSOR_MODULE}._is_metadatabase_mysql", lambda: False)
        yield clock


def store_dataset(emulator: EmulatorControl, name: str = "train.csv") -> dict[str, Any]:
    """Put a small file into the emulator, and return an entry for a job's datasets."""
    answer = requests.post(
        f"{emulator.base_url}/files",
        headers={"Authorization": f"Bearer {emulator.api_key}"},
        files={"file": (name, b"time,pressure\n0,1.5\n", "text/csv")},
        timeout=30,
    )
    answer.raise_for_status()
    return {"name": "training-set", "split": "train", "file_ids": [answer.json()["file_id"]]}
