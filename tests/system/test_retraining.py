"""The retraining DAG on real Airflow processes."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

DAG_ID = "atai_scheduled_retraining"
SECONDS = 120


def test_retraining_uploads_creates_waits_in_the_triggerer_and_hands_over(system):
    api, emulator, wait_until = system.api, system.emulator, system.processes.wait_until
    emulator.reset()
    # The job must not end before the test has seen the task wait.
    emulator.pause()
    wait_until(lambda: api.dag(DAG_ID), "Airflow knows the DAG", SECONDS)
    assert api.import_errors() == []
    api.unpause(DAG_ID)
    run_id = api.trigger(DAG_ID, {"job_name": "system-test", "model": "Newton::c2_4_3b_251215dfe6a746"})

    def states():
        return {task_id: task["state"] for task_id, task in api.tasks(DAG_ID, run_id).items()}

    wait_until(lambda: states().get("wait") == "deferred", "the waiting task is deferred", SECONDS)
    (job,) = emulator.jobs()
    wait_until(
        lambda: emulator.requests(method="GET", path=f"*/fine-tune/jobs/{job['id']}")[2:],
        "the triggerer polls the job repeatedly",
        SECONDS,
    )
    assert states()["wait"] == "deferred"
    assert states()["hand_over"] is None

    emulator.advance(3600)
    wait_until(lambda: api.run_state(DAG_ID, run_id) in ("success", "failed"), "the run has ended", SECONDS)

    assert states() == dict.fromkeys(
        ("find_files", "upload_train", "upload_eval", "fine_tune", "wait", "hand_over"), "success"
    )
    (job,) = emulator.jobs()
    assert (job["name"], job["status"]) == ("system-test", "COMPLETED")
    assert job["config"]["model"] == "Newton::c2_4_3b_251215dfe6a746"
    assert len(emulator.files()) == 2
    assert len(emulator.requests(method="POST", path="*/fine-tune/jobs")) == 1
    assert api.xcom(DAG_ID, run_id, "fine_tune") == job["id"]
    summary = api.xcom(DAG_ID, run_id, "wait")
    assert (summary["job_id"], summary["status"]) == (job["id"], "COMPLETED")
    assert summary["metrics"]["step"] > 0
    assert summary["inference_config_path"] == job["inference_config_path"]
    assert api.xcom(DAG_ID, run_id, "hand_over") == job["inference_config_path"]
    log = api.log(DAG_ID, run_id, "wait")
    assert "COMPLETED" in log
    assert job["inference_config_path"] in log

    # Unpausing has started no run for the last Monday.
    assert [run["dag_run_id"] for run in api.runs(DAG_ID)] == [run_id]

    _assert_key_is_in_no_log(system)


def _assert_key_is_in_no_log(system):
    logs = [*system.processes.logs.glob("*.log"), *(system.airflow.home / "logs").rglob("*.log")]
    assert len(logs) > len(system.processes.children)
    leaking = [log for log in logs if system.emulator.api_key in log.read_text(errors="replace")]
    assert leaking == []
