"""Runs a DAG to its end in this process, without a scheduler, and keeps what became of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.testing.database import BUNDLE, dags_folder, own_database
from airflow_provider_atai.testing.passing_time import passing_time

if TYPE_CHECKING:
    from airflow.sdk import DAG


@dataclass(frozen=True)
class FinishedRun:
    """
    A DAG run that has ended. An instance of a mapped task is called ``wait[0]``.

    :param state: ``"success"`` or ``"failed"``.
    :param states: the state of each task, such as ``"upstream_failed"``.
    :param tries: how often each task was tried. A deferred or rescheduled task is still in the same try.
    :param xcoms: what each task has pushed, by key.
    """

    state: str
    states: Mapping[str, str | None]
    tries: Mapping[str, int]
    xcoms: Mapping[str, Mapping[str, Any]]

    def xcom(self, task: str, key: str = "return_value") -> Any:
        """Return what a task has pushed, or None."""
        return self.xcoms.get(task, {}).get(key)


class DagRunner:
    """
    Runs DAGs one after the other, on one clock that jumps over every wait and never goes back.

    :param folder: an empty folder for a metadata database, or one that an earlier runner has used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = datetime.now(UTC)

    def __call__(self, dag: DAG, *, conf: dict[str, Any] | None = None) -> FinishedRun:
        """
        Run a DAG with ``dag.test()`` and return how it ended.

        Tasks run one after the other, triggers in the same process. Retries, deferrals, pokes and timeouts
        are those of the DAG, but nobody waits for them.

        :param dag: the DAG. It need not be in the DAGs folder.
        :param conf: the configuration of the run; it sets the DAG's params.
        :raises TypeError: if ``dag`` is not a DAG, such as the function under ``@dag`` before it is called.
        """
        if not hasattr(dag, "task_dict"):
            raise TypeError(f"run_dag takes a DAG, not {dag!r}. Call a function under @dag to make its DAG.")
        with own_database(self._folder), _signal_handler_kept(), self._time():
            _store(dag)
            return _finished(dag.test(run_conf=conf))

    @contextmanager
    def _time(self) -> Iterator[None]:
        with passing_time(max(self._now, datetime.now(UTC))):
            try:
                yield
            finally:
                self._now = datetime.now(UTC)


@contextmanager
def _signal_handler_kept() -> Iterator[None]:
    # Airflow 2 installs a handler of its own for each task, and leaves it there.
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)


def _store(dag: DAG) -> None:
    """Write a DAG to the database. From Airflow 3.1 on, tasks run only for a stored version of their DAG."""
    for home in ("airflow.dag_processing.dagbag", "airflow.models.dagbag"):
        try:
            bags: Any = import_module(home)
            store = bags.sync_bag_to_db
        except (ImportError, AttributeError):
            continue
        bundles: Any = import_module("airflow.dag_processing.bundles.manager")
        bundles.DagBundlesManager().sync_bundles_to_db()
        bag = bags.DagBag(dag_folder=dags_folder())
        bag.bag_dag(dag)
        store(bag, BUNDLE, None)
        return


def _finished(dag_run: Any) -> FinishedRun:
    from airflow.models import xcom
    from airflow.utils.session import create_session

    table: Any = getattr(xcom, "XComModel", None) or xcom.BaseXCom
    tasks = {_name(task): task for task in dag_run.get_task_instances()}
    xcoms: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        columns = (table.task_id, table.map_index, table.key, table.value)
        pushed = session.query(*columns).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id)
        for row in pushed:
            xcoms.setdefault(_name(row), {})[row.key] = table.deserialize_value(row)
    return FinishedRun(
        state=_text(dag_run.state) or "",
        states={name: _text(task.state) for name, task in tasks.items()},
        tries={name: task.try_number for name, task in tasks.items()},
        xcoms=xcoms,
    )


def _name(row: Any) -> str:
    return str(row.task_id) if row.map_index < 0 else f"{row.task_id}[{row.map_index}]"


def _text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
