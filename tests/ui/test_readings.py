from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from airflow_provider_atai.ui.readings import Readings


class Service:
    """Counts the questions, and numbers the answers."""

    def __init__(self):
        self.asked = []
        self.before = []

    def answer(self, key):
        def load(before):
            self.asked.append(key)
            self.before.append(before)
            return len(self.asked)

        return load


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def readings(now):
    return Readings(max_age=4.0, clock=lambda: now[0])


def test_an_answer_is_kept_as_long_as_it_is_good(readings, now):
    service = Service()
    for now[0] in (0.0, 1.0, 3.9):
        assert readings.get("a", service.answer("a")) == 1
    for now[0] in (4.0, 7.9):
        assert readings.get("a", service.answer("a")) == 2
    assert service.before == [None, 1]


def test_each_job_has_its_own(readings):
    service = Service()
    assert [readings.get(key, service.answer(key)) for key in "abab"] == [1, 2, 1, 2]


def test_what_was_forgotten_is_asked_again(readings):
    service = Service()
    readings.get("a", service.answer("a"))
    readings.forget("a")
    readings.forget("unknown")
    assert readings.get("a", service.answer("a")) == 2


def test_many_who_ask_at_once_make_one_call(readings):
    service, entered, go = Service(), Event(), Event()

    def load(before):
        entered.set()
        assert go.wait(30)
        return service.answer("a")(before)

    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(readings.get, "a", load) for _ in range(10)]
        assert entered.wait(30)
        # A slow answer about one job holds up nobody who asks for another.
        assert readings.get("b", lambda before: "b") == "b"
        go.set()
        assert {call.result(30) for call in calls} == {1}
    assert service.asked == ["a"]


def test_a_call_that_fails_is_made_again(readings):
    def fail(before):
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError):
        readings.get("a", fail)
    assert readings.get("a", Service().answer("a")) == 1


def test_it_is_bounded(readings):
    service = Service()
    for key in range(2000):
        readings.get(key, service.answer(key))
    assert len(readings._kept) <= 500
    assert readings.get(1999, service.answer(1999)) == 2000
