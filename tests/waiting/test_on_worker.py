from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_atai.waiting.on_worker import seconds_for_a_call

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "seconds"), [(None, None), (3600, 3600), (20, 20), (5, 5), (4, 5), (0, 5), (-60, 5)]
)
def test_a_call_takes_at_most_what_is_left_until_the_deadline(left, seconds):
    deadline = None if left is None else NOW + timedelta(seconds=left)
    assert seconds_for_a_call(deadline, NOW) == seconds
