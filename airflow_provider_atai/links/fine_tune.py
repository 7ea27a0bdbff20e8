"""The links from a task to its job: to the job's tab in Airflow's UI, and to the service's console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS, WORKERS_PUSH_LINKS, BaseOperatorLink

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import BaseOperator, TaskInstanceKey

# The tab's part of the address. The plugin registers the same.
TAB_ROUTE = "atai-job"


class FineTuneJobLink(BaseOperatorLink):
    """
    A button on the task that leads to its job, there as soon as the task knows the job.

    From Airflow 3.1.1 on, it opens the job's tab on the task instance. Before, it opens the job's page in the
    service's console, if the connection's ``console_url_template`` says where that is.
    """

    name = "Fine-tune job"
    attribute = "job_page_url"

    @property
    def xcom_key(self) -> str:
        """Key of the XCom that holds the address."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty if there is none."""
        if WORKERS_PUSH_LINKS:
            # Called on the worker when the task ends or defers, to be pushed once more under the same key.
            return self.url_of(operator)
        from airflow_provider_atai.compat.sdk import XCom

        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""

    def url_of(self, operator: Any) -> str:
        """Return the address that an operator on its worker knows, empty if it knows none."""
        return getattr(operator, self.attribute, None) or ""


class FineTuneJobConsoleLink(FineTuneJobLink):
    """
    A button that leads to the job's page in the service's console, beside the one that opens the tab.

    No console address is documented: without ``console_url_template`` in the connection there is no link.
    """

    name = "Job in the console"
    attribute = "job_console_url"


def links_of(ti: Any, base_url: str, console_url: str | None, *, has_tab: bool) -> dict[str, str]:
    """
    Return the addresses of the links of a task that knows its job, by the attribute that holds each.

    :param ti: the task instance, on a worker or in a triggerer.
    :param base_url: Airflow's ``[api] base_url``; without one the address has no host.
    :param console_url: the job's page in the console, None if that is unknown.
    :param has_tab: whether the job's tab has something to show.
    """
    if not has_tab:
        return {} if console_url is None else {"job_page_url": console_url}
    tab = {"job_page_url": tab_url(ti, base_url)}
    return tab if console_url is None else {**tab, "job_console_url": console_url}


def tab_url(ti: Any, base_url: str) -> str:
    """Return the address of the job's tab on a task instance; the arguments are those of links_of()."""
    parts = ["dags", ti.dag_id, "runs", ti.run_id, "tasks", ti.task_id]
    if ti.map_index is not None and ti.map_index >= 0:
        parts += ["mapped", ti.map_index]
    path = "/".join(quote(str(part), safe="") for part in [*parts, "plugin", TAB_ROUTE])
    return f"{base_url.rstrip('/')}/{path}"


# Without tabs, the first leads to the console, and the second would be a button that never works.
LINKS = (FineTuneJobLink(), *((FineTuneJobConsoleLink(),) if SHOWS_PLUGIN_TABS else ()))
