from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi
from airflow_provider_atai.errors import (
    AtaiAuthenticationError,
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiConnectionError,
    AtaiError,
    AtaiPermissionError,
    AtaiResponseError,
    AtaiServerError,
    SourceChangedError,
    SourceUnreadableError,
    UploadGoneError,
)
from tests.api.conftest import API_KEY, http_answer
from tests.api.uploads import CONTENT, Source, calls, content_of, puts, send


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("part_size", [1, 6, 19, 20, 21])
def test_a_file_is_stored_in_the_parts_that_the_service_chose(api, atai_emulator, base, part_size):
    atai_emulator.set_switches(part_size=part_size, part_number_base=base)
    stored = send(api)
    assert (stored.file_id, stored.num_bytes) == ("a.txt", len(CONTENT))
    assert content_of(api) == CONTENT
    count = -(-len(CONTENT) // part_size)
    assert puts(atai_emulator) == [str(number) for number in range(base, base + count)]
    (complete,) = atai_emulator.requests(method="POST", path="*/complete")
    assert [part["part_number"] for part in complete["body"]["parts"]] == list(range(base, base + count))


def test_the_key_never_goes_to_storage_and_signatures_never_to_the_log(api, atai_emulator, caplog):
    caplog.set_level(logging.DEBUG)
    atai_emulator.add_fault(method="PUT", path="/_storage/**", effect="answer", status=503, count=1)
    send(api)
    assert "Signature" not in caplog.text
    assert atai_emulator.api_key not in caplog.text
    assert "Trying again" in caplog.text


def test_progress_ends_with_the_whole_file(api):
    seen: list[tuple[int, int]] = []
    send(api, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 20), (6, 20), (12, 20), (18, 20), (20, 20)]


def test_a_part_that_fails_is_sent_again_alone(api, atai_emulator, naps):
    atai_emulator.add_fault(method="PUT", path="/_storage/*/1", effect="answer", status=503, count=1)
    atai_emulator.add_fault(method="PUT", path="/_storage/*/2", effect="drop_before", count=1)
    atai_emulator.add_fault(method="PUT", path="/_storage/*/3", effect="drop_after", count=1)
    source = Source()
    send(api, source)
    assert content_of(api) == CONTENT
    assert puts(atai_emulator) == ["0", "1", "1", "2", "2", "3", "3"]
    assert len(naps) == 3
    assert source.opened == 7


@pytest.mark.parametrize("kind", ["url_expired", "token_expired"])
def test_an_expired_url_is_refreshed_at_once(api, atai_emulator, naps, kind):
    atai_emulator.add_fault(
        method="PUT",
        path="/_storage/*/1",
        effect="answer",
        status=403 if kind == "url_expired" else 400,
        body=kind,
        count=1,
    )
    send(api)
    assert content_of(api) == CONTENT
    (refresh,) = atai_emulator.requests(method="POST", path="*/parts/urls")
    assert refresh["body"] == {"part_numbers": [1]}
    assert naps == []


def test_urls_that_stay_refused_end_the_upload_and_free_the_name(api, atai_emulator):
    atai_emulator.set_switches(presigned_url_seconds=0)
    with pytest.raises(AtaiPermissionError):
        send(api)
    assert puts(atai_emulator) == ["0", "0", "0"]
    assert calls(atai_emulator)[-1] == "POST abort"
    atai_emulator.set_switches(presigned_url_seconds=3600)
    send(api, Source(b"other", num_bytes=5))
    assert content_of(api) == b"other"


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "PUT", "path": "/_storage/*/2", "effect": "drop_before"},
        {"method": "PUT", "path": "/_storage/*/2", "effect": "answer", "status": 503},
        {"method": "POST", "path": "/files/uploads/*/complete", "effect": "answer", "status": 500},
        {"method": "POST", "path": "/files/uploads/*/complete", "effect": "truncate"},
    ],
    ids=lambda fault: f"{fault['path']} {fault['effect']}",
)
def test_an_outage_leaves_the_upload_open_and_the_next_try_resumes(api, atai_emulator, fault):
    atai_emulator.add_fault(**fault, count=3)
    with pytest.raises((AtaiConnectionError, AtaiServerError, AtaiResponseError)):
        send(api)
    assert "POST abort" not in calls(atai_emulator)
    atai_emulator.clear_faults()
    sent = set(puts(atai_emulator))
    atai_emulator.clear_requests()
    try:
        send(api)
    except AtaiConflictError:
        # The service had completed it, and its response was lost: the caller reads the metadata.
        assert fault["effect"] == "truncate"
    assert content_of(api) == CONTENT
    again = puts(atai_emulator)
    assert again == (["2", "3"] if "_storage" in fault["path"] else [])
    assert not set(again) & (sent - {"2"})


