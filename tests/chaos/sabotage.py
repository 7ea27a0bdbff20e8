"""Ways to break the provider on purpose, each as a list of arguments for ``mock.patch.object``."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow_provider_atai.compat import task_state
from airflow_provider_atai.compat.sdk import AirflowFailException, AirflowSkipException
from airflow_provider_atai.errors import (
    AtaiConfigurationError,
    AtaiConnectionError,
    AtaiError,
    FineTuneJobCancelledError,
    FineTuneJobFailedError,
    FineTuneJobStoppedError,
)
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.jobs import identity, kill, submission
from airflow_provider_atai.jobs.ending import end_last_job
from airflow_provider_atai.jobs.identity import job_ids, own_jobs
from airflow_provider_atai.jobs.record import created_job
from airflow_provider_atai.jobs.submission import find_job
from airflow_provider_atai.links import reporting
from airflow_provider_atai.operators import fine_tune
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.triggers import fine_tune as triggers
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from airflow_provider_atai.waiting import policy, poller, watch
from airflow_provider_atai.waiting.deadline import wait_deadline
from airflow_provider_atai.waiting.policy import Ending, decide
from airflow_provider_atai.waiting.poller import subscribe
from airflow_provider_atai.waiting.result import WaitResult

Patches = list[tuple[Any, str, Any]]

_run_trigger, _error_of = FineTuneJobTrigger.run, WaitResult.error
_serialize, _make_trigger = FineTuneJobTrigger.serialize, FineTuneJobTrigger.__init__
_finish_sensor = FineTuneJobSensor._finish


def _find_job_or_give_up(api: Any, job_id: str) -> Any:
    try:
        return find_job(api, job_id)
    except AtaiError:
        return None


def _record_of_the_first_generation(task: Any, job: Any, **named: Any) -> dict[str, Any]:
    return {**created_job(task, job, **named), "job_id": f"{job.id.rpartition('-')[0]}-1"}


def _ids_of_the_moment(ti: Any, request: Any, **_: Any) -> list[str]:
    return job_ids(ti, {**request, "now": datetime.now(UTC).timestamp()})


def _deadline_from_now_on(**arguments: Any) -> Any:
    return wait_deadline(**{**arguments, "counts_from": arguments["now"]})


def _another_hour(trigger: FineTuneJobTrigger) -> datetime | None:
    return datetime.now(UTC) + timedelta(hours=1) if trigger.deadline else None


async def _cancel_on_cleanup(trigger: FineTuneJobTrigger) -> None:
    AtaiHook().fine_tune.cancel(trigger.job_id)


def _green_unless_timed_out(result: WaitResult, *, accept_stopped: bool) -> bool:
    return result.ending is not Ending.TIMED_OUT


def _green_when_stopped(result: WaitResult, *, accept_stopped: bool) -> bool:
    return result.ending in (Ending.COMPLETED, Ending.STOPPED)


def _with_path(seen: Any) -> Any:
    return seen if isinstance(seen, AtaiError) else replace(seen, inference_config_path="s3://none")


def _deciding(
    seen: Callable[[Any], Any] = lambda seen: seen, *, state: Any = None, limits: Any = None
) -> Patches:
    """Return what changes the policy's arguments before it decides."""

    def decide_wrongly(given: Any, **known: Any) -> Any:
        known["state"] = replace(known["state"], **(state or {}))
        known["limits"] = replace(known["limits"], **(limits or {}))
        return decide(seen(given), **known)

    return [(watch, "decide", decide_wrongly)]


def _serialize_without_kill_action(trigger: FineTuneJobTrigger) -> Any:
    path, arguments = _serialize(trigger)
    return path, {**arguments, "kill_action": "leave"}


def _serialize_with_key(trigger: FineTuneJobTrigger) -> Any:
    path, arguments = _serialize(trigger)
    return path, {**arguments, "api_key": AtaiHook(trigger.atai_conn_id).settings.api_key}


def _take_key(trigger: FineTuneJobTrigger, *, api_key: str = "", **arguments: Any) -> None:
    _make_trigger(trigger, **arguments)


def _skip_if_soft(sensor: FineTuneJobSensor, *arguments: Any) -> Any:
    try:
        return _finish_sensor(sensor, *arguments)
    except (AtaiError, AirflowFailException) as error:
        if sensor.soft_fail:
            raise AirflowSkipException(str(error)) from error
        raise


def _an_hour_too_early(**arguments: Any) -> Any:
    deadline = wait_deadline(**arguments)
    return deadline and deadline - timedelta(hours=1)


def _retry_a_bad_end(sensor: FineTuneJobSensor, *arguments: Any) -> Any:
    try:
        return _finish_sensor(sensor, *arguments)
    except AirflowFailException as error:
        bad = FineTuneJobFailedError | FineTuneJobCancelledError | FineTuneJobStoppedError
        if isinstance(error.__cause__, bad):
            raise error.__cause__ from None
        raise


def _final_if_unread(seen: Any) -> Any:
    if isinstance(seen, AtaiConnectionError) and seen.reason == "connection":
        return AtaiConfigurationError(str(seen))
    return seen


