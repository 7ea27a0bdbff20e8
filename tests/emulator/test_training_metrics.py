from __future__ import annotations

from itertools import pairwise

import pytest

from airflow_provider_atai.emulator.training_metrics import checkpoint_records


@pytest.mark.parametrize("job_id", ["a", "ft-job-b", "c" * 64])
def test_losses_fall_to_the_last_checkpoint(job_id: str) -> None:
    records = checkpoint_records(job_id, reached=20, total=20, steps=200, seconds=30)
    for before, after in pairwise(records):
        assert after["loss"] < before["loss"]
        assert after["eval_loss"] < before["eval_loss"]
        assert after["learning_rate"] < before["learning_rate"]


def test_records_have_the_documented_form_and_do_not_change() -> None:
    whole = checkpoint_records("a", reached=3, total=5, steps=200, seconds=120)
    assert [list(record) for record in whole] == [
        ["step", "loss", "eval_loss", "learning_rate", "wall_time_sec"]
    ] * 3
    assert [(record["step"], record["wall_time_sec"]) for record in whole] == [
        (200, 120.0),
        (400, 240.0),
        (600, 360.0),
    ]
    assert checkpoint_records("a", reached=1, total=5, steps=200, seconds=120) == whole[:1]
    assert checkpoint_records("b", reached=1, total=5, steps=200, seconds=120) != whole[:1]