def test_the_upload_of_a_killed_worker_is_resumed(api, atai_emulator):
    class WorkerKilledError(BaseException):
        pass

    source = Source()

    def die(dying):
        if dying.opened == 3:
            raise WorkerKilledError

    source.on_open = die
    with pytest.raises(WorkerKilledError):
        send(api, source)
    assert "POST abort" not in calls(atai_emulator)
    atai_emulator.clear_requests()
    seen: list[int] = []
    send(api, on_progress=lambda done, total: seen.append(done))
    assert content_of(api) == CONTENT
    assert puts(atai_emulator) == ["2", "3"]
    assert seen == [12, 18, 20]


def test_an_upload_that_lacks_only_its_completion_is_completed(api, atai_emulator):
    atai_emulator.add_fault(method="POST", path="/files/uploads/*/complete", effect="drop_before", count=3)
    with pytest.raises(AtaiConnectionError):
        send(api)
    atai_emulator.clear_requests()
    send(api)
    assert content_of(api) == CONTENT
    assert calls(atai_emulator)[:2] == ["POST initiate", "POST complete"]
    assert atai_emulator.requests(path="*/complete")[0]["body"] == {"parts": []}


def test_a_lost_response_to_complete_does_not_fail_the_upload(api, atai_emulator):
    fault = atai_emulator.add_fault(
        method="POST", path="/files/uploads/*/complete", effect="drop_after", count=1
    )
    stored = send(api)
    assert atai_emulator.fired(fault) == 1
    assert (stored.file_id, stored.num_bytes) == ("a.txt", len(CONTENT))
    assert content_of(api) == CONTENT
    assert "POST abort" not in calls(atai_emulator)


def test_failed_checkpoints_do_not_fail_the_upload(api, atai_emulator):
    atai_emulator.add_fault(
        method="POST", path="/files/uploads/*/parts/checkpoint", effect="answer", status=503, count=99
    )
    send(api)
    assert content_of(api) == CONTENT


def test_an_untrusted_unfinished_upload_is_not_resumed(api, atai_emulator):
    atai_emulator.add_fault(method="PUT", path="/_storage/*/2", effect="drop_before", count=3)
    with pytest.raises(AtaiConnectionError):
        send(api, Source(CONTENT.upper()))
    atai_emulator.clear_faults()
    atai_emulator.clear_requests()
    send(api, trust_unfinished=False)
    assert content_of(api) == CONTENT
    assert puts(atai_emulator) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:3], b""])
def test_a_file_that_shrank_is_refused_and_its_upload_aborted(api, atai_emulator, content):
    with pytest.raises(SourceChangedError, match="bytes too early"):
        send(api, Source(content))
    assert calls(atai_emulator)[-1] == "POST abort"
    assert atai_emulator.files() == []
    send(api)
    assert content_of(api) == CONTENT


def test_a_file_that_changes_while_it_is_sent_is_not_completed(api, atai_emulator):
    source = Source()
    source.on_open = lambda changing: setattr(changing, "changed", True)
    with pytest.raises(SourceChangedError):
        send(api, source)
    assert "POST complete" not in calls(atai_emulator)
    # A checkpoint would make the next try trust these bytes.
    assert "POST checkpoint" not in calls(atai_emulator)
    assert calls(atai_emulator)[-1] == "POST abort"


