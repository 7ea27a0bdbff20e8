"""Sends the parts of an upload to their presigned URLs, several at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, Protocol

from airflow_provider_atai.api.backoff import call_with_retry
from airflow_provider_atai.errors import (
    AtaiApiError,
    AtaiAuthenticationError,
    AtaiConflictError,
    AtaiConnectionError,
    AtaiError,
    AtaiNotFoundError,
    AtaiPermissionError,
    AtaiResponseError,
    RetryableError,
    SourceChangedError,
    SourceUnreadableError,
)

if TYPE_CHECKING:
    from airflow_provider_atai.api.file_records import UploadPart, UploadSession
    from airflow_provider_atai.api.files import FilesApi

log = logging.getLogger(__name__)

# Bounds the memory per thread, whatever the size of the file and its parts.
_BLOCK = 1024 * 1024
# A URL lives for about an hour. If fresh ones are refused twice, their age is not the reason.
_MOST_REFRESHES = 2
# A part may wait behind others until its URL has almost expired; then it gets a fresh one first.
_SHORTEST_LIFE = timedelta(minutes=1)
# Between two naps a thread checks whether it was stopped, and whether a signal came.
_LONGEST_NAP = 1.0
# Airflow kills a task that does not end within 5 seconds of being told to.
_PATIENCE = 2.0

# Called with the bytes stored and the bytes of the file, first before anything is sent. The bytes stored
# decrease if a part is sent again.
OnProgress = Callable[[int, int], None]


class UploadSource(Protocol):
    """The file to upload. Several threads read it at once."""

    @property
    def num_bytes(self) -> int:
        """Its size."""

    @property
    def file_type(self) -> str:
        """Its media type."""

    def open(self) -> BinaryIO:
        """Return a new seekable stream, at the first byte."""

    def check_unchanged(self) -> None:
        """
        Check that the file is still the one that was announced.

        :raises SourceChangedError: it is not.
        """


class _StoppedError(Exception):
    """The upload ended, so this part is not needed."""


class PartSender:
    """
    Sends the parts of one upload. Each is retried by itself and checkpointed as soon as it is stored.

    :param threads: the most parts in flight at once; each takes about 1 MiB of memory.
    :param on_progress: called only by the thread that calls :meth:`run`.
    """

    def __init__(
        self,
        api: FilesApi,
        source: UploadSource,
        session: UploadSession,
        *,
        threads: int,
        on_progress: OnProgress | None,
    ) -> None:
        self._api = api
        self._source = source
        self._session = session
        self._num_bytes = source.num_bytes
        self._threads = min(threads, len(session.parts))
        self._on_progress = on_progress
        self._waiting = deque(session.parts)
        self._stop = threading.Event()
        # The threads report through functions that the calling thread runs.
        self._news: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._can_checkpoint = True
        self._tokens: dict[int, str] = {}
        self._sent: dict[int, int] = {}
        self._done = source.num_bytes - sum(part.length for part in session.parts)

    def run(self) -> dict[int, str]:
        """
        Return the tokens of the parts once all are stored.

        The first failure stops the other parts, and so does an exception that a signal raises here.
        """
        if self._session.is_resume:
            log.info("Resuming an unfinished upload: %d of %d bytes are stored.", self._done, self._num_bytes)
        self._report()
        # Daemons, so that a killed task does not wait for a stuck connection.
        threads = [
            threading.Thread(target=self._work, name=f"atai-upload-{number}", daemon=True)
            for number in range(self._threads)
        ]
        try:
            for thread in threads:
                thread.start()
            while len(self._tokens) < len(self._session.parts):
                self._next_news()()
        finally:
            self._stop.set()
            deadline = time.monotonic() + _PATIENCE
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, deadline - time.monotonic()))
        return self._tokens

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    part = self._waiting.popleft()
                except IndexError:
                    return
                token = self._send(part)
                # Before the checkpoint, which outlives this process: a later try trusts it.
                self._source.check_unchanged()
                self._checkpoint(part.part_number, token)
                self._news.put(partial(self._stored, part, token))
        except _StoppedError:
            pass
        except BaseException as error:
            self._news.put(partial(_raise, error))

    def _next_news(self) -> Callable[[], None]:
        while True:
            # Python handles a signal between two waits of the main thread. A signal that comes just before a
            # wait begins does not end it.
            with suppress(Empty):
                return self._news.get(timeout=_LONGEST_NAP)

    def _stored(self, part: UploadPart, token: str) -> None:
        self._tokens[part.part_number] = token

    def _moved(self, part: UploadPart, sent: int) -> None:
        self._done += sent - self._sent.get(part.part_number, 0)
        self._sent[part.part_number] = sent
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._done, self._num_bytes)

    def _send(self, part: UploadPart) -> str:
        client = self._api.client
        body = _PartBody(part.length, partial(self._blocks, part))
        if part.expires_at is not None and part.expires_at - datetime.now(UTC) < _SHORTEST_LIFE:
            part = self._refreshed(part)
        refreshes = 0
        while True:
            put = partial(client.put_part, part.url, body)
            try:
                return call_with_retry(put, attempts=client.max_attempts, sleep=self._sleep)
            except (AtaiApiError, AtaiConnectionError) as error:
                if refreshes == _MOST_REFRESHES or not _may_be_expired(part, error):
                    raise
            refreshes += 1
            part = self._refreshed(part)

    def _refreshed(self, part: UploadPart) -> UploadPart:
        (fresh,) = self._api.part_urls(self._session.upload_id, [part.part_number])
        if (fresh.offset, fresh.length) != (part.offset, part.length):
            raise AtaiResponseError(f"The service moved part {part.part_number} while it was sent.")
        return fresh

    def _checkpoint(self, part_number: int, token: str) -> None:
        if not self._can_checkpoint:
            return
        try:
            self._api.checkpoint(self._session.upload_id, {part_number: token})
        except (AtaiAuthenticationError, AtaiConflictError, AtaiNotFoundError):
            raise
        except AtaiError as error:
            # A checkpoint only saves work for a later try: completing names all parts of this session anyway.
            log.warning("Part %d is stored, but could not be checkpointed: %s", part_number, error)
            self._can_checkpoint = isinstance(error, RetryableError)

    def _sleep(self, seconds: float) -> None:
        while seconds > 0:
            if self._stop.is_set():
                raise _StoppedError
            time.sleep(min(seconds, _LONGEST_NAP))
            seconds -= _LONGEST_NAP

    def _blocks(self, part: UploadPart) -> Iterator[bytes]:
        sent = 0
        for block in _read(self._source, part.offset, part.length):
            if self._stop.is_set():
                raise _StoppedError
            yield block
            sent += len(block)
            self._news.put(partial(self._moved, part, sent))


class _PartBody:
    """The bytes of a part, read again for each attempt; ``len()`` makes requests announce the length."""

    def __init__(self, length: int, blocks: Callable[[], Iterator[bytes]]) -> None:
        self._length = length
        self._blocks = blocks

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks()


def _read(source: UploadSource, offset: int, length: int) -> Iterator[bytes]:
    remaining = length
    try:
        with source.open() as stream:
            stream.seek(offset)
            while remaining:
                block = stream.read(min(_BLOCK, remaining))
                if not block:
                    break
                remaining -= len(block)
                yield block
    except Exception as error:
        # Each store has its own exceptions, and an OSError would be mistaken for one of the connection.
        source.check_unchanged()
        raise SourceUnreadableError(f"The file could not be read while it was sent: {error}") from error
    if remaining:
        raise SourceChangedError(f"The file ended {remaining} bytes too early: it changed while it was sent.")


def _may_be_expired(part: UploadPart, error: AtaiApiError | AtaiConnectionError) -> bool:
    if isinstance(error, AtaiConnectionError):
        # Storage that responds before it has the whole body closes the connection: the response is lost.
        is_old = part.expires_at is None or part.expires_at <= datetime.now(UTC)
        return error.reason == "dropped" and is_old
    # Storage answers 403 to an expired signature and 400 to an expired session token.
    return isinstance(error, AtaiPermissionError) or bool(error.codes & {"tokenexpired", "expiredtoken"})


def _raise(error: BaseException) -> None:
    raise error
