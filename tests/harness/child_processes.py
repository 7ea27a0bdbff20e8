"""Child processes that do not outlive their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

import psutil

T = TypeVar("T")

STOP_SECONDS = 15.0
POLL_SECONDS = 0.25


class ChildEndedError(RuntimeError):
    """A process that should be running has ended."""


class NotInTimeError(RuntimeError):
    """A condition did not come true before its deadline."""


def tail(path: Path, lines: int = 30) -> str:
    """Return the last lines of a log file, or ``(empty)`` if there are none."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:]) or "(empty)"


def end_tree(pid: int, created: float | None = None) -> None:
    """
    End a process, its process group and all its descendants: SIGTERM first, SIGKILL after a while.

    :param pid: the process, which leads its own group.
    :param created: its creation time; if given, another process that got the same id later is left alone.
    """
    # A group can outlive its leader, and the system does not reuse the group's id until then.
    family = {process for process in psutil.process_iter() if _group_of(process) == pid}
    with contextlib.suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        if created is not None and abs(leader.create_time() - created) > 1:
            return
        # A task's process may have left the group.
        family |= {leader, *leader.children(recursive=True)}
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(process)
        family = _wait_for_end(family)


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def _wait_for_end(family: set[psutil.Process]) -> set[psutil.Process]:
    """Wait a while for processes to end; return those that still run."""
    deadline = time.monotonic() + STOP_SECONDS
    while (alive := {process for process in family if _alive(process)}) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 5)
    return alive


def _alive(process: psutil.Process) -> bool:
    # An orphan stays a zombie until the machine's init process reaps it.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class ChildProcess:
    """A process in a session of its own that writes its output to a file."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self.created = psutil.Process(self.pid).create_time()

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._popen.poll() is None

    def wait(self, seconds: float) -> int:
        """Wait until the process ends; return its exit status."""
        return self._popen.wait(seconds)

    def check(self) -> None:
        """
        Check that the process is running.

        :raises ChildEndedError: if it has ended, with the end of its output.
        """
        if not self.running:
            status = self._popen.returncode
            raise ChildEndedError(
                f"{self.name} ended with status {status}. The end of {self.log}:\n{tail(self.log)}"
            )

    def kill(self) -> None:
        """Send SIGKILL to the process and its descendants."""
        family = {psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)}
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._popen.wait(STOP_SECONDS)
        _wait_for_end(family)

    def stop(self) -> None:
        """End the process and its descendants, SIGTERM first."""
        end_tree(self.pid, self.created)
        self._popen.wait(STOP_SECONDS)


class ChildProcesses:
    """
    All processes of a demo or a test. They end with the block, however it ends.

    Inside the block, SIGTERM exits this process normally, so that the children end too.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: dict[str, ChildProcess] = {}
        self._sigterm_before: Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> ChildProcesses:
        self.logs.mkdir(parents=True, exist_ok=True)
        if threading.current_thread() is threading.main_thread():
            self._sigterm_before = signal.signal(signal.SIGTERM, _exit_on_signal)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop_all()
        finally:
            if self._sigterm_before is not None:
                signal.signal(signal.SIGTERM, self._sigterm_before)

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> ChildProcess:
        """Start a process; its output is appended to ``<logs>/<name>.log``."""
        child = ChildProcess(name, argv, env, self.logs / f"{name}.log")
        self.children[name] = child
        return child

    def stop_all(self) -> None:
        """End all processes in parallel, the newest first."""
        stopping = [threading.Thread(target=child.stop) for child in reversed(self.children.values())]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        self.children.clear()

    def release(self) -> list[ChildProcess]:
        """Return all processes and let them outlive the block."""
        released = list(self.children.values())
        self.children.clear()
        return released

    def check(self) -> None:
        """
        Check that all processes are running.

        :raises ChildEndedError: for the first one that has ended.
        """
        for child in self.children.values():
            child.check()

    def wait_until(self, condition: Callable[[], T | None], what: str, seconds: float) -> T:
        """
        Wait until ``condition`` returns a true value, and return that value.

        :param condition: called several times a second; an OSError means "not yet".
        :param what: describes the condition, for the error message.
        :param seconds: how long to wait at most.
        :raises ChildEndedError: if one of the processes ends before that.
        :raises NotInTimeError: if the condition is not true in time, with the end of every log.
        """
        deadline = time.monotonic() + seconds
        last_error: OSError | None = None
        while time.monotonic() < deadline:
            self.check()
            try:
                if answer := condition():
                    return answer
                last_error = None
            except OSError as error:
                last_error = error
            time.sleep(POLL_SECONDS)
        logs = "\n".join(f"--- {child.log}\n{tail(child.log)}" for child in self.children.values())
        because = f" The last error: {last_error}" if last_error else ""
        raise NotInTimeError(f"After {seconds:.0f} seconds: {what} did not come true.{because}\n{logs}")


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
