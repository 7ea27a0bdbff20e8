"""A metadata database for test runs, beside the one that Airflow is configured for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

# dag.test() expects a bundle of this name.
BUNDLE = "dags-folder"
_DAGS_FOLDER = "AIRFLOW__CORE__DAGS_FOLDER"


def dags_folder() -> str:
    """Return the empty folder that is Airflow's DAGs folder within :func:`own_database`."""
    return os.environ[_DAGS_FOLDER]


@contextmanager
def own_database(folder: Path) -> Iterator[None]:
    """
    Let Airflow use an SQLite database in a folder, which is made if it is missing.

    Whatever database Airflow used before is neither read nor changed, and is used again at the end.

    :param folder: an existing folder.
    """
    dags, file = folder / "dags", folder / "airflow.db"
    dags.mkdir(exist_ok=True)
    bundle = {
        "name": BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dags)},
    }
    environment = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{file}",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        # From Airflow 3.1 on, dag.test() parses all that these lead to.
        _DAGS_FOLDER: str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
    }
    is_new = not file.exists()
    try:
        with mock.patch.dict(os.environ, environment):
            _connect()
            if is_new:
                from airflow.utils.db import initdb

                initdb()
            yield
    finally:
        _connect()


def _connect() -> None:
    settings: Any = import_module("airflow.settings")
    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()
