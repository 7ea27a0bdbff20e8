"""
The plugin that adds the job pages to Airflow's UI.

Every Airflow process imports it, and only the API server asks for its pages. So it imports nothing of the web
application before that.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS, base_url
from airflow_provider_atai.ui.bundle import PREFIX, entry_url

# What people read on the tab or in the menu, where that is, and its part of the address. The names are also
# those of the components that www/page.js makes known.
PAGES = (
    ("Fine-tune job", "task_instance", "atai-job"),
    ("Compare jobs", "dag_run", "atai-run-jobs"),
    ("Fine-tuning", "dag", "atai-dag-jobs"),
    ("Fine-tune jobs", "nav", "atai-jobs"),
)


class AtaiPlugin(AirflowPlugin):
    """What Airflow is told of the job pages; nothing before Airflow 3.1.1, which cannot show them."""

    name = "airflow_provider_atai"

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The routes that the pages call, as an application of their own."""
        if not SHOWS_PLUGIN_TABS:
            return []
        from airflow_provider_atai.ui.app import create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "Archetype AI fine-tune jobs"}]

    @cached_property
    def react_apps(self) -> list[Any]:  # type: ignore[override]
        """The pages."""
        if not SHOWS_PLUGIN_TABS:
            return []
        bundle_url = entry_url(base_url())
        return [
            {
                "name": name,
                "bundle_url": bundle_url,
                "destination": destination,
                "url_route": route,
                **({"category": "browse"} if destination == "nav" else {}),
            }
            for name, destination, route in PAGES
        ]
