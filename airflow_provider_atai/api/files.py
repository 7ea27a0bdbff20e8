"""The files API of v0.5: what is stored, and the direct-to-cloud upload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_atai.api.base_url import is_address
from airflow_provider_atai.api.fine_tune import parse_timestamp
from airflow_provider_atai.api.upload import THREADS, upload
from airflow_provider_atai.errors import AtaiResponseError

if TYPE_CHECKING:
    from airflow_provider_atai.api.client import AtaiClient
    from airflow_provider_atai.api.upload import OnProgress, UploadSource

_FILES = "files"
_UPLOADS = (_FILES, "uploads")
# Storage joins the parts of a large file while the service waits for it.
_COMPLETE_TIMEOUT = (10.0, 600.0)
# It saves work for a later try, which nothing has to wait long for.
_CHECKPOINT_ATTEMPTS = 2
_STATUS_PREFIX = "FILE_STATUS_"
_UNUSABLE_STATUSES = frozenset({"UPLOADING", "DELETING", "DELETED", "CORRUPT"})


@dataclass(frozen=True)
class StoredFile:
    """
    A file as the service describes it.

    :param file_id: the base name, by which jobs name the file.
    :param file_uid: the immutable object behind the name.
    :param num_bytes: None when the service does not say.
    :param status: upper case and without the prefix ``FILE_STATUS_``, which only some answers have: UNKNOWN,
        UPLOADING, REGISTERED, INGESTING, INGESTED, IN_MEMORY, IN_COLD_STORAGE, CORRUPT, DELETING, DELETED,
        or one that is not documented; empty when the service does not say.
    :param is_valid: False when the service calls the file invalid.
    :param extra: every other field.
    """

    file_id: str
    file_uid: str | None = None
    num_bytes: int | None = None
    status: str = ""
    is_valid: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_usable(self) -> bool:
        """Whether a job can use the file. A status that is not documented does not speak against it."""
        return self.is_valid and self.status not in _UNUSABLE_STATUSES

    @classmethod
    def from_record(cls, record: object, *, name_key: str = "file_id") -> StoredFile:
        """
        Read a file's metadata or the answer that completes its upload.

        :param name_key: the field that holds the file id; ``file_name`` in the answers of an upload.
        :raises AtaiResponseError: it is no object or has no file id.
        """
        if not isinstance(record, Mapping) or not _is_text(record.get(name_key)):
            raise AtaiResponseError(f"The service sent no {name_key} where a file's description belongs.")
        extra = dict(record)
        uid, size, status = (
            extra.pop("file_uid", None),
            extra.pop("num_bytes", None),
            extra.pop("file_status", None),
        )
        return cls(
            file_id=extra.pop(name_key),
            file_uid=uid if _is_text(uid) else None,
            num_bytes=size if _is_count(size) else None,
            status=status.upper().removeprefix(_STATUS_PREFIX) if isinstance(status, str) else "",
            is_valid=extra.pop("is_valid", True) is not False,
            extra=extra,
        )


@dataclass(frozen=True)
class UploadPart:
    """
    A part of a file that is to be sent.

    :param part_number: as the service counts; it is echoed and never computed.
    :param url: presigned; whoever has it can write this part.
    :param offset: of the part's first byte in the file.
    :param length: of the part in bytes.
    :param expires_at: when the URL stops working; None when the service does not say.
    """

    part_number: int
    url: str = field(repr=False)
    offset: int
    length: int
    expires_at: datetime | None = None

    @classmethod
    def from_record(cls, record: object, *, expires_at: object = None) -> UploadPart:
        """
        Read a part.

        :param expires_at: for a part that does not say it itself.
        :raises AtaiResponseError: it lacks something or holds what cannot be.
        """
        part = record if isinstance(record, Mapping) else {}
        url = part.get("url")
        numbers = [part.get(key) for key in ("part_number", "offset", "length")]
        if not (isinstance(url, str) and is_address(url) and all(map(_is_count, numbers))):
            raise AtaiResponseError(
                "The service sent an upload part without part_number, url, offset or length."
            )
        return cls(
            part_number=part["part_number"],
            url=url,
            offset=part["offset"],
            length=part["length"],
            expires_at=parse_timestamp(part.get("expires_at", expires_at)),
        )


@dataclass(frozen=True)
class UploadSession:
    """
    An upload that the service has started or found unfinished.

    :param parts: what is still to be sent; may be empty.
    :param num_parts: of the whole file.
    :param is_resume: whether the service says that some of it may have been sent before. Only some answers
        have this field; :meth:`may_hold_parts` also looks at the parts.
    """

    upload_id: str
    parts: tuple[UploadPart, ...]
    num_parts: int
    is_resume: bool
    file_uid: str | None = None

    def may_hold_parts(self, num_bytes: int) -> bool:
        """Tell whether some of the file, which has that many bytes, may have been sent before."""
        covered = sum(part.length for part in self.parts)
        return self.is_resume or covered < num_bytes or self.num_parts > len(self.parts)

    @classmethod
    def from_answer(cls, answer: object) -> UploadSession:
        """
        Read the answer of initiate, in either documented form.

        :raises AtaiResponseError: it has no upload id or no list of parts.
        """
        record = answer if isinstance(answer, Mapping) else {}
        upload_id, parts = record.get("upload_id"), record.get("parts")
        if not _is_text(upload_id) or not isinstance(parts, list):
            raise AtaiResponseError(
                "The service sent no upload_id or no parts for an upload; nothing was sent."
            )
        num_parts, uid = record.get("num_parts"), record.get("file_uid")
        return cls(
            upload_id=str(upload_id),
            parts=tuple(UploadPart.from_record(part, expires_at=record.get("expires_at")) for part in parts),
            num_parts=num_parts if isinstance(num_parts, int) else len(parts),
            is_resume=bool(record.get("is_resume", False)),
            file_uid=uid if _is_text(uid) else None,
        )


@dataclass(frozen=True)
class FilePage:
    """
    One page of the organisation's files.

    :param next_cursor: for the next page; None when this is the last one, or the service does not page.
    """

    files: tuple[StoredFile, ...]
    next_cursor: str | None = None


class FilesApi:
    """The file calls. Each raises what :meth:`AtaiClient.request` raises, and what is said below."""

    def __init__(self, client: AtaiClient) -> None:
        self.client = client

    def upload(
        self,
        source: UploadSource,
        *,
        file_id: str,
        file_type: str,
        num_bytes: int,
        trust_unfinished: bool = True,
        threads: int = THREADS,
        on_progress: OnProgress | None = None,
    ) -> StoredFile:
        """Send a file straight to storage; see :func:`~airflow_provider_atai.api.upload.upload`."""
        return upload(
            self,
            source,
            file_id=file_id,
            file_type=file_type,
            num_bytes=num_bytes,
            trust_unfinished=trust_unfinished,
            threads=threads,
            on_progress=on_progress,
        )

    def initiate(
        self, *, filename: str, file_type: str, num_bytes: int, resume_if_started: bool = True
    ) -> UploadSession:
        """
        Start an upload, or find the one of the same name, type and size that was not finished.

        :raises AtaiConflictError: the name is taken; this route never overwrites.
        """
        request = {
            "filename": filename,
            "file_type": file_type,
            "num_bytes": num_bytes,
            "resume_if_started": resume_if_started,
        }
        # Without resuming, a repetition would find the upload that the lost answer was about and be refused.
        answer = self.client.request(
            "POST", *_UPLOADS, "initiate", json=request, safe_to_repeat=resume_if_started
        )
        return UploadSession.from_answer(answer)

    def part_urls(self, upload_id: str, part_numbers: Sequence[int]) -> tuple[UploadPart, ...]:
        """
        Return the parts with fresh URLs, in the order asked for.

        :raises AtaiResponseError: the answer is about other parts.
        """
        answer = self.client.request(
            "POST",
            *_UPLOADS,
            upload_id,
            "parts",
            "urls",
            json={"part_numbers": list(part_numbers)},
            safe_to_repeat=True,
        )
        records = answer.get("parts") if isinstance(answer, Mapping) else None
        parts = (
            tuple(UploadPart.from_record(record) for record in records) if isinstance(records, list) else ()
        )
        if [part.part_number for part in parts] != list(part_numbers):
            raise AtaiResponseError("The service sent URLs for other parts than those it was asked for.")
        return parts

    def checkpoint(self, upload_id: str, tokens: Mapping[int, str]) -> None:
        """Tell the service which parts are sent, so that an upload that is resumed leaves them out."""
        self.client.request(
            "POST",
            *_UPLOADS,
            upload_id,
            "parts",
            "checkpoint",
            json={"parts": _part_tokens(tokens)},
            safe_to_repeat=True,
            max_attempts=_CHECKPOINT_ATTEMPTS,
        )

    def complete(self, upload_id: str, tokens: Mapping[int, str]) -> StoredFile:
        """
        Make the sent parts a file.

        :param tokens: part numbers and ETags of this session; those of earlier ones were checkpointed.
        :raises AtaiConflictError: presumably it is complete already, as after an answer that was lost.
        """
        answer = self.client.request(
            "POST",
            *_UPLOADS,
            upload_id,
            "complete",
            json={"parts": _part_tokens(tokens)},
            safe_to_repeat=True,
            timeout=_COMPLETE_TIMEOUT,
        )
        return StoredFile.from_record(answer, name_key="file_name")

    def abort(self, upload_id: str) -> None:
        """Give an upload up, which frees its file name."""
        self.client.request("POST", *_UPLOADS, upload_id, "abort", json={}, safe_to_repeat=True)

    def metadata(self, file_id: str) -> StoredFile:
        """
        Return what the service knows about a file.

        :raises AtaiNotFoundError: there is no file of this name.
        :raises AtaiResponseError: the answer is no description of a file, or that of another one.
        """
        stored = StoredFile.from_record(self.client.request("GET", _FILES, "metadata", file_id))
        if stored.file_id != file_id:
            raise AtaiResponseError(
                f"The service was asked for file {file_id} and answered with file {stored.file_id!r}."
            )
        return stored

    def list_metadata(self, *, limit: int | None = None, after: str | None = None) -> FilePage:
        """
        Return files of the organisation.

        Of the two documented forms, a bare list of all files and a page with a cursor, both are understood.

        :param limit: the most files of a page; left out, the service decides.
        :param after: ``next_cursor`` of the page before.
        """
        answer = self.client.request("GET", _FILES, "metadata", params={"limit": limit, "after": after})
        records = answer.get("data") if isinstance(answer, Mapping) else answer
        if not isinstance(records, list):
            raise AtaiResponseError("The service sent something else where a list of files belongs.")
        cursor = answer.get("next_cursor") if isinstance(answer, Mapping) else None
        return FilePage(
            files=tuple(StoredFile.from_record(record) for record in records),
            next_cursor=cursor if _is_text(cursor) else None,
        )

    def stream(self, file_id: str) -> Iterator[bytes]:
        """
        Yield the content of a file as it arrives.

        :raises AtaiNotFoundError: there is no such file.
        :raises AtaiBadRequestError: it is being uploaded, deleted or corrupt.
        """
        return self.client.stream(_FILES, "download", file_id)

    def download(self, file_id: str, fileobj: BinaryIO) -> int:
        """
        Write the content of a file to ``fileobj`` and return the number of bytes.

        When it breaks off in the middle, it raises as :meth:`stream` and leaves what it has written.
        """
        written = 0
        for block in self.stream(file_id):
            fileobj.write(block)
            written += len(block)
        return written

    def delete(self, file_id: str) -> None:
        """
        Delete a file; the service schedules its content for deletion.

        Not repeated after a lost answer: somebody may have stored a file of this name in between.

        :raises AtaiNotFoundError: there is no such file (undocumented, assumed).
        :raises AtaiResponseError: the service says with a success status that it did not do it.
        """
        answer = self.client.request("DELETE", _FILES, "delete", file_id)
        if isinstance(answer, Mapping) and answer.get("is_valid") is False:
            raise AtaiResponseError(f"The service answered that deleting file {file_id} is not valid.")


def _part_tokens(tokens: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"part_number": number, "part_token": token} for number, token in tokens.items()]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
