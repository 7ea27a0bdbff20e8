from __future__ import annotations

import pytest

from airflow_provider_atai.api.base_url import DEFAULT_BASE_URL
from airflow_provider_atai.errors import AtaiConfigurationError
from airflow_provider_atai.hooks.settings import client_settings

EMPTY = dict.fromkeys(("host", "port", "schema", "login", "password")) | {"extra": {}, "environ": {}}
KEY = "sk_secret"


def read(**fields):
    return client_settings(**{**EMPTY, "conn_id": "atai_default", "password": KEY, **fields})


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, DEFAULT_BASE_URL),
        ({"host": ""}, DEFAULT_BASE_URL),
        ({"host": "https://api.stage.example"}, "https://api.stage.example"),
        ({"host": "https://platform.example/api"}, "https://platform.example/api"),
        ({"host": "api.example"}, "https://api.example"),
        ({"host": "api.example/v0.5"}, "https://api.example/v0.5"),
        # Airflow splits atai://:key@api.example:8443/v0.5 like this.
        ({"host": "api.example", "port": 8443, "schema": "v0.5"}, "https://api.example:8443/v0.5"),
        ({"host": "http://127.0.0.1", "port": 8765}, "http://127.0.0.1:8765"),
        ({"host": "127.0.0.1", "port": 8765, "schema": "http"}, "http://127.0.0.1:8765"),
        ({"host": "api.example/v0.5", "schema": "https"}, "https://api.example/v0.5"),
        ({"host": "api.example", "schema": "HTTPS://"}, "https://api.example"),
        ({"host": "http://api.example", "schema": "http"}, "http://api.example"),
        ({"host": None, "schema": "https"}, DEFAULT_BASE_URL),
        ({"host": f"https://api.example/{'a' * 40}"}, f"https://api.example/{'a' * 40}"),
        ({"host": "task_runner-sk-1.example"}, "https://task_runner-sk-1.example"),
        ({"host": "http://127.0.0.1:8765/v0.5", "port": 1}, "http://127.0.0.1:8765/v0.5"),
        ({"host": "http://[::1]", "port": 8765}, "http://[::1]:8765"),
        ({"host": "http://[::1]:1", "port": 8765}, "http://[::1]:1"),
        ({"host": None, "environ": {"ATAI_API_ENDPOINT": "https://env.example"}}, "https://env.example"),
        (
            {"host": "https://c.example", "environ": {"ATAI_API_ENDPOINT": "https://e.example"}},
            "https://c.example",
        ),
    ],
)
def test_the_base_url_is_put_together_from_the_fields(fields, base_url):
    assert read(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("password", "environ", "key"),
    [
        (KEY, {}, KEY),
        (f" {KEY}\n", {}, KEY),
        (KEY, {"ATAI_API_KEY": "sk_env"}, KEY),
        ("", {"ATAI_API_KEY": "sk_env"}, "sk_env"),
        (None, {"ATAI_API_KEY": "sk_env"}, "sk_env"),
    ],
)
def test_the_environment_fills_in_only_an_empty_key(password, environ, key):
    assert read(password=password, environ=environ).api_key == key


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {"timeout": (10.0, 60.0), "verify": True, "proxy": None, "console_url_template": None}),
        ({"timeout": 5}, {"timeout": (5.0, 5.0)}),
        ({"timeout": "120"}, {"timeout": (10.0, 120.0)}),
        ({"verify": False}, {"verify": False}),
        ({"verify": "False"}, {"verify": False}),
        ({"verify": "/etc/ca.pem"}, {"verify": "/etc/ca.pem"}),
        ({"proxy": "http://proxy:3128"}, {"proxy": "http://proxy:3128"}),
        ({"console_url_template": "https://c/{job_id}"}, {"console_url_template": "https://c/{job_id}"}),
    ],
)
def test_extras_are_read(extra, expected):
    settings = read(extra=extra)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"password": None}, r"has no API key\. Put the API key \(sk_\.\.\.\) in the Password field"),
        ({"host": KEY}, r"host\) .* looks like an API key\. Put .* in the Password"),
        ({"host": KEY, "password": None}, "looks like an API key"),
        ({"host": f"https://{KEY}"}, "looks like an API key"),
        ({"host": f"https://api.example/{KEY}"}, "looks like an API key"),
        ({"host": f"https://api.example/v0.5?key={KEY}"}, "looks like an API key"),
        ({"host": f"https://{KEY}@api.example"}, "looks like an API key"),
        ({"host": "secret" * 6}, "looks like an API key"),
        ({"host": None, "environ": {"ATAI_API_ENDPOINT": KEY}}, "looks like an API key"),
        ({"login": KEY, "password": None}, "something in its Login field .* Put the API key"),
        ({"login": KEY, "password": "", "environ": {"ATAI_API_KEY": "x"}}, "in its Login field"),
        ({"extra": {"api_key": KEY}, "password": None}, r"unknown extras: api_key\..* in the Password field"),
        ({"extra": {KEY: ""}}, r"unknown extras: \*\*\*\."),
        ({"extra": {"timeout": KEY}}, "timeout"),
        ({"extra": {"verify": [KEY]}}, "verify"),
        ({"host": "http://api.example", "schema": "https"}, "does not begin with its schema, https"),
        ({"password": "  "}, "has no API key"),
        ({"extra": {"api_key": KEY}}, "unknown extras: api_key"),
        ({"extra": {"verfy": False}}, "unknown extras: verfy. Known extras: timeout, verify"),
        ({"extra": {"timeout": 0}}, "timeout .* number of seconds above 0"),
        ({"extra": {"timeout": "soon"}}, "timeout"),
        ({"extra": {"timeout": "nan"}}, "timeout"),
        ({"extra": {"timeout": [5]}}, "timeout"),
        ({"extra": {"verify": 1}}, "verify .* true, false or the path"),
        ({"extra": {"console_url_template": "https://c/jobs"}}, "must contain {job_id}"),
    ],
)
def test_a_wrong_field_is_named_without_showing_the_key(fields, says):
    with pytest.raises(AtaiConfigurationError, match=says) as raised:
        read(**fields)
    assert "atai_default" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_repr_hides_the_key_and_the_proxy():
    settings = read(extra={"proxy": "http://user:hunter2@proxy:3128"})
    assert KEY not in repr(settings)
    assert "hunter2" not in repr(settings)
