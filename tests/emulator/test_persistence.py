"""A killed emulator continues where it stopped."""

from __future__ import annotations

import signal
import threading

import pytest
import requests


@pytest.fixture
def make_service(service):
    """Return a function that makes callers of an emulator in another process."""
    return type(service)


def test_everything_survives_a_kill(start_emulator, make_service, tmp_path):
    first = start_emulator(tmp_path)
    service = make_service(first.control)
    first.control.pause()
    first.control.set_switches(part_size=5, create_status=201)
    first.control.set_life(running=100)
    first.control.set_outcome("FAILED", job_id="doomed")
    first.control.set_outcome("CANCELLED")
    first.control.add_fault(path="/fine-tune/jobs", method="GET", count=2)
    service.upload("train.jsonl", b"0123456789ab")
    service("GET", "/fine-tune/jobs")
    job = service.created(id="job-1", name="first")
    half = service.initiate("half.jsonl", 12)
    tokens = [service.put_part(half["parts"][0], b"01234")]
    service("POST", f"/files/uploads/{half['upload_id']}/parts/checkpoint", json={"parts": tokens})
    first.control.advance(7)
    job = service.job("job-1")
    before = (
        first.control.files(),
        first.control.requests(),
        first.control.faults(),
        first.control.switches(),
    )
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = start_emulator(tmp_path)
    service = make_service(second.control)
    assert before == (
        second.control.files(),
        second.control.requests(),
        second.control.faults(),
        second.control.switches(),
    )
    assert second.control.state()["clock"]["paused"] is True
    assert service.job("job-1") == job
    assert service("GET", "/files/download/train.jsonl").content == b"0123456789ab"
    assert [service("GET", "/fine-tune/jobs").status_code for _ in range(2)] == [503, 200]
    resumed = service.initiate("half.jsonl", 12, resume_if_started=True)
    assert [part["part_number"] for part in resumed["parts"]] == [2, 3]
    tokens = [service.put_part(part, b"0123456789ab") for part in resumed["parts"]]
    done = service("POST", f"/files/uploads/{half['upload_id']}/complete", json={"parts": tokens})
    assert done.status_code == 200, done.text
    doomed = service.create(id="doomed")
    assert doomed.status_code == 201
    second.control.advance(9999)
    assert [service.job(job_id)["status"] for job_id in ("job-1", "doomed")] == ["CANCELLED", "FAILED"]


def test_part_urls_from_before_a_kill_still_work(start_emulator, make_service, tmp_path):
    first = start_emulator(tmp_path)
    (part,) = make_service(first.control).initiate(num_bytes=2)["parts"]
    first.end(signal.SIGKILL)
    second = start_emulator(tmp_path)
    url = part["url"].replace(first.control.root_url, second.control.root_url)
    assert requests.put(url, data=b"ab", timeout=30).status_code == 200


def test_jobs_age_while_the_emulator_is_down(start_emulator, make_service, tmp_path):
    first = start_emulator(tmp_path, "--time-scale", "100000")
    make_service(first.control).created(id="job-1")
    first.end(signal.SIGKILL)
    # The start takes longer than the job's life of 6.4 ms.
    second = start_emulator(tmp_path)
    assert make_service(second.control).job("job-1")["status"] == "COMPLETED"
    assert second.control.state()["clock"]["scale"] == 100_000


def test_time_scale_of_the_command_line_wins(start_emulator, tmp_path):
    start_emulator(tmp_path, "--time-scale", "5").end()
    second = start_emulator(tmp_path, "--time-scale", "7")
    assert second.control.state()["clock"]["scale"] == 7
    second.control.set_time_scale(9)
    second.control.reset()
    assert second.control.state()["clock"]["scale"] == 7


def test_reset_restores_the_options_of_the_start_even_after_a_restart(start_emulator, make_service, tmp_path):
    first = start_emulator(tmp_path, "--api-key", "sk_one", "--api-key", "sk_two", "--time-scale", "5")
    keys = ("sk_one", "sk_two")
    orgs = [make_service(first.control, key=key).created()["org_uuid"] for key in keys]
    first.control.set_api_key("sk_three")
    first.end(signal.SIGKILL)
    control = start_emulator(tmp_path).control
    assert make_service(control, key="sk_three")("GET", "/fine-tune/jobs").status_code == 200
    control.reset()
    assert make_service(control, key="sk_three")("GET", "/fine-tune/jobs").status_code == 401
    assert [make_service(control, key=key).created()["org_uuid"] for key in keys] == orgs
    assert control.state()["clock"]["scale"] == 5


def test_keys_survive_a_restart_unless_others_are_given(start_emulator, make_service, tmp_path):
    first = start_emulator(tmp_path, "--api-key", "sk_one")
    org = make_service(first.control, key="sk_one").created()["org_uuid"]
    first.end(signal.SIGKILL)
    second = start_emulator(tmp_path)
    assert make_service(second.control, key="sk_one")("GET", "/fine-tune/jobs").status_code == 200
    second.end()
    third = start_emulator(tmp_path, "--api-key", "sk_two")
    assert make_service(third.control, key="sk_one")("GET", "/fine-tune/jobs").status_code == 401
    (job,) = make_service(third.control, key="sk_two")("GET", "/fine-tune/jobs").json()
    assert job["org_uuid"] == org


def test_kill_during_requests_loses_no_answered_job(start_emulator, make_service, tmp_path):
    first = start_emulator(tmp_path)
    make_service(first.control).upload()
    answered: list[str] = []

    def create(worker):
        service = make_service(first.control)
        for number in range(10_000):
            try:
                answer = service.create(id=f"{worker}-{number}")
            except requests.RequestException:
                return
            assert answer.status_code == 200
            answered.append(answer.json()["id"])

    workers = [threading.Thread(target=create, args=(worker,)) for worker in range(3)]
    for worker in workers:
        worker.start()
    while len(answered) < 100:
        pass
    first.end(signal.SIGKILL)
    for worker in workers:
        worker.join()
    kept = [job["id"] for job in start_emulator(tmp_path).control.jobs()]
    assert set(answered) <= set(kept)
    assert len(kept) == len(set(kept)) <= len(answered) + len(workers)