def test_a_file_that_changed_before_the_upload_is_not_sent(api, atai_emulator):
    source = Source()
    source.changed = True
    with pytest.raises(SourceChangedError):
        send(api, source)
    assert calls(atai_emulator) == []


def test_a_read_error_is_not_taken_for_a_lost_connection(api, atai_emulator):
    source = Source()

    def fail(failing):
        if failing.opened == 2:
            raise OSError(5, "Input/output error")

    source.on_open = fail
    with pytest.raises(
        SourceUnreadableError, match=r"could not be read while it was sent.*Input/output error"
    ):
        send(api, source)
    assert source.opened == 2
    assert "POST abort" not in calls(atai_emulator)


def test_a_taken_name_is_a_conflict_and_aborts_nothing(api, atai_emulator):
    send(api)
    atai_emulator.clear_requests()
    with pytest.raises(AtaiConflictError):
        send(api)
    assert calls(atai_emulator) == ["POST initiate"]


def test_a_key_that_is_rotated_meanwhile_leaves_the_upload_open(api, atai_emulator):
    source = Source()
    source.on_open = lambda opened: atai_emulator.set_api_key("sk_new") if opened.opened == 2 else None
    with pytest.raises(AtaiAuthenticationError):
        send(api, source)
    assert "POST abort" not in calls(atai_emulator)
    with AtaiClient(base_url=atai_emulator.base_url, api_key="sk_new") as client:
        atai_emulator.clear_requests()
        send(FilesApi(client))
        assert puts(atai_emulator) == ["1", "2", "3"]


def test_a_part_that_storage_refuses_aborts_the_upload(api, atai_emulator):
    atai_emulator.add_fault(
        method="PUT", path="/_storage/*/1", effect="answer", status=400, body="errors", count=1
    )
    with pytest.raises(AtaiBadRequestError):
        send(api)
    assert calls(atai_emulator)[-1] == "POST abort"


@pytest.mark.parametrize("status", [404, 409, 503])
def test_a_failed_abort_does_not_hide_the_cause(api, atai_emulator, status):
    atai_emulator.add_fault(method="POST", path="/files/uploads/*/abort", effect="answer", status=status)
    with pytest.raises(SourceChangedError):
        send(api, Source(b""))


