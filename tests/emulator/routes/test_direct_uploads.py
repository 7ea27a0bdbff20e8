from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
import requests

CONTENT = b"0123456789ab"


@pytest.fixture
def small_parts(service):
    service.control.set_switches(part_size=5)
    return service


def complete(service, upload, parts):
    answer = service("POST", f"/files/uploads/{upload['upload_id']}/complete", json={"parts": parts})
    assert isinstance(answer, requests.Response)
    return answer


def test_initiate_answers_the_fields_of_both_generations(small_parts):
    upload = small_parts.initiate("a.jsonl", 12)
    parts, expires_at = upload.pop("parts"), upload.pop("expires_at")
    assert re.fullmatch("upl_[0-9a-z]{26}", upload.pop("upload_id"))
    assert re.fullmatch("fil_[0-9a-z]{26}", upload.pop("file_uid"))
    assert upload == {
        "file_name": "a.jsonl",
        "strategy": "multipart",
        "total_bytes": 12,
        "num_parts": 3,
        "part_size": 5,
        "is_resume": False,
    }
    assert [(part["part_number"], part["offset"], part["length"]) for part in parts] == [
        (1, 0, 5),
        (2, 5, 5),
        (3, 10, 2),
    ]
    assert {part["expires_at"] for part in parts} == {expires_at}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires_at)
    left = datetime.fromisoformat(expires_at) - datetime.now(UTC)
    assert timedelta(minutes=55) < left <= timedelta(hours=1)


def test_upload_of_one_part_is_simple(service):
    upload = service.initiate(num_bytes=12)
    assert (upload["strategy"], upload["num_parts"], upload["part_size"]) == ("simple", 1, 419_430_400)


@pytest.mark.parametrize("strip", [False, True], ids=["quoted", "stripped"])
def test_complete_makes_the_file(small_parts, strip):
    upload = small_parts.initiate("a.jsonl", len(CONTENT))
    tokens = [small_parts.put_part(part, CONTENT) for part in reversed(upload["parts"])]
    assert {token["part_token"] for token in tokens} == {
        f'"{hashlib.md5(piece).hexdigest()}"' for piece in (b"01234", b"56789", b"ab")
    }
    if strip:
        tokens = [token | {"part_token": token["part_token"].strip('"')} for token in tokens]
    answer = complete(small_parts, upload, tokens)
    assert answer.status_code == 200
    assert answer.json() == {
        "file_uid": upload["file_uid"],
        "file_name": "a.jsonl",
        "num_bytes": 12,
        "file_status": "Registered",
        "file_attributes": {"metadata_status": "not_extracted"},
    }
    assert small_parts("GET", "/files/download/a.jsonl").content == CONTENT
    record = small_parts("GET", "/files/metadata/a.jsonl").json()
    assert (record["file_uid"], record["file_type"]) == (upload["file_uid"], "application/x-ndjson")


def test_part_can_be_sent_again(small_parts):
    upload = small_parts.initiate(num_bytes=2)
    stale = small_parts.put_part(upload["parts"][0], b"xy")
    fresh = small_parts.put_part(upload["parts"][0], b"ab")
    assert complete(small_parts, upload, [stale]).status_code == 400
    assert complete(small_parts, upload, [fresh]).status_code == 200
    assert small_parts("GET", "/files/download/train.jsonl").content == b"ab"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"file_type": "application/jsonl"}, "invalid_file_type"),
        ({"file_type": "application/x-parquet"}, "invalid_file_type"),
        ({"file_type": ""}, "invalid_file_type"),
        ({"file_type": None}, "invalid_parameter"),
        ({"filename": ""}, "invalid_parameter"),
        ({"filename": "folder/"}, "invalid_parameter"),
        ({"filename": 7}, "invalid_parameter"),
        ({"num_bytes": 0}, "invalid_parameter"),
        ({"num_bytes": -1}, "invalid_parameter"),
        ({"num_bytes": "12"}, "invalid_parameter"),
        ({"num_bytes": 1.5}, "invalid_parameter"),
        ({"resume_if_started": "yes"}, "invalid_parameter"),
    ],
)
def test_initiate_refuses_an_impossible_value(service, change, code):
    body = {"filename": "a.jsonl", "file_type": "application/x-ndjson", "num_bytes": 12} | change
    answer = service("POST", "/files/uploads/initiate", json=body)
    assert answer.status_code == 400, answer.text
    assert service.code_of(answer) == code


@pytest.mark.parametrize("field", ["filename", "file_type", "num_bytes"])
def test_initiate_needs_every_field(service, field):
    body = {"filename": "a.jsonl", "file_type": "application/x-ndjson", "num_bytes": 12}
    del body[field]
    answer = service("POST", "/files/uploads/initiate", json=body)
    assert (answer.status_code, service.code_of(answer)) == (400, "missing_parameter")


