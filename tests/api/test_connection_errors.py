from __future__ import annotations

import datetime
import http.client
import ipaddress
import socket
import ssl

import pytest
import requests.exceptions as rex
import urllib3.exceptions as uex
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.connection_errors import explain, translated
from airflow_provider_atai.errors import AtaiConnectionError, AtaiResponseError, AtaiTimeoutError
from tests.api.conftest import API_KEY, http_answer, serve

URL = "https://user:sk_hidden@host.example:8443/v0.5/jobs/x?signature=hidden"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
def tls_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serve(context)


def failure(base_url, *, verify=True, proxy=None):
    with (
        AtaiClient(
            base_url=base_url, api_key=API_KEY, timeout=2, max_attempts=1, verify=verify, proxy=proxy
        ) as client,
        pytest.raises(AtaiConnectionError) as caught,
    ):
        client.request("POST", "fine-tune", "jobs", json={})
    assert caught.value.__context__ is None
    return caught.value


def test_an_unresolvable_name_is_a_dns_error():
    error = failure("https://no-such-host.invalid")
    assert error.reason == "dns"
    assert "was not sent: the name of the host no-such-host.invalid does not resolve" in str(error)


def test_a_closed_port_is_a_refused_connection(free_port):
    error = failure(f"http://127.0.0.1:{free_port}")
    assert error.reason == "refused"
    assert f"127.0.0.1:{free_port} refuses the connection" in str(error)


def test_a_self_signed_certificate_is_a_tls_error(tls_server):
    error = failure(tls_server.root_url)
    assert error.reason == "tls"
    assert "the certificate of 127.0.0.1" in str(error)
    assert "self-signed" in str(error)
    assert tls_server.requests == []


def test_a_certificate_for_another_name_is_a_tls_error(tls_server, certificate):
    error = failure(f"https://localhost:{tls_server.port}", verify=str(certificate))
    assert error.reason == "tls"
    assert "localhost" in str(error)


@pytest.mark.parametrize("verify", ["bundle", False])
def test_tls_works_with_a_custom_bundle_or_unverified(tls_server, certificate, verify, monkeypatch):
    # The connection takes precedence over a bundle in the environment.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    tls_server.answer(http_answer(200, "[]"))
    chosen = str(certificate) if verify == "bundle" else False
    with AtaiClient(base_url=tls_server.root_url, api_key=API_KEY, verify=chosen) as client:
        assert client.request("GET", "x") == []


def test_a_download_is_not_redirected_from_https_to_http(tls_server, bad_server, certificate):
    tls_server.answer(http_answer(302, Location=f"{bad_server.root_url}/file"))
    bad_server.answer(http_answer(200, b"content"))
    with (
        AtaiClient(base_url=tls_server.root_url, api_key=API_KEY, verify=str(certificate)) as client,
        pytest.raises(AtaiResponseError, match="from https to http"),
    ):
        list(client.stream("files", "download", "a"))
    assert bad_server.requests == []


def test_a_missing_bundle_is_a_tls_error(tls_server):
    error = failure(tls_server.root_url, verify="/no/such/bundle.pem")
    assert error.reason == "tls"
    assert "the CA bundle that the connection names does not exist" in str(error)


def test_https_to_an_http_server_is_told(bad_server):
    error = failure(bad_server.root_url.replace("http:", "https:"))
    assert error.reason == "http"
    assert str(bad_server.port) in str(error)


def test_an_unreachable_proxy_is_a_proxy_error(free_port):
    error = failure("https://service.invalid", proxy=f"http://user:sk_hidden@127.0.0.1:{free_port}")
    assert error.reason == "proxy"
    assert "the proxy refused it or cannot be reached" in str(error)
    assert "sk_hidden" not in repr(error)


def test_an_impossible_host_name_is_a_url_or_dns_error():
    assert failure("https://" + "a" * 70 + ".example").reason in ("url", "dns")


def wrapped(outer, *inner):
    return outer(*inner)


@pytest.mark.parametrize(
    ("raised", "kind", "reason", "text"),
    [
        (rex.ConnectTimeout(), AtaiTimeoutError, "timeout", "no connection to host.example:8443 within 3 s"),
        (rex.ReadTimeout(), AtaiTimeoutError, "timeout", "not answered completely within 7 s"),
        (
            wrapped(rex.ConnectionError, uex.ProtocolError("Connection aborted.", TimeoutError("timed out"))),
            AtaiTimeoutError,
            "timeout",
            "not answered completely within 7 s",
        ),
        (
            wrapped(rex.ConnectionError, uex.ProtocolError("x", http.client.RemoteDisconnected("y"))),
            AtaiConnectionError,
            "dropped",
            "was lost",
        ),
        (rex.ChunkedEncodingError(), AtaiConnectionError, "network", "ChunkedEncodingError"),
        (uex.ProtocolError("x"), AtaiConnectionError, "dropped", "was lost"),
        (ConnectionResetError(104, "reset"), AtaiConnectionError, "dropped", "was lost"),
        (BrokenPipeError(), AtaiConnectionError, "dropped", "was lost"),
        (wrapped(rex.SSLError, ssl.SSLError("bad record")), AtaiConnectionError, "tls", "does not speak TLS"),
        (
            wrapped(rex.SSLError, ssl.SSLEOFError(8, "EOF occurred in violation of protocol")),
            AtaiConnectionError,
            "dropped",
            "was lost",
        ),
        (ssl.SSLZeroReturnError(6, "closed"), AtaiConnectionError, "dropped", "was lost"),
        (
            wrapped(rex.ConnectionError, socket.gaierror(-2, "x")),
            AtaiConnectionError,
            "dns",
            "does not resolve",
        ),
        (rex.InvalidURL("x"), AtaiConnectionError, "url", "not a valid URL"),
        (UnicodeError("label too long"), AtaiConnectionError, "url", "not a valid URL"),
        (OSError(113, "No route to host"), AtaiConnectionError, "network", "OSError"),
    ],
)
def test_each_exception_of_the_http_stack_has_a_reason(raised, kind, reason, text):
    error = explain(raised, "GET", URL, (3, 7))
    assert type(error) is kind
    assert error.reason == reason
    assert text in str(error)
    assert "hidden" not in str(error)


@pytest.mark.parametrize(
    ("method", "told"), [("GET", False), ("POST", True), ("PUT", True), ("DELETE", True)]
)
@pytest.mark.parametrize("raised", [rex.ReadTimeout(), ConnectionResetError()])
def test_a_lost_response_says_that_the_effect_is_unknown(raised, method, told):
    assert (
        "It is unknown whether the request took effect" in str(explain(raised, method, URL, (3, 7)))
    ) is told


def test_an_exception_from_elsewhere_is_not_translated():
    def call():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        translated(call, "GET", URL, (3, 7))


def test_a_circular_chain_of_exceptions_ends():
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert explain(first, "GET", URL, (3, 7)).reason == "network"
