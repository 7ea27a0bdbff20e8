from __future__ import annotations

import gzip
from types import SimpleNamespace

import pytest

from airflow_provider_atai.api import response_body
from airflow_provider_atai.api.response_body import read_blocks
from airflow_provider_atai.errors import AtaiTimeoutError

TIMEOUT = (5.0, 60.0)
PACE = 1000


@pytest.fixture
def now(monkeypatch):
    """A clock that only the test moves."""
    clock = SimpleNamespace(time=0.0)
    monkeypatch.setattr(response_body, "time", SimpleNamespace(monotonic=lambda: clock.time))
    return clock


def reading(now, blocks, *, seconds, pace, encoding=""):
    """Read blocks, each of which takes the given seconds to arrive, and return the decoded ones."""
    sent = iter(blocks)

    def read1(amount, *, decode_content):
        now.time += seconds
        return next(sent, b"")

    response = SimpleNamespace(raw=SimpleNamespace(read1=read1), headers={"Content-Encoding": encoding})
    return read_blocks(response, "GET", "http://127.0.0.1/x", TIMEOUT, pace=pace)


def test_a_body_has_one_time_limit(now):
    assert len(list(reading(now, [b"x" * PACE] * 5, seconds=9.9, pace=None))) == 5
    with pytest.raises(AtaiTimeoutError, match="within 60 s"):
        list(reading(now, [b"x" * PACE] * 7, seconds=9.9, pace=None))


def test_a_large_body_may_take_its_time_if_it_keeps_the_pace(now):
    assert len(list(reading(now, [b"x" * (PACE // 2)] * 90, seconds=25, pace=PACE))) == 90
    with pytest.raises(AtaiTimeoutError, match="within 60 s"):
        list(reading(now, [b"x" * (PACE // 2)] * 90, seconds=31, pace=PACE))


def test_the_time_of_the_reader_does_not_count(now):
    for _ in reading(now, [b"x"] * 10, seconds=1, pace=None):
        now.time += 3600


def test_decompressed_blocks_stay_small(now):
    zeros = 50 * 1024 * 1024
    blocks = list(reading(now, [gzip.compress(bytes(zeros))], seconds=1, pace=None, encoding="gzip"))
    assert sum(map(len, blocks)) == zeros
    assert max(map(len, blocks)) <= 256 * 1024
