from __future__ import annotations

import gzip
import json
import logging
import zlib
from typing import Any

import pytest

from airflow_provider_atai.api.client import AtaiClient, normalise_api_key, normalise_timeout
from airflow_provider_atai.api.transport import Response, Transport
from airflow_provider_atai.errors import (
    AtaiApiError,
    AtaiAuthenticationError,
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiConnectionError,
    AtaiError,
    AtaiGatewayNotFoundError,
    AtaiGatewayRefusalError,
    AtaiNotFoundError,
    AtaiPermissionError,
    AtaiRateLimitError,
    AtaiResponseError,
    AtaiServerError,
    AtaiTimeoutError,
    ErrorDetail,
    UnsendableRequestError,
)
from tests.api.conftest import API_KEY, drip, endless, http_answer, silence

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ZIPPED = gzip.compress(b'{"a": 1}', mtime=0)
# What a reader waits for inside one read: it gets bytes, but nothing of the body.
DRIPPING = {
    "dripping length of a chunk": (JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "dripping trailers": (JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "dripping gzip without content": (
        JSON_HEAD + b"Content-Encoding: gzip\r\n\r\n" + ZIPPED[:10],
        b"\x00\x00\x00\xff\xff",
    ),
}


def test_a_request_has_query_body_and_headers(bad_server, client):
    bad_server.answer(http_answer(200, '{"a": [1, null]}'))
    answer = client.request(
        "POST",
        "fine-tune",
        "jobs",
        params={"limit": 5, "statuses": ["A", "B"], "offset": None},
        json={"x": "ü"},
    )
    assert answer == {"a": [1, None]}
    (sent,) = bad_server.requests
    assert (sent.method, sent.target) == ("POST", "/v0.5/fine-tune/jobs?limit=5&statuses=A&statuses=B")
    assert sent.headers["authorization"] == f"Bearer {API_KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["accept"] == "application/json"
    assert sent.headers["user-agent"].startswith("airflow-provider-atai/")
    assert json.loads(sent.body) == {"x": "ü"}


def test_a_request_without_a_body_has_no_content_type(bad_server, client):
    bad_server.answer(http_answer(204))
    assert client.request("PUT", "fine-tune", "jobs", "a", "stop") is None
    (sent,) = bad_server.requests
    assert sent.headers["content-length"] == "0"
    assert "content-type" not in sent.headers


@pytest.mark.parametrize(
    ("segment", "sent"),
    [
        ("ft-job-a_b.c~1", "ft-job-a_b.c~1"),
        ("a/b", "a%2Fb"),
        ("../admin", "..%2Fadmin"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b\n", "a%20b%0A"),
        ("100%", "100%25"),
        ("%2e%2e", "%252e%252e"),
        ("ünï✓", "%C3%BCn%C3%AF%E2%9C%93"),
        ("...", "..."),
    ],
)
def test_an_id_is_quoted_as_one_path_segment(bad_server, client, segment, sent):
    bad_server.answer(http_answer(200, "{}"))
    client.request("GET", "jobs", segment, "metrics")
    assert bad_server.requests[0].target == f"/v0.5/jobs/{sent}/metrics"


@pytest.mark.parametrize("segment", ["", ".", "..", "\ud800"])
def test_an_id_that_would_address_something_else_is_not_sent(bad_server, client, segment):
    for call in (
        lambda: client.request("DELETE", "files", "delete", segment),
        lambda: list(client.stream("files", "download", segment)),
    ):
        with pytest.raises(UnsendableRequestError, match=r"cannot be the id .* nothing was sent") as caught:
            call()
        assert str(caught.value).isprintable()
    assert bad_server.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"params": {"statuses": ["\ud800"]}},
        {"json": {"loss": float("nan")}},
        {"json": {"when": object()}},
        {"json": {1: 1, "file_ids": {"a"}}},
    ],
)
def test_a_request_that_cannot_be_written_is_not_sent(bad_server, client, arguments):
    with pytest.raises(UnsendableRequestError, match="nothing was sent"):
        client.request("GET", "x", **arguments)
    assert bad_server.requests == []


