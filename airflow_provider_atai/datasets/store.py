"""Stores a dataset file on the service once, however often it is asked to."""

from __future__ import annotations

import hashlib
import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_atai.datasets.progress import UploadProgress
from airflow_provider_atai.errors import (
    AtaiConflictError,
    AtaiGatewayNotFoundError,
    AtaiNotFoundError,
    AtaiResponseError,
    FileNameTakenError,
    FileNotReadyError,
    UploadGoneError,
)

if TYPE_CHECKING:
    from airflow_provider_atai.api.file_records import StoredFile
    from airflow_provider_atai.api.files import FilesApi
    from airflow_provider_atai.datasets.files import DatasetFile

# Seconds between checks for a file whose upload another task is completing.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
_GOING_AWAY = frozenset({"DELETING", "DELETED"})


class DatasetStore:
    """
    Stores files that the service does not have yet.

    :param files: the calls on files.
    :param log: the task's logger.
    """

    def __init__(self, files: FilesApi, *, log: logging.Logger) -> None:
        self._files = files
        self._log = log

    def ensure(self, file: DatasetFile, *, content_addressed: bool) -> str:
        """
        Send the file unless the service has it, and return its id there.

        :param content_addressed: whether the file's id identifies its content. If not, a stored file with the
            same name and size is downloaded and compared.
        :raises FileNameTakenError: the service has another file with this name.
        :raises FileNotReadyError: the file with this name is being deleted, or is not shown yet.
        """
        if self._is_there(file, content_addressed):
            return file.file_id
        self._log.info("Uploading %s as %s (%d bytes).", file.path, file.file_id, file.num_bytes)
        # Imported here, since parsing a DAG file needs no upload.
        from airflow_provider_atai.api.upload import upload

        progress = UploadProgress(self._log, file.file_id)
        try:
            stored = upload(
                self._files,
                file,
                file_id=file.file_id,
                trust_unfinished=content_addressed,
                on_progress=progress,
            )
        except (AtaiConflictError, UploadGoneError) as error:
            # Another task may have stored it meanwhile, or be completing the upload that both resumed.
            if self._appears(file, content_addressed):
                return file.file_id
            if content_addressed or isinstance(error, UploadGoneError):
                raise FileNotReadyError(
                    f"The service refuses {file.file_id} as if it had that file, but does not show it "
                    f"({error}). A retry checks again."
                ) from None
            raise FileNameTakenError(
                f"The service refuses the name {file.file_id} ({error}). An unfinished upload of another "
                "size or type may hold it. Choose another file_id, or have that upload aborted."
            ) from None
        if stored.file_id != file.file_id:
            self._log.warning("The service named the file %s, not %s.", stored.file_id, file.file_id)
        progress.finish()
        self._log.info("Stored %s.", stored.file_id)
        return stored.file_id

    def _appears(self, file: DatasetFile, content_addressed: bool) -> bool:
        for pause in _PAUSES:
            if self._is_there(file, content_addressed):
                return True
            time.sleep(pause)
        return self._is_there(file, content_addressed)

    def _is_there(self, file: DatasetFile, content_addressed: bool) -> bool:
        try:
            stored = self._files.metadata(file.file_id)
        except (AtaiNotFoundError, AtaiGatewayNotFoundError):
            # The documents do not say what the service's own 404 looks like here. Any 404 will do: an upload
            # never overwrites a file.
            return False
        if stored.status == "UPLOADING":
            return False
        if stored.status in _GOING_AWAY:
            raise FileNotReadyError(
                f"The service is deleting a file named {file.file_id}, so the name is not free yet. A retry "
                "can store the file later."
            )
        if not stored.is_usable:
            raise FileNameTakenError(
                f"The service's file {file.file_id} cannot be used (status {stored.status or 'invalid'}). "
                "Delete it with DeleteDatasetOperator and run this task again."
            )
        if stored.num_bytes is None:
            raise AtaiResponseError(f"The service does not report the size of its file {file.file_id}.")
        if stored.num_bytes != file.num_bytes or not (content_addressed or self._has_content(file, stored)):
            raise FileNameTakenError(
                f"The service has another file named {file.file_id} ({stored.num_bytes} bytes, here "
                f"{file.num_bytes}). Leave file_id out, choose another one, or delete that file first."
            )
        self._log.info("%s is already stored as %s; it is not sent again.", file.path, file.file_id)
        return True

    def _has_content(self, file: DatasetFile, stored: StoredFile) -> bool:
        self._log.info("Comparing %s with the stored file that has the same name and size.", file.path)
        digest = hashlib.sha256()
        received = 0
        for block in self._files.stream(stored.file_id):
            digest.update(block)
            received += len(block)
            if received > file.num_bytes:
                # It may have no end.
                return False
        return digest.hexdigest() == file.sha256
