from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi, StoredFile, UploadPart, UploadSession
from airflow_provider_atai.errors import (
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiConnectionError,
    AtaiNotFoundError,
    AtaiResponseError,
)
from tests.api.conftest import BadServer, http_answer

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl

METADATA: dict[str, Any] = {
    "file_id": "a.jsonl",
    "file_uid": "fil_32b6x7g3nt8q4vwmnf73rc9cqb",
    "is_valid": True,
    "file_type": "application/x-ndjson",
    "num_bytes": 16,
    "file_status": "FILE_STATUS_REGISTERED",
    "file_attributes": {},
}
PART = {"part_number": 0, "url": "https://s3/x?X-Amz-Signature=secret", "offset": 0, "length": 16}


class TestStoredFile:
    def test_the_documented_metadata(self) -> None:
        stored = StoredFile.from_record(METADATA)
        assert stored == StoredFile(
            file_id="a.jsonl",
            file_uid="fil_32b6x7g3nt8q4vwmnf73rc9cqb",
            num_bytes=16,
            status="REGISTERED",
            extra={"file_type": "application/x-ndjson", "file_attributes": {}},
        )
        assert stored.is_usable

    @pytest.mark.parametrize(
        ("status", "normalised", "usable"),
        [
            ("FILE_STATUS_UNKNOWN", "UNKNOWN", True),
            ("FILE_STATUS_INGESTING", "INGESTING", True),
            ("FILE_STATUS_IN_COLD_STORAGE", "IN_COLD_STORAGE", True),
            ("FILE_STATUS_CORRUPT", "CORRUPT", False),
            ("Registered", "REGISTERED", True),
            ("Uploading", "UPLOADING", False),
            ("Deleting", "DELETING", False),
            ("Deleted", "DELETED", False),
            ("Corrupt", "CORRUPT", False),
            ("Indexed", "INDEXED", True),
            (None, "", True),
            (5, "", True),
        ],
    )
    def test_both_vocabularies_of_status(self, status: object, normalised: str, usable: bool) -> None:
        stored = StoredFile.from_record(METADATA | {"file_status": status})
        assert stored.status == normalised
        assert stored.is_usable is usable

    def test_a_file_that_the_service_calls_invalid_is_not_usable(self) -> None:
        assert not StoredFile.from_record(METADATA | {"is_valid": False}).is_usable

    @pytest.mark.parametrize("size", [None, "16", 1.5, True, -1])
    def test_a_size_that_is_none_is_not_made_up(self, size: object) -> None:
        assert StoredFile.from_record(METADATA | {"num_bytes": size}).num_bytes is None

    @pytest.mark.parametrize(
        "record", [None, [], "a", {}, {"file_id": None}, {"file_id": ""}, {"file_id": 5}]
    )
    def test_what_describes_no_file(self, record: object) -> None:
        with pytest.raises(AtaiResponseError, match="no file_id"):
            StoredFile.from_record(record)


class TestUploadSession:
    def test_the_answer_of_the_documentation(self) -> None:
        answer = {
            "upload_id": "upl-7d6c9f0a3b51",
            "file_uid": "f",
            "total_bytes": 16,
            "num_parts": 1,
            "part_size": 8388608,
            "is_resume": False,
            "parts": [PART | {"expires_at": "2026-04-28T15:32:18Z"}],
        }
        assert UploadSession.from_answer(answer) == UploadSession(
            upload_id="upl-7d6c9f0a3b51",
            parts=(
                UploadPart(
                    part_number=0,
                    url=str(PART["url"]),
                    offset=0,
                    length=16,
                    expires_at=pendulum.datetime(2026, 4, 28, 15, 32, 18),
                ),
            ),
            num_parts=1,
            is_resume=False,
            file_uid="f",
        )

    def test_an_expiry_of_all_parts_is_that_of_each(self) -> None:
        answer = {"upload_id": "u", "parts": [PART], "expires_at": "2026-04-09T02:12:58Z"}
        (part,) = UploadSession.from_answer(answer).parts
        assert part.expires_at == pendulum.datetime(2026, 4, 9, 2, 12, 58)

    @pytest.mark.parametrize("url", ["https://[x/y", "https://h:99999/x", "https://", "ftp://h/x", "", None])
    def test_a_part_that_cannot_be_sent_anywhere_is_refused(self, url: str | None) -> None:
        with pytest.raises(AtaiResponseError, match="an upload part without"):
            UploadSession.from_answer({"upload_id": "u", "parts": [PART | {"url": url}]})

    def test_the_answer_that_was_observed(self) -> None:
        answer = {"upload_id": "upl_1", "strategy": "simple", "parts": [PART | {"part_number": 1}]}
        session = UploadSession.from_answer(answer)
        assert (session.num_parts, session.is_resume, session.file_uid) == (1, False, None)
        assert session.parts[0].part_number == 1

    def test_no_parts_are_a_session_too(self) -> None:
        session = UploadSession.from_answer(
            {"upload_id": "u", "num_parts": 3, "is_resume": True, "parts": []}
        )
        assert (session.parts, session.num_parts, session.is_resume) == ((), 3, True)

    def test_the_url_is_in_no_repr(self) -> None:
        session = UploadSession.from_answer({"upload_id": "u", "parts": [PART]})
        assert "secret" not in repr(session)

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            [],
            {},
            {"upload_id": "u"},
            {"upload_id": "u", "parts": None},
            {"upload_id": "", "parts": []},
            {"upload_id": 5, "parts": []},
            {"upload_id": "u", "parts": [None]},
            *({"upload_id": "u", "parts": [{**PART, key: None}]} for key in PART),
            *({"upload_id": "u", "parts": [{**PART, key: -1}]} for key in PART),
            {"upload_id": "u", "parts": [PART | {"url": "file:///etc/passwd"}]},
        ],
    )
    def test_what_is_no_session(self, answer: object) -> None:
        with pytest.raises(AtaiResponseError, match="The service sent"):
            UploadSession.from_answer(answer)