def test_a_netrc_does_not_replace_the_key(bad_server, client, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    bad_server.answer(http_answer(200, "{}", ETag='"e"'))
    client.request("GET", "x")
    client.put_part(f"{bad_server.root_url}/part?X-Signature=s", b"data")
    assert bad_server.requests[0].headers["authorization"] == f"Bearer {API_KEY}"
    assert "authorization" not in bad_server.requests[1].headers


def test_a_proxy_of_the_connection_is_used(bad_server):
    bad_server.answer(http_answer(200, "{}"))
    with AtaiClient(base_url="http://service.invalid", api_key=API_KEY, proxy=bad_server.root_url) as client:
        client.request("GET", "x")
    assert bad_server.requests[0].target == "http://service.invalid/v0.5/x"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, AtaiBadRequestError),
        (401, AtaiAuthenticationError),
        (402, AtaiBadRequestError),
        (403, AtaiPermissionError),
        (404, AtaiNotFoundError),
        (408, AtaiServerError),
        (409, AtaiConflictError),
        (413, AtaiBadRequestError),
        (418, AtaiBadRequestError),
        (422, AtaiBadRequestError),
        (429, AtaiRateLimitError),
        (500, AtaiServerError),
        (503, AtaiServerError),
        (599, AtaiServerError),
    ],
)
def test_each_http_status_raises_its_error(bad_server, client, status, kind):
    body = {"errors": [{"code": "Some_Code", "message": "no", "suggestion": "yes", "error_uid": "err-1"}]}
    bad_server.answer(http_answer(status, json.dumps(body), Retry_After="7"))
    with pytest.raises(kind) as caught:
        client.request("POST", "fine-tune", "jobs", json={})
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.method, error.path) == (status, "POST", "/v0.5/fine-tune/jobs")
    assert error.details == (ErrorDetail("no", code="Some_Code", suggestion="yes", error_uid="err-1"),)
    assert error.codes == {"some_code"}
    assert error.retry_after == 7
    for word in (str(status), "Some_Code", "no", "yes", "err-1", "/v0.5/fine-tune/jobs"):
        assert word in str(error)
    assert len(bad_server.requests) == 1


def test_a_404_page_of_a_gateway_is_not_a_404_of_the_api(bad_server, client):
    bad_server.answer(http_answer(404, "<html><title>nginx</title>", content_type="text/html"))
    with pytest.raises(AtaiGatewayNotFoundError, match="an HTML page, not the API's response: nginx"):
        client.request("GET", "x")


FORGED = "x\r\n[2026-11-24] ERROR - forged\x1b[2J\u2028\ud800"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"errors": [dict.fromkeys(("message", "code", "suggestion", "error_uid"), FORGED)]}),
        json.dumps({"detail": FORGED}),
        json.dumps({"detail": [{"loc": [FORGED], "msg": FORGED, "type": FORGED}]}),
        json.dumps({"error": {"message": FORGED, "code": FORGED}}),
        json.dumps({FORGED: [FORGED]}),
        FORGED.replace("\ud800", ""),
        f"<html><title>{FORGED[:-1]}</title>",
        f"<Error><Code>X</Code><Message>{FORGED[:-1]}</Message></Error>",
    ],
)
def test_no_text_of_the_service_can_forge_a_line(bad_server, client, body):
    bad_server.answer(http_answer(500, body))
    with pytest.raises(AtaiServerError, match="forged") as caught:
        client.with_options(max_attempts=1).request("GET", "x")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", ["<html><title>Request blocked</title>", "RBAC: access denied", ""])
def test_a_refusal_by_a_gateway_is_not_one_of_the_api(bad_server, client, status, body):
    bad_server.answer(http_answer(status, body, content_type="text/html"))
    with pytest.raises(AtaiGatewayRefusalError, match=f"HTTP {status}"):
        client.request("GET", "x")
    assert len(bad_server.requests) == 1


