from __future__ import annotations

import asyncio
from functools import partial

import pytest

from airflow_provider_atai.waiting import publisher as module
from airflow_provider_atai.waiting.publisher import Publisher, publisher


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.0)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


class Airflow:
    """Takes messages, each while `open` is set, and fails as often as it is told to."""

    def __init__(self):
        self.taken = []
        self.tries = 0
        self.failures = 0
        self.under_way = 0
        self.most_under_way = 0
        self.open = asyncio.Event()
        self.open.set()

    async def take(self, message):
        self.tries += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.open.wait()
            if self.failures:
                self.failures -= 1
                raise RuntimeError("no supervisor")
            self.taken.append(message)
        finally:
            self.under_way -= 1


def test_one_message_is_under_way_and_all_are_sent():
    async def run():
        airflow, sender = Airflow(), Publisher()
        for number in range(50):
            sender.offer(number, partial(airflow.take, number))
        await until(lambda: len(airflow.taken) == 50)
        assert airflow.taken == list(range(50))
        assert airflow.most_under_way == 1

    asyncio.run(run())


def test_the_newest_message_of_a_waiter_is_sent_in_its_place():
    async def run():
        airflow, sender = Airflow(), Publisher()
        airflow.open.clear()
        sender.offer("first", partial(airflow.take, "first"))
        await until(lambda: airflow.under_way)
        for number in range(100):
            sender.offer("a", partial(airflow.take, f"a{number}"))
            sender.offer("b", partial(airflow.take, f"b{number}"))
        airflow.open.set()
        await until(lambda: len(airflow.taken) == 3)
        await asyncio.sleep(0.01)
        assert airflow.taken == ["first", "a99", "b99"]

    asyncio.run(run())


def test_what_was_withdrawn_is_not_sent():
    async def run():
        airflow, sender = Airflow(), Publisher()
        sender.offer("a", partial(airflow.take, "a"))
        sender.offer("b", partial(airflow.take, "b"))
        sender.withdraw("a")
        sender.withdraw("unknown")
        await until(lambda: airflow.taken)
        assert airflow.taken == ["b"]

    asyncio.run(run())


def test_what_was_withdrawn_on_its_way_is_not_tried_again():
    async def run():
        airflow, sender = Airflow(), Publisher()
        airflow.failures = 1
        airflow.open.clear()
        sender.offer("a", partial(airflow.take, "a"))
        await until(lambda: airflow.under_way)
        sender.withdraw("a")
        sender.offer("b", partial(airflow.take, "b"))
        airflow.open.set()
        await until(lambda: airflow.taken)
        assert (airflow.taken, airflow.tries) == (["b"], 2)

    asyncio.run(run())


@pytest.mark.parametrize(("failures", "taken", "tries"), [(2, ["a", "b"], 4), (3, ["b"], 4)])
def test_a_message_is_tried_three_times_and_holds_up_no_other(failures, taken, tries):
    async def run():
        airflow, sender = Airflow(), Publisher()
        airflow.failures = failures
        sender.offer("a", partial(airflow.take, "a"))
        sender.offer("b", partial(airflow.take, "b"))
        await until(lambda: "b" in airflow.taken)
        assert (airflow.taken, airflow.tries) == (taken, tries)

    asyncio.run(run())


def test_a_failed_message_gives_way_to_a_newer_one():
    async def run():
        airflow, sender = Airflow(), Publisher()
        airflow.failures = 1
        airflow.open.clear()
        sender.offer("a", partial(airflow.take, "old"))
        await until(lambda: airflow.under_way)
        sender.offer("a", partial(airflow.take, "new"))
        airflow.open.set()
        await until(lambda: airflow.taken)
        await asyncio.sleep(0.01)
        assert airflow.taken == ["new"]

    asyncio.run(run())


def test_it_begins_again_after_it_has_sent_everything():
    async def run():
        airflow, sender = Airflow(), Publisher()
        for number in range(3):
            sender.offer("a", partial(airflow.take, number))
            await until(lambda number=number: number in airflow.taken)
            await asyncio.sleep(0.01)

    asyncio.run(run())


def test_an_event_loop_has_one():
    async def run():
        assert publisher() is publisher()
        return publisher()

    assert asyncio.run(run()) is not asyncio.run(run())
