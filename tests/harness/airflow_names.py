"""The names that tests need of Airflow and the package does not, wherever this version keeps them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG, Param, task
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowRescheduleException,
        AirflowTaskTimeout,
        ParamValidationError,
        TaskDeferred,
    )

# Airflow 3 first. The package itself comes last: in Airflow 2, it has a module named task.
_HOMES = (
    *("airflow.sdk", "airflow.sdk.exceptions"),
    *("airflow.exceptions", "airflow.decorators", "airflow.models.param", "airflow"),
)


def __getattr__(name: str) -> Any:
    for home in _HOMES:
        try:
            return getattr(import_module(home), name)
        except (ImportError, AttributeError):
            continue
    raise AttributeError(name)
