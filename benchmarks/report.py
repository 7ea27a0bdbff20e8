"""Prints plain tables and the machine that the figures are from."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime


def machine() -> str:
    """Return one line about this machine and its load before the measurement."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.machine()}, {cores} cores, "
        f"Python {platform.python_version()}, {busy} at the start"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text, the first column flush left and the others flush right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for row in [header, *rows]:
        first, *others = [cell.ljust if not column else cell.rjust for column, cell in enumerate(row)]
        lines.append(
            "  ".join(
                [first(widths[0]), *(one(width) for one, width in zip(others, widths[1:], strict=True))]
            )
        )
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def ratio(theirs: float, ours: float) -> str:
    """Return theirs as a multiple of ours."""
    if ours <= 0 or theirs <= 0:
        return "-"
    times = theirs / ours
    return f"{times:.0f}x" if times >= 10 else f"{times:.1f}x"


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
