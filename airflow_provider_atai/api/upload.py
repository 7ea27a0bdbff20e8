"""The direct-to-cloud upload: sends parts to presigned URLs and resumes where an earlier try stopped."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_atai.api.part_sending import OnProgress, PartSender, UploadSource
from airflow_provider_atai.errors import (
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiError,
    AtaiGatewayNotFoundError,
    AtaiNotFoundError,
    AtaiPermissionError,
    AtaiResponseError,
    SourceChangedError,
    UploadGoneError,
)

if TYPE_CHECKING:
    from airflow_provider_atai.api.file_records import StoredFile, UploadSession
    from airflow_provider_atai.api.files import FilesApi

log = logging.getLogger(__name__)

# One connection rarely fills a line; more than a few only divide it.
THREADS = 4


def upload(
    api: FilesApi,
    source: UploadSource,
    *,
    file_id: str,
    trust_unfinished: bool = True,
    threads: int = THREADS,
    on_progress: OnProgress | None = None,
) -> StoredFile:
    """
    Send a file to storage and return it as the service stored it.

    A failure that a later call can resume from leaves the upload open. Any other failure aborts it, which
    frees the name.

    :param source: the file; its size is greater than 0.
    :param file_id: the name under which the file is stored.
    :param trust_unfinished: whether an unfinished upload with this name, type and size holds parts of this
        file. Only a name derived from the content guarantees that; otherwise all parts are sent again.
    :param threads: the most parts in flight at once.
    :param on_progress: see :data:`~airflow_provider_atai.api.part_sending.OnProgress`.
    :raises AtaiConflictError: the name is taken by another file.
    :raises SourceChangedError: the file changed while it was sent.
    :raises SourceUnreadableError: the file could not be read to its end.
    :raises UploadGoneError: another caller resumed the same upload and finished or aborted it.
    """
    source.check_unchanged()
    num_bytes = source.num_bytes
    initiate = partial(api.initiate, filename=file_id, file_type=source.file_type, num_bytes=num_bytes)
    session = initiate()
    if session.may_hold_parts(num_bytes) and not trust_unfinished:
        log.info(
            "Aborting the unfinished upload %s of %s: it may hold parts of another file.",
            session.upload_id,
            file_id,
        )
        _abort(api, session)
        session = initiate()
        if session.may_hold_parts(num_bytes):
            raise AtaiResponseError(
                f"An unfinished upload of {file_id} could not be aborted; nothing was sent."
            )
    try:
        _check_parts(session, num_bytes)
    except AtaiResponseError:
        # Resuming would return the same parts again.
        _abort(api, session)
        raise
    log.info("Sending %d parts of %s in upload %s.", len(session.parts), file_id, session.upload_id)
    try:
        tokens = PartSender(api, source, session, threads=threads, on_progress=on_progress).run()
        source.check_unchanged()
        stored = _complete(
            api, session, tokens, file_id=file_id, num_bytes=num_bytes, trust_uid=trust_unfinished
        )
    except (SourceChangedError, AtaiBadRequestError, AtaiPermissionError):
        _abort(api, session)
        raise
    except (AtaiConflictError, AtaiNotFoundError) as error:
        if error.method == "PUT":
            # Storage has dropped an upload that the service would still resume: only a new one can succeed.
            _abort(api, session)
        raise UploadGoneError(
            f"Somebody else finished or aborted the upload of {file_id} meanwhile: {error}"
        ) from error
    if stored.num_bytes not in (None, num_bytes) or not stored.is_usable:
        raise AtaiResponseError(
            f"{num_bytes} bytes were sent as {stored.file_id}, but {stored.num_bytes} bytes are stored, with "
            f"status {stored.status or 'unknown'}. Delete that file before sending it again."
        )
    return stored


def _check_parts(session: UploadSession, num_bytes: int) -> None:
    """Refuse parts that would assemble into another file."""
    end, covered = 0, 0
    for part in sorted(session.parts, key=lambda part: part.offset):
        if part.offset < end or part.offset + part.length > num_bytes or part.length == 0:
            raise AtaiResponseError(
                "The service's upload parts overlap or lie outside the file; nothing was sent."
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
        # The response to an earlier attempt may have been lost, or another task finished the same upload.
        refusal = error
    try:
        stored = api.metadata(file_id)
    except (AtaiNotFoundError, AtaiGatewayNotFoundError):
        raise refusal from None
    # Under a name derived from the content, a file without a uid is the same file.
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
