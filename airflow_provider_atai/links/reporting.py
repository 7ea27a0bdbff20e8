"""
What a task on its worker tells Airflow's UI of its job. Nothing here fails or ends a task.

The job's tab shows what XComs say. A task with ``do_xcom_push=False`` pushes none, so its links lead to the
service's console alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS, base_url, log_of
from airflow_provider_atai.compat.task_store import keep_history, kept_history
from airflow_provider_atai.jobs.record import JOB_RECORD_KEY, created_job, recorded
from airflow_provider_atai.links.fine_tune import LINKS, links_of
from airflow_provider_atai.waiting.history import STATUSES_KEY, JobHistory
from airflow_provider_atai.waiting.on_worker import utcnow

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob
    from airflow_provider_atai.compat.sdk import Context


def report_job(task: Any, context: Context, record: Mapping[str, Any], *, is_news: bool = True) -> None:
    """
    Push the record of a task's job and the links to it, and log the address of the job's tab.

    :param task: the operator or the sensor; its hook knows the console's address.
    :param context: the task's context.
    :param record: what :mod:`airflow_provider_atai.jobs.record` returned.
    :param is_news: whether the log has yet to name the address.
    """
    ti: Any = context["ti"]
    if task.do_xcom_push:
        with _at_no_cost(task):
            value = recorded(record, atai_conn_id=task.atai_conn_id, ti=ti)
            ti.xcom_push(key=JOB_RECORD_KEY, value=value)
    know_links(task, context, record["job_id"])
    with _at_no_cost(task):
        for link in LINKS:
            if url := link.url_of(task):
                # Airflow pushes it by itself only when the task ends or defers.
                ti.xcom_push(key=link.xcom_key, value=url)
    if _has_tab(task) and is_news:
        log_of(task).info("Job %s can be watched at %s", record["job_id"], LINKS[0].url_of(task))


def report_created(task: Any, context: Context, job: FineTuneJob) -> JobHistory:
    """Report the job that a task has made or adopted; return what was seen of it, by earlier tries too."""
    now = utcnow()
    with _at_no_cost(task):
        report_job(task, context, created_job(task, job, known_at=now))
    history = JobHistory(job.id).after(earlier_history(task, context)).saw(job, now)
    report_history(task, context, history)
    return history


def know_links(task: Any, context: Context, job_id: str) -> None:
    """Keep the addresses of a task's job for Airflow, which asks for them at the end of each process."""
    console_url = None
    with _at_no_cost(task):
        console_url = task.hook.console_url(job_id)
    with _at_no_cost(task):
        urls = links_of(context["ti"], base_url(), console_url, has_tab=_has_tab(task))
        for attribute, url in urls.items():
            setattr(task, attribute, url)


def report_history(task: Any, context: Context, history: JobHistory) -> None:
    """Push what was seen of a task's job, and keep it for the next process of the task."""
    if not task.do_xcom_push:
        return
    value = history.to_json()
    with _at_no_cost(task):
        context["ti"].xcom_push(key=STATUSES_KEY, value=value)
    with _at_no_cost(task):
        keep_history(context, value)


def earlier_history(task: Any, context: Context) -> JobHistory | None:
    """Return what earlier processes of the task have seen of its job, as far as Airflow has kept it."""
    with _at_no_cost(task):
        return JobHistory.from_json(kept_history(context))
    return None


def report_end(task: Any, context: Context, job_id: str, history: Any) -> None:
    """
    Push what a trigger has seen of a task's job, together with what the task has seen before.

    :param task: the operator or the sensor.
    :param context: its context.
    :param job_id: the job.
    :param history: that of the trigger's event, which anything may be.
    """
    seen = JobHistory.from_json(history)
    if seen is None or seen.job_id != job_id:
        return
    earlier = earlier_history(task, context)
    merged = seen.after(earlier)
    if merged != earlier:
        report_history(task, context, merged)


def _has_tab(task: Any) -> bool:
    return SHOWS_PLUGIN_TABS and bool(task.do_xcom_push)


@contextmanager
def _at_no_cost(task: Any) -> Iterator[None]:
    """Go on whatever goes wrong: no task fails for want of what a page shows."""
    try:
        yield
    except Exception as error:
        log_of(task).debug("The job's tab or its links lack something: %r", error)
