"""What Airflow is told about this provider. Every Airflow process imports it, so it imports nothing heavy."""

from __future__ import annotations

from typing import Any

from airflow_provider_atai import __version__
from airflow_provider_atai.api.base_url import DEFAULT_BASE_URL

CONNECTION_TYPE = "atai"

_INTEGRATION = "Archetype AI"

# The shape that AtaiHook.get_ui_field_behaviour() returns; Airflow before 3.2 asks the hook.
UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden_fields": ["login", "port", "schema"],
    "relabeling": {"host": "API base URL", "password": "API key"},
    "placeholders": {
        "host": DEFAULT_BASE_URL,
        "password": "sk_... (left empty: ATAI_API_KEY of the worker and the triggerer)",
    },
}

_CONN_FIELDS: dict[str, Any] = {
    "timeout": {
        "label": "Timeout (seconds)",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 3600},
        "description": "How long to wait for a response of the API. Empty: 60.",
    },
    "verify": {
        "label": "Verify TLS certificates",
        "schema": {"type": ["string", "null"]},
        "description": "true, false, or the path of a bundle of certificate authorities. Empty: true.",
    },
    "proxy": {
        "label": "Proxy URL",
        # Proxy URLs often hold a password.
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": "An HTTP proxy for the API. Empty: what the environment says (HTTPS_PROXY).",
    },
    "console_url_template": {
        "label": "Job page URL",
        "schema": {"type": ["string", "null"]},
        "description": "Address of a job's page with {job_id} in it, for a link on the task. "
        "No such address is documented, so there is no default.",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-atai",
        "name": _INTEGRATION,
        "description": "Fine-tune Archetype AI's Newton models: upload, train, wait, hand the model on.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.archetypeai.app/",
                "tags": ["ai"],
            }
        ],
        "hooks": _modules("hooks.atai"),
        "operators": _modules("operators.datasets", "operators.end_job", "operators.fine_tune"),
        "sensors": _modules("sensors.fine_tune"),
        "triggers": _modules("triggers.fine_tune"),
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-name": _INTEGRATION,
                "hook-class-name": "airflow_provider_atai.hooks.atai.AtaiHook",
                "conn-fields": _CONN_FIELDS,
                "ui-field-behaviour": {
                    key.replace("_", "-"): value for key, value in UI_FIELD_BEHAVIOUR.items()
                },
            }
        ],
        "extra-links": [
            "airflow_provider_atai.links.fine_tune.FineTuneJobLink",
            "airflow_provider_atai.links.fine_tune.FineTuneJobConsoleLink",
        ],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    modules = [f"airflow_provider_atai.{name}" for name in names]
    return [{"integration-name": _INTEGRATION, "python-modules": modules}]
