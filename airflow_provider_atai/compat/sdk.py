"""
The names that the package needs of Airflow, wherever this version of Airflow keeps them.

Every other module imports Airflow from here, and ``airflow.triggers.base``. A name is looked up when it is
imported, so that parsing a DAG file loads nothing that only a running task needs.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow import __version__

if TYPE_CHECKING:
    from airflow.sdk import (
        BaseHook,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        ObjectStoragePath,
        PokeReturnValue,
    )
    from airflow.sdk.configuration import conf
    from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )
    from airflow.sdk.execution_time.xcom import XCom
    from airflow.sdk.log import mask_secret
    from airflow.sdk.types import TaskInstanceKey

_AIRFLOW = tuple(int(part) for part in __version__.split(".")[:2])
_RELEASE = tuple(int(part) for part in __version__.split("+")[0].split(".")[:3] if part.isdigit())
# A worker pushes a link's address itself, instead of the webserver asking the operator class for it.
WORKERS_PUSH_LINKS = _AIRFLOW >= (3, 0)
# The UI shows tabs of plugins, and a plugin finds its user by a cookie: not so in 3.1.0.
SHOWS_PLUGIN_TABS = _RELEASE >= (3, 1, 1)
# A trigger may call Airflow while others do: before, two calls could get each other's answers.
TRIGGERERS_PUSH_XCOMS = _RELEASE >= (3, 2, 2)
# A sensor can begin and end in the triggerer, without a worker.
TRIGGERERS_RUN_WHOLE_TASKS = _AIRFLOW >= (3, 3)

_EXCEPTIONS = ("airflow.sdk.exceptions", "airflow.exceptions")
_RETRY_POLICY = ("airflow.sdk.definitions.retry_policy",)
# Where each name may be, Airflow 3 first.
_HOMES: dict[str, tuple[str, ...]] = {
    "AirflowFailException": _EXCEPTIONS,
    "AirflowNotFoundException": _EXCEPTIONS,
    "AirflowSensorTimeout": _EXCEPTIONS,
    "AirflowSkipException": _EXCEPTIONS,
    "AirflowTaskTimeout": _EXCEPTIONS,
    "BaseHook": ("airflow.sdk", "airflow.hooks.base"),
    "BaseOperator": ("airflow.sdk", "airflow.models.baseoperator"),
    "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
    "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),
    "Connection": ("airflow.sdk", "airflow.models.connection"),
    "Context": ("airflow.sdk", "airflow.utils.context"),
    "ExceptionRetryPolicy": _RETRY_POLICY,
    "ObjectStoragePath": ("airflow.sdk", "airflow.io.path"),
    "PokeReturnValue": ("airflow.sdk", "airflow.sensors.base"),
    "RetryAction": _RETRY_POLICY,
    "RetryRule": _RETRY_POLICY,
    "TaskInstanceKey": ("airflow.sdk.types", "airflow.models.taskinstancekey"),
    "XCom": ("airflow.sdk.execution_time.xcom", "airflow.models.xcom"),
    "conf": ("airflow.sdk.configuration", "airflow.configuration"),
    "mask_secret": (
        "airflow.sdk.log",
        "airflow.sdk.execution_time.secrets_masker",
        "airflow.utils.log.secrets_masker",
    ),
}


def deferrable_by_default() -> bool:
    """Return Airflow's own setting of whether tasks wait in the triggerer."""
    return bool(__getattr__("conf").getboolean("operators", "default_deferrable", fallback=False))


def base_url() -> str:
    """Return the address of Airflow's UI as it is configured, empty if it is not."""
    return __getattr__("conf").get("api", "base_url", fallback="") or ""


def has_listeners() -> bool:
    """Tell whether a plugin has registered a listener with Airflow, as whoever parses DAG files sees it."""
    try:
        manager: Any = import_module("airflow.listeners.listener")
        return bool(manager.get_listener_manager().has_listeners)
    except ImportError:
        return False


def log_of(task: Any) -> logging.Logger:
    """Return the logger of an operator or a trigger as the type that all Airflow versions agree on."""
    log: logging.Logger = task.log
    return log


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for home in _HOMES[name]:
        try:
            return getattr(import_module(home), name)
        except (ImportError, AttributeError) as error:
            problem: Exception = error
    raise ImportError(f"This version of Airflow has no {name}.") from problem
