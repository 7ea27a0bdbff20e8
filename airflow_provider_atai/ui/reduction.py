"""Makes a job's metrics small enough to draw, without losing a peak. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import JobMetrics

SERIES = ("loss", "eval_loss", "learning_rate")
MOST_POINTS = 1000
_MOST_CHECKPOINTS = 50


class Point(NamedTuple):
    """A value of a series: at a step, and after so many seconds, as far as the record says."""

    step: float | None
    time: float | None
    value: float


@dataclass(frozen=True)
class ReducedMetrics:
    """
    What the pages show of a job's metrics.

    :param records: how many records there are.
    :param last_step: the largest step that a record names.
    :param last_checkpoint_step: what the service calls the last checkpoint.
    :param series: at most 1,000 points each, by the documented key.
    :param totals: how many points each had.
    :param best: the lowest evaluation loss.
    :param checkpoints: the newest 50 records, newest first.
    :param unusable: how many records have a value that is not a finite number.
    """

    records: int
    last_step: float | None
    last_checkpoint_step: int | None
    series: dict[str, list[Point]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    best: Point | None = None
    checkpoints: list[dict[str, float | None]] = field(default_factory=list)
    unusable: int = 0


def number(value: object) -> float | None:
    """Return a finite number, None for anything else: records are free-form, and a loss can diverge."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(float(value)) else None
    except OverflowError:
        return None


def reduced(metrics: JobMetrics, most: int = MOST_POINTS) -> ReducedMetrics:
    """Return what the pages show of a job's metrics."""
    records = metrics.records
    points = {key: _points(records, key) for key in SERIES}
    steps = [step for record in records if (step := number(record.get("step"))) is not None]
    return ReducedMetrics(
        records=len(records),
        last_step=max(steps, default=None),
        last_checkpoint_step=metrics.last_checkpoint_step,
        series={key: thinned(found, most) for key, found in points.items()},
        totals={key: len(found) for key, found in points.items()},
        best=min(points["eval_loss"], key=lambda point: point.value, default=None),
        checkpoints=[_checkpoint(record) for record in reversed(records[-_MOST_CHECKPOINTS:])],
        unusable=sum(_is_unusable(record) for record in records),
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """
    Return at most so many points, with the first, the last, and the lowest and highest of each stretch.

    A curve through them covers the same pixels as one through all, peaks included.
    """
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    stretches = max(1, (most - 2) // 2)
    kept = [points[0]]
    for number_ in range(stretches):
        stretch = inner[len(inner) * number_ // stretches : len(inner) * (number_ + 1) // stretches]
        lowest = min(range(len(stretch)), key=lambda index: stretch[index].value)
        highest = max(range(len(stretch)), key=lambda index: stretch[index].value)
        kept += [stretch[index] for index in sorted({lowest, highest})]
    return [*kept, points[-1]]


def _points(records: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    return [
        Point(number(record.get("step")), number(record.get("wall_time_sec")), value)
        for record in records
        if (value := number(record.get(key))) is not None
    ]


def _checkpoint(record: Mapping[str, Any]) -> dict[str, float | None]:
    values = {key: number(record.get(key)) for key in ("step", *SERIES)}
    return {**values, "time": number(record.get("wall_time_sec"))}


def _is_unusable(record: Mapping[str, Any]) -> bool:
    return any(record.get(key) is not None and number(record[key]) is None for key in ("step", *SERIES))
