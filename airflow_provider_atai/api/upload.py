"""The direct-to-cloud upload: parts sent to presigned URLs, resumed where an earlier try was interrupted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol

from airflow_provider_atai.errors import (
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiError,
    AtaiGatewayNotFoundError,
    AtaiNotFoundError,
    AtaiPermissionError,
    AtaiResponseError,
    PermanentError,
    RetryableError,
)

if TYPE_CHECKING:
    from airflow_provider_atai.api.files import FilesApi, StoredFile, UploadSession

log = logging.getLogger(__name__)

# One connection rarely fills a line; more than a few only divide it.
THREADS = 4

# Called with the bytes that are there and the bytes of the file, first before anything is sent; the former go
# back when a part is sent again.
OnProgress = Callable[[int, int], None]


class UploadSource(Protocol):
    """Where the bytes of a file come from. Several threads read it at once."""

    def open(self) -> BinaryIO:
        """Return a new stream that can seek, at the first byte."""

    def check_unchanged(self) -> None:
        """
        Look at the file again.

        :raises SourceChangedError: it is not the one that was announced.
        """


class SourceChangedError(PermanentError):
    """The file is not what it was when its size and its hash were taken."""


class SourceUnreadableError(RetryableError):
    """The file could not be read while it was sent."""


class UploadGoneError(RetryableError):
    """Somebody else finished the upload, or gave it up, while it was sent."""


def upload(
    api: FilesApi,
    source: UploadSource,
    *,
    file_id: str,
    file_type: str,
    num_bytes: int,
    trust_unfinished: bool = True,
    threads: int = THREADS,
    on_progress: OnProgress | None = None,
) -> StoredFile:
    """
    Send a file to storage and return it as the service stored it.

    A failure that a later call can resume from leaves the upload open; after any other it is aborted, which
    frees the name.

    :param file_id: the name under which the file is stored.
    :param file_type: its media type.
    :param num_bytes: its size, greater than 0.
    :param trust_unfinished: whether the parts that an unfinished upload of this name, type and size holds are
        those of this file. Only a name that tells the content can promise that; else they are sent again.
    :param threads: the most parts on their way at once.
    :param on_progress: see :data:`OnProgress`.
    :raises AtaiConflictError: the name is taken by another file.
    :raises SourceChangedError: the file changed while it was sent.
    :raises SourceUnreadableError: the file could not be read to its end.
    :raises UploadGoneError: another caller resumed the same upload and finished it or gave it up.
    """
    from airflow_provider_atai.api.part_sending import PartSender

    source.check_unchanged()

    def initiate() -> UploadSession:
        return api.initiate(filename=file_id, file_type=file_type, num_bytes=num_bytes)

    session = initiate()
    if session.may_hold_parts(num_bytes) and not trust_unfinished:
        log.info(
            "Dropping the unfinished upload %s of %s: it may hold parts of another content.",
            session.upload_id,
            file_id,
        )
        _abort(api, session)
        session = initiate()
        if session.may_hold_parts(num_bytes):
            raise AtaiResponseError(
                f"An unfinished upload of {file_id} could not be dropped; nothing was sent."
            )
    try:
        _check_parts(session, num_bytes)
    except AtaiResponseError:
        # Resuming would get the same parts again.
        _abort(api, session)
        raise
    log.info("Sending %d parts of %s in upload %s.", len(session.parts), file_id, session.upload_id)
    try:
        sender = PartSender(
            api, source, session, num_bytes=num_bytes, threads=threads, on_progress=on_progress
        )
        tokens = sender.run()
        source.check_unchanged()
        stored = _complete(
            api, session, tokens, file_id=file_id, num_bytes=num_bytes, trust_uid=trust_unfinished
        )
    except (SourceChangedError, AtaiBadRequestError, AtaiPermissionError):
        _abort(api, session)
        raise
    except (AtaiConflictError, AtaiNotFoundError) as error:
        if error.method == "PUT":
            # Storage has dropped what the service still resumes: a new upload is the only way on.
            _abort(api, session)
        raise UploadGoneError(
            f"The upload of {file_id} was finished or given up by somebody else meanwhile: {error}"
        ) from error
    if stored.num_bytes not in (None, num_bytes) or not stored.is_usable:
        raise AtaiResponseError(
            f"{num_bytes} bytes were sent as {stored.file_id}, but {stored.num_bytes} bytes are stored, with "
            f"status {stored.status or 'unknown'}. Delete that file before it is sent again."
        )
    return stored


def _check_parts(session: UploadSession, num_bytes: int) -> None:
    """Refuse parts that would make another file than the one that is sent."""
    end, covered = 0, 0
    for part in sorted(session.parts, key=lambda part: part.offset):
        if part.offset < end or part.offset + part.length > num_bytes or part.length == 0:
            raise AtaiResponseError(
                "The service's upload parts overlap or lie outside of the file; nothing was sent."
            )
        end = part.offset + part.length
        covered += part.length
    numbers = {part.part_number for part in session.parts}
    whole = not session.is_resume and session.num_parts <= len(session.parts)
    if len(numbers) != len(session.parts) or (whole and covered != num_bytes):
        raise AtaiResponseError("The service's upload parts do not make up the file; nothing was sent.")


def _complete(
    api: FilesApi,
    session: UploadSession,
    tokens: dict[int, str],
    *,
    file_id: str,
    num_bytes: int,
    trust_uid: bool,
) -> StoredFile:
    try:
        return api.complete(session.upload_id, tokens)
    except (AtaiConflictError, AtaiNotFoundError) as error:
        # The answer to an earlier complete may have been lost, or another task finished the same upload.
        refusal = error
    try:
        stored = api.metadata(file_id)
    except (AtaiNotFoundError, AtaiGatewayNotFoundError):
        raise refusal from None
    # Under a name that tells the content, a file without a uid is the same file.
    is_anonymous = trust_uid and None in (stored.file_uid, session.file_uid)
    same_object = is_anonymous or (stored.file_uid is not None and stored.file_uid == session.file_uid)
    if not (stored.is_usable and stored.num_bytes == num_bytes and same_object):
        raise refusal
    return stored


def _abort(api: FilesApi, session: UploadSession) -> None:
    try:
        api.abort(session.upload_id)
    except (AtaiConflictError, AtaiNotFoundError):
        pass
    except AtaiError as error:
        log.warning(
            "The failed upload %s could not be aborted, so its file name stays taken: %s",
            session.upload_id,
            error,
        )