# Responses that the service should never send, with the error class and words of its message.
BAD_ANSWERS: list[Any] = [
    pytest.param(
        http_answer(200, "<html>login sk</html>", content_type="text/html"),
        AtaiResponseError,
        "not with JSON .text/html.: '<html>login",
        id="HTML with 200",
    ),
    pytest.param(
        http_answer(200, "oops", content_type=None), AtaiResponseError, "no content type", id="text"
    ),
    pytest.param(
        http_answer(200, '{"id": "x", "sta'), AtaiResponseError, "not with JSON", id="truncated JSON"
    ),
    pytest.param(http_answer(200, b'{"id": "\xff"}'), AtaiResponseError, "not with JSON", id="not UTF-8"),
    pytest.param(http_answer(200, b"[" * 100_000), AtaiResponseError, "not with JSON", id="deep nesting"),
    pytest.param(http_answer(200, b"9" * 10_000), AtaiResponseError, "not with JSON", id="huge number"),
    pytest.param(
        http_answer(302, Location="https://elsewhere.example/login?next=/v0.5"),
        AtaiResponseError,
        r"redirected \(HTTP 302\) to elsewhere.example",
        id="redirect",
    ),
    pytest.param(http_answer(307), AtaiResponseError, "redirected", id="redirect to nowhere"),
    pytest.param(
        http_answer(308, Location="http://[bad"), AtaiResponseError, "redirected", id="bad redirect"
    ),
    pytest.param(http_answer(304), AtaiResponseError, "HTTP 304", id="not modified"),
    pytest.param(b"", AtaiConnectionError, "was lost", id="dropped at once"),
    pytest.param(b"HTTP/1.1 200", AtaiConnectionError, "was lost", id="dropped in the status line"),
    pytest.param(JSON_HEAD[:30], AtaiConnectionError, "was lost", id="dropped in the headers"),
    pytest.param(JSON_HEAD + b"\r\n", AtaiConnectionError, "was lost", id="dropped before the body"),
    pytest.param(b"SSH-2.0-OpenSSH_9\r\n", AtaiConnectionError, "was lost", id="not HTTP"),
    pytest.param(
        JSON_HEAD + b"Content-Length: 100\r\n\r\n{}",
        AtaiConnectionError,
        "was lost",
        id="dropped in the body",
    ),
    pytest.param(
        JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}",
        AtaiConnectionError,
        "was lost",
        id="dropped chunk",
    ),
    pytest.param(
        JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n",
        AtaiConnectionError,
        "was lost",
        id="bad chunk",
    ),
    pytest.param(
        JSON_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        AtaiConnectionError,
        "decompressed",
        id="not gzip",
    ),
    pytest.param(
        http_answer(200, b"{}", Content_Encoding="br"),
        AtaiConnectionError,
        "decompressed",
        id="not asked for",
    ),
    pytest.param(
        http_answer(200, ZIPPED[:-1], Content_Encoding="gzip"),
        AtaiConnectionError,
        "breaks off",
        id="cut gzip",
    ),
    pytest.param(
        http_answer(200, ZIPPED * 2 + ZIPPED[:12], Content_Encoding="gzip"),
        AtaiConnectionError,
        "breaks off",
        id="cut member of a gzip",
    ),
    pytest.param(
        http_answer(500, ZIPPED[:-1], Content_Encoding="x-gzip"),
        AtaiConnectionError,
        "breaks off",
        id="cut gzip of an error",
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 1000 + b"\r\n{}",
        AtaiConnectionError,
        "was lost",
        id="1000 headers",
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n{}",
        AtaiConnectionError,
        "was lost",
        id="long header",
    ),
    pytest.param(silence, AtaiTimeoutError, "within 0.5 s", id="no response"),
    pytest.param(drip(b"HTTP/1.1 200 OK\r\nX: y"), AtaiTimeoutError, "within 0.5 s", id="dripping headers"),
    pytest.param(
        drip(JSON_HEAD + b"\r\n[1, ", after=len(JSON_HEAD)),
        AtaiTimeoutError,
        "within 0.5 s",
        id="dripping body",
    ),
    pytest.param(
        drip(JSON_HEAD + b"Content-Length: 900000\r\n\r\n ", after=len(JSON_HEAD) + 26),
        AtaiTimeoutError,
        "within 0.5 s",
        id="dripping body of known length",
    ),
    *(
        pytest.param(drip(head + dripping, after=len(head)), AtaiTimeoutError, "within 0.5 s", id=name)
        for name, (head, dripping) in DRIPPING.items()
    ),
]


