"""What the files API describes: stored files, uploads, and the parts of an upload. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_atai.api.base_url import is_address, is_usable_id
from airflow_provider_atai.api.printable import printable
from airflow_provider_atai.api.timestamps import parse_timestamp
from airflow_provider_atai.errors import AtaiResponseError

_STATUS_PREFIX = "FILE_STATUS_"
_UNUSABLE_STATUSES = frozenset({"UPLOADING", "DELETING", "DELETED", "CORRUPT"})


@dataclass(frozen=True)
class StoredFile:
    """
    A file as the service describes it.

    :param file_id: the base name, by which jobs refer to the file.
    :param file_uid: the immutable object behind the name.
    :param num_bytes: None if the service does not say.
    :param status: upper case and without the prefix ``FILE_STATUS_``, which only some responses have:
        UNKNOWN, UPLOADING, REGISTERED, INGESTING, INGESTED, IN_MEMORY, IN_COLD_STORAGE, CORRUPT, DELETING,
        DELETED or an undocumented one; empty if the service does not say.
    :param is_valid: False if the service calls the file invalid.
    """

    file_id: str
    file_uid: str | None = None
    num_bytes: int | None = None
    status: str = ""
    is_valid: bool = True

    @property
    def is_usable(self) -> bool:
        """Whether a job can use the file. An undocumented status does not rule that out."""
        return self.is_valid and self.status not in _UNUSABLE_STATUSES

    @classmethod
    def from_record(cls, record: object, *, name_key: str = "file_id") -> StoredFile:
        """
        Read a file's metadata or the response that completes its upload.

        :param name_key: the field with the file id; ``file_name`` in the responses of an upload.
        :raises AtaiResponseError: it is not an object or has no usable file id.
        """
        if not isinstance(record, Mapping) or not is_usable_id(record.get(name_key)):
            raise AtaiResponseError(f"The service sent a file's description without a usable {name_key}.")
        uid, size, status = (record.get(key) for key in ("file_uid", "num_bytes", "file_status"))
        return cls(
            file_id=record[name_key],
            file_uid=uid if _is_text(uid) else None,
            num_bytes=size if _is_count(size) else None,
            status=printable(status).upper().removeprefix(_STATUS_PREFIX) if isinstance(status, str) else "",
            is_valid=record.get("is_valid") is not False,
        )


@dataclass(frozen=True)
class UploadPart:
    """
    A part of a file that is still to be sent.

    :param part_number: the service's own number; it is echoed and never computed.
    :param url: presigned; whoever has it can write this part.
    :param offset: of the part's first byte in the file.
    :param length: of the part in bytes.
    :param expires_at: when the URL stops working; None if the service does not say.
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

        :param expires_at: for a part that does not say so itself.
        :raises AtaiResponseError: a field is missing or has an impossible value.
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
    :param is_resume: whether the service says that some parts may have been sent before. Only some responses
        have this field; :meth:`may_hold_parts` also looks at the parts.
    """

    upload_id: str
    parts: tuple[UploadPart, ...]
    num_parts: int
    is_resume: bool
    file_uid: str | None = None

    def may_hold_parts(self, num_bytes: int) -> bool:
        """Tell whether some of the file's ``num_bytes`` may have been sent before."""
        covered = sum(part.length for part in self.parts)
        return self.is_resume or covered < num_bytes or self.num_parts > len(self.parts)

    @classmethod
    def from_response(cls, response: object) -> UploadSession:
        """
        Read the response to initiate, in either documented form.

        :raises AtaiResponseError: it has no usable upload id or no list of parts.
        """
        record = response if isinstance(response, Mapping) else {}
        upload_id, parts = record.get("upload_id"), record.get("parts")
        if not is_usable_id(upload_id) or not isinstance(parts, list):
            raise AtaiResponseError(
                "The service sent no usable upload_id or no parts for an upload; nothing was sent."
            )
        num_parts, uid = record.get("num_parts"), record.get("file_uid")
        return cls(
            upload_id=str(upload_id),
            parts=tuple(UploadPart.from_record(part, expires_at=record.get("expires_at")) for part in parts),
            num_parts=num_parts if isinstance(num_parts, int) else len(parts),
            is_resume=bool(record.get("is_resume", False)),
            file_uid=uid if _is_text(uid) else None,
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
