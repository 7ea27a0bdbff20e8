"""Whether a task that is being killed on its worker is on its way to another try."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import Any

# Airflow 3 follows its SIGTERM with a SIGKILL after five seconds, and ending the job needs some of them.
_SECONDS_TO_ASK = 2.0
# What clearing a running task leads to, and what Airflow does with one whose heartbeat it has missed. A task
# that is RUNNING by all that Airflow knows is killed by something else, and what comes then is open.
_ON_THE_WAY = frozenset({None, "none", "restarting", "up_for_retry", "scheduled", "queued", "deferred"})


def is_tried_again(ti: Any) -> bool:
    """
    Ask Airflow whether the task was cleared, or given up for another try, which goes on with its job.

    :param ti: the task instance of the try that is being killed.
    :return: False also where Airflow gives no answer in time.
    """
    states: list[str | None] = []

    def ask() -> None:
        with suppress(Exception):
            states.append(_state(ti))

    # A signal may come in the middle of a call to the supervisor, whose lock would then never be free for the
    # thread that handles the signal.
    asking = Thread(target=ask, name="atai-task-state", daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ASK)
    return bool(states) and states[0] in _ON_THE_WAY


def _state(ti: Any) -> str | None:
    if hasattr(ti, "current_state"):
        # Airflow 2, where tasks have the database.
        state = ti.current_state()
    else:
        from airflow_provider_atai.triggers.task_state import query_task_state

        state = query_task_state(ti)
    return None if state is None else str(getattr(state, "value", state))
