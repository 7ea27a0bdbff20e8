from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
import requests

from airflow_provider_atai.api.fine_tune import FineTuneApi, FineTuneJob, JobMetrics
from airflow_provider_atai.errors import (
    AtaiAuthenticationError,
    AtaiNotFoundError,
    AtaiServerError,
    UnsendableRequestError,
)
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.waiting import job_listing, metrics_turns, poller
from airflow_provider_atai.waiting import subscription as subscriptions
from airflow_provider_atai.waiting.metrics_turns import take_metrics_turns
from airflow_provider_atai.waiting.poller import subscribe
from airflow_provider_atai.waiting.subscription import Subscription
from tests.harness.datasets import store_dataset

JOBS = "/fine-tune/jobs"
TASK = contextvars.ContextVar("TASK", default=None)


class Waiters:
    """Subscriptions on one event loop over one connection."""

    def __init__(self, stack):
        self._stack = stack
        self.hook = AtaiHook()

    async def join(self, job_id, *, interval=0.02, deadline=None, key="connection"):
        return await self._stack.enter_async_context(
            subscribe(key, self.hook.clone, job_id=job_id, interval=interval, deadline=deadline)
        )


def run(scenario):
    async def main():
        async with AsyncExitStack() as stack:
            await scenario(Waiters(stack))
        await asyncio.sleep(0)
        assert not poller._POLLERS.get(asyncio.get_running_loop())

    asyncio.run(asyncio.wait_for(main(), 60))


async def statuses(subscription, number):
    return [(await subscription.receive()).status for _ in range(number)]


async def polled(emulator, times, method="GET", path=f"*{JOBS}*"):
    """Wait until a request has been made this many more times."""
    await asyncio.to_thread(emulator.clear_requests)
    while len(await asyncio.to_thread(emulator.requests, method, path)) < times:
        await asyncio.sleep(0.01)


def calls(emulator):
    return Counter(
        "list" if entry["path"].endswith("/jobs") else entry["path"].rpartition("/")[2]
        for entry in emulator.requests(method="GET", path=f"*{JOBS}*")
    )


@pytest.fixture(autouse=True)
def _no_floor(monkeypatch):
    """Let the waiters of these tests poll as fast as they ask to."""
    for module in (poller, subscriptions):
        monkeypatch.setattr(module, "SHORTEST_INTERVAL", 0.01)


@pytest.fixture
def emulator(atai_emulator):
    atai_emulator.pause()
    return atai_emulator


@pytest.fixture
def job_ids(emulator):
    dataset = store_dataset(emulator)
    api = AtaiHook().fine_tune
    return [api.create(name="j", datasets=[dataset], job_id=f"job-{number}").id for number in range(5)]


def test_one_waiter_gets_its_job(emulator, job_ids):
    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        assert await statuses(one, 1) == ["REGISTERED"]
        await polled(emulator, 3)

    run(scenario)
    assert set(calls(emulator)) == {job_ids[0]}


def test_several_waiters_share_the_list_and_receive_only_changes(emulator, job_ids):
    async def scenario(waiters):
        all_of_them = [await waiters.join(job_id) for job_id in job_ids]
        for subscription in all_of_them:
            assert await statuses(subscription, 1) == ["REGISTERED"]
        await polled(emulator, 3)
        assert not any(subscription._items for subscription in all_of_them)
        assert set(calls(emulator)) == {"list"}

        await asyncio.to_thread(emulator.advance, 10)
        for subscription in all_of_them:
            assert await statuses(subscription, 1) == ["STARTING"]

    run(scenario)


def test_only_a_job_that_left_the_list_is_polled_with_a_get(emulator, job_ids):
    async def scenario(waiters):
        first, *others = [await waiters.join(job_id) for job_id in job_ids]
        for subscription in (first, *others):
            await statuses(subscription, 1)
        await asyncio.to_thread(emulator.clear_requests)
        await asyncio.to_thread(AtaiHook().fine_tune.cancel, first.job_id)
        assert await statuses(first, 1) == ["CANCELLED"]
        assert not any(subscription._items for subscription in others)

    run(scenario)
    assert calls(emulator)[job_ids[0]] >= 1
    assert not set(calls(emulator)) & set(job_ids[1:])


