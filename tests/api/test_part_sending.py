from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from typing import Any

import pytest

from airflow_provider_atai.api import part_sending
from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi
from airflow_provider_atai.errors import (
    AtaiBadRequestError,
    AtaiConnectionError,
    AtaiPermissionError,
    SourceChangedError,
    SourceUnreadableError,
)
from tests.api.uploads import CONTENT, Source, calls, content_of, puts, replace_sleep, send

LARGE = 24 * 1024 * 1024


class Meeting(Source):
    """A file whose readers wait for each other before they read."""

    def __init__(self, expected):
        super().__init__()
        self.barrier = threading.Barrier(expected)

    def open(self):
        # A broken barrier raises here and fails the upload.
        self.barrier.wait(30)
        return super().open()


class Sizeable:
    """A file of any size that takes no memory."""

    file_type = "text/plain"

    def __init__(self, num_bytes):
        self.num_bytes = num_bytes
        self.reads: list[int] = []

    def open(self):
        source = self

        class Zeros(io.RawIOBase):
            position = 0

            def seek(self, offset, whence=0):
                self.position = offset
                return offset

            def read(self, size=-1):
                source.reads.append(size)
                block = bytes(min(size, source.num_bytes - self.position))
                self.position += len(block)
                return block

        return Zeros()  # type: ignore[return-value]

    def check_unchanged(self):
        pass


def upload_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("atai-upload")]


@pytest.mark.parametrize("threads", [2, 4])
def test_as_many_parts_are_in_flight_as_threads_allows(api, threads):
    # Four parts: every reader waits for the others.
    send(api, Meeting(threads), threads=threads)
    assert content_of(api) == CONTENT
    assert upload_threads() == []


def test_there_are_no_more_threads_than_parts(api, atai_emulator):
    atai_emulator.set_switches(part_size=10)
    source = Source()
    seen: list[int] = []
    source.on_open = lambda _: seen.append(len(upload_threads()))
    send(api, source, threads=16)
    assert max(seen) <= 2


