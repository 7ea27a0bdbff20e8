"""What a trigger tells Airflow's UI of its task's job. It neither holds up the wait nor breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.compat.sdk import TRIGGERERS_PUSH_XCOMS, base_url
from airflow_provider_atai.compat.task_state import pulled_xcom, set_xcom
from airflow_provider_atai.compat.threads import off_the_loop
from airflow_provider_atai.jobs.record import JOB_RECORD_KEY, recorded
from airflow_provider_atai.links.fine_tune import LINKS, links_of
from airflow_provider_atai.waiting.history import STATUSES_KEY, JobHistory
from airflow_provider_atai.waiting.publisher import publisher

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger


class TriggerReport:
    """
    Pushes what a trigger learns of the job as XComs of its task, from Airflow 3.2.2 on.

    :param trigger: the trigger.
    :param is_wanted: whether the task pushes XComs at all.
    """

    def __init__(self, trigger: BaseTrigger, *, is_wanted: bool) -> None:
        self._trigger = trigger
        self._is_wanted = is_wanted
        self._has_asked = False
        # What the worker and earlier triggers have seen, and what the XCom says.
        self._earlier: JobHistory | None = None
        self._told: JobHistory | None = None

    def history(self, history: JobHistory) -> None:
        """Push what was seen of the job, together with what the task has seen before."""
        if self._is_wanted:
            self._offer(STATUSES_KEY, partial(self._tell_history, history))

    def job(self, record: Mapping[str, Any], *, atai_conn_id: str) -> None:
        """Push the record of the job, for a task that begins in the triggerer."""
        if self._is_wanted:
            ti = getattr(self._trigger, "task_instance", None)
            value = recorded(record, atai_conn_id=atai_conn_id, ti=ti)
            self._offer(JOB_RECORD_KEY, partial(self._tell_job, value))

    def links(self, console_url: str | None) -> None:
        """Push the links to the job, for such a task."""
        ti = getattr(self._trigger, "task_instance", None)
        if ti is None:
            return
        with suppress(Exception):
            urls = links_of(ti, base_url(), console_url, has_tab=self._is_wanted)
            for link in LINKS:
                if url := urls.get(link.attribute):
                    self._offer(link.xcom_key, partial(set_xcom, self._trigger, link.xcom_key, url))

    def end(self) -> None:
        """Send no more statuses: the event of the trigger carries them all, and the worker pushes them."""
        with suppress(Exception):
            publisher().withdraw((self, STATUSES_KEY))

    def _offer(self, key: str, send: Callable[[], None]) -> None:
        if TRIGGERERS_PUSH_XCOMS and getattr(self._trigger, "task_instance", None) is not None:
            with suppress(Exception):
                publisher().offer((self, key), partial(off_the_loop, send))

    def _tell_history(self, history: JobHistory) -> None:
        # One message at a time is under way, so no other thread is here.
        if not self._has_asked:
            self._earlier = self._told = JobHistory.from_json(pulled_xcom(self._trigger, STATUSES_KEY))
            self._has_asked = True
        merged = history.after(self._earlier)
        if merged != self._told:
            set_xcom(self._trigger, STATUSES_KEY, merged.to_json())
            self._told = merged

    def _tell_job(self, value: dict[str, Any]) -> None:
        known = pulled_xcom(self._trigger, JOB_RECORD_KEY)
        said = {key: known.get(key) for key in ("job_id", "try_number")} if isinstance(known, dict) else None
        # After a restart of the triggerer, the record stays as old as the wait.
        if said != {key: value[key] for key in ("job_id", "try_number")}:
            set_xcom(self._trigger, JOB_RECORD_KEY, value)