def test_a_bad_job_id_and_a_cancelled_waiter_do_not_disturb_the_others(emulator, job_ids):
    async def scenario(waiters):
        bad = await waiters.join("missing")
        odd = await waiters.join("..")
        good = await waiters.join(job_ids[0])
        assert isinstance(await bad.receive(), AtaiNotFoundError)
        assert isinstance(await odd.receive(), UnsendableRequestError)
        # Airflow does not check what a template renders.
        assert "unexpectedly" in str(await (await waiters.join(7)).receive())
        assert await statuses(good, 1) == ["REGISTERED"]

        async def give_up():
            async with subscribe(
                "connection", waiters.hook.clone, job_id=job_ids[1], interval=0.02, deadline=None
            ) as subscription:
                await subscription.receive()
                await subscription.receive()

        quitter = asyncio.create_task(give_up())
        await polled(emulator, 3)
        quitter.cancel()
        await asyncio.gather(quitter, return_exceptions=True)
        await asyncio.to_thread(emulator.advance, 10)
        assert await statuses(good, 1) == ["STARTING"]

    run(scenario)


def test_two_waiters_for_one_job_cost_one_request(emulator, job_ids):
    async def scenario(waiters):
        two = [await waiters.join(job_ids[0]) for _ in range(2)]
        for subscription in two:
            assert await statuses(subscription, 1) == ["REGISTERED"]

    run(scenario)
    assert calls(emulator) == {job_ids[0]: 1}


def test_a_new_waiter_causes_a_poll_only_if_its_interval_is_shorter(emulator, job_ids):
    async def scenario(waiters):
        slow = await waiters.join(job_ids[0], interval=3600)
        assert await statuses(slow, 1) == ["REGISTERED"]
        also_slow = await waiters.join(job_ids[1], interval=3600)
        await asyncio.sleep(0)
        assert calls(emulator) == {job_ids[0]: 1}
        eager = await waiters.join(job_ids[2], interval=0.02)
        assert await statuses(eager, 1) == ["REGISTERED"]
        assert await statuses(also_slow, 1) == ["REGISTERED"]

    run(scenario)


def test_after_the_eager_waiter_has_gone_the_interval_is_the_others(emulator, job_ids, monkeypatch):
    rests = []
    seconds_to_next = poller.JobPoller._seconds_to_next

    def observed(loop):
        rests.append(seconds_to_next(loop))
        return rests[-1]

    monkeypatch.setattr(poller.JobPoller, "_seconds_to_next", observed)

    async def scenario(waiters):
        slow = await waiters.join(job_ids[0], interval=3600)
        async with subscribe(
            "connection", waiters.hook.clone, job_id=job_ids[1], interval=0.02, deadline=None
        ) as eager:
            await statuses(eager, 1)
            await statuses(slow, 1)
        while rests[-1] < 3000:
            await asyncio.sleep(0.01)

    run(scenario)


def test_a_deadline_brings_an_extra_poll_at_once(emulator, job_ids):
    async def scenario(waiters):
        soon = datetime.now(UTC) + timedelta(seconds=0.2)
        late = await waiters.join(job_ids[0], interval=3600, deadline=soon)
        assert await statuses(late, 2) == ["REGISTERED", "REGISTERED"]
        assert datetime.now(UTC) >= soon

    run(scenario)