class TestBadAnswers:
    @pytest.fixture
    def api(self, client: AtaiClient) -> FilesApi:
        return FilesApi(client)

    def test_metadata_of_another_file(self, bad_server: BadServer, api: FilesApi) -> None:
        bad_server.answer(http_answer(200, json.dumps(METADATA)))
        with pytest.raises(
            AtaiResponseError, match=r"asked for file b.jsonl and answered with file 'a.jsonl'"
        ):
            api.metadata("b.jsonl")

    def test_a_deletion_that_is_not_valid_is_a_failure(self, bad_server: BadServer, api: FilesApi) -> None:
        bad_server.answer(http_answer(200, '{"is_valid": false}'))
        with pytest.raises(AtaiResponseError, match="is not valid"):
            api.delete("a.jsonl")

    @pytest.mark.parametrize("answer", [http_answer(503, "{}"), b""])
    def test_a_deletion_is_not_repeated(self, bad_server: BadServer, api: FilesApi, answer: bytes) -> None:
        bad_server.answer(answer)
        with pytest.raises(Exception, match=r"503|lost"):
            api.delete("a.jsonl")
        assert len(bad_server.requests) == 1

    @pytest.mark.parametrize(("resume", "requests"), [(True, 2), (False, 1)])
    def test_initiate_is_repeated_only_when_it_would_find_itself(
        self, bad_server: BadServer, api: FilesApi, resume: bool, requests: int
    ) -> None:
        bad_server.answer(b"", http_answer(200, json.dumps({"upload_id": "u", "parts": []})))
        try:
            api.initiate(filename="a", file_type="text/csv", num_bytes=1, resume_if_started=resume)
        except AtaiConnectionError:
            assert not resume
        assert len(bad_server.requests) == requests

    @pytest.mark.parametrize(
        "parts",
        [
            None,
            [],
            [PART | {"part_number": 4}],
            [PART | {"part_number": 3}] * 2,
            [PART | {"part_number": 3, "url": 5}],
        ],
    )
    def test_urls_for_other_parts(self, bad_server: BadServer, api: FilesApi, parts: object) -> None:
        bad_server.answer(http_answer(200, json.dumps({"parts": parts})))
        with pytest.raises(AtaiResponseError):
            api.part_urls("u", [3])

    @pytest.mark.parametrize("answer", ["{}", "[1]", '{"data": {}}', "null"])
    def test_what_is_no_list_of_files(self, bad_server: BadServer, api: FilesApi, answer: str) -> None:
        bad_server.answer(http_answer(200, answer))
        with pytest.raises(AtaiResponseError):
            api.list_metadata()


class TestEmulator:
    @pytest.fixture
    def api(self, atai_emulator: EmulatorControl) -> Iterator[FilesApi]:
        with AtaiClient(base_url=atai_emulator.base_url, api_key=atai_emulator.api_key) as client:
            yield FilesApi(client)

    @staticmethod
    def store(api: FilesApi, name: str, content: bytes = b"a,b\n1,2\n") -> StoredFile:
        session = api.initiate(filename=name, file_type="text/csv", num_bytes=len(content))
        tokens = {
            part.part_number: api.client.put_part(part.url, content[part.offset : part.offset + part.length])
            for part in session.parts
        }
        api.checkpoint(session.upload_id, tokens)
        return api.complete(session.upload_id, tokens)

    @pytest.mark.parametrize("base", [0, 1])
    def test_a_file_comes_back_as_it_was_sent(
        self, api: FilesApi, atai_emulator: EmulatorControl, base: int
    ) -> None:
        atai_emulator.set_switches(part_size=3, part_number_base=base)
        stored = self.store(api, "a b.csv")
        assert stored.file_id == "a b.csv"
        known = api.metadata("a b.csv")
        assert (known.file_uid, known.num_bytes, known.is_usable) == (stored.file_uid, 8, True)
        content = io.BytesIO()
        assert api.download("a b.csv", content) == 8
        assert content.getvalue() == b"a,b\n1,2\n"

    def test_both_forms_of_the_list(self, api: FilesApi) -> None:
        for name in ("a.csv", "b.csv", "c.csv"):
            self.store(api, name)
        whole = api.list_metadata()
        assert {file.file_id for file in whole.files} == {"a.csv", "b.csv", "c.csv"}
        assert whole.next_cursor is None
        first = api.list_metadata(limit=2)
        rest = api.list_metadata(limit=2, after=first.next_cursor)
        assert [len(first.files), len(rest.files)] == [2, 1]
        assert rest.next_cursor is None
        assert {file.file_id for file in first.files + rest.files} == {"a.csv", "b.csv", "c.csv"}

    def test_fresh_urls_for_parts(self, api: FilesApi, atai_emulator: EmulatorControl) -> None:
        atai_emulator.set_switches(part_size=3)
        session = api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8)
        fresh = api.part_urls(session.upload_id, [2, 0])
        assert [(part.part_number, part.offset, part.length) for part in fresh] == [(2, 6, 2), (0, 0, 3)]

    def test_delete_abort_and_refusals(self, api: FilesApi) -> None:
        self.store(api, "a.csv")
        with pytest.raises(AtaiConflictError):
            api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8)
        api.delete("a.csv")
        for call in (api.metadata, api.delete):
            with pytest.raises(AtaiNotFoundError):
                call("a.csv")
        session = api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8)
        api.abort(session.upload_id)
        assert not api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8).is_resume
        with pytest.raises(AtaiBadRequestError):
            api.initiate(filename="b.bin", file_type="application/octet-stream", num_bytes=8)
