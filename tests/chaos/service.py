"""The service of a world: the emulator on a real socket, and what is odd about it in one life."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from airflow_provider_atai.emulator.faults import FaultRule
from airflow_provider_atai.emulator.jobs.life_cycle import Outcome
from airflow_provider_atai.emulator.jobs.rows import checkpoints_of, record_of
from airflow_provider_atai.emulator.server import ThreadedServer
from airflow_provider_atai.emulator.settings import API_PREFIX
from airflow_provider_atai.emulator.state import Emulator
from airflow_provider_atai.waiting import job_listing
from tests.chaos.oddities import Oddities

if TYPE_CHECKING:
    from airflow_provider_atai.api.transport import Response

FIRST_KEY = "sk_emulator"
# With pages this small, a few jobs are enough for a list of several pages.
_SMALL_PAGE = 4


class Service:
    """
    One emulator, which can go down and come back with its state.

    Its requests come over HTTP. What the tests want of it, they call: nothing is requested meanwhile.

    :param data_dir: an empty folder for the emulator.
    """

    api_key = FIRST_KEY

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._odd = Oddities()
        self._ids = 0
        self._port = 0
        self.is_up = False

    def start(self) -> None:
        """Come up, with the state of before and at the same address."""
        self._emulator = Emulator(self._data_dir)
        self._make_odd(self._emulator.jobs)
        self._server = ThreadedServer(self._emulator, port=self._port)
        self._server.__enter__()
        self.root_url = self._server.root_url
        self._port = int(self.root_url.rpartition(":")[2])
        self.is_up = True

    def stop(self) -> None:
        """Go down."""
        self.is_up = False
        self._server.__exit__()

    @property
    def base_url(self) -> str:
        """The base URL of the API."""
        return f"{self.root_url}{API_PREFIX}"

    @contextmanager
    def life(self, odd: Oddities) -> Iterator[None]:
        """Forget everything, and be odd inside the block."""
        self._at_rest.reset()
        self._odd, self._ids = odd, 0
        page_size = _SMALL_PAGE if odd.ignores_offset else job_listing.PAGE_SIZE
        with mock.patch.object(job_listing, "PAGE_SIZE", page_size):
            yield

    def set_switches(self, **changes: Any) -> None:
        """Set some of the emulator's switches."""
        self._at_rest.change_switches(changes)

    def set_life(self, **changes: float) -> None:
        """Set how long later jobs take."""
        self._at_rest.change_life(changes)

    def set_outcome(self, status: str, *, job_id: str | None = None, **when: Any) -> None:
        """Decide what becomes of the job with an id, or else of the next job created."""
        self._at_rest.jobs.set_outcome(Outcome(status=status, **when), job_id=job_id, name=None)

    def set_api_key(self, key: str) -> None:
        """Take this key and refuse the last one."""
        self._at_rest.organisations.set_key(key)

    def make_job(self, job_id: str, *, name: str, datasets: list[dict[str, Any]]) -> None:
        """Make a job of somebody else in the task's organisation."""
        org = self._at_rest.organisations.of_header(f"Bearer {FIRST_KEY}")
        config = {"model": "their-model", "datasets": datasets}
        self._create(str(org), name=name, config=config, file_uids=(), job_id=job_id)

    def add_fault(self, **rule: Any) -> int:
        """Add a fault rule and return its number."""
        return self._at_rest.faults.add(FaultRule(**rule))

    def remove_fault(self, number: int) -> None:
        """Remove a fault rule."""
        self._at_rest.faults.remove(number)

    def faults(self) -> list[dict[str, Any]]:
        """Return the fault rules, and how often each of them fired."""
        return self._at_rest.faults.described()

    def requests(self, path: str = "*") -> list[dict[str, Any]]:
        """Return the log of requests whose path fits the pattern, oldest first."""
        log = json.loads(self._at_rest.requests.as_json())
        return [entry for entry in log if fnmatchcase(entry["path"], path)]

    def jobs(self) -> list[dict[str, Any]]:
        """Return the records of all jobs, oldest first, and how many checkpoints each has."""
        now = self._at_rest.jobs.settle()
        rows = self._at_rest.store.all("SELECT * FROM jobs ORDER BY pk")
        return [{**record_of(row), "checkpoints": len(checkpoints_of(row, now))} for row in rows]

    def altered(self, method: str, path: str, response: Response) -> Response:
        """Return a response of the emulator as this service would send it."""
        behind = timedelta(seconds=self._odd.clock_behind)
        # The emulator's web server looks at the clock once in a second of real time.
        headers = {**response.headers, "Date": format_datetime(datetime.now(UTC) - behind, usegmt=True)}
        response = replace(response, headers=_Headers(headers))
        is_success = 200 <= response.status < 300
        if self._odd.answers_204 and method == "PUT" and is_success:
            return replace(response, status=204, body=b"")
        if behind and is_success and response.body:
            return replace(response, body=_earlier(response.body, behind))
        return response

    @property
    def _at_rest(self) -> Emulator:
        """The emulator, once its server has finished with every request that was answered."""
        # Its log of a request is complete only after the answer.
        finished = threading.Event()
        self._server._server.servers[0].get_loop().call_soon_threadsafe(finished.set)
        finished.wait(10)
        return self._emulator

    def _make_odd(self, jobs: Any) -> None:
        self._create, list_jobs = jobs.create, jobs.list

        def create(org: str, *, job_id: str | None, **job: Any) -> Any:
            if self._odd.makes_own_ids:
                self._ids += 1
                job_id = f"ft-job-{self._ids:08x}"
            return self._create(org, job_id=job_id, **job)

        def list_page(org: str, *, limit: int, offset: int, **wanted: Any) -> Any:
            longest = self._odd.longest_page or math.inf
            limit = int(min(longest, limit)) if limit >= 0 else int(self._odd.longest_page or -1)
            return list_jobs(org, limit=limit, offset=0 if self._odd.ignores_offset else offset, **wanted)

        jobs.create, jobs.list = create, list_page


class _Headers(dict[str, str]):
    """Headers whose names are case-insensitive."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in headers.items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())


def _earlier(body: bytes, behind: timedelta) -> bytes:
    """Return a JSON body with the times of its jobs moved back."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    for record in document if isinstance(document, list) else [document]:
        for name in ("created_at", "updated_at"):
            _move_back(record, name, behind)
    return json.dumps(document).encode()


def _move_back(record: Any, name: str, behind: timedelta) -> None:
    try:
        moved = datetime.fromisoformat(record[name]) - behind
    except (KeyError, TypeError, ValueError):
        return
    record[name] = moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
