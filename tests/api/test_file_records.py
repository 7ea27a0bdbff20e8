from __future__ import annotations

import pendulum
import pytest

from airflow_provider_atai.api.file_records import StoredFile, UploadPart, UploadSession
from airflow_provider_atai.errors import AtaiResponseError
from tests.api.uploads import METADATA, PART

UNUSABLE_IDS = ("", " ", ".", "..", " ..", "\ud800", "a\nb")


class TestStoredFile:
    def test_the_documented_metadata_is_read(self):
        stored = StoredFile.from_record(METADATA)
        assert stored == StoredFile(
            file_id="a.jsonl",
            file_uid="fil_32b6x7g3nt8q4vwmnf73rc9cqb",
            num_bytes=16,
            status="REGISTERED",
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
    def test_both_spellings_of_a_status_are_read(self, status, normalised, usable):
        stored = StoredFile.from_record(METADATA | {"file_status": status})
        assert stored.status == normalised
        assert stored.is_usable is usable

    def test_a_file_that_the_service_calls_invalid_is_not_usable(self):
        assert not StoredFile.from_record(METADATA | {"is_valid": False}).is_usable

    @pytest.mark.parametrize("size", [None, "16", 1.5, True, -1])
    def test_an_impossible_size_is_unknown(self, size):
        assert StoredFile.from_record(METADATA | {"num_bytes": size}).num_bytes is None

    @pytest.mark.parametrize(
        "record", [None, [], "a", {}, *({"file_id": file_id} for file_id in (None, 5, *UNUSABLE_IDS))]
    )
    def test_a_record_without_a_usable_file_id_is_refused(self, record):
        with pytest.raises(AtaiResponseError, match="without a usable file_id"):
            StoredFile.from_record(record)

    def test_a_status_cannot_forge_a_line(self):
        stored = StoredFile.from_record(METADATA | {"file_status": "FILE_STATUS_X\nERROR"})
        assert stored.status.isprintable()


class TestUploadSession:
    def test_the_documented_response_is_read(self):
        answer = {
            "upload_id": "upl-7d6c9f0a3b51",
            "file_uid": "f",
            "total_bytes": 16,
            "num_parts": 1,
            "part_size": 8388608,
            "is_resume": False,
            "parts": [PART | {"expires_at": "2026-04-28T15:32:18Z"}],
        }
        assert UploadSession.from_response(answer) == UploadSession(
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

    def test_a_part_inherits_the_expiry_of_the_session(self):
        answer = {"upload_id": "u", "parts": [PART], "expires_at": "2026-04-09T02:12:58Z"}
        (part,) = UploadSession.from_response(answer).parts
        assert part.expires_at == pendulum.datetime(2026, 4, 9, 2, 12, 58)

    @pytest.mark.parametrize(
        "url",
        [
            "https://[x/y",
            "https://h:99999/x",
            "https://",
            "ftp://h/x",
            "",
            None,
            "https://h/\ud800",
            "https://h/x\x1b[2J",
        ],
    )
    def test_a_part_without_a_usable_url_is_refused(self, url):
        with pytest.raises(AtaiResponseError, match="an upload part without"):
            UploadSession.from_response({"upload_id": "u", "parts": [PART | {"url": url}]})

    def test_the_observed_response_is_read(self):
        answer = {"upload_id": "upl_1", "strategy": "simple", "parts": [PART | {"part_number": 1}]}
        session = UploadSession.from_response(answer)
        assert (session.num_parts, session.is_resume, session.file_uid) == (1, False, None)
        assert session.parts[0].part_number == 1

    def test_a_session_may_have_no_parts(self):
        session = UploadSession.from_response(
            {"upload_id": "u", "num_parts": 3, "is_resume": True, "parts": []}
        )
        assert (session.parts, session.num_parts, session.is_resume) == ((), 3, True)

    def test_the_repr_hides_the_url(self):
        session = UploadSession.from_response({"upload_id": "u", "parts": [PART]})
        assert "secret" not in repr(session)

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            [],
            {},
            {"upload_id": "u"},
            {"upload_id": "u", "parts": None},
            {"upload_id": 5, "parts": []},
            *({"upload_id": upload_id, "parts": []} for upload_id in UNUSABLE_IDS),
            {"upload_id": "u", "parts": [None]},
            *({"upload_id": "u", "parts": [{**PART, key: None}]} for key in PART),
            *({"upload_id": "u", "parts": [{**PART, key: -1}]} for key in PART),
            {"upload_id": "u", "parts": [PART | {"url": "file:///etc/passwd"}]},
        ],
    )
    def test_a_malformed_session_is_refused(self, answer):
        with pytest.raises(AtaiResponseError, match="The service sent"):
            UploadSession.from_response(answer)
