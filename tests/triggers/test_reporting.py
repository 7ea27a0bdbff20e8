from __future__ import annotations

import asyncio
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.compat.sdk import TRIGGERERS_PUSH_XCOMS, TRIGGERERS_RUN_WHOLE_TASKS
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from airflow_provider_atai.waiting import publisher
from airflow_provider_atai.waiting.history import JobHistory
from tests.harness.datasets import store_dataset

if not TRIGGERERS_PUSH_XCOMS:
    pytest.skip("This Airflow's triggers push no XComs", allow_module_level=True)

from airflow.sdk.execution_time.xcom import XCom


@pytest.fixture
def job(atai_emulator):
    dataset = store_dataset(atai_emulator)
    return AtaiHook().fine_tune.create(name="j", datasets=[dataset], job_id="job-1")


@pytest.fixture
def xcoms(monkeypatch):
    """The XComs of the trigger's task, as Airflow keeps them."""
    kept = {}

    def push(key, value, **where):
        assert where == {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1}
        kept[key] = value

    def pull(*, key, **where):
        return kept.get(key)

    monkeypatch.setattr(XCom, "set", mock.create_autospec(XCom.set, side_effect=push))
    monkeypatch.setattr(XCom, "get_one", mock.create_autospec(XCom.get_one, side_effect=pull))
    monkeypatch.setattr(publisher, "_PAUSE", 0.0)
    return kept


def trigger(**arguments):
    made = FineTuneJobTrigger(job_id="job-1", poll_interval=1, **arguments)
    made._task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=1)
    return made


async def all_is_told():
    sending = publisher.publisher()._sending
    if sending is not None:
        await asyncio.wait_for(sending, 10)


def run(emulator, **arguments):
    """Run a trigger to its end, and all that it has to tell; return its event."""

    async def run_trigger():
        events = [event async for event in trigger(**arguments).run()]
        await all_is_told()
        return events

    emulator.advance(3600)
    (event,) = asyncio.run(run_trigger())
    return event


def statuses(value):
    return [entry["status"] for entry in value["statuses"]]


def test_the_event_carries_the_history(atai_emulator, job, xcoms):
    event = run(atai_emulator)
    assert statuses(event.payload["history"]) == ["REGISTERED", "COMPLETED"]


def test_airflow_is_asked_once_and_told_each_status_once(xcoms):
    def seen(*names):
        entries = [{"status": name, "at": f"2020-01-01T0{n}:00:00+00:00"} for n, name in enumerate(names)]
        return JobHistory.from_json({"job_id": "job-1", "statuses": entries})

    async def tell():
        one = trigger()
        for history in (seen("QUEUED"), seen("QUEUED"), seen("QUEUED", "RUNNING")):
            one._report.history(history)
            await all_is_told()

    asyncio.run(tell())
    assert [call.args[0] for call in XCom.set.call_args_list] == ["atai_statuses"] * 2
    assert XCom.get_one.call_count == 1


def test_a_wait_that_is_cancelled_tells_nothing_any_more(atai_emulator, job, xcoms):
    async def cancelled():
        sender, others_turn = publisher.publisher(), asyncio.Event()
        sender.offer("somebody", others_turn.wait)
        one = trigger()
        waiting = asyncio.ensure_future(anext(one.run()))
        async with asyncio.timeout(10):
            while (one._report, "atai_statuses") not in sender._messages:
                await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        others_turn.set()
        await all_is_told()

    asyncio.run(cancelled())
    assert "atai_statuses" not in xcoms


def test_what_the_worker_has_seen_is_kept(xcoms):
    first = {"status": "QUEUED", "at": "2020-01-01T00:00:00+00:00"}
    second = {"status": "RUNNING", "at": "2020-01-01T01:00:00+00:00"}
    xcoms["atai_statuses"] = {"job_id": "job-1", "statuses": [first]}

    async def tell():
        trigger()._report.history(JobHistory.from_json({"job_id": "job-1", "statuses": [second]}))
        await all_is_told()

    asyncio.run(tell())
    assert xcoms["atai_statuses"]["statuses"] == [first, second]


@pytest.mark.skipif(not TRIGGERERS_RUN_WHOLE_TASKS, reason="Every task begins on a worker")
def test_a_task_that_begins_here_has_its_record_and_its_links(atai_emulator, job, xcoms, monkeypatch):
    connection = atai_emulator.connection_json.replace(
        "{", '{"extra": {"console_url_template": "https://console.example/{job_id}"}, ', 1
    )
    monkeypatch.setenv("AIRFLOW_CONN_ATAI_DEFAULT", connection)
    event = run(atai_emulator, before_timeout=300, end_task=True)
    assert type(event).__name__ == "TaskSuccessEvent"
    record = xcoms["atai_job"]
    assert (record["job_id"], record["role"], record["atai_conn_id"]) == ("job-1", "wait", "atai_default")
    assert xcoms["_link_FineTuneJobLink"].endswith("/dags/d/runs/r/tasks/t/plugin/atai-job")
    assert xcoms["_link_FineTuneJobConsoleLink"] == "https://console.example/job-1"
    # No worker will push the end of the history.
    assert statuses(xcoms["atai_statuses"]) == ["REGISTERED", "COMPLETED"]


@pytest.mark.parametrize(("try_number", "is_kept"), [(1, True), (2, False)])
def test_after_a_restart_of_the_triggerer_the_record_stays_as_old_as_the_wait(
    atai_emulator, job, xcoms, try_number, is_kept
):
    old = {"job_id": "job-1", "try_number": try_number, "known_at": "2020-01-01T00:00:00+00:00"}
    xcoms["atai_job"] = old
    run(atai_emulator, before_timeout=300)
    assert (xcoms["atai_job"] == old) is is_kept


def test_an_error_in_telling_breaks_no_wait(atai_emulator, job, xcoms, monkeypatch):
    monkeypatch.setattr(publisher.Publisher, "offer", mock.Mock(side_effect=RuntimeError("a bug")))
    assert run(atai_emulator, before_timeout=300).payload["ending"] == "completed"


def test_a_task_without_xcoms_tells_nothing(atai_emulator, job, xcoms):
    run(atai_emulator, before_timeout=300, push_xcom=False)
    assert xcoms == {}


def test_an_airflow_that_takes_no_xcoms_holds_up_no_end(atai_emulator, job, xcoms):
    XCom.set.side_effect = RuntimeError("no supervisor")
    assert run(atai_emulator, before_timeout=300).payload["ending"] == "completed"
