from __future__ import annotations

import base64
import http.client
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

CSV = b'time,"flow, l/s",state\n0,1.5,idle\n1,2.5,running\n'


@pytest.mark.parametrize(
    ("name", "file_type"),
    [
        ("a.jpg", "image/jpeg"),
        ("a.png", "image/png"),
        ("a.mp4", "video/mp4"),
        ("a.txt", "text/plain"),
        ("a.csv", "text/csv"),
        ("a.json", "application/json"),
        # What counts is the declared type.
        ("a.jsonl", "text/plain"),
        ("a.csv", "text/csv; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("field", ["file", "anything"])
def test_upload_through_the_service(service: Any, name: str, file_type: str, field: str) -> None:
    content = bytes(range(256))
    answer = service.post_file(name, content, file_type, field=field)
    assert answer.status_code == 200
    assert list(answer.json()) == ["is_valid", "file_id", "file_uid"]
    assert (answer.json()["is_valid"], answer.json()["file_id"]) == (True, name)
    assert re.fullmatch("fil_[0-9a-z]{26}", answer.json()["file_uid"])
    assert service("GET", f"/files/download/{name}").content == content
    assert service("GET", f"/files/metadata/{name}").json()["file_type"] == file_type.partition(";")[0]


@pytest.mark.parametrize(
    "file_type",
    [
        "application/x-ndjson",
        "application/jsonl",
        "application/octet-stream",
        "text/html",
        "application/x-parquet",
    ],
)
def test_other_types_are_refused(service: Any, file_type: str) -> None:
    answer = service.post_file("a.jsonl", b"{}", file_type)
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_file_type")
    (entry,) = answer.json()["errors"]
    assert entry["message"] == f"Unsupported file type: {file_type}"
    assert entry["suggestion"].startswith("Supported types: image/jpeg, image/png")
    assert service.control.files() == []


def test_a_part_without_a_type_is_refused(service: Any) -> None:
    answer = service("POST", "/files", files={"file": ("a.txt", b"x")})
    assert service.code_of(answer) == "invalid_file_type"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"file": (None, b"x", "text/plain")}, "missing_parameter"),
        ({"a": ("a.txt", b"x", "text/plain"), "b": ("b.txt", b"x", "text/plain")}, "invalid_parameter"),
        ({"file": ("..", b"x", "text/plain")}, "invalid_parameter"),
    ],
)
def test_other_forms_are_refused(service: Any, files: dict[str, Any], code: str) -> None:
    answer = service("POST", "/files", files=files)
    assert (answer.status_code, service.code_of(answer)) == (400, code)


def test_a_body_that_is_no_form_is_refused(service: Any) -> None:
    answer = service("POST", "/files", data=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("validation_errors", "status", "key"), [("errors", 400, "errors"), ("detail_list", 422, "detail")]
)
@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_form_that_is_none_is_refused_as_other_malformed_bodies(
    service: Any, validation_errors: str, status: int, key: str, content_type: str
) -> None:
    service.control.set_switches(validation_errors=validation_errors)
    answer = service("POST", "/files", data=b"--y\r\n", headers={"Content-Type": content_type})
    (entry,) = answer.json()[key]
    assert answer.status_code == status
    assert "multipart" in entry["message" if key == "errors" else "msg"]


@pytest.mark.parametrize("over", [1, 200_000])
def test_oversize_is_refused_and_leaves_nothing(service: Any, over: int) -> None:
    service.control.set_switches(proxy_max_bytes=100_000)
    answer = service.post_file("a.txt", b"x" * (100_000 + over), "text/plain")
    assert (answer.status_code, service.code_of(answer)) == (413, "invalid_file_size")
    assert service.control.files() == []
    assert service.post_file("a.txt", b"x" * 100_000, "text/plain").status_code == 200


def test_the_refusal_of_an_oversize_body_is_seen(service: Any) -> None:
    service.control.set_switches(proxy_max_bytes=100_000)
    connection = http.client.HTTPConnection(urlsplit(service.control.root_url).netloc, timeout=30)
    headers = {"Authorization": "Bearer sk_emulator", "Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/v0.5/files", body=b"x" * 8_000_000, headers=headers)
    answer = connection.getresponse()
    assert (answer.status, b"invalid_file_size" in answer.read()) == (413, True)
    connection.close()


@pytest.mark.parametrize("name", ["folder/a.txt", "C:\\folder\\a.txt", "a.txt"])
def test_the_file_id_is_the_base_name(service: Any, name: str) -> None:
    assert service.post_file(name, b"x", "text/plain").json()["file_id"] == "a.txt"


def test_the_same_name_again_overwrites(service: Any) -> None:
    first = service.post_file("a.txt", b"one", "text/plain").json()
    second = service.post_file("a.txt", b"two", "text/plain").json()
    assert first["file_uid"] != second["file_uid"]
    assert service("GET", "/files/download/a.txt").content == b"two"
    assert [file["file_uid"] for file in service.control.files()] == [second["file_uid"]]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 3_000_001])
