from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_atai.datasets import checks
from airflow_provider_atai.datasets.checks import check_for, json_fault


def run_check(suffix, content, *, block=1024):
    check = check_for(suffix)
    for start in range(0, len(content), block):
        check.feed(content[start : start + block])
        if check.is_settled:
            return check
    check.finish()
    return check


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"b": 2}\n',
        b'{"a": 1}\n{"b": 2}',
        b'{"a": 1}\r\n{"b": 2}\r\n',
        b' {"a": 1} \n\t[1, 2]\n"text"\nnull\n-1.5e3\n',
        '{"a": "ü ✓ \u2028 \u0085"}\n'.encode(),
        b'{"a": "\\ud800"}\n',
        b'{"a": ' + b"9" * 5000 + b"}\n",
        b'{"a": 1, "a": 2}\n',
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1024])
def test_valid_lines_have_no_faults(content, block):
    assert run_check(".jsonl", content, block=block).faults == []


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b'{"a": 1}\n{"a": \n', ["line 2: not JSON (Expecting value at column 7)"]),
        (b'{"a": 1}{"b": 2}\n', ["line 1: not JSON (Extra data at column 9)"]),
        (b"{'a': 1}\n", ["line 1: not JSON (Expecting property name enclosed in double quotes at column 2)"]),
        (b"a,b\n1\n", ["line 1: not JSON (Expecting value at column 1)"]),
        (b'{"a": 1}\n\n{"b": 2}\n', ["line 2: empty"]),
        (b'{"a": 1}\n   \n', ["line 2: empty"]),
        (
            b'{"a": NaN}\n[-Infinity]\n',
            [
                "line 1: not JSON (NaN is not a JSON value)",
                "line 2: not JSON (-Infinity is not a JSON value)",
            ],
        ),
        (
            b'\xef\xbb\xbf{"a": 1}\n',
            ["line 1: starts with a byte order mark; save the file as UTF-8 without it"],
        ),
        (b"{}\n\xef\xbb\xbf{}\n", ["line 2: not JSON (Expecting value at column 1)"]),
        (b'{"a": "\xe4"}\n', ["line 1: not UTF-8 (byte 8: invalid continuation byte)"]),
        (
            '{"a": 1}\n'.encode("utf-16-le"),
            [
                "line 1: not JSON (Expecting property name enclosed in double quotes at column 2)",
                "line 2: not JSON (Expecting value at column 1)",
            ],
        ),
        (b'{"a": "b\x00c"}\n', ["line 1: not JSON (Invalid control character at column 9)"]),
        (b"\xc2\xa0{}\n", ["line 1: not JSON (Expecting value at column 1)"]),
        (b'{"a": 1}\r{"b": 2}\r', ["line 1: not JSON (Extra data at column 10)"]),
        (b"[" * 100_000, ["line 1: not JSON (nested too deeply)"]),
        (b'{"last": 1}\n{"cut', ["line 2: not JSON (Unterminated string starting at column 2)"]),
    ],
)
@pytest.mark.parametrize("block", [1, 1024])
def test_each_bad_line_is_reported_with_the_reason(content, faults, block):
    assert run_check(".jsonl", content, block=block).faults == faults


def test_faults_never_quote_the_content():
    check = run_check(".jsonl", b'{"patient": "Doe" "x"}\nsecret\n{"a": "\xe4secret"}\n')
    assert len(check.faults) == 3
    assert "Doe" not in str(check.faults)
    assert "secret" not in str(check.faults)


def test_only_the_first_five_bad_lines_are_reported():
    check = run_check(".jsonl", b"{}\n" * 10 + b"x\n" * 1000 + b"{}\n")
    assert [fault.partition(":")[0] for fault in check.faults] == [f"line {line}" for line in range(11, 16)]
    assert check.is_settled


def test_an_endless_line_ends_the_check(monkeypatch):
    monkeypatch.setattr(checks, "LARGEST_JSON", 100)
    assert run_check(".jsonl", b"{}\n[" + b" " * 98 + b"]\n", block=10).faults == []
    check = run_check(".jsonl", b"{}\n" + b" " * 200, block=10)
    assert check.faults == ["line 2: longer than 100 bytes"]
    assert check.is_settled


@given(
    st.lists(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)), st.integers(1, 20)
)
def test_any_valid_json_lines_pass_whatever_the_block_size(values, block):
    content = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode(
        "utf-8", "replace"
    )
    assert run_check(".jsonl", content, block=block).faults == []


@given(st.binary(max_size=60), st.integers(1, 20))
def test_faults_do_not_depend_on_the_block_size(content, block):
    assert run_check(".jsonl", content, block=block).faults == run_check(".jsonl", content).faults


@given(st.binary(max_size=60), st.integers(1, 20))
def test_text_is_refused_exactly_if_it_is_not_utf8(content, block):
    try:
        content.decode("utf-8")
        valid = True
    except UnicodeDecodeError:
        valid = False
    for size in (block, 1024):
        assert (run_check(".csv", content, block=size).faults == []) is valid


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
@pytest.mark.parametrize("block", [1, 2, 1024])
def test_text_that_is_not_utf8_is_reported_with_its_line(suffix, block):
    assert run_check(suffix, "a,ü\nb,✓\n".encode(), block=block).faults == []
    (fault,) = run_check(suffix, "a,ü\nb,✓\n".encode() + b"c,\xff\nd,\xff\n", block=block).faults
    assert fault == "line 3: not UTF-8 (invalid start byte)"
    (fault,) = run_check(suffix, b"a\nb\xe2\x9c", block=block).faults
    assert fault == "line 2: not UTF-8 (unexpected end of data)"


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_a_json_document_is_one_json_text(block):
    assert run_check(".json", b'{"a":\n [1, 2]}\n', block=block).faults == []
    assert run_check(".json", b'{"a":\n [1, 2}\n', block=block).faults == [
        "not JSON (Expecting ',' delimiter at line 2, column 7)"
    ]
    assert run_check(".json", b"{}\n{}\n", block=block).faults == [
        "not JSON (Extra data at line 2, column 1)"
    ]
    assert run_check(".json", b'{"a": "\xff"}', block=block).faults == [
        "line 1: not UTF-8 (invalid start byte)"
    ]
    assert run_check(".json", b" \n", block=block).faults == ["empty"]


def test_a_large_json_document_is_only_decoded_and_the_note_says_so(monkeypatch):
    monkeypatch.setattr(checks, "LARGEST_JSON", 100)
    assert run_check(".json", b"[" + b" " * 98 + b"]", block=10).note is None
    check = run_check(".json", b"[" + b" " * 200, block=10)
    assert check.faults == []
    assert check.note == "It is larger than 100 bytes, so only its encoding was checked."
    assert run_check(".json", b"[" + b" " * 200 + b"\xff", block=10).faults == [
        "line 1: not UTF-8 (invalid start byte)"
    ]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".mp4"])
def test_the_content_of_media_is_not_checked(suffix):
    check = run_check(suffix, b"\xff\x00\nnot JSON")
    assert (check.faults, check.note, check.is_settled) == ([], None, False)


@pytest.mark.parametrize("first", [True, False])
def test_a_byte_order_mark_is_recognised_only_at_the_start(first):
    fault = json_fault(b"\xef\xbb\xbf{}", first=first)
    assert fault is not None
    assert ("byte order mark" in fault) is first
