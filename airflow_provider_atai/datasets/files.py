"""Inspects a dataset file in one pass: its size, hash and type, and whether its content is valid."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import BinaryIO

from airflow_provider_atai.datasets.checks import ContentCheck, check_for
from airflow_provider_atai.datasets.sources import DatasetSource, StagedSource, can_seek, source_of
from airflow_provider_atai.errors import DatasetFileError, SourceChangedError, SourceUnreadableError

log = logging.getLogger(__name__)

FILE_TYPES = {
    ".jsonl": "application/x-ndjson",
    ".json": "application/json",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".mp4": "video/mp4",
}
_BLOCK = 1024 * 1024
_LONGEST_STEM = 64
_LONGEST_FILE_ID = 200
_HASH_LENGTH = 12


@dataclass(frozen=True)
class DatasetFile:
    """
    A dataset file as it was when it was inspected.

    :param path: as the DAG author wrote it.
    :param file_id: its name on the service.
    :param file_type: its media type.
    :param num_bytes: its size.
    :param sha256: the hash of its content, in hex.
    :param note: what was not checked, None if everything was.
    """

    path: str
    file_id: str
    file_type: str
    num_bytes: int
    sha256: str
    note: str | None
    source: DatasetSource = field(repr=False)
    signature: Hashable = field(repr=False)

    def open(self) -> BinaryIO:
        """Return a new stream of the content."""
        return self.source.open()

    def check_unchanged(self) -> None:
        """
        Compare the file with what was inspected.

        :raises SourceChangedError: the file changed since then.
        """
        try:
            signature = self.source.signature()
        except DatasetFileError as error:
            raise SourceChangedError(f"{self.path} changed since it was checked: {error}") from None
        if signature != self.signature:
            raise SourceChangedError(f"{self.path} changed since it was checked, so it is not stored.")


def suffix_of(path: str) -> str:
    """
    Return the suffix of a dataset path in lower case.

    :raises DatasetFileError: the service takes no file with this suffix.
    """
    stem, dot, suffix = _base_name(path).rpartition(".")
    if dot and stem and "." + suffix.lower() in FILE_TYPES:
        return "." + suffix.lower()
    known = " ".join(FILE_TYPES)
    hint = ""
    if path.lstrip().startswith(("[", "(")):
        hint = " It looks like a list that was rendered as text: pass the other task's .output instead."
    raise DatasetFileError(f"{path} has none of the suffixes that the service takes ({known}).{hint}")


def content_file_id(path: str, sha256: str) -> str:
    """
    Return ``<stem>-<12 hex of the hash><suffix>``, so that changed data gets another id.

    The stem is only decoration. Characters other than letters, digits, ``.``, ``_`` and ``-`` become ``-``,
    so no path can forge the id of other content.

    :param sha256: the hash of the content, in hex.
    """
    suffix = suffix_of(path)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", _base_name(path)[: -len(suffix)])
    stem = stem[:_LONGEST_STEM].strip(".-_") or "dataset"
    return f"{stem}-{sha256[:_HASH_LENGTH]}{suffix}"


def check_file_id(file_id: object, path: str) -> None:
    """
    Check a file id that the DAG author chose.

    :raises DatasetFileError: it is not a plain file name with the suffix of ``path``.
    """
    suffix = suffix_of(path)
    if not isinstance(file_id, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", file_id):
        raise DatasetFileError(
            f"file_id {file_id!r} is not a plain file name. Use letters, digits, '.', '_' and '-', and no "
            "directory."
        )
    if len(file_id) > _LONGEST_FILE_ID:
        raise DatasetFileError(f"file_id has {len(file_id)} characters; use at most {_LONGEST_FILE_ID}.")
    if not file_id.lower().endswith(suffix) or len(file_id) == len(suffix):
        stem = file_id.rpartition(".")[0] or file_id
        raise DatasetFileError(
            f"file_id {file_id!r} does not end in {suffix} as {path} does. Write {stem}{suffix}."
        )


def inspect_file(path: str, *, file_id: str | None = None, validate: bool = True) -> DatasetFile:
    """
    Read a file once and describe it.

    A file that can only be read from start to end is copied to the disk on the way. A line only has to be
    JSON: what an example must hold is not documented.

    :param path: see :func:`~airflow_provider_atai.datasets.sources.source_of`.
    :param file_id: its name on the service, None to make one from its content.
    :param validate: whether to check the content: UTF-8 for text, JSON for ``.json`` up to 16 MiB, and each
        line as JSON for ``.jsonl``.
    :raises DatasetFileError: the file is missing, empty, malformed or of an unknown type.
    :raises SourceUnreadableError: the file could not be read; a retry may help.
    """
    suffix = suffix_of(path)
    if file_id is not None:
        check_file_id(file_id, path)
    source = source_of(path)
    signature = source.signature()
    check = check_for(suffix if validate else "")
    try:
        num_bytes, sha256, staged = _read(path, source, check)
    except PermissionError as error:
        raise DatasetFileError(f"{path} exists, but reading it is not permitted: {error}") from None
    except Exception as error:
        # Each store has its own exceptions.
        raise SourceUnreadableError(f"{path} could not be read: {error}") from error
    if check.faults:
        more = " There may be more." if check.is_settled else ""
        raise DatasetFileError(
            f"{path} is not a valid dataset file: {'; '.join(check.faults)}.{more} "
            "Correct it, or pass validate=False to send it anyway."
        )
    if num_bytes == 0:
        raise DatasetFileError(f"{path} is empty.")
    if source.signature() != signature:
        raise DatasetFileError(f"{path} changed while it was checked. Something is still writing to it.")
    if staged is not None:
        source, signature = staged, staged.signature()
    return DatasetFile(
        path=path,
        file_id=content_file_id(path, sha256) if file_id is None else file_id,
        file_type=FILE_TYPES[suffix],
        num_bytes=num_bytes,
        sha256=sha256,
        note=check.note,
        source=source,
        signature=signature,
    )


def _read(path: str, source: DatasetSource, check: ContentCheck) -> tuple[int, str, StagedSource | None]:
    """Return a file's size, its hash, and the copy of it if one had to be made."""
    digest = hashlib.sha256()
    num_bytes = 0
    with source.open() as stream:
        staged = None if can_seek(stream) else StagedSource()
        if staged is not None:
            log.info("%s can only be read from start to end, so it is copied to this worker's disk.", path)
        while block := stream.read(_BLOCK):
            digest.update(block)
            num_bytes += len(block)
            check.feed(block)
            if staged is not None:
                staged.write(block)
            if check.is_settled:
                break
        else:
            check.finish()
    return num_bytes, digest.hexdigest(), staged


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]
