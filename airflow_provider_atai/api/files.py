"""The files API of v0.5: the calls on stored files and on direct-to-cloud uploads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.file_records import StoredFile, UploadPart, UploadSession
from airflow_provider_atai.errors import AtaiResponseError

if TYPE_CHECKING:
    from airflow_provider_atai.api.client import AtaiClient

_FILES = "files"
_UPLOADS = (_FILES, "uploads")
# Storage joins the parts of a large file while the service waits for it.
_COMPLETE_TIMEOUT = (10.0, 600.0)
# A checkpoint only saves work for a later try, so nothing should wait long for it.
_CHECKPOINT_ATTEMPTS = 2


class FilesApi:
    """The file calls. Each raises what :meth:`AtaiClient.request` raises, and what its docstring says."""

    def __init__(self, client: AtaiClient) -> None:
        self.client = client

    def initiate(self, *, filename: str, file_type: str, num_bytes: int) -> UploadSession:
        """
        Start an upload, or resume an unfinished one with the same name, type and size.

        :raises AtaiConflictError: the name is taken; this route never overwrites.
        """
        request = {
            "filename": filename,
            "file_type": file_type,
            "num_bytes": num_bytes,
            "resume_if_started": True,
        }
        # Repeating is safe because it resumes the upload whose response was lost.
        return UploadSession.from_response(self._post("initiate", json=request))

    def part_urls(self, upload_id: str, part_numbers: Sequence[int]) -> tuple[UploadPart, ...]:
        """
        Return the parts with fresh URLs, in the order asked for.

        :raises AtaiResponseError: the response is about other parts.
        """
        response = self._post(upload_id, "parts", "urls", json={"part_numbers": list(part_numbers)})
        records = response.get("parts") if isinstance(response, Mapping) else None
        listed = records if isinstance(records, list) else []
        parts = tuple(UploadPart.from_record(record) for record in listed)
        if [part.part_number for part in parts] != list(part_numbers):
            raise AtaiResponseError("The service sent URLs for other parts than the ones asked for.")
        return parts

    def checkpoint(self, upload_id: str, tokens: Mapping[int, str]) -> None:
        """Tell the service which parts are stored, so that a resumed upload leaves them out."""
        brief = FilesApi(self.client.with_options(max_attempts=_CHECKPOINT_ATTEMPTS))
        brief._post(upload_id, "parts", "checkpoint", json={"parts": _part_tokens(tokens)})

    def complete(self, upload_id: str, tokens: Mapping[int, str]) -> StoredFile:
        """
        Assemble the sent parts into a file.

        :param tokens: part numbers and ETags of this session; those of earlier ones were checkpointed.
        :raises AtaiConflictError: presumably it is complete already, as after a lost response.
        """
        patient = FilesApi(self.client.with_options(timeout=_COMPLETE_TIMEOUT))
        response = patient._post(upload_id, "complete", json={"parts": _part_tokens(tokens)})
        return StoredFile.from_record(response, name_key="file_name")

    def abort(self, upload_id: str) -> None:
        """Abort an upload, which frees its file name."""
        self._post(upload_id, "abort", json={})

    def metadata(self, file_id: str) -> StoredFile:
        """
        Return what the service knows about a file.

        :raises AtaiNotFoundError: there is no file with this name.
        :raises AtaiResponseError: the response does not describe a file, or describes another one.
        """
        stored = StoredFile.from_record(self.client.request("GET", _FILES, "metadata", file_id))
        if stored.file_id != file_id:
            raise AtaiResponseError(
                f"The service was asked for file {file_id} and answered with file {stored.file_id!r}."
            )
        return stored

    def stream(self, file_id: str) -> Iterator[bytes]:
        """
        Yield the content of a file as it arrives.

        :raises AtaiNotFoundError: there is no such file.
        :raises AtaiBadRequestError: it is being uploaded, being deleted, or corrupt.
        """
        return self.client.stream(_FILES, "download", file_id)

    def delete(self, file_id: str) -> None:
        """
        Delete a file; the service schedules its content for deletion.

        This is not repeated after a lost response: somebody may have stored a file with this name since then.

        :raises AtaiNotFoundError: there is no such file (undocumented, assumed).
        :raises AtaiResponseError: the response has a success status but says that the file was not deleted.
        """
        response = self.client.request("DELETE", _FILES, "delete", file_id)
        if isinstance(response, Mapping) and response.get("is_valid") is False:
            raise AtaiResponseError(f"The service answered that deleting file {file_id} is not valid.")

    def _post(self, *segments: str, json: object) -> Any:
        return self.client.request("POST", *_UPLOADS, *segments, json=json, safe_to_repeat=True)


def _part_tokens(tokens: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"part_number": number, "part_token": token} for number, token in tokens.items()]
