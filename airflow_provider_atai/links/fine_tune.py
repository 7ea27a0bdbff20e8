"""The link from a task to its job's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_atai.compat.sdk import WORKERS_PUSH_LINKS, BaseOperatorLink

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import BaseOperator, TaskInstanceKey


class FineTuneJobLink(BaseOperatorLink):
    """
    A button on the task that leads to the job's page.

    The task pushes the address as soon as it knows the job, so the button works while the job runs. No
    console address is documented: without ``console_url_template`` in the connection there is no link.
    """

    name = "Fine-tune job"

    @property
    def xcom_key(self) -> str:
        """Key of the XCom that holds the address."""
        return "_link_FineTuneJobLink"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the job page's address, empty if there is none."""
        if WORKERS_PUSH_LINKS:
            # Called on the worker when the task ends or defers, to be pushed once more under the same key.
            return getattr(operator, "job_page_url", None) or ""
        from airflow_provider_atai.compat.sdk import XCom

        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


def push_link(ti: Any, url: str | None) -> str | None:
    """Push the address of a job's page, if there is one, so that the button works while the task runs."""
    if url is not None:
        # Airflow 3 pushes it by itself only when the task ends or defers.
        ti.xcom_push(key=FineTuneJobLink().xcom_key, value=url)
    return url
