from __future__ import annotations

import re
import uuid

import pytest

from airflow_provider_atai.emulator.ids import error_uid, server_job_id, type_id

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def decoded(identifier):
    number = 0
    for digit in identifier.partition("_")[2]:
        number = number * 32 + CROCKFORD.index(digit)
    return uuid.UUID(int=number)


def test_the_documented_ids_decode_to_random_uuids():
    assert decoded("job_0n5e9s0w2s9kkrvr8p9fq7sk8w").version == 4
    assert decoded("org_2wh4zfagp480wbt3nhm8tcqw6z").version == 4


@pytest.mark.parametrize("prefix", ["job", "org", "fil", "upl"])
def test_type_id_has_the_documented_form(prefix):
    first, second = type_id(prefix), type_id(prefix)
    assert re.fullmatch(rf"{prefix}_[0-7][{CROCKFORD}]{{25}}", first)
    assert decoded(first).version == 4
    assert first != second


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("my-finetune-run", "ft-job-my-finetune-run-"),
        ("pump states / north", "ft-job-pump-states-north-"),
        ("é", "ft-job-job-"),
        ("x" * 200, f"ft-job-{'x' * 48}-"),
    ],
)
def test_server_job_id_is_made_from_the_name(name, beginning):
    job_id = server_job_id(name)
    assert job_id.startswith(beginning)
    assert re.fullmatch("[0-9a-f]{8}", job_id.removeprefix(beginning))
    assert len(job_id) <= 64


def test_error_uid_is_a_plain_uuid():
    assert uuid.UUID(error_uid().removeprefix("err-")).version == 4
