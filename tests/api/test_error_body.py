from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from airflow_provider_atai.api.error_body import (
    excerpt,
    is_json,
    parse_error_body,
    parse_retry_after,
    retry_after_of_body,
)
from airflow_provider_atai.errors import ErrorDetail

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def said(body, *, content_type="application/json", status=400):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(parse_error_body(raw, content_type, status))


def test_the_documented_body_keeps_every_field_of_every_entry():
    body = {
        "errors": [
            {
                "code": "invalid_file_type",
                "message": "Unsupported file type: application/octet-stream",
                "suggestion": "Supported types: image/jpeg",
                "error_uid": "err-bfa600db-c703-4061-ad9c-c14628b3554c",
            },
            {"code": "conflict", "message": "File already exists: a.jsonl"},
        ]
    }
    assert said(body) == [
        ErrorDetail(
            message="Unsupported file type: application/octet-stream",
            code="invalid_file_type",
            suggestion="Supported types: image/jpeg",
            error_uid="err-bfa600db-c703-4061-ad9c-c14628b3554c",
        ),
        ErrorDetail(message="File already exists: a.jsonl", code="conflict"),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"detail": "Not authenticated"}, ErrorDetail("Not authenticated"), id="detail text"),
        pytest.param(
            {
                "detail": [
                    {"loc": ["body", "config", "datasets", 0], "msg": "field required", "type": "missing"}
                ]
            },
            ErrorDetail("config.datasets.0: field required", code="missing"),
            id="detail list",
        ),
        pytest.param(
            {"detail": [{"loc": ["body"], "msg": "field required"}]},
            ErrorDetail("field required"),
            id="detail list about the whole body",
        ),
        pytest.param({"detail": ["too long"]}, ErrorDetail("too long"), id="detail list of texts"),
        pytest.param({"detail": {"message": "no"}}, ErrorDetail("no"), id="detail object"),
        pytest.param(
            {"error": {"code": "rate_limited", "message": "Slow down", "details": {"retry_after": 60}}},
            ErrorDetail("Slow down", code="rate_limited"),
            id="old error",
        ),
        pytest.param({"error": "internal"}, ErrorDetail("internal"), id="error text"),
        pytest.param({"message": "no", "code": "x"}, ErrorDetail("no", code="x"), id="bare entry"),
        pytest.param(
            {"errors": [{"code": "NOT_FOUND"}]}, ErrorDetail("no message", code="NOT_FOUND"), id="code"
        ),
        pytest.param({"errors": ["odd"]}, ErrorDetail("odd"), id="errors of texts"),
        pytest.param({"errors": {"message": "one"}}, ErrorDetail("one"), id="errors object"),
        pytest.param({"errors": [], "detail": "x"}, ErrorDetail("x"), id="empty errors"),
        pytest.param({"errors": [{"message": {"a": 1}}]}, ErrorDetail('{"a": 1}'), id="message object"),
        pytest.param({"errors": [{"odd": 1}]}, ErrorDetail('{"odd": 1}'), id="entry of other keys"),
        pytest.param({"odd": True}, ErrorDetail('{"odd": true}'), id="object of other keys"),
        pytest.param("just text", ErrorDetail("just text"), id="JSON text"),
        pytest.param(42, ErrorDetail("42"), id="JSON number"),
        pytest.param([{"message": "a"}], ErrorDetail("a"), id="JSON list"),
    ],
)
def test_every_other_json_shape_is_read(body, expected):
    assert said(body) == [expected]


@pytest.mark.parametrize("body", [b"", b"  \n", {}, [], None, "", {"errors": [None]}, {"detail": [{}, []]}])
def test_an_empty_body_has_no_entries(body):
    assert [detail for detail in said(body) if detail.message not in ("{}", "[]")] == []


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"Bad Gateway", "text/plain", ErrorDetail("Bad Gateway")),
        (
            b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            "text/html",
            ErrorDetail("an HTML page, not the API's response: 502 Bad Gateway"),
        ),
        (
            b"<html><body><p>Sorry, no.</p></body>",
            "text/html; charset=utf-8",
            ErrorDetail("an HTML page, not the API's response: no title, status 502"),
        ),
        (b"<!doctype html>", "", ErrorDetail("an HTML page, not the API's response: no title, status 502")),
        (
            b"<Error><Code>TokenExpired</Code><Message>The provided token has expired.</Message></Error>",
            "application/xml",
            ErrorDetail("The provided token has expired.", code="TokenExpired"),
        ),
        (b'{"errors": [{"mess', "application/json", ErrorDetail('{"errors": [{"mess')),
        (b"\xff\xfe\x00", "application/octet-stream", ErrorDetail("\ufffd\ufffd")),
        (b"[" * 100_000, "application/json", ErrorDetail("[" * 499 + "…")),
    ],
)
def test_a_body_that_is_not_json_is_read(body, content_type, expected):
    assert said(body, content_type=content_type, status=502) == [expected]


def test_long_texts_and_long_lists_are_cut():
    details = said({"errors": [{"message": "x" * 10_000, "code": "y" * 10_000}] * 1000})
    assert len(details) == 20
    assert len(details[0].message) == 500
    assert len(str(details[0].code)) == 500


def test_line_breaks_and_control_characters_do_not_reach_the_log():
    (detail,) = said({"detail": "one\r\n[2026-11-23] INFO forged\x1b[31m line\x00"})
    assert detail.message == "one [2026-11-23] INFO forged [31m line"


@pytest.mark.parametrize(
    "body",
    [
        {
            "errors": [
                {"code": "sk_1", "message": "key sk_1 bad", "suggestion": "not sk_1", "error_uid": "sk_1"}
            ]
        },
        {"detail": [{"loc": ["header", "sk_1"], "msg": "bad"}]},
        {"odd": {"nested": ["sk_1"]}},
        b"key sk_1 bad",
        b"<html><title>sk_1</title>",
        b"<Error><Code>A</Code><Message>sk_1</Message></Error>",
    ],
)
def test_a_secret_is_redacted_in_every_field(body):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    details = parse_error_body(raw, "", 400, redact=lambda text: text.replace("sk_1", "***"))
    assert "sk_1" not in repr(details)
    assert "***" in repr(details)


def test_redaction_comes_before_cutting_so_that_half_a_key_never_remains():
    body = json.dumps({"detail": "x" * 495 + "sk_secret"}).encode()
    (detail,) = parse_error_body(body, "", 400, redact=lambda text: text.replace("sk_secret", "***"))
    assert "sk_" not in detail.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("Mon, 23 Nov 2026 12:01:30 GMT", 90.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 12:00:10 -0000", 10.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("9" * 400, None),
        ("Mon, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_every_form_of_retry_after_is_parsed(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"details": {"retry_after": 60}}}, 60.0),
        ({"error": {"details": {"retry_after": "2"}}}, 2.0),
        ({"error": {"details": {"retry_after": True}}}, None),
        ({"error": {"details": {"retry_after": [1]}}}, None),
        ({"error": {"details": None}}, None),
        ({"error": "x"}, None),
        ([], None),
    ],
)
def test_retry_after_in_the_old_error_body_is_parsed(body, seconds):
    assert retry_after_of_body(json.dumps(body).encode()) == seconds


@pytest.mark.parametrize(
    ("body", "expected"), [(b"{}", True), (b"null", True), (b"", False), (b"<p>", False)]
)
def test_is_json(body, expected):
    assert is_json(body) is expected


def test_excerpt_does_not_scan_megabytes():
    assert excerpt("a" * 10_000_000, 10) == "a" * 9 + "…"
    assert excerpt("a  b\n c", 10) == "a b c"
