from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.child_processes import ChildEndedError, ChildProcesses, NotInTimeError

# Prints its own process id and that of a child that has left its process group.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("family", os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def python(code):
    return [sys.executable, "-c", code]


def family_of(processes, log):
    def announced():
        return [int(word) for word in log.read_text().split()[1:]]

    return processes.wait_until(announced, "the family has announced itself", 60)


def running(pids):
    return [
        pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


def test_end_of_block_ends_all_descendants(tmp_path):
    with ChildProcesses(tmp_path) as processes:
        child = processes.start("family", python(FAMILY), os.environ)
        family = family_of(processes, child.log)
        assert running(family) == family
    assert running(family) == []


def test_end_of_block_ends_orphans_of_a_killed_process(tmp_path):
    with ChildProcesses(tmp_path) as processes:
        child = processes.start("family", python(FAMILY.replace("start_new_session=True", "")), os.environ)
        leader, orphan = family_of(processes, child.log)
        os.kill(leader, signal.SIGKILL)
        child.wait(60)
        assert running([orphan]) == [orphan]
    assert running([orphan]) == []


def test_kill_ends_all_descendants(tmp_path):
    with ChildProcesses(tmp_path) as processes:
        child = processes.start("family", python(FAMILY), os.environ)
        family = family_of(processes, child.log)
        child.kill()
        assert running(family) == []


def test_sigterm_ends_all_descendants(tmp_path):
    parent_code = f"""
import os, sys, time
from pathlib import Path
from tests.harness.child_processes import ChildProcesses
with ChildProcesses(Path({str(tmp_path / "inner")!r})) as processes:
    processes.start("family", [sys.executable, "-c", {FAMILY!r}], os.environ)
    time.sleep(600)
"""
    with ChildProcesses(tmp_path) as processes:
        repository = str(Path(__file__).resolve().parents[2])
        parent = processes.start("parent", python(parent_code), {**os.environ, "PYTHONPATH": repository})
        log = tmp_path / "inner" / "family.log"
        family = family_of(processes, log)
        os.kill(parent.pid, signal.SIGTERM)
        assert parent.wait(60) == 128 + signal.SIGTERM
        assert running(family) == []
        processes.release()


def test_released_processes_outlive_the_block(tmp_path):
    with ChildProcesses(tmp_path) as processes:
        processes.start("sleeper", python("import time; time.sleep(600)"), os.environ)
        (child,) = processes.release()
    try:
        assert child.running
    finally:
        child.stop()
    assert not child.running


def test_wait_until_raises_with_the_log_of_a_child_that_ended(tmp_path):
    with ChildProcesses(tmp_path) as processes:
        processes.start("short", python("raise SystemExit('no such port')"), os.environ)
        with pytest.raises(ChildEndedError, match=r"short ended with status 1[\s\S]*no such port"):
            processes.wait_until(lambda: None, "never", 60)


def test_wait_until_raises_with_the_last_error_at_its_deadline(tmp_path):
    def refused():
        raise ConnectionRefusedError("nobody listens")

    with (
        ChildProcesses(tmp_path) as processes,
        pytest.raises(NotInTimeError, match=r"Airflow is up did not come true\. .*nobody listens"),
    ):
        processes.wait_until(refused, "Airflow is up", 0.1)


def test_end_tree_leaves_a_reused_process_id_alone():
    from tests.harness.child_processes import end_tree

    stranger = subprocess.Popen(python("import time; time.sleep(600)"), start_new_session=True)
    try:
        end_tree(stranger.pid, psutil.Process(stranger.pid).create_time() - 3600)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
