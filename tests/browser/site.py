"""The Airflow that the tests look at, and one visit to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from airflow_provider_atai.emulator.control import EmulatorControl
    from tests.harness.airflow_api import AirflowApi
    from tests.harness.airflow_processes import AirflowProcesses
    from tests.harness.child_processes import ChildProcesses

SECONDS = 30
# Airflow 3.2 reads the states of tasks from a stream. If its page is left, it complains, or does not
# catch its own abort, whose text names nobody; an abort by our pages does.
OF_AIRFLOW = ("TI summaries stream error", "signal is aborted without reason")
NAME_OUR_ABORTS = """
const abort = AbortController.prototype.abort;
AbortController.prototype.abort = function (reason) {
  const ours = reason === undefined && new Error().stack.includes("/atai/static/");
  return abort.call(this, ours ? new DOMException("aborted by a job page", "AbortError") : reason);
};
"""


@dataclass
class Visit:
    """
    A browser with a user logged in.

    :param page: Playwright's page.
    :param errors: what the console has said that is an error, and not of Airflow's own making.
    :param foreign: the addresses of other hosts that were asked for.
    """

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: said.type == "error" and self._complain(said.text))
        self.page.on("pageerror", lambda error: self._complain(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _complain(self, text: str) -> None:
        if not text.startswith(OF_AIRFLOW):
            self.errors.append(text)

    def _note(self, url: str) -> None:
        self.requests.append(url)
        host = urlsplit(url).netloc
        if host and host != urlsplit(self.url).netloc:
            self.foreign.append(url)

    def go(self, path: str) -> Page:
        """Open a path of Airflow."""
        self.page.goto(f"{self.url}{path}")
        return self.page


@dataclass(frozen=True)
class Site:
    """The running Airflow and emulator."""

    processes: ChildProcesses
    airflow: AirflowProcesses
    api: AirflowApi
    emulator: EmulatorControl

    def log_in(self, browser: Browser, user: str, **options: Any) -> BrowserContext:
        """Make a profile of the browser in which a user is logged in; the options are Playwright's."""
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", **options}
        )
        context.add_cookies([{"name": "_token", "value": self.airflow.token(user), "url": self.airflow.url}])
        context.add_init_script(NAME_OUR_ABORTS)
        context.set_default_timeout(SECONDS * 1000)
        return context

    def run(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Trigger a DAG and return its run."""
        self.processes.wait_until(lambda: self.api.dag(dag_id), f"Airflow knows {dag_id}", SECONDS)
        self.api.unpause(dag_id)
        return self.api.trigger(dag_id, conf)

    def wait_for_state(self, dag_id: str, run_id: str, task_id: str, *states: str) -> None:
        """Wait until a task has one of some states."""
        self.processes.wait_until(
            lambda: self.api.tasks(dag_id, run_id).get(task_id, {}).get("state") in states,
            f"{task_id} is {' or '.join(states)}",
            SECONDS * 2,
        )

    def wait_for_run(self, dag_id: str, run_id: str) -> str:
        """Wait until a run has ended; return its state."""
        return self.processes.wait_until(
            lambda: (state := self.api.run_state(dag_id, run_id)) in ("success", "failed") and state,
            "the run has ended",
            SECONDS * 2,
        )


def tab(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Return the path of a job's tab."""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    run = quote(run_id, safe="")
    return f"/dags/{dag_id}/runs/{run}/tasks/{task_id}{mapped}/plugin/atai-job"
