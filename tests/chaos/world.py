"""What surrounds a life: the emulator on a real socket, the clock and Airflow."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import urlsplit

from airflow_provider_atai.api import transport as transport_module
from airflow_provider_atai.api.connection_errors import timed_out
from airflow_provider_atai.api.transport import Transport
from tests.chaos.connection import PublishedConnection
from tests.chaos.service import FIRST_KEY, Service
from tests.harness.alternating_loop import pause
from tests.harness.datasets import store_dataset
from tests.harness.task_instance import sensors_without_database, through_json
from tests.harness.time_travel import time_travel

if TYPE_CHECKING:
    from tests.chaos.oddities import Away, Hang, Oddities

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
        self.control = Service(data_dir)
        self._connection = PublishedConnection(self._note_unread)
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
            self.control.start()
            stack.callback(self.control.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def life(
        self,
        odd: Oddities,
        *,
        on_exchange: Exchange,
        task_state: Callable[[], str | None],
        note: Callable[..., None],
    ) -> Iterator[None]:
        """
        Begin a life with an empty service, at a time that no other life has seen.

        :param odd: what is odd about the life.
        :param on_exchange: called with ``before`` or ``after``, method and path of every request.
        :param task_state: returns the task's state as Airflow reports it; raises if the supervisor does
            not respond.
        :param note: writes to the life's log.
        """
        self.clock.start_at(_BEGINNING + self._lives * _BETWEEN_LIVES)
        self._lives += 1
        self.on_exchange, self._task_state, self._note = on_exchange, task_state, note
        self.service_key = self.known_key = FIRST_KEY
        self.hits: Counter[str] = Counter()
        self.pushed: dict[str, Any] = {}
        self.rules: dict[int, str] = {}
        # When the service or the connection could not be used as usual, from when to when.
        self.troubles: list[tuple[datetime, datetime]] = []
        self.last_exchange = self.last_unread = self.clock.now
        self._counted: set[int] = set()
        self._hangs: list[Hang] = []
        with mock.patch.dict(os.environ), self.control.life(odd):
            self._publish_key()
            try:
                yield
            finally:
                self.on_exchange = _ignore
                self._connection.restore()
                self._restore_service()
                self._count_hits()

    def store_dataset(self) -> dict[str, Any]:
        """Store a file in the service, and return an entry for a job's datasets."""
        return store_dataset(self.control)

    def add_rule(self, kind: str, rule: dict[str, Any]) -> int:
        """Add a fault rule, and count its hits under ``kind``."""
        number = self.control.add_fault(**rule)
        self.rules[number] = kind
        return number

    def remove_rule(self, number: int) -> None:
        """Remove a fault rule, as soon as the service is up."""
        if not self.control.is_up:
            self.clock.after(60, lambda: self.remove_rule(number))
            return
        self._note("A fault ends: %s.", self.rules[number])
        self._count_hits(only=number)
        self.control.remove_fault(number)

    def rotate_key(self, key: str, delay: float) -> None:
        """Change the service's key. Airflow learns it ``delay`` seconds later."""
        if not self.control.is_up:
            return
        self._note("The key is rotated.")
        self._begin_trouble("key rotated", delay)
        self.control.set_api_key(key)
        self.service_key = key
        self.clock.after(delay, self._learn_key)

    def restart_service(self, downtime: float) -> None:
        """Kill the service, and restart it with its state ``downtime`` seconds later."""
        self._note("The service goes down.")
        self._begin_trouble("service restarted", downtime)
        self.control.stop()
        self.clock.after(downtime, self._restore_service)

    def begin_outage(self, seconds: float) -> None:
        """Let the service be out of order for a while."""
        if self.control.is_up:
            number = self.add_rule("outage", {"path": "/fine-tune/**", "status": 503, "count": None})
            self.clock.after(seconds, lambda: self.remove_rule(number))

    def take_connection_away(self, away: Away) -> None:
        """Let Airflow be unable to read the connection for a while."""
        self._note("The connection cannot be read: the %s is away.", away.source)
        self._begin_trouble("connection away", away.window[1])
        self._connection.take_away(away.source)
        self.clock.after(away.window[1], self._restore_connection)

    def begin_hang(self, hang: Hang) -> None:
        """Let requests hang for a while."""
        self._note("Requests for %s begin to hang.", hang.what)
        if hang.what == "status":
            self._begin_trouble("calls begin to hang", hang.window[1] + hang.seconds)
        self._hangs.append(hang)
        self.clock.after(hang.window[1], partial(self._hangs.remove, hang))

    @property
    def is_reachable(self) -> bool:
        """Whether the service is up and accepts the key that Airflow can read, fault rules aside."""
        is_used = self.control.is_up and self._connection.is_readable
        return is_used and self.known_key == self.service_key

    def jobs(self) -> list[dict[str, Any]]:
        """Return the service's jobs, oldest first. If the service is down, it is started."""
        self._restore_service()
        return self.control.jobs()

    def logged_requests(self) -> int:
        """Return how many requests the service has logged, or 0 if it is down."""
        return len(self.control.requests()) if self.control.is_up else 0

    def _begin_trouble(self, kind: str, seconds: float) -> None:
        self.hits[kind] += 1
        self.troubles.append((self.clock.now, self.clock.now + timedelta(seconds=seconds)))

    def _note_unread(self) -> None:
        self.hits["connection read in vain"] += 1
        self.last_unread = self.clock.now

    def _restore_connection(self) -> None:
        self._note("The connection can be read again.")
        self._connection.restore()

    def _learn_key(self) -> None:
        self.known_key = self.service_key
        self._publish_key()

    def _restore_service(self) -> None:
        if not self.control.is_up:
            self.control.start()
            self._note("The service is up again.")

    def _pull(self, *, key: str, **_: Any) -> Any:
        self._task_state()
        return self.pushed.get(key)

    def _push(self, key: str, value: Any, **_: Any) -> None:
        self._task_state()
        self.pushed[key] = through_json(value)

    def _publish_key(self) -> None:
        self._connection.publish(host=self.control.base_url, key=self.known_key)

    def _count_hits(self, only: int | None = None) -> None:
        for fault in self.control.faults():
            number = fault["id"]
            if number in self.rules and only in (None, number) and number not in self._counted:
                self._counted.add(number)
                self.hits[self.rules[number]] += fault["fired"]

    def _hang(self, method: str, url: str, path: str, timeout: tuple[float, float]) -> None:
        what = "metrics" if path.endswith("/metrics") else "status"
        hang = next((hang for hang in self._hangs if hang.what == what), None)
        if hang is None or method == "PUT" or self.clock.holds_timers:
            return
        self.hits[f"hanging request for {what}"] += 1
        pause(self.clock, min(hang.seconds, timeout[1]))
        if hang.seconds > timeout[1]:
            raise timed_out(method, url, timeout)

    def _patches(self) -> Iterator[Any]:
        exchange = Transport.exchange

        def observed(transport: Transport, method: str, url: str, **arguments: Any) -> Any:
            path = urlsplit(url).path
            self.on_exchange("before", method, path)
            self.last_exchange = self.clock.now
            try:
                self._hang(method, url, path, arguments["timeout"])
                return self.control.altered(method, path, exchange(transport, method, url, **arguments))
            finally:
                self.on_exchange("after", method, path)

        yield mock.patch.object(Transport, "exchange", observed)
        # A hang raises its error by itself, so that no request needs a thread that watches over it.
        unwatched = SimpleNamespace(**{**vars(threading), "Timer": _NoTimer})
        yield mock.patch.object(transport_module, "threading", unwatched)
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
        xcom = import_module("airflow.sdk.execution_time.xcom").XCom
        yield mock.patch.object(xcom, "set", autospec=True, side_effect=self._push)
        yield mock.patch.object(xcom, "get_one", autospec=True, side_effect=self._pull)


class _NoTimer:
    """A timer that never goes off."""

    daemon = True

    def __init__(self, interval: float, function: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        pass


def _ignore(stage: str, method: str, path: str) -> None:
    pass