@pytest.mark.parametrize("threads", [1, 4, 16])
@pytest.mark.parametrize("part_size", [1, 3, 7, 20])
def test_many_parts_in_any_order_make_the_file(api, atai_emulator, threads, part_size):
    atai_emulator.set_switches(part_size=part_size)
    seen: list[tuple[int, int]] = []
    send(api, threads=threads, on_progress=lambda *numbers: seen.append(numbers))
    assert content_of(api) == CONTENT
    parts = -(-len(CONTENT) // part_size)
    assert Counter(puts(atai_emulator)) == {str(number): 1 for number in range(parts)}
    assert len(atai_emulator.requests(path="*/checkpoint")) == parts
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert [there for there, _ in seen] == sorted(there for there, _ in seen)


def test_progress_is_reported_by_the_caller_s_own_thread(api):
    tellers: set[int] = set()
    send(api, threads=4, on_progress=lambda *_: tellers.add(threading.get_ident()))
    assert tellers == {threading.get_ident()}


def test_a_part_that_fails_is_sent_again_alone(api, atai_emulator, naps):
    atai_emulator.add_fault(method="PUT", path="/_storage/*/1", effect="answer", status=503, count=1)
    atai_emulator.add_fault(method="PUT", path="/_storage/*/2", effect="drop_before", count=1)
    atai_emulator.add_fault(method="PUT", path="/_storage/*/3", effect="drop_after", count=1)
    send(api, threads=4)
    assert content_of(api) == CONTENT
    assert Counter(puts(atai_emulator)) == {"0": 1, "1": 2, "2": 2, "3": 2}
    assert len(naps) == 3


def test_every_expired_url_is_refreshed(api, atai_emulator, naps):
    for number in range(4):
        atai_emulator.add_fault(
            method="PUT",
            path=f"/_storage/*/{number}",
            effect="answer",
            status=403,
            body="url_expired",
            count=1,
        )
    send(api, threads=4)
    assert content_of(api) == CONTENT
    refreshed = [entry["body"]["part_numbers"] for entry in atai_emulator.requests(path="*/parts/urls")]
    assert sorted(refreshed) == [[0], [1], [2], [3]]
    assert naps == []


def test_urls_that_stay_refused_end_the_upload(api, atai_emulator):
    atai_emulator.set_switches(presigned_url_seconds=0)
    with pytest.raises(AtaiPermissionError):
        send(api, threads=4)
    assert max(Counter(puts(atai_emulator)).values()) == 3
    assert "POST abort" in calls(atai_emulator)
    assert atai_emulator.state()["unfinished_uploads"] == 0


def test_after_an_outage_the_next_try_sends_only_the_missing_parts(api, atai_emulator):
    atai_emulator.set_switches(part_size=1)
    atai_emulator.add_fault(method="PUT", path="/_storage/*/11", effect="answer", status=503, count=3)
    with pytest.raises(Exception, match="503"):
        send(api, threads=4)
    assert "POST abort" not in calls(atai_emulator)
    kept = {
        str(part["part_number"])
        for entry in atai_emulator.requests(path="*/checkpoint")
        for part in entry["body"]["parts"]
    }
    assert {str(number) for number in range(8)} <= kept
    atai_emulator.clear_requests()
    send(api, threads=4)
    assert content_of(api) == CONTENT
    assert set(puts(atai_emulator)) == {str(number) for number in range(20)} - kept


def test_the_first_failure_stops_the_other_parts(api, atai_emulator, caplog):
    atai_emulator.set_switches(part_size=1)
    atai_emulator.add_fault(method="PUT", path="/_storage/*/1", effect="answer", status=400, body="errors")
    with pytest.raises(AtaiBadRequestError):
        send(api, threads=4)
    assert upload_threads() == []
    # Each of the three others finishes at most its current part and perhaps one that began meanwhile.
    assert len(puts(atai_emulator)) < 12
    assert "POST complete" not in calls(atai_emulator)
    assert atai_emulator.state()["unfinished_uploads"] == 0


def test_a_failure_stops_a_part_that_is_being_sent(api, atai_emulator):
    part_size = 64 * 1024 * 1024
    atai_emulator.set_switches(part_size=part_size)
    begun = threading.Event()
    reads: list[int] = []

    class Zeros(io.RawIOBase):
        offset = 0

        def seek(self, offset, whence=0):
            self.offset = offset
            return offset

        def read(self, size=-1):
            if self.offset:
                begun.wait(30)
                raise OSError(5, "Input/output error")
            reads.append(size)
            if len(reads) == 3:
                begun.set()
            if len(reads) > 3:
                time.sleep(0.02)
            return bytes(size)

    class TwoParts(Source):
        def open(self):
            return Zeros()  # type: ignore[return-value]

    with pytest.raises(SourceUnreadableError):
        send(api, TwoParts(num_bytes=2 * part_size), threads=2)
    assert upload_threads() == []
    assert len(reads) < 60


def test_a_failure_stops_a_part_that_waits_for_a_retry(atai_emulator, monkeypatch):
    naps: list[float] = []
    waits, refused = threading.Event(), threading.Event()

    def sleep(seconds):
        naps.append(seconds)
        waits.set()
        refused.wait(30)

    class BrokenSecondHalf(io.BytesIO):
        def seek(self, offset, whence=0):
            if offset:
                # Only once the first part waits.
                assert waits.wait(30)
                raise OSError(5, "Input/output error")
            return super().seek(offset, whence)

    class Unreadable(Source):
        def open(self):
            return BrokenSecondHalf(self.content)

    replace_sleep(monkeypatch, sleep)
    atai_emulator.set_switches(part_size=10)
    atai_emulator.add_fault(method="PUT", path="/_storage/*/1", effect="answer", status=503, count=99)
    with AtaiClient(
        base_url=atai_emulator.base_url, api_key=atai_emulator.api_key, max_attempts=50
    ) as client:
        timer = threading.Timer(0.5, refused.set)
        timer.start()
        with pytest.raises(SourceUnreadableError, match="Input/output error"):
            send(FilesApi(client), Unreadable(), threads=2)
        timer.join()
    assert upload_threads() == []
    assert len(naps) < 3


def test_a_file_that_changes_while_parts_are_sent_is_not_completed(api, atai_emulator):
    atai_emulator.set_switches(part_size=1)
    source = Source()

    def change(opened):
        if opened.opened == 3:
            opened.changed = True

    source.on_open = change
    with pytest.raises(SourceChangedError):
        send(api, source, threads=4)
    assert len(puts(atai_emulator)) < 12
    assert "POST complete" not in calls(atai_emulator)
    assert atai_emulator.state()["unfinished_uploads"] == 0
    assert atai_emulator.files() == []


def test_a_read_that_fails_because_the_file_changed_is_a_changed_source(api):
    class Expired(Source):
        def open(self):
            self.changed = True
            raise OSError(16, "the object has another ETag")

    with pytest.raises(SourceChangedError):
        send(api, Expired(), threads=4)


def test_any_exception_of_a_store_is_an_unreadable_source(api, atai_emulator):
    class StoreError(Exception):
        pass

    source = Source()

    def fail(opened):
        raise StoreError("payload incomplete")

    source.on_open = fail
    with pytest.raises(SourceUnreadableError, match="payload incomplete"):
        send(api, source, threads=4)
    assert "POST abort" not in calls(atai_emulator)
    send(api, threads=4)
    assert content_of(api) == CONTENT


def test_memory_does_not_grow_with_the_file_or_its_parts(api, atai_emulator):
    atai_emulator.set_switches(part_size=LARGE // 3)
    source = Sizeable(LARGE)
    tracemalloc.start()
    try:
        send(api, source, threads=3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(source.reads) <= 1024 * 1024
    # The emulator runs in the same process and holds its own blocks.
    assert peak < LARGE // 2


# What a shell runs in the background ignores SIGINT, and so do its children, unless they ask for the signal.
_UPLOADER = """
import io, logging, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi
from airflow_provider_atai.api.upload import upload

class Source:
    num_bytes, file_type = 20, "text/plain"
    def open(self):
        return io.BytesIO(b"0123456789abcdefghij")
    def check_unchanged(self):
        pass

def progress(there, total):
    print(there, flush=True)

with AtaiClient(base_url=sys.argv[1], api_key=sys.argv[2]) as client:
    upload(FilesApi(client), Source(), file_id="a.txt", on_progress=progress)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_upload_is_resumed_after_its_process_was_killed(api, atai_emulator, number):
    atai_emulator.set_switches(part_size=2)
    # Parts 6 and 7 hang, so that the signal arrives while they are being sent.
    for part in (6, 7):
        atai_emulator.add_fault(method="PUT", path=f"/_storage/*/{part}", effect="delay", delay=60, count=1)
    command = [sys.executable, "-c", _UPLOADER, atai_emulator.base_url, atai_emulator.api_key]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ}
    ) as process:
        deadline = time.monotonic() + 60
        while len(atai_emulator.requests(path="*/checkpoint")) < 8:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(30) != 0
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
    assert "POST abort" not in calls(atai_emulator)
    atai_emulator.clear_faults()
    atai_emulator.clear_requests()
    send(api, threads=4)
    assert content_of(api) == CONTENT
    assert set(puts(atai_emulator)) == {"6", "7"}


def test_a_signal_that_interrupts_no_wait_is_noticed_while_parts_are_sent(api):
    """A signal that reaches another thread does not end a wait, nor one that comes just before it begins."""

    class KilledError(Exception):
        pass

    def kill(number, frame):
        was_noticed.set()
        raise KilledError

    main = threading.get_ident()
    was_noticed = threading.Event()
    in_time: list[bool] = []

    def signal_and_hang(opened):
        # Until the calling thread waits for news.
        while sys._current_frames()[main].f_code.co_filename != part_sending.__file__:
            was_noticed.wait(0.01)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        in_time.append(was_noticed.wait(20))

    source = Source()
    source.on_open = signal_and_hang
    earlier = signal.signal(signal.SIGUSR1, kill)
    try:
        with pytest.raises(KilledError):
            send(api, source)
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    assert in_time == [True]


def test_parts_that_fail_while_stopping_are_not_logged_as_errors(api, atai_emulator, caplog):
    caplog.set_level(logging.WARNING)
    atai_emulator.add_fault(method="PUT", path="/_storage/**", effect="drop_before", count=99)
    with pytest.raises(AtaiConnectionError):
        send(api, threads=4)
    assert caplog.records == []


def test_progress_of_a_resumed_upload_starts_at_the_stored_bytes(api, atai_emulator):
    fault: dict[str, Any] = {"method": "PUT", "path": "/_storage/*/3", "effect": "answer", "status": 503}
    atai_emulator.add_fault(**fault, count=3)
    with pytest.raises(Exception, match="503"):
        send(api, threads=1)
    seen: list[int] = []
    send(api, threads=4, on_progress=lambda there, total: seen.append(there))
    assert seen == [18, 20]