def test_initiate_refuses_more_than_250_gigabytes(service):
    body = {"filename": "a.csv", "file_type": "text/csv", "num_bytes": 250_000_000_001}
    answer = service("POST", "/files/uploads/initiate", json=body)
    assert (answer.status_code, service.code_of(answer)) == (413, "invalid_file_size")


@pytest.mark.parametrize("resume", [False, True])
def test_initiate_of_a_taken_name_is_a_conflict_without_uid_and_suggestion(service, resume):
    service.upload("a.jsonl", b"12")
    body = {
        "filename": "a.jsonl",
        "file_type": "application/x-ndjson",
        "num_bytes": 2,
        "resume_if_started": resume,
    }
    answer = service("POST", "/files/uploads/initiate", json=body)
    assert answer.status_code == 409
    assert answer.json() == {"errors": [{"code": "conflict", "message": "File already exists: a.jsonl"}]}


def test_resume_lists_the_parts_without_a_checkpoint(small_parts):
    first = small_parts.initiate("a.jsonl", len(CONTENT))
    tokens = [small_parts.put_part(part, CONTENT) for part in first["parts"]]
    path = f"/files/uploads/{first['upload_id']}/parts/checkpoint"
    answer = small_parts("POST", path, json={"parts": [tokens[1]]})
    assert answer.json() == {"num_checkpointed": 1}
    resumed = small_parts.initiate("a.jsonl", len(CONTENT), resume_if_started=True)
    assert (resumed["upload_id"], resumed["is_resume"]) == (first["upload_id"], True)
    assert (resumed["total_bytes"], resumed["num_parts"]) == (12, 3)
    assert [part["part_number"] for part in resumed["parts"]] == [1, 3]
    missing = complete(small_parts, resumed, [tokens[0]])
    assert (missing.status_code, small_parts.code_of(missing)) == (400, "missing_parameter")
    assert complete(small_parts, resumed, [tokens[0], tokens[2]]).status_code == 200
    assert small_parts("GET", "/files/download/a.jsonl").content == CONTENT


def test_resume_lists_no_parts_if_all_have_a_checkpoint(small_parts):
    first = small_parts.initiate("a.jsonl", len(CONTENT))
    tokens = [small_parts.put_part(part, CONTENT) for part in first["parts"]]
    small_parts("POST", f"/files/uploads/{first['upload_id']}/parts/checkpoint", json={"parts": tokens})
    resumed = small_parts.initiate("a.jsonl", len(CONTENT), resume_if_started=True)
    assert resumed["parts"] == []
    assert complete(small_parts, resumed, []).status_code == 200


@pytest.mark.parametrize("change", [{"num_bytes": 11}, {"file_type": "text/plain"}])
def test_resume_of_another_file_is_a_conflict(service, change):
    service.initiate("a.jsonl", 12)
    body = {
        "filename": "a.jsonl",
        "file_type": "application/x-ndjson",
        "num_bytes": 12,
        "resume_if_started": True,
    }
    assert service("POST", "/files/uploads/initiate", json=body | change).status_code == 409


def test_resume_without_an_unfinished_upload_begins_a_new_one(service):
    assert service.initiate("a.jsonl", 12, resume_if_started=True)["is_resume"] is False


def test_fresh_urls_come_in_the_order_of_the_request(small_parts):
    upload = small_parts.initiate(num_bytes=12)
    path = f"/files/uploads/{upload['upload_id']}/parts/urls"
    parts = small_parts("POST", path, json={"part_numbers": [3, 1, 3]}).json()["parts"]
    assert [part["part_number"] for part in parts] == [3, 1, 3]
    assert list(parts[0]) == ["part_number", "url", "offset", "length", "expires_at"]
    assert requests.put(parts[0]["url"], data=b"ab", timeout=30).status_code == 200


@pytest.mark.parametrize("numbers", [[4], [0], [-1], [1, 99], [], ["1"], None])
def test_fresh_urls_for_unknown_parts_are_refused(small_parts, numbers):
    upload = small_parts.initiate(num_bytes=12)
    path = f"/files/uploads/{upload['upload_id']}/parts/urls"
    answer = small_parts("POST", path, json={"part_numbers": numbers})
    assert (answer.status_code, small_parts.code_of(answer)) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    ("tokens", "code"),
    [
        ([], "missing_parameter"),
        ([{"part_number": 1, "part_token": "x"}], "invalid_parameter"),
        ([{"part_number": 2, "part_token": "x"}], "invalid_parameter"),
        ([{"part_number": 10**30, "part_token": "x"}], "invalid_parameter"),
        ([{"part_number": 1}], "missing_parameter"),
        ([{"part_number": 1, "part_token": ""}], "invalid_parameter"),
        ([{"part_number": "1", "part_token": "x"}], "invalid_parameter"),
        ([{"part_number": 1, "part_token": "x"}, {"part_number": 1, "part_token": "y"}], "invalid_parameter"),
    ],
)
def test_refused_complete_leaves_the_upload_open(service, tokens, code):
    upload = service.initiate(num_bytes=2)
    token = service.put_part(upload["parts"][0], b"ab")
    answer = complete(service, upload, tokens)
    assert (answer.status_code, service.code_of(answer)) == (400, code)
    assert complete(service, upload, [token]).status_code == 200