@pytest.mark.parametrize("line_length", [None, 76])
def test_base64(service: Any, size: int, line_length: int | None) -> None:
    content = bytes(index % 251 for index in range(size))
    encode = base64.b64encode if line_length is None else base64.encodebytes
    answer = service.post_file("a.txt", encode(content), "text/plain", path="/files/base64")
    assert answer.status_code == 200, answer.text
    assert service("GET", "/files/download/a.txt").content == content


def test_what_is_not_base64_is_refused(service: Any) -> None:
    answer = service.post_file("a.txt", b"not base64!", "text/plain", path="/files/base64")
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_parameter")
    assert service.control.files() == []


def test_metadata_before_and_after_ingestion(service: Any) -> None:
    uid = service.post_file("a.csv", CSV, "text/csv").json()["file_uid"]
    before = service("GET", "/files/metadata/a.csv").json()
    assert before == {
        "file_id": "a.csv",
        "file_uid": uid,
        "is_valid": True,
        "file_type": "text/csv",
        "num_bytes": len(CSV),
        "file_status": "FILE_STATUS_REGISTERED",
        "file_attributes": {"metadata_status": "not_extracted"},
        "ingested": False,
        "file_index": 0,
        "file_tags": [],
    }
    service.control.advance(2)
    attributes = {
        "metadata_status": "extracted",
        "num_rows": 2,
        "num_columns": 3,
        "column_headers": ["time", "flow, l/s", "state"],
    }
    assert service("GET", "/files/metadata/a.csv").json() == before | {
        "file_status": "FILE_STATUS_INGESTED",
        "file_attributes": attributes,
        "ingested": True,
    }


@pytest.mark.parametrize(
    ("content", "rows", "headers"),
    [
        (b"a,b", 0, ["a", "b"]),
        (b"a,b\n1,2", 1, ["a", "b"]),
        (b"", 0, []),
        (b"\xff\xfe,b\n", 0, ["\ufffd\ufffd", "b"]),
    ],
)
def test_attributes_of_odd_csv_files(service: Any, content: bytes, rows: int, headers: list[str]) -> None:
    service.post_file("a.csv", content, "text/csv")
    service.control.advance(2)
    attributes = service("GET", "/files/metadata/a.csv").json()["file_attributes"]
    assert (attributes["num_rows"], attributes["column_headers"]) == (rows, headers)


def test_delete(service: Any) -> None:
    uid = service.upload("a b+c#d.jsonl")
    answer = service("DELETE", "/files/delete/a%20b+c%23d.jsonl")
    assert answer.status_code == 200
    assert answer.json() == {"is_valid": True, "file_id": "a b+c#d.jsonl", "file_uid": uid}
    assert service.control.files() == []
    assert service("GET", "/files/metadata/a%20b+c%23d.jsonl").status_code == 404
    assert service("GET", "/files/download/a%20b+c%23d.jsonl").status_code == 400
    assert service("DELETE", "/files/delete/a%20b+c%23d.jsonl").status_code == 404
    # The name is free again.
    service.upload("a b+c#d.jsonl", b"other\n")
    assert service("GET", "/files/download/a%20b+c%23d.jsonl").content == b"other\n"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/files/metadata/no-such"),
        ("GET", "/files/download/no-such"),
        ("DELETE", "/files/delete/no-such"),
        ("GET", "/files/download/..%2F..%2Femulator.sqlite3"),
    ],
)
def test_an_unknown_file_is_not_found(service: Any, method: str, path: str) -> None:
    assert service(method, path).status_code == 404


def test_a_file_that_is_uploading_cannot_be_downloaded(service: Any) -> None:
    service.initiate("a.jsonl")
    assert service("GET", "/files/download/a.jsonl").status_code == 400
    assert service("GET", "/files/metadata/a.jsonl").status_code == 404


def test_download_is_an_octet_stream(service: Any) -> None:
    service.upload(content=b"{}\n")
    assert service("GET", "/files/download/train.jsonl").headers["Content-Type"] == "application/octet-stream"


def test_download_of_a_range(service: Any) -> None:
    service.upload(content=b"0123456789")
    answer = service("GET", "/files/download/train.jsonl", headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")


def test_info_is_there_and_says_nothing(service: Any) -> None:
    assert service("GET", "/files/info").json() == {}


def test_an_overwritten_file_fails_the_job_that_has_not_read_it(service: Any) -> None:
    service.post_file("train.jsonl", b"{}\n", "text/plain")
    job = service.create().json()
    service.post_file("train.jsonl", b"{}\n", "text/plain")
    service.control.advance(24)
    assert service.job(job["id"])["status"] == "STARTING"
    service.control.advance(1)
    assert service.job(job["id"])["status"] == "FAILED"
