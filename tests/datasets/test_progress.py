from __future__ import annotations

import logging
from unittest import mock

import pytest

from airflow_provider_atai.datasets.progress import UploadProgress


class Told:
    """An upload's progress at times of the test's choosing, and the lines that it made."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        log = mock.create_autospec(logging.Logger, instance=True)
        log.info.side_effect = lambda text, *values: self.lines.append(text % values)
        self.progress = UploadProgress(log, "a.jsonl", clock=lambda: self.now)

    def at(self, second: float, there: int, total: int) -> None:
        self.now = 100.0 + second
        self.progress(there, total)

    def finish(self, second: float) -> list[str]:
        self.now = 100.0 + second
        self.progress.finish()
        return self.lines


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_line_every_few_seconds_and_one_at_the_end(told: Told) -> None:
    for second in range(21):
        told.at(second, second * 10_000_000, 200_000_000)
    assert told.finish(20) == [
        "a.jsonl: 50000000 of 200000000 bytes are sent (25 %), 10.0 MB/s, 15 s left.",
        "a.jsonl: 100000000 of 200000000 bytes are sent (50 %), 10.0 MB/s, 10 s left.",
        "a.jsonl: 150000000 of 200000000 bytes are sent (75 %), 10.0 MB/s, 5.0 s left.",
        "a.jsonl: 200000000 of 200000000 bytes are sent (100 %), 10.0 MB/s, 0.0 s left.",
        "a.jsonl: 200000000 bytes were sent in 20 s, 10.0 MB/s.",
    ]


def test_what_an_earlier_try_had_sent_does_not_count_for_the_rate(told: Told) -> None:
    told.at(0, 9_000_000, 10_000_000)
    told.at(10, 9_500_000, 10_000_000)
    assert told.finish(20) == [
        "a.jsonl: 9500000 of 10000000 bytes are sent (95 %), 50.0 kB/s, 10 s left.",
        "a.jsonl: 500000 bytes were sent in 20 s after 9000000 of an earlier try, 25.0 kB/s.",
    ]


def test_nothing_sent_for_long_is_told_without_a_guess(told: Told) -> None:
    told.at(0, 0, 10)
    told.at(60, 0, 10)
    # A part that is sent again takes its bytes back.
    told.at(70, 5, 10)
    told.at(80, 0, 10)
    assert told.lines == [
        "a.jsonl: 0 of 10 bytes are sent (0 %), 0.0 kB/s, time left unknown.",
        "a.jsonl: 5 of 10 bytes are sent (50 %), 0.0 kB/s, 1 min 10 s left.",
        "a.jsonl: 0 of 10 bytes are sent (0 %), 0.0 kB/s, time left unknown.",
    ]


def test_a_small_file_gets_the_last_line_alone(told: Told) -> None:
    told.at(0, 0, 18)
    told.at(0, 18, 18)
    assert told.finish(0) == ["a.jsonl: 18 bytes were sent in 0.0 s, 0.0 kB/s."]


def test_hours(told: Told) -> None:
    told.at(0, 0, 10**12)
    told.at(100, 10**10, 10**12)
    assert told.lines == [
        "a.jsonl: 10000000000 of 1000000000000 bytes are sent (1 %), 100.0 MB/s, 2 h 45 min left."
    ]


def test_nothing_was_sent(told: Told) -> None:
    assert told.finish(1) == []
