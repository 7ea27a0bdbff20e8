from __future__ import annotations

import json
import logging
import traceback
from html import escape
from urllib.parse import quote

import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi
from airflow_provider_atai.api.redaction import redactor
from airflow_provider_atai.api.transport import Response, Transport
from airflow_provider_atai.errors import AtaiError
from tests.api.conftest import API_KEY
from tests.api.uploads import CONTENT, replace_sleep, send

SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
CREDENTIAL = "AKIAIOSFODNN7EXAMPLE"
SECRETS = (SIGNATURE, CREDENTIAL, API_KEY)
URL = (
    "https://storage.example/key?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential={CREDENTIAL}%2F20261126%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature={SIGNATURE}"
)
REFRESHED = URL.replace("/key?", "/key2?")


@pytest.mark.parametrize(
    "text",
    [
        f"PUT {URL} is not allowed",
        f'{{"url": "{URL}"}}',
        json.dumps({"url": URL}).replace("/", "\\/").replace("&", "\\u0026"),
        escape(URL),
        quote(URL),
        f"expected {SIGNATURE}",
        f"/key?X-Amz-Credential={CREDENTIAL}&X-Amz-Signature={SIGNATURE[:20]}",
        f"X-Amz-Credential={CREDENTIAL}",
        f'{{"AWSAccessKeyId": "{CREDENTIAL}", "Signature": "{SIGNATURE[:27]}="}}',
        f"https://x.blob.example/f?sv=2026&sig={SIGNATURE[:30]}%3D",
        f"https://cdn.example/f?Policy={SIGNATURE[:9]}~&Key-Pair-Id={CREDENTIAL}",
        f"x-goog-signature={SIGNATURE} x-amz-security-token={CREDENTIAL}",
        f"you sent {API_KEY}",
    ],
)
def test_what_looks_like_a_signature_is_hidden(text):
    hidden = redactor(API_KEY, "https://api.example/v0.5/files/uploads/initiate")(text)
    assert "***" in hidden
    assert not [secret for secret in (SIGNATURE[:9], CREDENTIAL, API_KEY) if secret in hidden]


@pytest.mark.parametrize(
    "text",
    [
        "File already exists: train-0123456789ab.jsonl",
        "err-bfa600db-c703-4061-ad9c-c14628b3554c",
        "See https://docs.archetypeai.app/errors for the signature of a job, or the policy: none.",
        "TokenExpired: The provided token has expired.",
    ],
)
def test_what_helps_stays(text):
    assert redactor(API_KEY, "https://api.example/x?limit=1&statuses=FINALIZING")(text) == text


class Service(Transport):
    """Takes an upload, but answers one of its calls with what a test says."""

    def __init__(self, broken, answer):
        super().__init__(verify=True, proxy=None)
        self.broken = broken
        self.answer = answer
        self.seen: list[str] = []

    def exchange(self, method, url, *, body=None, **rest):
        if body is not None and method == "PUT":
            b"".join(body)
        last = "PUT" if method == "PUT" else url.rpartition("/")[2]
        self.seen.append(last)
        status, content = self.answer if last == self.broken else self.usual(last)
        return Response(status, {"Content-Type": "application/json", "ETag": '"e"'}, content)

    def usual(self, last):
        # A part is refused once if its URL is to be refreshed, and for good if the upload is to be aborted.
        refusals = {"urls": (403, self.seen.count("PUT") == 1), "abort": (400, True)}
        status, refuses = refusals.get(self.broken, (200, False))
        part = {"part_number": 1, "url": URL, "offset": 0, "length": len(CONTENT)}
        match last:
            case "initiate":
                document = {"upload_id": "upl_1", "num_parts": 1, "parts": [part]}
            case "urls":
                document = {"parts": [part | {"url": REFRESHED}]}
            case "PUT" if refuses:
                return status, b"<Error><Code>AccessDenied</Code></Error>"
            case "complete":
                document = {"file_name": "a.txt", "file_uid": "fil_1", "num_bytes": len(CONTENT)}
            case _:
                document = {}
        return 200, json.dumps(document).encode()


QUOTING = {
    "message": (400, json.dumps({"errors": [{"code": "x", "message": f"{URL} {REFRESHED}"}]}).encode()),
    "unknown shape": (422, json.dumps({"input": {"parts": [{"url": URL, "signature": SIGNATURE}]}}).encode()),
    "validation": (422, json.dumps({"detail": [{"loc": [URL], "msg": SIGNATURE}]}).encode()),
    "text": (500, f"no: {REFRESHED}".encode()),
    "page": (403, f"<html><title>{escape(URL)}</title>".encode()),
    "storage": (403, f"<Error><Code>X</Code><Message>{URL}</Message></Error>".encode()),
    "cut": (200, json.dumps({"parts": [{"url": URL}], "upload_id": "upl_1"}).encode()[:-3]),
    "cut inside the signature": (200, json.dumps({"parts": [{"url": URL}]}).encode()[:-40]),
    "not a part": (200, json.dumps({"upload_id": "u", "parts": [{"url": URL}]}).encode()),
    "not a usable url": (200, json.dumps({"upload_id": "u", "parts": [{"url": URL + "\n"}]}).encode()),
    "redirect": (307, b""),
}


@pytest.mark.parametrize("quoting", QUOTING)
@pytest.mark.parametrize("route", ["initiate", "urls", "PUT", "checkpoint", "complete", "abort"])
def test_no_call_of_an_upload_reveals_a_signature(route, quoting, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    replace_sleep(monkeypatch, lambda seconds: None)
    service = Service(route, QUOTING[quoting])
    with AtaiClient(base_url="http://service.invalid", api_key=API_KEY, transport=service) as client:
        try:
            send(FilesApi(client))
            told = ""
        except AtaiError as error:
            told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert route in service.seen
    assert told or caplog.text
    assert not [secret[:12] for secret in SECRETS if secret[:12] in told + caplog.text]
