"""
Run the retraining DAG on real Airflow processes, against the emulator.

    python -m demo [--keep | --stop]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from demo import kept
from demo.verdict import Outcome, describe_record, problems, task_table
from demo.watching import RunWatcher
from tests.harness.airflow_processes import USER, AirflowProcesses
from tests.harness.child_processes import ChildEndedError, ChildProcesses, NotInTimeError, tail
from tests.harness.emulator_process import start_emulator

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl
    from tests.harness.airflow_api import AirflowApi

DAGS = Path(__file__).resolve().parent.parent / "example_dags"
DAG_ID = "atai_scheduled_retraining"
CONF = {"job_name": "pump-states-demo", "model": "Newton::c2_4_7b_251215a172f6d7"}
# With this factor, the job's 640 seconds take a little over half a minute.
TIME_SCALE = 18.0
RUN_SECONDS = 240.0


def main() -> int:
    """Run the demo and return the exit status."""
    arguments = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    arguments.add_argument("--keep", action="store_true", help="leave every process running at the end")
    arguments.add_argument("--stop", action="store_true", help="end the processes that --keep left running")
    options = arguments.parse_args()
    if options.stop:
        return kept.stop()
    if options.keep and kept.running():
        print("An earlier demo is still running. End it first with: make demo-stop", file=sys.stderr)
        return 2
    home = Path(tempfile.mkdtemp(prefix="atai-demo-"))
    released = False
    try:
        with ChildProcesses(home / "logs") as processes:
            status = _show(processes, home, keep=options.keep)
            if options.keep:
                kept.remember(home, processes.release())
                released = True
    except (ChildEndedError, NotInTimeError, RuntimeError, requests.RequestException) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Every process of the demo has been stopped.", file=sys.stderr)
        return 130
    finally:
        if not released:
            shutil.rmtree(home, ignore_errors=True)
    if not options.keep:
        print("Every process of the demo has been stopped.")
    return status


def _show(processes: ChildProcesses, home: Path, *, keep: bool) -> int:
    began = time.monotonic()
    print(f"Starting the emulator and Airflow {version('apache-airflow')} in {home}", flush=True)
    emulator = start_emulator(processes, home / "emulator", time_scale=TIME_SCALE)
    # Each status lasts long enough to be seen.
    emulator.set_life(registered=20, starting=40, running=540, finalizing=40)
    settings = {"AIRFLOW_CONN_ATAI_DEFAULT": emulator.connection_json}
    airflow = AirflowProcesses(processes, home / "airflow", DAGS, settings)
    api = airflow.start()
    processes.wait_until(lambda: api.dag(DAG_ID), f"Airflow knows the DAG {DAG_ID}", 60)
    for name, child in processes.children.items():
        print(f"  {name:<14} process {child.pid}")
    print(f"Up after {_seconds_since(began)}: {airflow.url} and {emulator.base_url}\n", flush=True)

    wrong = _run(processes, api, emulator)
    if not wrong:
        print(f"The demo passed: one job, two files, every task successful, after {_seconds_since(began)}.")
    if keep:
        print(
            f"\nStill running. Airflow: {airflow.url}  login: {USER}  password: {airflow.password}\n"
            f"The emulator: {emulator.root_url}/_emulator\n"
            f"Logs: {processes.logs}\nEnd everything with: make demo-stop"
        )
    return 1 if wrong else 0


def _run(processes: ChildProcesses, api: AirflowApi, emulator: EmulatorControl) -> list[str]:
    api.unpause(DAG_ID)
    run_id = api.trigger(DAG_ID, CONF)
    print(f"Triggered {DAG_ID}, run {run_id}")
    watcher = RunWatcher(api, emulator, DAG_ID, run_id)
    processes.wait_until(watcher.poll, f"the run of {DAG_ID} has ended", RUN_SECONDS)

    outcome = Outcome(
        run_state=api.run_state(DAG_ID, run_id),
        tasks=api.tasks(DAG_ID, run_id),
        jobs=emulator.jobs(),
        files=emulator.files(),
        summary=_xcom(api, run_id, "wait"),
        handed_over=_xcom(api, run_id, "hand_over"),
    )
    print(f"\nTasks\n{task_table(outcome.tasks)}")
    print("\nThe job's timeline\n" + "\n".join(f"  {line}" for line in watcher.timeline))
    print(f"\nLast metrics\n  {describe_record((outcome.summary or {}).get('metrics') or {'none': ''})}")
    print(f"\nInference config\n  {outcome.handed_over}\n")
    wrong = problems(outcome)
    if wrong:
        _explain(wrong, api, run_id, processes, outcome)
    return wrong


def _seconds_since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} seconds"


def _xcom(api: AirflowApi, run_id: str, task_id: str) -> Any:
    try:
        return api.xcom(DAG_ID, run_id, task_id)
    except requests.HTTPError:
        return None


def _explain(
    wrong: list[str], api: AirflowApi, run_id: str, processes: ChildProcesses, outcome: Outcome
) -> None:
    print("The demo found problems:\n" + "\n".join(f"  - {problem}" for problem in wrong), file=sys.stderr)
    for task_id, task in outcome.tasks.items():
        if task["state"] != "success" and task["try_number"]:
            print(f"\n--- log of task {task_id}", file=sys.stderr)
            log = api.log(DAG_ID, run_id, task_id, task["try_number"])
            print("\n".join(log.splitlines()[-40:]), file=sys.stderr)
    for child in processes.children.values():
        print(f"\n--- {child.log}\n{tail(child.log, 15)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
