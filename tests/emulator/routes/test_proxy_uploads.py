from __future__ import annotations

import base64
import http.client
import re
from urllib.parse import urlsplit

import pytest


@pytest.mark.parametrize(
    ("name", "file_type"),
    [
        ("a.jpg", "image/jpeg"),
        ("a.png", "image/png"),
        ("a.mp4", "video/mp4"),
        ("a.txt", "text/plain"),
        ("a.csv", "text/csv"),
        ("a.json", "application/json"),
        # The declared type counts, not the name.
        ("a.jsonl", "text/plain"),
        ("a.csv", "text/csv; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("field", ["file", "anything"])
def test_file_is_stored_with_its_declared_type(service, name, file_type, field):
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
def test_unsupported_type_is_refused(service, file_type):
    answer = service.post_file("a.jsonl", b"{}", file_type)
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_file_type")
    (entry,) = answer.json()["errors"]
    assert entry["message"] == f"Unsupported file type: {file_type}"
    assert entry["suggestion"].startswith("Supported types: image/jpeg, image/png")
    assert service.control.files() == []


def test_part_without_a_type_is_refused(service):
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
def test_form_without_exactly_one_file_is_refused(service, files, code):
    answer = service("POST", "/files", files=files)
    assert (answer.status_code, service.code_of(answer)) == (400, code)


def test_body_that_is_not_a_form_is_refused(service):
    answer = service("POST", "/files", data=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("validation_errors", "status", "key"), [("errors", 400, "errors"), ("detail_list", 422, "detail")]
)
@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_broken_form_is_refused_like_other_malformed_bodies(
    service, validation_errors, status, key, content_type
):
    service.control.set_switches(validation_errors=validation_errors)
    answer = service("POST", "/files", data=b"--y\r\n", headers={"Content-Type": content_type})
    (entry,) = answer.json()[key]
    assert answer.status_code == status
    assert "multipart" in entry["message" if key == "errors" else "msg"]


@pytest.mark.parametrize("over", [1, 200_000])
def test_too_large_file_is_refused_and_leaves_nothing(service, over):
    service.control.set_switches(proxy_max_bytes=100_000)
    answer = service.post_file("a.txt", b"x" * (100_000 + over), "text/plain")
    assert (answer.status_code, service.code_of(answer)) == (413, "invalid_file_size")
    assert service.control.files() == []
    assert service.post_file("a.txt", b"x" * 100_000, "text/plain").status_code == 200


def test_client_sees_the_refusal_of_a_too_large_body(service):
    service.control.set_switches(proxy_max_bytes=100_000)
    connection = http.client.HTTPConnection(urlsplit(service.control.root_url).netloc, timeout=30)
    headers = {"Authorization": "Bearer sk_emulator", "Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/v0.5/files", body=b"x" * 8_000_000, headers=headers)
    answer = connection.getresponse()
    assert (answer.status, b"invalid_file_size" in answer.read()) == (413, True)
    connection.close()


@pytest.mark.parametrize("name", ["folder/a.txt", "C:\\folder\\a.txt", "a.txt"])
def test_file_id_is_the_base_name(service, name):
    assert service.post_file(name, b"x", "text/plain").json()["file_id"] == "a.txt"


def test_second_file_of_a_name_overwrites_the_first(service):
    first = service.post_file("a.txt", b"one", "text/plain").json()
    second = service.post_file("a.txt", b"two", "text/plain").json()
    assert first["file_uid"] != second["file_uid"]
    assert service("GET", "/files/download/a.txt").content == b"two"
    assert [file["file_uid"] for file in service.control.files()] == [second["file_uid"]]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 3_000_001])
@pytest.mark.parametrize("line_length", [None, 76])
def test_base64_is_decoded(service, size, line_length):
    content = bytes(index % 251 for index in range(size))
    encode = base64.b64encode if line_length is None else base64.encodebytes
    answer = service.post_file("a.txt", encode(content), "text/plain", path="/files/base64")
    assert answer.status_code == 200, answer.text
    assert service("GET", "/files/download/a.txt").content == content


def test_text_that_is_not_base64_is_refused(service):
    answer = service.post_file("a.txt", b"not base64!", "text/plain", path="/files/base64")
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_parameter")
    assert service.control.files() == []
