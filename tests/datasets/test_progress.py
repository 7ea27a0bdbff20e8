from __future__ import annotations

import logging
from unittest import mock

import pytest

from airflow_provider_atai.datasets.progress import UploadProgress


class UploadAt:
    """An upload's progress at times that the test chooses, and the lines that it logged."""

    def __init__(self):
        self.now = 100.0
        self.lines: list[str] = []
        log = mock.create_autospec(logging.Logger, instance=True)
        log.info.side_effect = lambda text, *values: self.lines.append(text % values)
        self.progress = UploadProgress(log, "a.jsonl", clock=lambda: self.now)

    def at(self, second, there, total):
        self.now = 100.0 + second
        self.progress(there, total)

    def finish(self, second):
        self.now = 100.0 + second
        self.progress.finish()
        return self.lines


@pytest.fixture
def upload():
    return UploadAt()


def test_a_line_is_logged_every_few_seconds_and_at_the_end(upload):
    for second in range(21):
        upload.at(second, second * 10_000_000, 200_000_000)
    assert upload.finish(20) == [
        "a.jsonl: 50000000 of 200000000 bytes sent (25 %), 10.00 MB/s, time left: 0:00:15.",
        "a.jsonl: 100000000 of 200000000 bytes sent (50 %), 10.00 MB/s, time left: 0:00:10.",
        "a.jsonl: 150000000 of 200000000 bytes sent (75 %), 10.00 MB/s, time left: 0:00:05.",
        "a.jsonl: 200000000 of 200000000 bytes sent (100 %), 10.00 MB/s, time left: 0:00:00.",
        "a.jsonl: 200000000 bytes sent in 20.0 s, 10.00 MB/s; an earlier try had sent 0 bytes.",
    ]


def test_bytes_of_an_earlier_try_do_not_count_for_the_rate(upload):
    upload.at(0, 9_000_000, 10_000_000)
    upload.at(10, 9_500_000, 10_000_000)
    assert upload.finish(20) == [
        "a.jsonl: 9500000 of 10000000 bytes sent (95 %), 0.05 MB/s, time left: 0:00:10.",
        "a.jsonl: 500000 bytes sent in 20.0 s, 0.03 MB/s; an earlier try had sent 9000000 bytes.",
    ]


def test_without_progress_the_time_left_is_unknown(upload):
    upload.at(0, 0, 10)
    upload.at(60, 0, 10)
    # A part that is sent again takes its bytes back.
    upload.at(70, 5, 10)
    upload.at(80, 0, 10)
    assert upload.lines == [
        "a.jsonl: 0 of 10 bytes sent (0 %), 0.00 MB/s, time left: unknown.",
        "a.jsonl: 5 of 10 bytes sent (50 %), 0.00 MB/s, time left: 0:01:10.",
        "a.jsonl: 0 of 10 bytes sent (0 %), 0.00 MB/s, time left: unknown.",
    ]


def test_a_small_file_gets_only_the_last_line(upload):
    upload.at(0, 0, 18)
    upload.at(0, 18, 18)
    assert upload.finish(0) == [
        "a.jsonl: 18 bytes sent in 0.0 s, 0.00 MB/s; an earlier try had sent 0 bytes."
    ]


def test_time_left_in_hours(upload):
    upload.at(0, 0, 10**12)
    upload.at(100, 10**10, 10**12)
    assert upload.lines == [
        "a.jsonl: 10000000000 of 1000000000000 bytes sent (1 %), 100.00 MB/s, time left: 2:45:00."
    ]


def test_nothing_is_logged_if_nothing_was_sent(upload):
    assert upload.finish(1) == []
