"""Stands in for what an operator asks of Airflow while it runs: the task instance and the stores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, ClassVar
from unittest import mock


def through_json(value: Any) -> Any:
    """Return what is left of a value that one Airflow process sends to another."""
    return json.loads(json.dumps(value))


class TaskInstance:
    """
    The parts of Airflow's task instance that the operators use.

    :param on_push: called before every XCom.
    """

    newest: ClassVar[TaskInstance | None] = None
    # Only Airflow 2 has it, where tasks can ask the database.
    current_state: Callable[[], str | None]

    def __init__(
        self,
        *,
        dag_id: str = "dag",
        run_id: str = "run",
        task_id: str = "task",
        map_index: int = -1,
        try_number: int = 1,
        max_tries: int = 0,
        on_push: Callable[[], None] = lambda: None,
    ) -> None:
        self.dag_id = dag_id
        self.run_id = run_id
        self.task_id = task_id
        self.map_index = map_index
        self.try_number = try_number
        self.max_tries = max_tries
        self.start_date = datetime.now(UTC)
        self.first_reschedule: datetime | None = None
        self.xcoms: dict[str, Any] = {}
        self._on_push = on_push
        TaskInstance.newest = self

    def xcom_push(self, key: str, value: Any) -> None:
        self._on_push()
        self.xcoms[key] = through_json(value)

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


class TaskStateStore(dict[str, Any]):
    """Like the store of Airflow 3.3: it outlives a try, and on some versions a clear."""

    def set(self, key: str, value: Any) -> None:
        self[key] = through_json(value)


@contextmanager
def sensors_without_database() -> Iterator[None]:
    """Let a sensor of Airflow 2 ask the newest task instance what it would look up in the database."""
    try:
        import_module("airflow.sdk.bases.sensor")
    except ImportError:
        sensors = import_module("airflow.sensors.base")
    else:
        yield
        return

    def first_reschedule(**_: Any) -> datetime | None:
        return TaskInstance.newest.first_reschedule if TaskInstance.newest else None

    with (
        mock.patch.object(sensors, "_orig_start_date", autospec=True, side_effect=first_reschedule),
        mock.patch.object(sensors, "_is_metadatabase_mysql", autospec=True, return_value=False),
    ):
        yield
