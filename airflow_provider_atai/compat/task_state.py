"""What Airflow says about a task that is killed or resumed, and what a trigger can do for its task."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

# A person's "mark failed" and "mark success" lead here.
_ENDED = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})
# Clearing a running task leads here, and so does Airflow if it has missed the task's heartbeat.
_ON_THE_WAY = frozenset({None, "none", "restarting", "up_for_retry", "scheduled", "queued", "deferred"})
# Airflow 3 follows its SIGTERM with a SIGKILL after five seconds, and ending the job needs some of them.
_SECONDS_TO_ASK = 2.0
# Airflow gives a trigger 30 seconds to deal with the end of its task.
_ATTEMPTS = 3
_PAUSE = 2.0


def is_tried_again(ti: Any) -> bool:
    """
    Tell whether another try will adopt the job of a task that is being killed on its worker.

    Airflow is asked. It answers RUNNING if something else kills the task: a worker that is drained, a
    supervisor that has lost the API server. Such a task is tried again as long as it has tries left. The same
    goes for a task about which Airflow does not answer in time.
    """
    states: list[str | None] = []

    def ask() -> None:
        with suppress(Exception):
            states.append(_state_on_worker(ti))

    # The signal may have interrupted a call to the supervisor. The thread that handles the signal would wait
    # forever for the lock of that call.
    asking = Thread(target=ask, name="atai-task-state", daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ASK)
    if states and states[0] in _ON_THE_WAY:
        return True
    return not (states and states[0] in _ENDED) and _has_tries_left(ti)


def is_execution_timeout() -> bool:
    """Tell whether Airflow calls ``on_kill`` because the task's ``execution_timeout`` has passed."""
    from airflow_provider_atai.compat.sdk import AirflowTaskTimeout

    # Airflow calls it while it handles the exception that its alarm has raised, and says no more.
    return isinstance(sys.exc_info()[1], AirflowTaskTimeout)


async def read_task_state(trigger: BaseTrigger) -> tuple[bool, str | None]:
    """Return whether Airflow tells the state of the trigger's task, and the state: None if just cleared."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            # The call blocks.
            return True, await asyncio.to_thread(query_task_state, trigger.task_instance)
        except (AttributeError, ImportError, KeyError) as error:
            problem: Exception = error
            break
        except Exception as error:
            problem = error
            if attempt < _ATTEMPTS:
                await asyncio.sleep(_PAUSE)
    trigger.log.info("The state of the task cannot be read in the triggerer: %r", problem)
    return False, None


def was_cleared(known: bool, state: str | None) -> bool:
    """Tell from what :func:`read_task_state` returns whether a killed task was cleared: it is tried again."""
    return known and state not in _ENDED


def query_task_state(ti: Any) -> str | None:
    """Ask Airflow 3 for a task's state, in the triggerer or on the task's worker. Anything may go wrong."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    key = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return _as_text(states[ti.run_id][key])


@dataclass(frozen=True)
class BrokenDeferral:
    """A deferral that Airflow ended without an event: why, and the trigger's traceback if there is one."""

    reason: str
    traceback: str

    @property
    def timed_out(self) -> bool:
        """Whether Airflow's own timeout of the deferral has passed."""
        return "timeout" in self.reason.lower()

    def describe(self, known: str) -> str:
        """Return the text of an error; ``known`` tells of the job and of what a retry does."""
        return f"The trigger that waited for the job broke ({self.reason}). {known}\n{self.traceback}"


def broken_deferral(next_method: str, next_kwargs: Mapping[str, Any] | None) -> BrokenDeferral | None:
    """Read what Airflow passes to ``resume_execution``; None if the trigger has fired."""
    if next_method != "__fail__":
        return None
    failure = next_kwargs or {}
    return BrokenDeferral(str(failure.get("error")), "\n".join(failure.get("traceback") or ()))


async def push_xcom(trigger: BaseTrigger, key: str, value: Any) -> None:
    """Push an XCom of the trigger's task, as its worker would."""
    await asyncio.to_thread(set_xcom, trigger, key, value)


def set_xcom(trigger: BaseTrigger, key: str, value: Any) -> None:
    """Push an XCom of the trigger's task. It blocks."""
    from airflow.sdk.execution_time.xcom import XCom

    XCom.set(key, value, **_where(trigger))


def pulled_xcom(trigger: BaseTrigger, key: str) -> Any:
    """Return an XCom of the trigger's task, None if there is none. It blocks."""
    from airflow.sdk.execution_time.xcom import XCom

    return XCom.get_one(key=key, **_where(trigger))


def _where(trigger: BaseTrigger) -> dict[str, Any]:
    ti: Any = trigger.task_instance
    map_index = -1 if ti.map_index is None else ti.map_index
    return {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": map_index}


def _has_tries_left(ti: Any) -> bool:
    try_number, max_tries = getattr(ti, "try_number", None), getattr(ti, "max_tries", None)
    return isinstance(try_number, int) and isinstance(max_tries, int) and try_number <= max_tries


def _state_on_worker(ti: Any) -> str | None:
    # Airflow 2, where tasks have the database.
    if hasattr(ti, "current_state"):
        return _as_text(ti.current_state())
    return query_task_state(ti)


def _as_text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
