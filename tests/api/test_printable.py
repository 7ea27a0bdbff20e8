from __future__ import annotations

import pytest

from airflow_provider_atai.api.printable import printable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("RUNNING", "RUNNING"),
        ("größer 模型", "größer 模型"),
        ("x\nERROR - forged", r"x\nERROR - forged"),
        ("\r\x1b[2J\x00", r"\r\x1b[2J\x00"),
        ("\u2028\u202e", r"\u2028\u202e"),
        ("half \ud800", r"half \ud800"),
        (0.5, "0.5"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 500 + "…"),
    ],
)
def test_text_of_the_service_stays_on_its_line(value, text):
    assert printable(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("job 7 läuft ✓ \\ 'a'", "job 7 läuft ✓ \\ 'a'"),
        ("x\nERROR - forged\r\n\tline", r"x\nERROR - forged\r\n\tline"),
        ("\x1b[2J\x00\x7f\x85", r"\x1b[2J\x00\x7f\x85"),
        ("\u2028\u202e\ufeff", r"\u2028\u202e\ufeff"),
        ("half \ud800", r"half \ud800"),
        ("", ""),
    ],
)
def test_what_would_change_the_line_is_escaped(text, shown):
    assert printable(text) == shown
