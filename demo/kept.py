"""Records the processes of a demo that is left running, and ends them."""

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
    """Record which processes keep running, and where their files are."""
    RECORD.parent.mkdir(exist_ok=True)
    processes = [{"name": child.name, "pid": child.pid, "created": child.created} for child in children]
    RECORD.write_text(json.dumps({"home": str(home), "processes": processes}, indent=2))


def running() -> bool:
    """Return whether a recorded demo is still running."""
    return any(
        psutil.pid_exists(process["pid"])
        and abs(psutil.Process(process["pid"]).create_time() - process["created"]) < 1
        for process in _record()["processes"]
    )


def stop() -> int:
    """End the recorded demo, remove its files, and return the exit status."""
    record = _record()
    if not record["processes"]:
        print("There is no running demo to end.")
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
