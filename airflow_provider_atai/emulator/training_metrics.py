"""Plausible metrics of a training run that never happens."""

from __future__ import annotations

import math
import random
from typing import Any


def checkpoint_records(
    job_id: str, *, reached: int, total: int, steps: int, seconds: float
) -> list[dict[str, Any]]:
    """
    Return the metrics of a job's checkpoints: the same every time for one job id.

    :param job_id: seeds the curves.
    :param reached: how many checkpoints there are by now.
    :param total: how many there are at the end of the training.
    :param steps: training steps between two checkpoints.
    :param seconds: time between two checkpoints.
    """
    seed = random.Random(job_id)
    start, floor, gap = seed.uniform(2.2, 3.0), seed.uniform(0.25, 0.6), seed.uniform(1.02, 1.08)
    records = []
    for number in range(1, reached + 1):
        progress = number / total
        # The wobble is far smaller than the fall between two of up to a few dozen checkpoints.
        loss = floor + (start - floor) * math.exp(-3 * progress) * (1 + seed.uniform(-0.004, 0.004))
        records.append(
            {
                "step": number * steps,
                "loss": round(loss, 4),
                "eval_loss": round(loss * gap, 4),
                "learning_rate": round(2e-4 * (1 + math.cos(math.pi * progress)) / 2, 9),
                "wall_time_sec": round(number * seconds, 1),
            }
        )
    return records
