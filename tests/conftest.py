"""What every test needs: an Airflow of its own, made before anything imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FOREIGN_SETTINGS = (
    "AIRFLOW_",
    "ATAI_API_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NETRC",
    "REQUESTS_CA_BUNDLE",
)


def _make_airflow_home():
    """Point Airflow at an empty home; each pytest process gets its own, and removes it at the end."""
    if "airflow" in sys.modules:
        raise RuntimeError("Airflow was imported before tests/conftest.py could give it a home of its own.")
    for name in [name for name in os.environ if name.upper().startswith(FOREIGN_SETTINGS)]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="atai-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "example_dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
        AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
        NO_PROXY="127.0.0.1,localhost",
    )
    return home


AIRFLOW_HOME = _make_airflow_home()

# The examples are not timed: on a machine under load, any of them may be slow.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Named here, not imported, so that nothing imports Airflow before it has its home.
pytest_plugins = ["tests.harness.fixtures"]


@pytest.fixture(scope="session")
def airflow_db():
    """Make the metadata database, for the few tests that need one; return Airflow's home."""
    # Also if there is a file: a test that asks Airflow 2 for a connection without this leaves an empty one.
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=300,
    )
    return AIRFLOW_HOME
