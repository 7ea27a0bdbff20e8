from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest

from airflow_provider_atai.api.job_request import check_job_id
from airflow_provider_atai.jobs.identity import MAX_GENERATIONS, job_identity

WORK = {
    "dag_id": "retrain",
    "run_id": "scheduled__2026-11-23T00:00:00+00:00",
    "task_id": "fine_tune",
    "map_index": -1,
    "request": {
        "name": "pump-states",
        "config": {"datasets": [{"name": "a", "split": "train", "file_ids": ["f"]}]},
    },
}


def first(**changes):
    return next(job_identity(**{**WORK, **changes}).generations())


def test_the_same_work_has_the_same_id_in_every_process():
    code = (
        "from airflow_provider_atai.jobs.identity import job_identity;"
        f"print(next(job_identity(**{WORK!r}).generations()))"
    )
    ids = {subprocess.check_output([sys.executable, "-c", code], text=True).strip() for _ in range(2)}
    assert ids == {first()}


def test_the_id_does_not_change_from_release_to_release():
    # A changed recipe would make every running task pay for a second job after an upgrade of the provider.
    assert first() == "pump-states-89d51aad08a2e2e2-1"


def test_the_order_of_keys_does_not_matter():
    request = dict(reversed(WORK["request"].items()))
    assert first(request=request) == first()


@pytest.mark.parametrize(
    "changes",
    [
        {"dag_id": "other"},
        {"run_id": "manual__1"},
        {"task_id": "other"},
        {"map_index": 0},
        {"request": {**WORK["request"], "name": "pump states"}},
        {"request": {"name": "pump-states", "config": {"model": "m"}}},
        {"try_number": 1},
        # Parts must not run into one another.
        {"dag_id": "retrain-s", "run_id": "cheduled__2026-11-23T00:00:00+00:00"},
    ],
)
def test_other_work_has_another_id(changes):
    assert first(**changes) != first()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("pump-states", "pump-states"),
        ("Pumpen Zustände 2026/11", "pumpen-zust-nde-2026-11"),
        ("../../etc/passwd?x=1#y", "etc-passwd-x-1-y"),
        ("ポンプ", "job"),
        ("---", "job"),
        ("x" * 500, "x" * 44),
        ("a" * 43 + "-bcd", "a" * 43),
    ],
)
def test_ids_are_what_the_service_takes_whatever_the_name(name, slug):
    identity = job_identity(**{**WORK, "request": {"name": name, "config": {}}})
    ids = list(identity.generations())
    assert re.fullmatch(rf"{slug}-[0-9a-f]{{16}}", identity.stem)
    assert len(set(ids)) == len(ids) == MAX_GENERATIONS
    for job_id in (ids[0], ids[-1]):
        check_job_id(job_id)


def test_generations_count_up():
    assert [job_id[-2:] for job_id in itertools.islice(job_identity(**WORK).generations(), 3)] == [
        "-1",
        "-2",
        "-3",
    ]