class TestOddSessions:
    """Responses to initiate that the emulator never sends."""

    @pytest.fixture
    def odd(self, client):
        return FilesApi(client)

    def session(self, server, *ranges, **fields):
        parts = [
            {"part_number": number, "url": f"{server.root_url}/part", "offset": offset, "length": length}
            for number, offset, length in ranges
        ]
        return http_answer(200, json.dumps({"upload_id": "u", "parts": parts, **fields}))

    @pytest.mark.parametrize(
        ("ranges", "fields"),
        [
            ([(0, 0, 10), (1, 5, 15)], {}),
            ([(0, 0, 21)], {}),
            ([(0, 0, 10), (1, 10, 0), (2, 10, 10)], {}),
            ([(0, 0, 10), (0, 10, 10)], {}),
            ([(0, 0, 10)], {}),
            ([(0, 0, 10)], {"num_parts": 1, "is_resume": False}),
            ([], {}),
            ([(0, 0, 10), (1, 5, 10)], {"is_resume": True, "num_parts": 9}),
        ],
    )
    def test_parts_that_would_make_another_file_are_not_sent(
        self,
        bad_server,
        odd,
        ranges,
        fields,
    ):
        bad_server.answer(self.session(bad_server, *ranges, **fields), http_answer(200, "{}"))
        with pytest.raises(AtaiResponseError, match="nothing was sent"):
            send(odd)
        assert [(sent.method, sent.target) for sent in bad_server.requests] == [
            ("POST", "/v0.5/files/uploads/initiate"),
            ("POST", "/v0.5/files/uploads/u/abort"),
        ]

    @pytest.mark.parametrize("verbatim", ['"quoted"', "bare", 'W/"weak"'])
    def test_etags_are_passed_on_verbatim(self, bad_server, odd, verbatim):
        bad_server.answer(
            self.session(bad_server, (7, 0, 20)),
            http_answer(200, ETag=verbatim),
            http_answer(200, '{"num_checkpointed": 1}'),
            http_answer(200, '{"file_name": "a.txt", "file_uid": "f", "num_bytes": 20}'),
        )
        assert send(odd).file_uid == "f"
        expected = {"parts": [{"part_number": 7, "part_token": verbatim}]}
        assert json.loads(bad_server.requests[2].body) == expected
        assert json.loads(bad_server.requests[3].body) == expected
        part = bad_server.requests[1]
        assert part.body == CONTENT
        assert part.headers["content-length"] == "20"
        assert not {"authorization", "content-type", "transfer-encoding"} & set(part.headers)
        assert API_KEY not in repr(part)

    @pytest.mark.parametrize(
        "answer",
        [
            {"file_name": "a.txt", "num_bytes": 19},
            {"file_name": "a.txt", "file_status": "Corrupt"},
            {"file_name": "a.txt", "is_valid": False},
        ],
    )
    def test_a_file_that_was_stored_differently_is_an_error(self, bad_server, odd, answer):
        bad_server.answer(
            self.session(bad_server, (0, 0, 20)),
            http_answer(200, ETag="e"),
            http_answer(200),
            http_answer(200, json.dumps(answer)),
        )
        with pytest.raises(AtaiResponseError, match="20 bytes were sent as a"):
            send(odd)

    @pytest.mark.parametrize(
        ("metadata", "adopted"),
        [
            ({"file_uid": "mine", "num_bytes": 20}, True),
            ({"num_bytes": 20}, True),
            ({"file_uid": "other", "num_bytes": 20}, False),
            ({"file_uid": "mine", "num_bytes": 19}, False),
            ({"file_uid": "mine", "num_bytes": 20, "file_status": "CORRUPT"}, False),
            (None, False),
        ],
    )
    def test_a_refused_complete_succeeds_only_if_this_very_file_is_stored(
        self, bad_server, odd, metadata, adopted
    ):
        record = (
            http_answer(404, "{}")
            if metadata is None
            else http_answer(200, json.dumps({"file_id": "a.txt", **metadata}))
        )
        bad_server.answer(
            self.session(bad_server, (0, 0, 20), file_uid="mine"),
            http_answer(200, ETag="e"),
            http_answer(200),
            http_answer(409, "{}"),
            record,
        )
        if adopted:
            assert send(odd).file_id == "a.txt"
        else:
            with pytest.raises(UploadGoneError, match="Somebody else finished or aborted"):
                send(odd)

    @pytest.mark.parametrize("file_uid", [None, "mine"])
    def test_under_a_name_of_unknown_content_only_a_uid_proves_the_file(self, bad_server, odd, file_uid):
        known = {} if file_uid is None else {"file_uid": file_uid}
        bad_server.answer(
            self.session(bad_server, (0, 0, 20), **known),
            http_answer(200, ETag="e"),
            http_answer(200),
            http_answer(409, "{}"),
            http_answer(200, json.dumps({"file_id": "a.txt", "num_bytes": 20, **known})),
        )
        if file_uid is None:
            with pytest.raises(UploadGoneError):
                send(odd, trust_unfinished=False)
        else:
            assert send(odd, trust_unfinished=False).file_uid == "mine"

    @pytest.mark.parametrize(
        ("ranges", "fields"), [([(1, 10, 10)], {"num_parts": 2}), ([(1, 10, 10)], {}), ([], {"num_parts": 1})]
    )
    def test_missing_parts_reveal_an_unfinished_upload_without_is_resume(
        self, bad_server, odd, ranges, fields
    ):
        """The observed responses have no is_resume."""
        bad_server.answer(
            self.session(bad_server, *ranges, **fields),
            http_answer(200),
            self.session(bad_server, (0, 0, 20)),
            http_answer(200, ETag="e"),
            http_answer(200),
            http_answer(200, '{"file_name": "a.txt", "num_bytes": 20}'),
        )
        assert send(odd, trust_unfinished=False).file_id == "a.txt"
        targets = [sent.target.rpartition("/")[2] for sent in bad_server.requests]
        assert targets == ["initiate", "abort", "initiate", "part", "checkpoint", "complete"]
        assert bad_server.requests[3].body == CONTENT

    @pytest.mark.parametrize("status", [400, 403, 405, 422])
    def test_a_refused_checkpoint_does_not_fail_the_upload(self, bad_server, odd, status):
        bad_server.answer(
            self.session(bad_server, (0, 0, 10), (1, 10, 10)),
            http_answer(200, ETag="e"),
            http_answer(status, "{}"),
            http_answer(200, ETag="f"),
            http_answer(200, '{"file_name": "a.txt", "num_bytes": 20}'),
        )
        assert send(odd).file_id == "a.txt"

    def test_an_upload_that_storage_has_dropped_is_aborted(self, bad_server, odd):
        gone = http_answer(404, "<Error><Code>NoSuchUpload</Code></Error>", content_type="application/xml")
        bad_server.answer(self.session(bad_server, (0, 0, 20)), gone, http_answer(200))
        with pytest.raises(UploadGoneError, match="NoSuchUpload"):
            send(odd)
        assert bad_server.requests[-1].target.endswith("/abort")

    def test_an_expired_url_is_refreshed_before_it_is_used(self, bad_server, odd):
        part = {"part_number": 0, "url": f"{bad_server.root_url}/fresh", "offset": 0, "length": 20}
        bad_server.answer(
            self.session(bad_server, (0, 0, 20), expires_at="2026-01-01T00:00:00Z"),
            http_answer(200, json.dumps({"parts": [part]})),
            http_answer(200, ETag="e"),
            http_answer(200),
            http_answer(200, '{"file_name": "a.txt", "num_bytes": 20}'),
        )
        assert send(odd).file_id == "a.txt"
        assert bad_server.requests[2].target == "/fresh"

    def test_a_url_of_unknown_age_is_refreshed_after_a_dropped_connection(self, bad_server, client):
        """Storage that responds before it has the whole body closes the connection, and its 403 is lost."""
        client.max_attempts = 1
        part = {"part_number": 0, "url": f"{bad_server.root_url}/fresh", "offset": 0, "length": 20}
        bad_server.answer(
            self.session(bad_server, (0, 0, 20)),
            b"",
            http_answer(200, json.dumps({"parts": [part]})),
            http_answer(200, ETag="e"),
            http_answer(200),
            http_answer(200, '{"file_name": "a.txt", "num_bytes": 20}'),
        )
        assert send(FilesApi(client)).file_id == "a.txt"
        assert bad_server.requests[3].target == "/fresh"

    def test_a_part_that_moves_is_refused(self, bad_server, odd):
        moved = {"part_number": 0, "url": f"{bad_server.root_url}/part", "offset": 0, "length": 10}
        bad_server.answer(
            self.session(bad_server, (0, 0, 20)),
            http_answer(403),
            http_answer(200, json.dumps({"parts": [moved]})),
        )
        with pytest.raises(AtaiResponseError, match="moved part 0"):
            send(odd)

    def test_an_upload_that_is_gone_is_not_aborted(self, bad_server, odd):
        gone = http_answer(404, '{"errors": [{"code": "upload_not_found", "message": "gone"}]}')
        bad_server.answer(self.session(bad_server, (0, 0, 20)), http_answer(200, ETag="e"), gone)
        with pytest.raises(UploadGoneError, match="gone"):
            send(odd)
        assert not any(sent.target.endswith("abort") for sent in bad_server.requests)

    def test_an_unfinished_upload_that_cannot_be_aborted_is_not_resumed(self, bad_server, odd):
        unfinished = self.session(bad_server, (1, 10, 10), is_resume=True, num_parts=2)
        bad_server.answer(unfinished, http_answer(409, "{}"), unfinished)
        with pytest.raises(AtaiError, match="could not be aborted; nothing was sent"):
            send(odd, trust_unfinished=False)
        assert len(bad_server.requests) == 3