@pytest.mark.parametrize(("script", "kind", "message"), BAD_ANSWERS)
def test_a_bad_response_raises_its_error(bad_server, script, kind, message):
    bad_server.answer(script)
    with (
        AtaiClient(base_url=bad_server.root_url, api_key=API_KEY, timeout=0.5, max_attempts=1) as client,
        pytest.raises(kind, match=message) as caught,
    ):
        client.request("GET", "fine-tune", "jobs", "x")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert len(bad_server.requests) == 1


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(JSON_HEAD, id="json"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n", id="redirect"),
    ],
)
def test_an_endless_response_is_cut_off(bad_server, head):
    bad_server.answer(endless(head + b"\r\n", b" " * 1_000_000))
    # A busy machine needs a while for the first 64 MiB.
    with (
        AtaiClient(base_url=bad_server.root_url, api_key=API_KEY, timeout=60, max_attempts=1) as client,
        pytest.raises(AtaiResponseError, match="more than 67108864 bytes"),
    ):
        client.request("GET", "fine-tune", "jobs", "x")


@pytest.mark.parametrize(
    ("answer", "decoded"),
    [
        (http_answer(200, "[]"), []),
        (http_answer(201, '"text"'), "text"),
        (http_answer(202, "null"), None),
        (http_answer(204), None),
        (http_answer(200, " \r\n"), None),
        (
            http_answer(200, '{"loss": NaN}', content_type=None),
            {"loss": pytest.approx(float("nan"), nan_ok=True)},
        ),
        (http_answer(200, ZIPPED, Content_Encoding="gzip"), {"a": 1}),
        (http_answer(200, zlib.compress(b'{"a": 2}'), Content_Encoding="Deflate"), {"a": 2}),
        (
            http_answer(
                200, gzip.compress(b"[", mtime=0) + gzip.compress(b"8]", mtime=0), Content_Encoding="x-gzip"
            ),
            [8],
        ),
        (http_answer(200, b"[9]", Content_Encoding="identity"), [9]),
        (http_answer(200, b"[10]", Content_Encoding="aws-chunked"), [10]),
        (http_answer(200, gzip.compress(b"[11]", mtime=0), Content_Encoding="gzip, aws-chunked"), [11]),
        (http_answer(204, Content_Encoding="gzip"), None),
        (JSON_HEAD + b"\r\n[1]", [1]),
        (JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n", []),
        (http_answer(200, json.dumps(["x" * 10_000_000])), ["x" * 10_000_000]),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else repr(value)[:20],
)
def test_an_unusual_but_valid_response_is_decoded(bad_server, client, answer, decoded):
    bad_server.answer(answer)
    assert client.request("GET", "x") == decoded


OUTAGES: list[Any] = [
    *(http_answer(status, "{}") for status in (408, 429, 500, 502, 503, 504)),
    b"",
    JSON_HEAD + b"Content-Length: 9\r\n\r\n{}",
]


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_get_survives_three_failures(bad_server, client, naps, outage):
    bad_server.answer(outage, outage, outage, http_answer(200, "[7]"))
    assert client.request("GET", "x") == [7]
    assert len(bad_server.requests) == 4
    assert len(naps) == 3


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_get_gives_up_after_four_attempts(bad_server, client, outage):
    bad_server.answer(outage)
    with pytest.raises(AtaiError):
        client.request("GET", "x")
    assert len(bad_server.requests) == 4


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_request_that_may_have_taken_effect_is_not_repeated(bad_server, client, method, outage):
    bad_server.answer(outage, http_answer(200, "{}"))
    with pytest.raises(AtaiError):
        client.request(method, "x", json={})
    assert len(bad_server.requests) == 1


def test_a_request_that_is_safe_to_repeat_is_repeated(bad_server, client):
    bad_server.answer(http_answer(503), http_answer(200, "{}"))
    assert client.request("PUT", "x", safe_to_repeat=True) == {}
    assert len(bad_server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 501])
def test_a_lasting_error_is_not_repeated(bad_server, client, status):
    bad_server.answer(http_answer(status, "{}"))
    with pytest.raises(AtaiApiError):
        client.request("GET", "x")
    assert len(bad_server.requests) == 1


def test_an_undocumented_response_is_not_repeated(bad_server, client):
    bad_server.answer(http_answer(200, "<p>"))
    with pytest.raises(AtaiResponseError):
        client.request("GET", "x")
    assert len(bad_server.requests) == 1


@pytest.mark.parametrize("attempts", [1, 2])
def test_with_options_bounds_the_attempts(bad_server, client, attempts):
    bad_server.answer(http_answer(503))
    with pytest.raises(AtaiServerError):
        client.with_options(max_attempts=attempts).request("GET", "x")
    assert len(bad_server.requests) == attempts


def test_at_most_bounds_both_timeouts_and_lengthens_none(client):
    slow = client.with_options(timeout=(10, 60))
    assert slow.with_options(at_most=20)._timeout == (10, 20)
    assert slow.with_options(at_most=5)._timeout == (5, 5)
    assert slow.with_options(at_most=600)._timeout == (10, 60)


def test_with_options_leaves_the_client_as_it_is(bad_server, client):
    bad_server.answer(silence)
    hasty = client.with_options(timeout=0.5, max_attempts=1)
    with pytest.raises(AtaiTimeoutError, match=r"within 0\.5 s"):
        hasty.request("GET", "x")
    with pytest.raises(ValueError, match="positive number of seconds"):
        client.with_options(timeout=0)
    bad_server.answer(http_answer(503), http_answer(503), http_answer(503), http_answer(200, "[7]"))
    assert client.with_options().request("GET", "x") == [7]


class TestTransport:
    class Canned(Transport):
        """Answers without a network."""

        def __init__(self):
            super().__init__(verify=True, proxy=None)
            self.sent: list[tuple[str, str, str | None]] = []
            self.is_closed = False

        def exchange(self, method, url, *, token=None, **rest):
            self.sent.append((method, url, token))
            return Response(200, {"ETag": "e"}, b"[7]")

        def close(self):
            self.is_closed = True

    def test_a_client_sends_over_the_transport_that_it_is_given(self):
        transport = self.Canned()
        with AtaiClient(base_url="http://service.invalid", api_key=API_KEY, transport=transport) as client:
            assert client.with_options(max_attempts=1).request("GET", "x") == [7]
            assert client.put_part("http://storage.invalid/part", b"data") == "e"
        assert transport.sent == [
            ("GET", "http://service.invalid/v0.5/x", API_KEY),
            ("PUT", "http://storage.invalid/part", None),
        ]
        assert transport.is_closed


def test_retry_after_is_obeyed_and_capped(bad_server, client, naps):
    old_body = json.dumps({"error": {"message": "slow down", "details": {"retry_after": 11}}})
    bad_server.answer(
        http_answer(429, "{}", Retry_After="3"),
        http_answer(429, old_body),
        http_answer(503, "{}", Retry_After="86400"),
        http_answer(200, "{}"),
    )
    client.request("GET", "x")
    assert naps == [3, 11, 60]


def test_the_key_is_in_no_repr_no_message_and_no_log(bad_server, client, caplog):
    caplog.set_level(logging.DEBUG)
    echo = f"you sent Bearer {API_KEY}"
    shown = [repr(client), str(client)]
    for answer in (
        http_answer(500, json.dumps({"errors": [{"message": echo, "code": API_KEY, "suggestion": echo}]})),
        http_answer(401, json.dumps({"detail": echo})),
        http_answer(400, echo, content_type="text/plain"),
        http_answer(200, echo, content_type="text/plain"),
        http_answer(302, Location=f"https://elsewhere.example/?key={API_KEY}"),
    ):
        bad_server.answer(answer)
        with pytest.raises(AtaiError) as caught:
            client.request("GET", "x")
        shown += [str(caught.value), repr(caught.value), repr(getattr(caught.value, "details", ""))]
    assert "***" in shown[2]
    assert API_KEY not in "".join(shown)
    assert API_KEY not in caplog.text


@pytest.mark.parametrize(
    ("written", "meant"),
    [("sk_1", "sk_1"), (" sk_1\n", "sk_1"), ("\tsk_1\r\n", "sk_1"), ("a.b-c=/+", "a.b-c=/+")],
)
def test_white_space_around_a_key_is_removed(written, meant):
    assert normalise_api_key(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "  \n",
        "Bearer sk_secret",
        "sk_se\ncret",
        "sk_secret\x00",
        "sk_secr€t",
        "sk_secr\x7ft",
        "schlüssel",
    ],
)
def test_a_malformed_key_is_refused_without_being_shown(written):
    with pytest.raises(ValueError, match="API key") as caught:
        AtaiClient(base_url="http://127.0.0.1", api_key=written)
    assert not written.strip() or written.strip() not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"), [(5, (5.0, 5.0)), (0.5, (0.5, 0.5)), ((3, 60), (3.0, 60.0)), ([3, 60], (3.0, 60.0))]
)
def test_a_timeout_is_a_number_or_a_pair(written, meant):
    assert normalise_timeout(written) == meant


