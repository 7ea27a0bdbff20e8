from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from airflow_provider_atai.api.job_request import check_job_id
from airflow_provider_atai.jobs.identity import MAX_GENERATIONS, TaskJob, job_ids, left_behind, own_jobs

TASK = {
    "dag_id": "retrain",
    "run_id": "scheduled__2026-11-23T00:00:00+00:00",
    "task_id": "fine_tune",
    "map_index": -1,
    "try_number": 1,
}
REQUEST = {
    "name": "pump-states",
    "config": {"datasets": [{"name": "a", "split": "train", "file_ids": ["f"]}]},
}


def ids(*, request=REQUEST, of_try=None, **changes):
    return job_ids(SimpleNamespace(**{**TASK, **changes}), request, of_try=of_try)


def first(**changes):
    return ids(**changes)[0]


def test_the_same_work_has_the_same_id_in_every_process():
    code = (
        "from types import SimpleNamespace; from airflow_provider_atai.jobs.identity import job_ids;"
        f"print(job_ids(SimpleNamespace(**{TASK!r}), {REQUEST!r})[0])"
    )
    found = {subprocess.check_output([sys.executable, "-c", code], text=True).strip() for _ in range(2)}
    assert found == {first()}


def test_the_id_does_not_change_from_release_to_release():
    # A changed recipe would make every running task pay for a second job after an upgrade of the provider.
    assert first() == "pump-states-89d51aad08a2e2e2-1"


def test_the_order_of_keys_does_not_matter():
    request = dict(reversed(REQUEST.items()))
    assert first(request=request) == first()


@pytest.mark.parametrize(
    "changes",
    [
        {"dag_id": "other"},
        {"run_id": "manual__1"},
        {"task_id": "other"},
        {"map_index": 0},
        {"request": {**REQUEST, "name": "pump states"}},
        {"request": {"name": "pump-states", "config": {"model": "m"}}},
        {"of_try": 1},
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
def test_ids_are_valid_whatever_the_name(name, slug):
    made = ids(request={"name": name, "config": {}})
    assert re.fullmatch(rf"{slug}-[0-9a-f]{{16}}-1", made[0])
    assert len(set(made)) == len(made) == MAX_GENERATIONS
    for job_id in (made[0], made[-1]):
        check_job_id(job_id)


def test_the_try_counts_only_if_each_try_wants_a_job_of_its_own():
    assert first(try_number=2) == first()
    assert len({first(), first(of_try=1), first(of_try=2)}) == 3


@pytest.mark.parametrize("map_index", [None, -1])
def test_a_task_that_is_not_mapped_has_one_id_on_every_airflow(map_index):
    assert first(map_index=map_index) == first()


def test_generations_count_up():
    assert [job_id[-2:] for job_id in ids()[:3]] == ["-1", "-2", "-3"]


def made(asked, answered=None):
    return TaskJob(asked, answered or asked, made=True)


ADOPTED = TaskJob("mine", "mine", made=False)


@pytest.mark.parametrize(
    ("ids", "kept", "chosen", "jobs"),
    [
        (["a-1", "a-2"], None, False, [made("a-1"), made("a-2")]),
        # Another request has stored it.
        (["a-1", "a-2"], made("b-1"), False, [made("a-1"), made("a-2")]),
        (["a-1", "a-2", "a-3"], made("a-2", "x"), False, [made("a-2", "x"), made("a-3")]),
        # Until a look-up has shown whose job it is, it may be anybody's.
        (["mine"], None, True, [ADOPTED]),
        (["mine"], ADOPTED, True, [ADOPTED]),
        (["mine"], made("mine"), True, [made("mine")]),
        (["mine"], made("a-1"), True, [ADOPTED]),
    ],
)
def test_which_jobs_may_be_the_tasks(ids, kept, chosen, jobs):
    assert own_jobs(ids, kept, ids_are_chosen=chosen) == jobs


@pytest.mark.parametrize(
    ("kept", "earlier", "jobs"),
    [
        (None, [], []),
        (made("a-2", "x"), [], []),
        (made("b-1", "x"), [], [made("b-1", "x")]),
        (ADOPTED, [], [ADOPTED]),
        (None, ["t1", "t2"], [made("t1"), made("t2")]),
        (made("t2", "x"), ["t1", "t2"], [made("t2", "x"), made("t1")]),
    ],
)
def test_which_jobs_of_earlier_tries_are_left_behind(kept, earlier, jobs):
    assert left_behind(kept, ["a-1", "a-2"], earlier) == jobs


@pytest.mark.parametrize("kept", [None, {"asked": "a"}, {"asked": "a", "id": "a", "made": True, "more": 1}])
def test_what_cannot_be_read_from_the_store_is_nothing(kept):
    assert TaskJob.from_store(kept) is None


def test_a_job_survives_the_store():
    assert TaskJob.from_store(vars(made("a", "b"))) == made("a", "b")