def test_complete_refuses_a_part_that_was_never_sent(service):
    upload = service.initiate(num_bytes=2)
    answer = complete(service, upload, [{"part_number": 1, "part_token": hashlib.md5(b"ab").hexdigest()}])
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_parameter")


def test_complete_refuses_another_size_than_announced(service):
    upload = service.initiate(num_bytes=12)
    token = service.put_part(upload["parts"][0], b"short")
    answer = complete(service, upload, [token])
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_file_size")
    assert service.control.files() == []


def test_complete_refuses_wrong_part_sizes_even_if_their_sum_is_right(small_parts):
    upload = small_parts.initiate(num_bytes=12)
    pieces = (b"0123", b"456789", b"ab")
    tokens = [
        {"part_number": part["part_number"], "part_token": requests.put(part["url"], piece).headers["ETag"]}
        for part, piece in zip(upload["parts"], pieces, strict=True)
    ]
    answer = complete(small_parts, upload, tokens)
    assert (answer.status_code, small_parts.code_of(answer)) == (400, "invalid_file_size")
    assert "Part 1 has 4 bytes; it should have 5" in answer.text
    assert small_parts.control.files() == []


def test_part_listed_twice_with_one_token_is_one_part_and_counts_twice(small_parts):
    upload = small_parts.initiate(num_bytes=12)
    first, *others = [small_parts.put_part(part, CONTENT) for part in upload["parts"]]
    bare = first | {"part_token": first["part_token"].strip('"')}
    path = f"/files/uploads/{upload['upload_id']}/parts/checkpoint"
    answer = small_parts("POST", path, json={"parts": [first, bare, others[0]]})
    assert answer.json() == {"num_checkpointed": 3}
    other = first | {"part_token": "x"}
    answer = small_parts("POST", path, json={"parts": [first, other]})
    assert (answer.status_code, small_parts.code_of(answer)) == (400, "invalid_parameter")
    assert complete(small_parts, upload, others[1:]).status_code == 200


def test_complete_of_a_name_taken_meanwhile_is_a_conflict(service):
    upload = service.initiate("a.txt", 2, "text/plain")
    token = service.put_part(upload["parts"][0], b"ab")
    service.post_file("a.txt", b"other", "text/plain")
    assert complete(service, upload, [token]).status_code == 409
    assert service("GET", "/files/download/a.txt").content == b"other"


def test_abort_frees_the_name(small_parts):
    upload = small_parts.initiate("a.jsonl", 12)
    small_parts.put_part(upload["parts"][0], CONTENT)
    answer = small_parts("POST", f"/files/uploads/{upload['upload_id']}/abort")
    assert (answer.status_code, answer.content) == (200, b"")
    assert small_parts.control.state()["unfinished_uploads"] == 0
    assert requests.put(upload["parts"][0]["url"], data=b"01234", timeout=30).status_code == 404
    assert small_parts.initiate("a.jsonl", 12)["upload_id"] != upload["upload_id"]


CALLS = [
    ("parts/urls", {"part_numbers": [1]}),
    ("parts/checkpoint", {"parts": [{"part_number": 1, "part_token": "x"}]}),
    ("complete", {"parts": []}),
    ("abort", {}),
]


@pytest.mark.parametrize(("call", "body"), CALLS, ids=[call for call, _ in CALLS])
@pytest.mark.parametrize("state", ["unknown", "aborted", "completed"])
def test_calls_on_a_finished_upload_are_refused(service, call, body, state):
    upload = service.initiate(num_bytes=2)
    path = f"/files/uploads/{upload['upload_id']}"
    if state == "aborted":
        service("POST", f"{path}/abort", json={})
    elif state == "completed":
        complete(service, upload, [service.put_part(upload["parts"][0], b"ab")])
    else:
        path = "/files/uploads/upl_no_such"
    answer = service("POST", f"{path}/{call}", json=body)
    expected = (409, "conflict") if state == "completed" else (404, "upload_not_found")
    assert (answer.status_code, service.code_of(answer)) == expected