@pytest.mark.parametrize("written", [0, -1, float("inf"), float("nan"), (1, 0), (1, 2, 3), ()])
def test_an_impossible_timeout_is_refused(written):
    with pytest.raises(ValueError, match="positive number of seconds"):
        AtaiClient(base_url="http://127.0.0.1", api_key="sk_1", timeout=written)


class TestPutPart:
    def test_a_part_is_sent_without_the_key(self, bad_server, client):
        bad_server.answer(http_answer(200, content_type=None, ETag='"abc"'))
        etag = client.put_part(f"{bad_server.root_url}/bucket/key?X-Amz-Signature=s%2F1&part=2", b"data")
        assert etag == '"abc"'
        (sent,) = bad_server.requests
        assert (sent.method, sent.target) == ("PUT", "/bucket/key?X-Amz-Signature=s%2F1&part=2")
        assert sent.body == b"data"
        assert sent.headers["content-length"] == "4"
        assert not {"authorization", "content-type", "transfer-encoding"} & set(sent.headers)

    @pytest.mark.parametrize(
        ("script", "kind", "message"),
        [
            (
                http_answer(
                    400,
                    "<Error><Code>TokenExpired</Code><Message>old</Message></Error>",
                    content_type="application/xml",
                ),
                AtaiBadRequestError,
                "TokenExpired: old",
            ),
            (
                http_answer(403, "<Error><Code>AccessDenied</Code></Error>"),
                AtaiPermissionError,
                "AccessDenied",
            ),
            (http_answer(503, "<Error><Code>SlowDown</Code></Error>"), AtaiServerError, "SlowDown"),
            # S3 says this if a body arrives too slowly: another attempt may be faster.
            (http_answer(400, "<Error><Code>RequestTimeout</Code></Error>"), AtaiServerError, "HTTP 400"),
            (http_answer(404, "<Error><Code>NoSuchUpload</Code></Error>"), AtaiNotFoundError, "NoSuchUpload"),
            (
                http_answer(
                    400, "PUT /key?X-Amz-Signature=secret0123456789abcdef&part=2", content_type="text/plain"
                ),
                AtaiBadRequestError,
                r"PUT /key\?\*\*\*",
            ),
            (http_answer(200), AtaiResponseError, "sent no ETag"),
            (
                http_answer(307, Location="https://elsewhere.example/?X-Amz-Signature=secret"),
                AtaiResponseError,
                "else",
            ),
            (b"", AtaiConnectionError, "was lost"),
        ],
    )
    def test_an_error_names_the_cause_and_hides_the_signature(
        self,
        *,
        bad_server,
        client,
        caplog,
        script,
        kind,
        message,
    ):
        caplog.set_level(logging.DEBUG)
        bad_server.answer(script)
        signed = "X-Amz-Signature=secret0123456789abcdef&part=2"
        with pytest.raises(kind, match=message) as caught:
            client.put_part(f"{bad_server.root_url}/bucket/key?{signed}", b"data")
        assert len(bad_server.requests) == 1
        assert "secret" not in str(caught.value) + repr(caught.value) + caplog.text
        assert caught.value.__context__ is None

    def test_an_unreachable_storage_hides_the_signature(self, client, free_port):
        with pytest.raises(AtaiConnectionError, match="refuses the connection") as caught:
            client.put_part(f"http://127.0.0.1:{free_port}/key?X-Amz-Signature=secret", b"data")
        assert "secret" not in repr(caught.value)
        assert caught.value.__context__ is None

    def test_later_requests_of_the_thread_are_logged_again(self, bad_server, client, caplog):
        caplog.set_level(logging.DEBUG)
        bad_server.answer(http_answer(200, "{}", ETag="e"))
        client.put_part(f"{bad_server.root_url}/key?X-Amz-Signature=secret", b"data")
        client.request("GET", "ordinary")
        assert "ordinary" in caplog.text
        assert "secret" not in caplog.text


