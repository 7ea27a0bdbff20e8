"""Remembers a demo that was left running, and ends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.harness.child_processes import ChildProcess, end_tree

RECORD = Path(__file__).resolve().parent.parent / ".cache" / "demo.json"


def remember(home: Path, children: Sequence[ChildProcess]) -> None:
    """Write down which processes run on, and where their files are."""
    RECORD.parent.mkdir(exist_ok=True)
    processes = [{"name": child.name, "pid": child.pid, "created": child.created} for child in children]
    RECORD.write_text(json.dumps({"home": str(home), "processes": processes}, indent=2))


def running() -> bool:
    """Tell whether a demo that was left running still does."""
    return any(
        psutil.pid_exists(process["pid"])
        and abs(psutil.Process(process["pid"]).create_time() - process["created"]) < 1
        for process in _record()["processes"]
    )


def stop() -> int:
    """End the demo that was left running, remove its files, and return the exit status."""
    record = _record()
    if not record["processes"]:
        print("No demo was left running here.")
        return 0
    for process in record["processes"]:
        end_tree(process["pid"], process["created"])
        print(f"ended {process['name']} ({process['pid']})")
    shutil.rmtree(record["home"], ignore_errors=True)
    RECORD.unlink()
    return 0


def _record() -> dict[str, Any]:
    if not RECORD.exists():
        return {"home": "", "processes": []}
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record
