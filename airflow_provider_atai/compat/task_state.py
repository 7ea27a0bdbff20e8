"""What a trigger can ask of Airflow about the task that it waits for, and do for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

# Airflow gives a trigger 30 seconds to deal with the end of its task.
_ATTEMPTS = 3
_PAUSE = 2.0
# A person's "mark failed" and "mark success" lead here; a cleared task is on its way to its next try.
_ENDED = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})


async def read_task_state(trigger: BaseTrigger) -> tuple[bool, str | None]:
    """
    Ask Airflow for the state of the trigger's task.

    :param trigger: a trigger that the triggerer runs.
    :return: whether Airflow could be asked, and the state; None is the state of a task just cleared.
    """
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


def query_task_state(ti: Any) -> str | None:
    """
    Ask Airflow for a task's state, in the triggerer or on the task's worker; Airflow answers from 3.0 on.

    :param ti: the task instance.
    :raises Exception: whatever goes wrong with that.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    key = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = states[ti.run_id][key]
    return None if state is None else str(getattr(state, "value", state))


def was_cleared(known: bool, state: str | None) -> bool:
    """
    Tell whether a killed task was cleared, so that its next try will go on with the job.

    :param known: whether Airflow told the state.
    :param state: the state.
    """
    return known and state not in _ENDED


async def push_xcom(trigger: BaseTrigger, key: str, value: Any) -> None:
    """
    Push an XCom of the trigger's task, as its worker would.

    :param trigger: a trigger that the triggerer runs.
    :param key: the XCom's key.
    :param value: its value.
    """
    from airflow.sdk.execution_time.xcom import XCom

    ti: Any = trigger.task_instance
    map_index = -1 if ti.map_index is None else ti.map_index
    await asyncio.to_thread(
        XCom.set, key, value, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=map_index
    )
