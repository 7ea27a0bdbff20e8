"""What surrounds a life: the emulator on a real socket, the clock and Airflow."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import requests

from airflow_provider_atai.api.transport import Transport
from airflow_provider_atai.emulator.control import EmulatorControl
from airflow_provider_atai.emulator.server import ThreadedServer
from airflow_provider_atai.emulator.state import Emulator
from tests.harness.datasets import store_dataset
from tests.harness.task_instance import sensors_without_database, through_json
from tests.harness.time_travel import time_travel

CONNECTION_VARIABLE = "AIRFLOW_CONN_ATAI_DEFAULT"
_FIRST_KEY = "sk_emulator"
# A multiple of five minutes, so that whatever depends on time slots is the same in every life.
_BETWEEN_LIVES = timedelta(days=10)
_BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)

Exchange = Callable[[str, str, str], None]


class World:
    """
    One emulator and one clock for any number of consecutive lives.

    :param data_dir: an empty folder for the emulator.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lives = 0
        self._stack = ExitStack()
        self.on_exchange: Exchange = _ignore
        # Whether this Airflow tells the triggerer a task's state. A worker can always read it.
        self.triggerer_knows_states = True

    def __enter__(self) -> World:
        with ExitStack() as stack:
            self.clock = stack.enter_context(time_travel(_BEGINNING))
            stack.enter_context(sensors_without_database())
            for patch in self._patches():
                stack.enter_context(patch)
            self._start_service(port=0)
            stack.callback(self._stop_service)
            self.control = EmulatorControl(self._server.root_url)
            stack.callback(self.control.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def life(
        self, *, on_exchange: Exchange, task_state: Callable[[], str | None], note: Callable[..., None]
    ) -> Iterator[None]:
        """
        Begin a life with an empty service, at a time that no other life has seen.

        :param on_exchange: called with ``before`` or ``after``, method and path of every request.
        :param task_state: returns the task's state as Airflow reports it; raises if the supervisor does
            not respond.
        :param note: writes to the life's log.
        """
        self.clock.start_at(_BEGINNING + self._lives * _BETWEEN_LIVES)
        self._lives += 1
        self.control.reset()
        self.on_exchange, self._task_state, self._note = on_exchange, task_state, note
        self.service_key = self.known_key = _FIRST_KEY
        self.hits: Counter[str] = Counter()
        self.pushed: dict[str, Any] = {}
        self._rules: dict[int, str] = {}
        with mock.patch.dict(os.environ):
            self._publish_key()
            try:
                yield
            finally:
                self.on_exchange = _ignore
                self._restore_service()
                self._count_hits()

    def store_dataset(self) -> dict[str, Any]:
        """Store a file in the service, and return an entry for a job's datasets."""
        return store_dataset(self.control)

    def add_rule(self, kind: str, rule: dict[str, Any]) -> int:
        """Add a fault rule, and count its hits under ``kind``."""
        number = self.control.add_fault(**rule)
        self._rules[number] = kind
        return number

    def remove_rule(self, number: int) -> None:
        """Remove a fault rule, as soon as the service is up."""
        if not self.is_up:
            self.clock.after(60, lambda: self.remove_rule(number))
            return
        self._note("A fault ends: %s.", self._rules[number])
        self._count_hits(only=number)
        url = f"{self.control.root_url}/_emulator/faults"
        requests.delete(url, params={"fault_id": number}, timeout=30).raise_for_status()

    def rotate_key(self, key: str, delay: float) -> None:
        """Change the service's key. Airflow learns it ``delay`` seconds later."""
        if not self.is_up:
            return
        self._note("The key is rotated.")
        self.hits["key rotated"] += 1
        self.control.set_api_key(key)
        self.service_key = key
        self.clock.after(delay, self._learn_key)

    def restart_service(self, downtime: float) -> None:
        """Kill the service, and restart it with its state ``downtime`` seconds later."""
        self._note("The service goes down.")
        self.hits["service restarted"] += 1
        self.is_up = False
        self._stop_service()
        self.clock.after(downtime, self._restore_service)

    @property
    def is_reachable(self) -> bool:
        """Whether the service is up and accepts Airflow's key, fault rules aside."""
        return self.is_up and self.known_key == self.service_key

    def jobs(self) -> list[dict[str, Any]]:
        """Return the service's jobs, oldest first. If the service is down, it is started."""
        self._restore_service()
        return self.control.jobs()

    def logged_requests(self) -> int:
        """Return how many requests the service has logged, or 0 if it is down."""
        return len(self.control.requests()) if self.is_up else 0

    def _learn_key(self) -> None:
        self.known_key = self.service_key
        self._publish_key()

    def _restore_service(self) -> None:
        if not self.is_up:
            self._start_service(port=urlsplit(self.control.root_url).port or 0)
            self._note("The service is up again.")

    def _push(self, key: str, value: Any, **_: Any) -> None:
        self._task_state()
        self.pushed[key] = through_json(value)

    def _publish_key(self) -> None:
        document = {"conn_type": "atai", "host": self.control.base_url, "password": self.known_key}
        os.environ[CONNECTION_VARIABLE] = json.dumps(document)

    def _count_hits(self, only: int | None = None) -> None:
        for fault in self.control.faults():
            if fault["id"] in self._rules and only in (None, fault["id"]):
                self.hits[self._rules.pop(fault["id"])] += fault["fired"]

    def _start_service(self, port: int) -> None:
        self._server = ThreadedServer(Emulator(self._data_dir), port=port)
        self._server.__enter__()
        self.is_up = True

    def _stop_service(self) -> None:
        self._server.__exit__()

    def _patches(self) -> Iterator[Any]:
        exchange = Transport.exchange

        def observed(transport: Transport, method: str, url: str, **arguments: Any) -> Any:
            path = urlsplit(url).path
            self.on_exchange("before", method, path)
            try:
                return exchange(transport, method, url, **arguments)
            finally:
                self.on_exchange("after", method, path)

        yield mock.patch.object(Transport, "exchange", observed)
        yield from self._airflow_patches()

    def _airflow_patches(self) -> Iterator[Any]:
        try:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
        except ImportError:
            self.triggerer_knows_states = False
            return

        def get_task_states(
            *, task_ids: list[str], run_ids: list[str], **_: Any
        ) -> dict[str, dict[str, str | None]]:
            return {run_ids[0]: {task_ids[0]: self._task_state()}}

        yield mock.patch.object(RuntimeTaskInstance, "get_task_states", get_task_states)
        yield mock.patch.object(
            import_module("airflow.sdk.execution_time.xcom").XCom,
            "set",
            autospec=True,
            side_effect=self._push,
        )


def _ignore(stage: str, method: str, path: str) -> None:
    pass
