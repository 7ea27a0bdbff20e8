from __future__ import annotations

import pytest

from airflow_provider_atai.api.base_url import DEFAULT_BASE_URL, normalise_base_url


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://api.u1.archetypeai.app", DEFAULT_BASE_URL),
        ("https://api.u1.archetypeai.app/", DEFAULT_BASE_URL),
        ("https://api.u1.archetypeai.app/v0.5", DEFAULT_BASE_URL),
        ("  https://api.u1.archetypeai.app/v0.5/\n", DEFAULT_BASE_URL),
        ("https://platform.u1.archetypeai.app/api", "https://platform.u1.archetypeai.app/api"),
        ("https://gateway.example/ai/v0.6//", "https://gateway.example/ai/v0.6"),
        ("HTTPS://Example.org", "https://Example.org/v0.5"),
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765/v0.5"),
        ("http://[::1]:8765/v0.5", "http://[::1]:8765/v0.5"),
    ],
)
def test_every_spelling_of_a_base_url_is_normalised(written, meant):
    assert normalise_base_url(written) == meant


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "is not an http:// or https:// address"),
        ("api.u1.archetypeai.app", "is not an http:// or https:// address"),
        ("api.u1.archetypeai.app/v0.5", "is not an http:// or https:// address"),
        ("ftp://api.u1.archetypeai.app", "is not an http:// or https:// address"),
        ("https://", "is not an http:// or https:// address"),
        ("https:///v0.5", "is not an http:// or https:// address"),
        ("https://host:port/v0.5", "cannot be read"),
        ("https://host:99999/v0.5", "cannot be read"),
        ("https://[::1/v0.5", "cannot be read"),
        ("https://host:/v0.5", "colon without a port"),
        ("https://host/v0.5?key=1", "a query or a fragment"),
        ("https://host/v0.5?", "a query or a fragment"),
        ("https://host/v0.5#top", "a query or a fragment"),
        ("https://ho st/v0.5", "a space or a control character"),
        ("https://host/v0.5\r\nX-Injected: 1", "a space or a control character"),
    ],
)
def test_a_malformed_base_url_is_refused_with_an_example(written, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        normalise_base_url(written)
    assert DEFAULT_BASE_URL in str(caught.value)


def test_user_info_is_refused_without_being_shown():
    with pytest.raises(ValueError, match="user info") as caught:
        normalise_base_url("https://user:sk_secret@host/v0.5")
    assert "sk_secret" not in str(caught.value)
