from __future__ import annotations

import json

import pytest

from airflow_provider_atai.api.job_request import build_request, check_file_ids, check_job_id, check_request

TRAIN = {"name": "t", "split": "train", "file_ids": ["a.jsonl"]}
EVAL = {"name": "e", "split": "eval", "file_ids": ("b.jsonl", "c.jsonl")}


def test_the_documented_body_is_built():
    request = build_request(name="run", datasets=(TRAIN, EVAL), model="Newton::x", job_id="my-id")
    assert json.loads(json.dumps(request)) == {
        "name": "run",
        "id": "my-id",
        "config": {
            "model": "Newton::x",
            "datasets": [
                {"name": "t", "split": "train", "file_ids": ["a.jsonl"]},
                {"name": "e", "split": "eval", "file_ids": ["b.jsonl", "c.jsonl"]},
            ],
        },
    }


def test_optional_fields_are_left_out():
    assert build_request(name="run", datasets=[TRAIN]) == {"name": "run", "config": {"datasets": [TRAIN]}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"datasets": (TRAIN, EVAL)},
        {"datasets": [EVAL, TRAIN]},
        {"model": "Newton::c2_4_3b_251215dfe6a746"},
        {"job_id": "a"},
        {"job_id": "x" * 64},
        {"job_id": "Größe-1_2.3~"},
        {"job_id": "..."},
    ],
)
def test_good_requests_pass(changes):
    check_request(**{"name": "run", "datasets": [TRAIN], **changes})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": ""}, "name must be a non-empty string"),
        ({"name": "  "}, "name must be a non-empty string"),
        ({"name": None}, "name must be a non-empty string"),
        ({"name": 5}, "name must be a non-empty string"),
        ({"model": ""}, "model must be a non-empty string, or None"),
        ({"model": 5}, "model must be a non-empty string, or None"),
        ({"datasets": "train.jsonl"}, "must be a list, not the string 'train.jsonl'. Write datasets="),
        ({"datasets": TRAIN}, "must be a list of mappings, not one mapping"),
        ({"datasets": []}, "must be a non-empty list"),
        ({"datasets": ()}, "must be a non-empty list"),
        ({"datasets": None}, "must be a non-empty list"),
        ({"datasets": {"train"}}, "must be a non-empty list"),
        ({"datasets": [TRAIN, "eval"]}, r"datasets\[1\] must be a mapping"),
        ({"datasets": [TRAIN, None]}, r"datasets\[1\] must be a mapping"),
        ({"datasets": [{"name": "t", "split": "train"}]}, r"datasets\[0\] lacks file_ids"),
        ({"datasets": [{**TRAIN, "epochs": 3}]}, r"datasets\[0\] has unknown epochs"),
        ({"datasets": [{"name": "t", "fileids": []}]}, "lacks file_ids, split and has unknown fileids"),
        ({"datasets": [{**TRAIN, 5: 5}]}, "has unknown 5"),
        ({"datasets": [{**TRAIN, "name": ""}]}, r"datasets\[0\]: name must be a non-empty string"),
        ({"datasets": [{**TRAIN, "split": "test"}]}, 'split must be "train" or "eval", not \'test\''),
        ({"datasets": [{**TRAIN, "split": ["train"]}]}, 'split must be "train" or "eval"'),
        (
            {"datasets": [{**TRAIN, "file_ids": "a.jsonl"}]},
            r"must be a list, not the string 'a.jsonl'. Write \['a",
        ),
        ({"datasets": [{**TRAIN, "file_ids": []}]}, "must be a non-empty list of file ids"),
        ({"datasets": [{**TRAIN, "file_ids": None}]}, "must be a non-empty list of file ids"),
        ({"datasets": [{**TRAIN, "file_ids": ["a", ""]}]}, "contains '', which is not a file id"),
        ({"datasets": [{**TRAIN, "file_ids": [["a"]]}]}, "which is not a file id"),
        ({"datasets": [EVAL]}, 'no entry with "split": "train"'),
        ({"job_id": ""}, "1 to 64 characters"),
        ({"job_id": 7}, "1 to 64 characters"),
        ({"job_id": "x" * 65}, "has 65 characters; the service takes 1 to 64"),
        ({"job_id": "a/b"}, "is not valid in a URL path"),
        ({"job_id": "a\\b"}, "is not valid in a URL path"),
        ({"job_id": "a b"}, "is not valid in a URL path"),
        ({"job_id": "a\u00a0b"}, "is not valid in a URL path"),
        ({"job_id": "a?b"}, "is not valid in a URL path"),
        ({"job_id": "a#b"}, "is not valid in a URL path"),
        ({"job_id": "a%2fb"}, "is not valid in a URL path"),
        ({"job_id": "a\x00"}, "is not valid in a URL path"),
        ({"job_id": "a\n"}, "is not valid in a URL path"),
        ({"job_id": "."}, "is not valid in a URL path"),
        ({"job_id": ".."}, "is not valid in a URL path"),
        ({"job_id": "a\ud800"}, "is not valid in a URL path"),
    ],
)
def test_bad_requests_are_refused_with_advice(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_request(**{"name": "run", "datasets": [TRAIN], **changes})


def test_a_huge_value_is_cut_in_the_message():
    with pytest.raises(ValueError, match="must be a list") as caught:
        check_request(name="run", datasets="x" * 10_000)
    assert len(str(caught.value)) < 500


def test_an_id_and_file_ids_can_be_checked_alone():
    check_job_id("fine")
    check_file_ids(["a"], "file_ids")
    with pytest.raises(ValueError, match=r"^file_ids must be"):
        check_file_ids({}, "file_ids")
