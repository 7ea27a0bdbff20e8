from __future__ import annotations

from airflow_provider_atai.emulator.timestamps import microseconds, whole_seconds


def test_the_documented_forms() -> None:
    assert microseconds(1777300338.421) == "2026-04-27T14:32:18.421000Z"
    assert microseconds(1777300338) == "2026-04-27T14:32:18.000000Z"
    assert whole_seconds(1777300338.9) == "2026-04-27T14:32:18Z"
