"""Whether a task that is being killed on its worker is on its way to another try."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import Any

# Airflow 3 follows its SIGTERM with a SIGKILL after five seconds, and ending the job needs some of them.
_SECONDS_TO_ASK = 2.0
# What clearing a running task leads to, and what Airflow does with one whose heartbeat it has missed.
_ON_THE_WAY = frozenset({None, "none", "restarting", "up_for_retry", "scheduled", "queued", "deferred"})
_ENDED = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})


def is_tried_again(ti: Any) -> bool:
    """
    Tell whether another try will go on with the job of a task that is being killed.

    Airflow is asked. It says RUNNING of a task that something else kills: a worker that is drained, a
    supervisor that has lost the API server. Such a task is tried again as long as it has tries left, and so
    is one of which Airflow says nothing in time.

    :param ti: the task instance of the try that is being killed.
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
    if states and states[0] in _ON_THE_WAY:
        return True
    return not (states and states[0] in _ENDED) and _has_tries_left(ti)


def _has_tries_left(ti: Any) -> bool:
    try_number, max_tries = getattr(ti, "try_number", None), getattr(ti, "max_tries", None)
    return isinstance(try_number, int) and isinstance(max_tries, int) and try_number <= max_tries


def _state(ti: Any) -> str | None:
    if hasattr(ti, "current_state"):
        # Airflow 2, where tasks have the database.
        state = ti.current_state()
    else:
        from airflow_provider_atai.compat.task_state import query_task_state

        state = query_task_state(ti)
    return None if state is None else str(getattr(state, "value", state))
