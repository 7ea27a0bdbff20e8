"""A PostgreSQL server that runs for the duration of a benchmark."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.airflow_processes import clean_environment, free_port

if TYPE_CHECKING:
    from tests.harness.child_processes import ChildProcesses

# PostgreSQL does not run as root.
_ACCOUNT = "postgres"
_DEBIAN = Path("/usr/lib/postgresql")


def available() -> bool:
    """Return whether PostgreSQL and the Python drivers for it are installed."""
    return _program("initdb") is not None and all(find_spec(name) for name in ("psycopg2", "asyncpg"))


def start(processes: ChildProcesses, data: Path) -> str:
    """
    Start a server on a free port of the loopback interface, and wait until it accepts connections.

    :param data: an empty folder, which the server's account then owns.
    :return: the SQLAlchemy address of the database.
    """
    port = str(free_port())
    as_account: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(data, _ACCOUNT)
        as_account = ["runuser", "-u", _ACCOUNT, "--"]
    subprocess.run(
        [*as_account, str(_program("initdb")), "-D", str(data), "-U", "airflow", "--auth", "trust"],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    serve = [str(_program("postgres")), "-D", str(data), "-h", "127.0.0.1", "-p", port, "-k", ""]
    processes.start("postgres", [*as_account, *serve, "-c", "max_connections=300"], clean_environment())
    ready = [str(_program("pg_isready")), "-h", "127.0.0.1", "-p", port, "-q"]
    processes.wait_until(
        lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL accepts connections", 60
    )
    return f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"


def _program(name: str) -> Path | None:
    # Debian keeps the server's programs off the PATH, in a folder for each version.
    on_path = shutil.which(name)
    found = [Path(on_path)] if on_path else sorted(_DEBIAN.glob(f"*/bin/{name}"))
    return found[-1] if found else None
