from __future__ import annotations

import pytest

CSV = b'time,"flow, l/s",state\n0,1.5,idle\n1,2.5,running\n'


def test_metadata_changes_with_the_ingestion(service):
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
def test_csv_attributes_of_unusual_files(service, content, rows, headers):
    service.post_file("a.csv", content, "text/csv")
    service.control.advance(2)
    attributes = service("GET", "/files/metadata/a.csv").json()["file_attributes"]
    assert (attributes["num_rows"], attributes["column_headers"]) == (rows, headers)


@pytest.mark.parametrize("content", [b"a" * 200_000, b'"' + b"a\n" * 3_000_000], ids=["field", "no end"])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "proxy"])
def test_csv_whose_header_cannot_be_read_has_no_attributes(service, content, direct):
    if direct:
        service.upload("a.csv", content, "text/csv")
    else:
        assert service.post_file("a.csv", content, "text/csv").status_code == 200
    service.control.advance(2)
    metadata = service("GET", "/files/metadata/a.csv").json()
    assert metadata["ingested"] is True
    assert metadata["file_attributes"] == {"metadata_status": "extracted"}


def test_delete_removes_the_file_and_frees_its_name(service):
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
def test_unknown_file_is_not_found(service, method, path):
    assert service(method, path).status_code == 404


def test_download_of_an_unfinished_upload_is_refused(service):
    service.initiate("a.jsonl")
    assert service("GET", "/files/download/a.jsonl").status_code == 400
    assert service("GET", "/files/metadata/a.jsonl").status_code == 404


def test_download_is_an_octet_stream(service):
    service.upload(content=b"{}\n")
    assert service("GET", "/files/download/train.jsonl").headers["Content-Type"] == "application/octet-stream"


def test_download_answers_a_range(service):
    service.upload(content=b"0123456789")
    answer = service("GET", "/files/download/train.jsonl", headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")


def test_info_answers_an_empty_object(service):
    assert service("GET", "/files/info").json() == {}


def test_overwriting_a_file_fails_the_job_that_has_not_read_it(service):
    service.post_file("train.jsonl", b"{}\n", "text/plain")
    job = service.create().json()
    service.post_file("train.jsonl", b"{}\n", "text/plain")
    service.control.advance(24)
    assert service.job(job["id"])["status"] == "STARTING"
    service.control.advance(1)
    assert service.job(job["id"])["status"] == "FAILED"