def _active_at_the_deadline(given: Any, **known: Any) -> Any:
    deadline = known["limits"].deadline
    if not isinstance(given, AtaiError) and deadline is not None and known["now"] >= deadline:
        given = replace(given, status="RUNNING")
    return decide(given, **known)


async def _fire_late(trigger: FineTuneJobTrigger) -> Any:
    async for event in _run_trigger(trigger):
        await asyncio.sleep(300)
        yield event


def _poll_alone(key: Any, *arguments: Any, **named: Any) -> Any:
    return subscribe((key, object()), *arguments, **named)


def _cancel_always(owner: Any, ids: Any, action: Any, **named: Any) -> None:
    end_last_job(owner, ids, "cancel", **named)


def _mute(result: WaitResult, *arguments: Any) -> Any:
    error = _error_of(result, *arguments)
    error.args = ("The wait has ended.",)
    return error


def _whoever_made_them(ids: Any, kept: Any, *, ids_are_chosen: bool) -> Any:
    return own_jobs(ids, kept, ids_are_chosen=False)


class _Unheard(Exception):  # noqa: N818
    """Nobody raises it, so whoever catches it catches nothing."""


SABOTAGE: dict[str, Patches] = {
    "a deadline comes too early": [(fine_tune, "wait_deadline", _an_hour_too_early)],
    "a sensor is tried again after a bad end": [(FineTuneJobSensor, "_finish", _retry_a_bad_end)],
    "an unreadable connection is final": _deciding(_final_if_unread),
    "a job that ends at the deadline is late": [(watch, "decide", _active_at_the_deadline)],
    "a trigger fires late": [(FineTuneJobTrigger, "run", _fire_late)],
    "each wait polls alone": [(triggers, "subscribe", _poll_alone)],
    "every kill cancels": [(kill, "end_last_job", _cancel_always)],
    "the job of an earlier try is left": [(submission, "end_superseded", lambda *_, **__: None)],
    "a stopping job is adopted": [(submission, "can_only_end_without_model", lambda *_, **__: False)],
    "an error says nothing": [(WaitResult, "error", _mute)],
    "a job of somebody else is ended": [(identity, "own_jobs", _whoever_made_them)],
    "no look before the POST": [(submission, "find_job", lambda api, job_id: None)],
    "could not look means not there": [(submission, "find_job", _find_job_or_give_up)],
    "another id in each try": [(identity, "job_ids", _ids_of_the_moment)],
    "a job that runs is not adopted": [(submission, "is_adopted", lambda status, **_: False)],
    "no look after a lost answer": [(submission, "_look_again", lambda *_, **__: None)],
    "a 409 is not adopted": [(submission, "AtaiConflictError", _Unheard)],
    "every end is a success": [(WaitResult, "is_green", _green_unless_timed_out)],
    "STOPPED is always a success": [(WaitResult, "is_green", _green_when_stopped)],
    "COMPLETED without a model is a success": _deciding(_with_path),
    "a retry renews the deadline": [(fine_tune, "wait_deadline", _deadline_from_now_on)],
    "a restart renews the deadline": [
        (FineTuneJobTrigger, "_deadline", _another_hour),
        (triggers, "backstop", lambda *_: None),
    ],
    "timeout_action is not taken": [(fine_tune, "end_job", lambda *_, **__: "")],
    "a kill does nothing": [
        (kill, "end_last_job", lambda *_, **__: None),
        (triggers, "end_job", lambda *_, **__: ""),
    ],
    "a deferred kill ignores kill_action": [
        (FineTuneJobTrigger, "serialize", _serialize_without_kill_action)
    ],
    "a clear ends the job": [(task_state, "is_tried_again", lambda _: False)],
    "a drained worker ends the job": [(task_state, "_has_tries_left", lambda _: False)],
    "a restart cancels the job": [(FineTuneJobTrigger, "cleanup", _cancel_on_cleanup)],
    "an unknown status is an end": [
        (policy, "_ENDING_BY_STATUS", {**policy._ENDING_BY_STATUS, "PAUSED": Ending.FAILED})
    ],
    "an outage never ends a wait": _deciding(limits={"outage_tolerance": 1e9}),
    "a 401 is not read again": _deciding(state={"connection_reread": True}),
    "a 404 right after the creation is final": _deciding(limits={"known_to_exist": False}),
    "Retry-After is not obeyed": [(policy, "retry_delay", lambda *_, **__: 5.0)],
    "soft_fail skips a failed job": [(FineTuneJobSensor, "_finish", _skip_if_soft)],
    "the key is a trigger argument": [
        (FineTuneJobTrigger, "serialize", _serialize_with_key),
        (FineTuneJobTrigger, "__init__", _take_key),
    ],
    "the page shows the first job for ever": [(reporting, "created_job", _record_of_the_first_generation)],
    "nothing tells of the end": [(reporting, "report_end", lambda *_: None)],
    "the poller runs in the first waiter's context": [
        (poller, "contextvars", SimpleNamespace(Context=contextvars.copy_context))
    ],
}