def test_an_outage_and_its_end_reach_every_waiter(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(poller, "retry_delay", lambda error, **known: 0.01)

    async def scenario(waiters):
        all_of_them = [await waiters.join(job_id) for job_id in job_ids]
        for subscription in all_of_them:
            await statuses(subscription, 1)
        fault = {"path": f"{JOBS}**", "effect": "answer", "status": 503, "count": 3}
        await asyncio.to_thread(lambda: emulator.add_fault(**fault))
        for subscription in all_of_them:
            for _ in range(3):
                assert isinstance(await subscription.receive(), AtaiServerError)
            # The status is the same as before, but after an error it is news.
            assert await statuses(subscription, 1) == ["REGISTERED"]

    run(scenario)


def test_the_loop_waits_as_long_as_retry_after_says(emulator, job_ids, monkeypatch):
    asked = []
    monkeypatch.setattr(
        poller,
        "retry_delay",
        lambda error, **known: asked.append((error.retry_after, known["failures"])) or 0.01,
    )
    emulator.add_fault(path=f"{JOBS}**", effect="answer", status=429, retry_after=7, count=2)

    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        for _ in range(2):
            await one.receive()
        assert await statuses(one, 1) == ["REGISTERED"]

    run(scenario)
    assert asked == [(7, 1), (7, 2)]


def test_a_refused_key_costs_one_request_and_reaches_every_waiter(emulator, job_ids):
    async def scenario(waiters):
        all_of_them = [await waiters.join(job_id) for job_id in job_ids]
        for subscription in all_of_them:
            await statuses(subscription, 1)
        await asyncio.to_thread(emulator.set_api_key, "sk_other")
        for subscription in all_of_them:
            assert isinstance(await subscription.receive(), AtaiAuthenticationError)

    run(scenario)
    assert [entry["status"] for entry in emulator.requests(method="GET")].count(401) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "answer", "status": 400},
        {"effect": "answer", "status": 403},
        {"effect": "answer", "status": 404, "body": "detail"},
        {"effect": "answer", "status": 200, "body": "html"},
        {"effect": "answer", "status": 200, "body": "json", "content": {"jobs": []}},
    ],
)
def test_without_a_list_each_job_is_polled_with_a_get(emulator, job_ids, fault):
    emulator.add_fault(method="GET", path=JOBS, count=None, **fault)

    async def scenario(waiters):
        for subscription in [await waiters.join(job_id) for job_id in job_ids]:
            assert await statuses(subscription, 1) == ["REGISTERED"]

    run(scenario)
    assert calls(emulator)["list"] == 1