class TestStream:
    def test_a_download_yields_the_content(self, bad_server, client):
        content = bytes(range(256)) * 4096
        bad_server.answer(http_answer(200, content, content_type="application/octet-stream"))
        assert b"".join(client.stream("files", "download", "a b")) == content
        assert bad_server.requests[0].target == "/v0.5/files/download/a%20b"
        assert bad_server.requests[0].headers["authorization"] == f"Bearer {API_KEY}"

    def test_a_redirect_within_the_origin_keeps_the_key(self, bad_server, client):
        bad_server.answer(http_answer(302, Location="/elsewhere?x=1"), http_answer(200, b"content"))
        assert b"".join(client.stream("files", "download", "a")) == b"content"
        assert bad_server.requests[1].target == "/elsewhere?x=1"
        assert bad_server.requests[1].headers["authorization"] == f"Bearer {API_KEY}"

    def test_a_redirect_to_another_host_never_gets_the_key(self, bad_server, client):
        there = f"http://localhost:{bad_server.port}/signed?X-Amz-Signature=s"
        bad_server.answer(http_answer(302, Location=there), http_answer(200, b"content"))
        assert b"".join(client.stream("files", "download", "a")) == b"content"
        followed = next(sent for sent in bad_server.requests if sent.target.startswith("/signed"))
        assert "authorization" not in followed.headers

    def test_another_port_is_another_origin(self, bad_server, client, free_port):
        bad_server.answer(http_answer(302, Location=f"http://127.0.0.1:{free_port}/x"))
        with pytest.raises(AtaiConnectionError, match=f"127.0.0.1:{free_port} refuses"):
            list(client.stream("files", "download", "a"))

    @pytest.mark.parametrize(
        ("location", "message"),
        [
            ("/v0.5/files/download/b", "more than 5 times"),
            ("/v0.5/files/download/a", "to nowhere"),
            ("file:///etc/passwd", "to nowhere"),
            ("", "to nowhere"),
            ("http://[bad", "to nowhere"),
            ("https://host:99999/x", "to nowhere"),
        ],
    )
    def test_a_redirect_to_nowhere_is_refused(self, bad_server, client, location, message):
        other = "/v0.5/files/download/c"
        there_and_back = [http_answer(302, Location=location), http_answer(302, Location=other)] * 4
        bad_server.answer(*there_and_back)
        with pytest.raises(AtaiResponseError, match=message):
            list(client.stream("files", "download", "a"))
        assert len(bad_server.requests) <= 6

    def test_an_http_error_of_a_download_is_raised(self, bad_server, client):
        bad_server.answer(
            http_answer(404, json.dumps({"errors": [{"code": "not_found", "message": "no file"}]}))
        )
        with pytest.raises(AtaiNotFoundError, match="no file"):
            list(client.stream("files", "download", "a"))

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf", "was lost"),
            (
                http_answer(200, gzip.compress(bytes(range(256)), mtime=0)[:-9], Content_Encoding="gzip"),
                "breaks off",
            ),
        ],
    )
    def test_a_download_that_breaks_off_raises(self, bad_server, client, script, message):
        bad_server.answer(script)
        with pytest.raises(AtaiConnectionError, match=message):
            list(client.stream("files", "download", "a"))

    @pytest.mark.parametrize(
        ("head", "dripping"),
        [
            (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", b"x"),
            (b"HTTP/1.1 500 Oops\r\n\r\n", b"x"),
            *DRIPPING.values(),
        ],
    )
    def test_a_download_that_drips_has_a_time_limit(self, bad_server, client, head, dripping):
        bad_server.answer(drip(head + dripping, after=len(head)))
        with pytest.raises(AtaiTimeoutError, match=r"within 0\.5 s"):
            list(client.with_options(timeout=0.5).stream("files", "download", "a"))


@pytest.mark.parametrize(
    "call", [lambda client: client.request("GET", "x"), lambda client: list(client.stream("x"))]
)
def test_several_threads_share_a_client(bad_server, client, call):
    from concurrent.futures import ThreadPoolExecutor

    bad_server.answer(http_answer(200, "[1]"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(client), range(40)))
    assert answers == [answers[0]] * 40
    assert {sent.headers["authorization"] for sent in bad_server.requests} == {f"Bearer {API_KEY}"}
