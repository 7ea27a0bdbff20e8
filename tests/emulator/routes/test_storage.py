from __future__ import annotations

import http.client
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest
import requests

JSON = "application/json"


def put(url, headers=None, body=b"ab"):
    with requests.Session() as session:
        session.trust_env = False
        return session.put(url, data=body, headers=headers, timeout=30)


def chunks():
    yield b"a"
    yield b"b"


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Authorization": "Bearer sk_emulator"}, b"ab", 400, "InvalidArgument"),
        ({}, chunks(), 411, "MissingContentLength"),
    ],
)
def test_storage_refuses_requests_that_do_not_fit_the_url(service, headers, body, status, code):
    (part,) = service.initiate(num_bytes=2)["parts"]
    answer = put(part["url"], headers, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/xml")
    assert f"<Code>{code}</Code>" in answer.text
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/x-www-form-urlencoded", ""])
def test_storage_takes_any_content_type(service, content_type):
    (part,) = service.initiate(num_bytes=2)["parts"]
    assert put(part["url"], {"Content-Type": content_type}).status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("send", ["--data-binary @", "--upload-file ", "-H Content-Type:text/csv -T "])
def test_a_shell_script_uploads_with_what_the_documents_say(service, tmp_path, send):
    """It numbers the parts from 1, lets curl choose the headers, and looks for the header ETag."""
    service.control.set_switches(part_size=5)
    upload = service.initiate("a.csv", 12, "text/csv")
    script = f"""
    set -eu
    number=1
    for url in "$@"; do
        dd if=whole of=part bs=5 skip=$((number - 1)) count=1 2>/dev/null
        curl -sS --fail -D headers -o answer -X PUT {send}part "$url"
        etag=$(grep '^ETag: ' headers | tr -d '\\r' | cut -d' ' -f2)
        echo "$number $etag"
        number=$((number + 1))
    done
    """
    (tmp_path / "whole").write_bytes(b"a,b\n1,2\n3,4\n")
    urls = [part["url"] for part in upload["parts"]]
    sent = subprocess.run(
        ["sh", "-c", script, "upload", *urls], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    tokens = [line.split() for line in sent.stdout.splitlines()]
    parts = [{"part_number": int(number), "part_token": etag} for number, etag in tokens]
    done = service("POST", f"/files/uploads/{upload['upload_id']}/complete", json={"parts": parts})
    assert done.status_code == 200, done.text
    assert service("GET", "/files/download/a.csv").content == b"a,b\n1,2\n3,4\n"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
        lambda url: url.partition("?")[0],
        lambda url: url.replace("Expires=", "Expires=1"),
        lambda url: url.replace("/1?", "/2?"),
        lambda url: url + "é",
    ],
    ids=["signature", "no query", "later expiry", "other part", "no ascii"],
)
def test_altered_url_is_refused(service, spoil):
    service.control.set_switches(part_size=2)
    part = service.initiate(num_bytes=4)["parts"][0]
    answer = put(spoil(part["url"]))
    assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True)


def test_expired_url_is_refused_and_a_fresh_one_works(service):
    service.control.set_switches(presigned_url_seconds=-1)
    upload = service.initiate(num_bytes=2)
    answer = put(upload["parts"][0]["url"])
    assert (answer.status_code, "Request has expired" in answer.text) == (403, True)
    service.control.set_switches(presigned_url_seconds=60)
    path = f"/files/uploads/{upload['upload_id']}/parts/urls"
    (fresh,) = service("POST", path, json={"part_numbers": [1]}).json()["parts"]
    assert put(fresh["url"]).status_code == 200


def test_part_that_breaks_off_is_not_stored(service):
    upload = service.initiate(num_bytes=12)
    url = urlsplit(upload["parts"][0]["url"])
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", "12")
    connection.endheaders(b"01234")
    connection.close()
    token = {"part_number": 1, "part_token": "x"}
    path = f"/files/uploads/{upload['upload_id']}/complete"
    assert service("POST", path, json={"parts": [token]}).status_code == 400
    assert put(upload["parts"][0]["url"], body=b"0123456789ab").status_code == 200


def test_part_that_ends_after_the_upload_is_not_stored(service):
    upload = service.initiate(num_bytes=12)
    url = urlsplit(upload["parts"][0]["url"])
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", "12")
    connection.endheaders(b"01234")
    while not any(entry["method"] == "PUT" for entry in service.control.requests()):
        pass
    assert service("POST", f"/files/uploads/{upload['upload_id']}/abort").status_code == 200
    connection.send(b"56789ab")
    assert connection.getresponse().status == 404
    connection.close()


def test_large_part_arrives_whole(service):
    content = b"0123456789abcdef" * 1_000_000
    service.upload("large.txt", content, "text/plain")
    assert service("GET", "/files/download/large.txt").content == content