def test_the_list_is_tried_again_after_a_pause(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(poller, "_LIST_PAUSE", 0.1)
    emulator.add_fault(method="GET", path=JOBS, effect="answer", status=200, body="html", count=1)

    async def scenario(waiters):
        for subscription in [await waiters.join(job_id) for job_id in job_ids]:
            await statuses(subscription, 1)
        await polled(emulator, 2, path=f"*{JOBS}")

    run(scenario)
    assert calls(emulator)["list"] >= 2


def test_slow_metrics_hold_up_no_poll(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(metrics_turns, "METRICS_INTERVAL", 0.001)
    slow = emulator.add_fault(path=f"{JOBS}/*/metrics", effect="delay", delay=3, count=None)
    emulator.advance(300)

    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        await statuses(one, 1)
        while not await asyncio.to_thread(emulator.fired, slow):
            await asyncio.sleep(0.01)
        await polled(emulator, 5, path=f"*{JOBS}/{job_ids[0]}")
        assert not one._items

    run(scenario)
    # Metrics are read one at a time, however long that takes.
    assert emulator.fired(slow) == 1


def test_one_rate_limit_among_good_answers_slows_the_loop(emulator, job_ids, monkeypatch):
    asked = []
    monkeypatch.setattr(poller, "retry_delay", lambda error, **known: asked.append(error.retry_after) or 0.01)
    monkeypatch.setattr(poller, "_LIST_PAUSE", 3600)
    emulator.add_fault(method="GET", path=JOBS, effect="answer", status=400, count=1)
    emulator.add_fault(path=f"{JOBS}/*", effect="answer", status=429, retry_after=7, count=1)

    async def scenario(waiters):
        everyone = [await waiters.join(job_id) for job_id in job_ids]
        for subscription in everyone:
            while not isinstance(await subscription.receive(), FineTuneJob):
                pass

    run(scenario)
    assert asked == [7]


def test_a_new_waiter_does_not_shorten_a_pause(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(poller, "retry_delay", lambda error, **known: 3600.0)
    emulator.add_fault(path=f"{JOBS}**", effect="answer", status=429, retry_after=3600, count=1)

    async def scenario(waiters):
        first = await waiters.join(job_ids[0])
        await first.receive()
        await waiters.join(job_ids[1])
        soon = datetime.now(UTC) + timedelta(seconds=0.2)
        hurried = await waiters.join(job_ids[2], deadline=soon)
        # Meanwhile only a waiter with a deadline gets a poll.
        assert await statuses(hurried, 1) == ["REGISTERED"]

    run(scenario)
    assert calls(emulator) == {job_ids[0]: 1, job_ids[2]: 1}


def record(job_id, status="RUNNING", **fields):
    return {"id": job_id, "name": "j", "status": status, **fields}


@pytest.mark.parametrize(
    "content",
    [
        [],
        [None, 1, "x", {}, {"id": None}],
        [record(f"job-{n}", "COMPLETED") for n in range(5)],
        [record(f"job-{n}", "FAILED") for n in range(5)],
        [record(f"job-{n}", None) for n in range(5)],
        [
            *(record(f"job-{n}", "RUNNING") for n in range(5)),
            *(record(f"job-{n}", "STOPPING") for n in range(5)),
        ],
    ],
    ids=["empty", "rubbish", "completed", "failed", "no status", "each twice"],
)
def test_if_list_and_get_disagree_the_get_wins(emulator, job_ids, content):
    emulator.add_fault(
        method="GET", path=JOBS, effect="answer", status=200, body="json", content=content, count=None
    )

    async def scenario(waiters):
        for subscription in [await waiters.join(job_id) for job_id in job_ids]:
            assert await statuses(subscription, 1) == ["REGISTERED"]

    run(scenario)
    assert set(calls(emulator)) >= set(job_ids)


def test_pages_are_read_until_all_jobs_are_found(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(job_listing, "PAGE_SIZE", 2)

    async def scenario(waiters):
        for subscription in [await waiters.join(job_id) for job_id in job_ids]:
            assert await statuses(subscription, 1) == ["REGISTERED"]

    run(scenario)
    first, second = emulator.requests(method="GET", path=f"*{JOBS}")[:2]
    assert [entry["query"].partition("&statuses")[0] for entry in (first, second)] == [
        "limit=2&offset=0",
        "limit=2&offset=2",
    ]
    # The oldest job is on the third page, which would cost as much as its GET.
    assert set(calls(emulator)) == {"list", job_ids[0]}


def test_a_list_that_gives_fewer_jobs_than_asked_for_costs_one_request_per_page(
    emulator, job_ids, monkeypatch
):
    list_records = FineTuneApi.list_records

    def capped(api, *, limit, **query):
        return list_records(api, limit=min(limit, 3), **query)

    monkeypatch.setattr(FineTuneApi, "list_records", capped)

    async def scenario(waiters):
        for one in [await waiters.join(job_id, interval=3600) for job_id in job_ids]:
            assert await statuses(one, 1) == ["REGISTERED"]

    run(scenario)
    assert calls(emulator) == {"list": 2}


def test_a_service_that_ignores_the_offset_is_asked_for_the_whole_list(
    emulator, job_ids, monkeypatch, caplog
):
    monkeypatch.setattr(job_listing, "PAGE_SIZE", 2)
    list_records = FineTuneApi.list_records

    def without_offset(api, *, offset=None, **query):
        return list_records(api, **query)

    monkeypatch.setattr(FineTuneApi, "list_records", without_offset)

    async def scenario(waiters):
        everyone = [await waiters.join(job_id) for job_id in job_ids]
        for one in everyone:
            assert await statuses(one, 1) == ["REGISTERED"]
        await polled(emulator, 5)

    run(scenario)
    assert set(calls(emulator)) == {"list"}
    assert {entry["query"].partition("statuses")[0] for entry in emulator.requests(path=f"*{JOBS}")} == {""}
    assert caplog.text.count("takes no notice of offset=2") == 1


def test_a_list_that_shows_only_other_jobs_is_left_alone(emulator, job_ids, monkeypatch, caplog):
    monkeypatch.setattr(job_listing, "PAGE_SIZE", 2)
    page = [record("other-1"), record("other-2")]
    emulator.add_fault(
        method="GET", path=JOBS, effect="answer", status=200, body="json", content=page, count=None
    )

    async def scenario(waiters):
        for subscription in [await waiters.join(job_id) for job_id in job_ids]:
            assert await statuses(subscription, 1) == ["REGISTERED"]
        while len(await asyncio.to_thread(emulator.requests, "GET", f"*{JOBS}/*")) < 3 * len(job_ids):
            await asyncio.sleep(0.01)

    run(scenario)
    # The page, the same page again, and the whole list.
    assert calls(emulator)["list"] == 3
    assert caplog.text.count("takes no notice") == 1


def test_few_jobs_in_a_long_list_are_polled_one_by_one(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(job_listing, "PAGE_SIZE", 1)

    async def scenario(waiters):
        # The oldest of five, in a list with one job per page.
        two = [await waiters.join(job_id) for job_id in job_ids[:2]]
        for subscription in two:
            await statuses(subscription, 1)
        await polled(emulator, 4)

    run(scenario)
    assert set(calls(emulator)) == set(job_ids[:2])


def test_connections_do_not_share_a_poll_loop(emulator, job_ids):
    async def scenario(waiters):
        for key in ("one", "other"):
            assert await statuses(await waiters.join(job_ids[0], key=key, interval=3600), 1)

    run(scenario)
    assert calls(emulator) == {job_ids[0]: 2}


def test_each_event_loop_has_its_own_poll_loop(emulator, job_ids):
    async def scenario(waiters):
        assert await statuses(await waiters.join(job_ids[0]), 1) == ["REGISTERED"]

    run(scenario)
    run(scenario)


def test_metrics_arrive_after_the_status(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(metrics_turns, "METRICS_INTERVAL", 0.001)
    emulator.advance(300)

    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        items = [await one.receive(), await one.receive()]
        assert isinstance(items[0], FineTuneJob)
        assert isinstance(items[1], JobMetrics)
        assert items[1].records

    run(scenario)


PARTS = ("_seconds_to_next", "_poll", "_poll_list", "_shortest_interval", "_poll_at_deadlines")
ERRORS = (RuntimeError("boom"), asyncio.CancelledError("boom"))


@pytest.mark.parametrize("broken", itertools.product(PARTS, ERRORS), ids=str)
def test_an_error_that_nobody_foresaw_is_an_outage_and_the_loop_goes_on(
    emulator, job_ids, monkeypatch, caplog, broken
):
    part, error = broken
    monkeypatch.setattr(poller, "retry_delay", lambda error, **known: 0.01)
    working, left = getattr(poller.JobPoller, part), [error, error]

    def breaking(loop, *arguments):
        if left:
            raise left.pop()
        return working(loop, *arguments)

    async def scenario(waiters):
        everyone = [await waiters.join(job_id) for job_id in job_ids]
        for one in everyone:
            await statuses(one, 1)
        monkeypatch.setattr(poller.JobPoller, part, breaking)
        for one in everyone:
            outages = 0
            while outages < 2:
                outages += "boom" in str(await one.receive())
            assert await statuses(one, 1) == ["REGISTERED"]

    run(scenario)
    (logged,) = [entry for entry in caplog.records if entry.levelname == "ERROR"]
    assert "treat that as an outage" in logged.getMessage()
    assert logged.exc_info[1] is error


def test_the_loop_ends_when_it_is_cancelled(emulator, job_ids):
    loops = []

    async def scenario(waiters):
        await statuses(await waiters.join(job_ids[0]), 1)
        loops.extend(poller._POLLERS[asyncio.get_running_loop()].values())

    run(scenario)
    (loop,) = loops
    assert loop._task.cancelled()


@pytest.mark.parametrize(
    "odd", [{"deadline": datetime(2026, 12, 24)}, {"interval": None}, {"interval": timedelta(minutes=1)}]
)
@pytest.mark.parametrize("others", [0, 2])
def test_a_waiter_with_an_odd_argument_disturbs_no_other(emulator, job_ids, odd, others):
    async def scenario(waiters):
        late = datetime.now(UTC) + timedelta(days=1)
        everyone = [await waiters.join(job_id, deadline=late) for job_id in job_ids[:others]]
        with pytest.raises((TypeError, ValueError)):
            await waiters.join(job_ids[4], **odd)
        for one in everyone:
            assert await statuses(one, 1) == ["REGISTERED"]
        if everyone:
            await polled(emulator, 3)

    run(scenario)


def test_a_record_that_cannot_be_read_hides_no_other(emulator, job_ids, monkeypatch):
    from_record = FineTuneJob.from_record

    def picky(record):
        if record["id"] == job_ids[0] and threading.current_thread().name.startswith("atai-poll"):
            raise RecursionError("boom")
        return from_record(record)

    monkeypatch.setattr(job_listing.FineTuneJob, "from_record", picky)

    async def scenario(waiters):
        odd, *others = [await waiters.join(job_id, interval=3600) for job_id in job_ids]
        for one in others:
            assert await statuses(one, 1) == ["REGISTERED"]
        assert "boom" in str(await odd.receive())

    run(scenario)


def test_no_metrics_are_read_for_a_job_that_nobody_waits_for(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(metrics_turns, "METRICS_INTERVAL", 0.001)
    monkeypatch.setattr(job_listing, "PAGE_SIZE", 1)
    emulator.advance(300)
    asked, may_go_on, tasks = [], threading.Event(), []

    def held_up(reader, *, job_id):
        asked.append(job_id)
        may_go_on.wait(30)

    monkeypatch.setattr(poller, "read_metrics", held_up)

    async def scenario(waiters):
        async with AsyncExitStack() as stack:
            everyone = Waiters(stack)
            for one in [await everyone.join(job_id) for job_id in job_ids]:
                assert await statuses(one, 1) == ["RUNNING"]
            while not asked:
                await asyncio.sleep(0.01)
            (loop,) = poller._POLLERS[asyncio.get_running_loop()].values()
            tasks.append(loop._metrics_task)
        may_go_on.set()
        await tasks[0]

    run(scenario)
    assert len(asked) == 1


def test_nobody_polls_faster_than_the_shortest_interval(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(subscriptions, "SHORTEST_INTERVAL", 3600.0)

    async def scenario(waiters):
        assert await statuses(await waiters.join(job_ids[0], interval=0), 1) == ["REGISTERED"]
        (loop,) = poller._POLLERS[asyncio.get_running_loop()].values()
        for interval in (0.001, 0, -1):
            await waiters.join(job_ids[1], interval=interval)
            assert loop._seconds_to_next() > 3000

    run(scenario)
    assert calls(emulator) == {job_ids[0]: 1}


def test_a_slow_service_does_not_block_the_event_loop(emulator, job_ids):
    emulator.add_fault(path=f"{JOBS}**", effect="delay", delay=2, count=1)

    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        answer = asyncio.create_task(one.receive())
        ticks, longest, last = 0, 0.0, asyncio.get_running_loop().time()
        while not answer.done():
            await asyncio.sleep(0.01)
            now = asyncio.get_running_loop().time()
            ticks, longest, last = ticks + 1, max(longest, now - last), now
        assert ticks > 20
        assert longest < 1

    run(scenario)


def test_the_last_waiter_closes_the_hook(emulator, job_ids, monkeypatch):
    closed = []
    close = AtaiHook.close
    monkeypatch.setattr(AtaiHook, "close", lambda hook: closed.append(hook) or close(hook))

    async def scenario(waiters):
        await statuses(await waiters.join(job_ids[0]), 1)

    run(scenario)
    assert len(closed) == 1
    assert requests.get(f"{emulator.root_url}/_emulator", timeout=5).ok


def test_the_poll_loop_does_not_run_in_the_first_waiters_context(emulator, job_ids, monkeypatch):
    seen = []

    def take_turns(*arguments):
        seen.append(TASK.get())
        return take_metrics_turns(*arguments)

    monkeypatch.setattr(poller, "take_metrics_turns", take_turns)

    async def scenario(waiters):
        TASK.set("the first waiter's task")
        await statuses(await waiters.join(job_ids[0]), 1)
        while len(seen) < 2:
            await asyncio.sleep(0.01)

    run(scenario)
    assert set(seen) == {None}


def test_polls_and_metrics_have_separate_threads(emulator, job_ids, monkeypatch):
    threads = {}

    def note_thread(name):
        real = getattr(poller, name)

        def call(*arguments, **named):
            threads.setdefault(name, set()).add(threading.current_thread().name.rpartition("_")[0])
            return real(*arguments, **named)

        monkeypatch.setattr(poller, name, call)

    for name in ("poll", "list_active", "read_metrics"):
        note_thread(name)
    monkeypatch.setattr(metrics_turns, "METRICS_INTERVAL", 0.001)
    emulator.advance(300)

    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        while not isinstance(await one.receive(), JobMetrics):
            pass
        await statuses(await waiters.join(job_ids[1]), 1)
        while len(threads) < 3:
            await asyncio.sleep(0.01)

    run(scenario)
    assert threads == {"poll": {"atai-poll"}, "list_active": {"atai-poll"}, "read_metrics": {"atai-metrics"}}


def test_waking_many_waiters_gives_way_to_other_coroutines(emulator, job_ids, monkeypatch):
    monkeypatch.setattr(poller, "_BATCH", 2)
    order = []
    send = Subscription.send
    monkeypatch.setattr(Subscription, "send", lambda one, item: order.append("sent") or send(one, item))

    async def scenario(waiters):
        async def hear(one):
            await one.receive()
            order.append("received")

        await asyncio.gather(*[hear(await waiters.join(job_id, interval=3600)) for job_id in job_ids])

    run(scenario)
    assert order[:3] == ["sent", "sent", "received"]


def test_an_answer_resets_the_count_of_failures(emulator, job_ids, monkeypatch):
    failures = []
    monkeypatch.setattr(
        poller, "retry_delay", lambda error, **known: failures.append(known["failures"]) or 0.01
    )

    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        await statuses(one, 1)
        for _ in range(2):
            fault = {"path": f"{JOBS}**", "effect": "answer", "status": 503, "count": 1}
            await asyncio.to_thread(lambda fault=fault: emulator.add_fault(**fault))
            assert isinstance(await one.receive(), AtaiServerError)
            assert await statuses(one, 1) == ["REGISTERED"]

    run(scenario)
    assert failures == [1, 1]


def test_a_terminal_status_is_sent_after_every_poll(emulator, job_ids):
    async def scenario(waiters):
        one = await waiters.join(job_ids[0])
        await statuses(one, 1)
        await asyncio.to_thread(AtaiHook().fine_tune.cancel, one.job_id)
        assert await statuses(one, 2) == ["CANCELLED", "CANCELLED"]

    run(scenario)
