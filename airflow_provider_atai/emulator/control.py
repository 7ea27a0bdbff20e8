"""A handle on a running emulator, in this process or another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import requests

from airflow_provider_atai.emulator.settings import API_PREFIX, CONTROL_PREFIX, DEFAULT_API_KEY

_TIMEOUT = 60.0


class EmulatorControlError(Exception):
    """The emulator refused a control."""


class EmulatorControl:
    """
    The controls of an emulator, over HTTP.

    :param root_url: such as ``http://127.0.0.1:8765``, without a path.
    :param api_key: the key that the emulator takes. The controls need none; it goes into the connection.
    """

    def __init__(self, root_url: str, *, api_key: str = DEFAULT_API_KEY) -> None:
        self.root_url = root_url.rstrip("/")
        self.api_key = api_key
        self._session = requests.Session()
        # A proxy in the environment could not reach the emulator.
        self._session.trust_env = False

    @property
    def base_url(self) -> str:
        """The base URL of the emulated API."""
        return f"{self.root_url}{API_PREFIX}"

    @property
    def connection_json(self) -> str:
        """An Airflow connection to the emulator, as the value of an ``AIRFLOW_CONN_...`` variable."""
        return json.dumps({"conn_type": "atai", "host": self.base_url, "password": self.api_key})

    def state(self) -> dict[str, Any]:
        """Return version, base URL, job clock, jobs by status, and the numbers of files and faults."""
        return dict(self._call("GET", ""))

    def reset(self) -> None:
        """Forget all jobs, files, faults, outcomes and requests; restore every setting and the keys."""
        self._call("POST", "/reset")

    def set_time_scale(self, scale: float) -> None:
        """Let the job clock run ``scale`` times as fast as real time."""
        self._call("PATCH", "/clock", {"scale": scale})

    def advance(self, seconds: float) -> None:
        """Move the job clock forward at once, without sleeping."""
        self._call("PATCH", "/clock", {"advance": seconds})

    def pause(self) -> None:
        """Stop the job clock. :meth:`advance` still moves it."""
        self._call("PATCH", "/clock", {"paused": True})

    def resume(self) -> None:
        """Let the job clock run again."""
        self._call("PATCH", "/clock", {"paused": False})

    def switches(self) -> dict[str, Any]:
        """Return the switches for behaviour that no document settles."""
        return dict(self._call("GET", "/switches"))

    def set_switches(self, **changes: Any) -> None:
        """Set some of the switches, such as ``duplicate_job_id="return_existing"``."""
        self._call("PATCH", "/switches", changes)

    def set_life(self, **changes: float) -> None:
        """Set how long later jobs and files take, in seconds of the job clock, such as ``running=30``."""
        self._call("PATCH", "/life", changes)

    def set_outcome(
        self,
        status: str,
        *,
        job_id: str | None = None,
        name: str | None = None,
        at: float | str | None = None,
        for_seconds: float | None = None,
        inference_config: bool | None = None,
    ) -> None:
        """
        Decide what becomes of the job with an id, of all jobs of a name, or else of the next job created.

        :param status: COMPLETED, FAILED, STOPPED or CANCELLED is how the job ends. Any other status, listed
            or not, is one that it reaches and does not leave.
        :param job_id: a job with this id, created already or not.
        :param name: all jobs of this name. Not together with ``job_id``.
        :param at: when: seconds of the job clock after the creation, or the phase of its life (``STARTING``)
            in the middle of which it happens. A job that has ended by then stays so. Default: COMPLETED at
            the usual end, a phase when it begins, anything else in the middle of RUNNING.
        :param for_seconds: for a status that ends nothing: how long it shows before the job's life goes on.
            Default: for ever.
        :param inference_config: whether the ended job has an inference_config_path. Default: as the switches
            say.
        """
        when = {"at": at, "for_seconds": for_seconds}
        outcome = {"status": status, "inference_config": inference_config, **when}
        self._call("POST", "/outcomes", {"outcome": outcome, "job_id": job_id, "name": name})

    def add_fault(self, **rule: Any) -> int:
        """
        Add a fault rule and return its number.

        :param rule: the fields of :class:`~airflow_provider_atai.emulator.faults.FaultRule`, such as
            ``method="POST", path="/fine-tune/jobs", effect="drop_after", count=1``.
        """
        return int(self._call("POST", "/faults", rule)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """Return the fault rules: ``id``, ``fired`` (how often) and ``rule``."""
        return list(self._call("GET", "/faults"))

    def fired(self, fault_id: int) -> int:
        """
        Return how often a fault rule hit a request.

        :raises EmulatorControlError: if the rule was removed.
        """
        for fault in self.faults():
            if fault["id"] == fault_id:
                return int(fault["fired"])
        raise EmulatorControlError(f"There is no fault {fault_id}")

    def clear_faults(self) -> None:
        """Remove every fault rule."""
        self._call("DELETE", "/faults")

    def requests(self, method: str | None = None, path: str | None = None) -> list[dict[str, Any]]:
        """
        Return the request log, oldest first: time, method, path, query, status, fault and body.

        :param path: a shell pattern for the whole path, such as ``*/fine-tune/jobs/*``.
        :return: ``status`` is None while a request is carried out and if its connection was dropped;
            ``body`` is that of JSON requests.
        """
        return [
            entry
            for entry in self._call("GET", "/requests")
            if (method is None or entry["method"] == method)
            and (path is None or fnmatchcase(entry["path"], path))
        ]

    def clear_requests(self) -> None:
        """Forget the request log."""
        self._call("DELETE", "/requests")

    def jobs(self) -> list[dict[str, Any]]:
        """Return the records of all jobs of all organisations, oldest first."""
        return list(self._call("GET", "/jobs"))

    def files(self) -> list[dict[str, Any]]:
        """Return the metadata of all files of all organisations, oldest first."""
        return list(self._call("GET", "/files"))

    def set_api_key(self, api_key: str, *, organisation: int = 0) -> None:
        """
        Let the emulator take this key and refuse the last one. The attribute ``api_key`` does not change.

        :param organisation: whose key: 0 is the first organisation, which always exists.
        """
        self._call("PUT", "/api-key", {"api_key": api_key, "organisation": organisation})

    def close(self) -> None:
        """Close the connections to the emulator."""
        self._session.close()

    def _call(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        path = f"{CONTROL_PREFIX}{path}"
        answer = self._session.request(method, f"{self.root_url}{path}", json=document, timeout=_TIMEOUT)
        if not answer.ok:
            raise EmulatorControlError(f"{method} {path}: HTTP {answer.status_code} {answer.text}")
        return answer.json()
