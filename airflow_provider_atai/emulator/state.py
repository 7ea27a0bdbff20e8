"""The emulator's parts, put together, and what can be done to all of them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_provider_atai.emulator.clock import JobClock, real_now
from airflow_provider_atai.emulator.faults import Faults
from airflow_provider_atai.emulator.files.files import Files
from airflow_provider_atai.emulator.files.uploads import Uploads
from airflow_provider_atai.emulator.jobs.jobs import Jobs
from airflow_provider_atai.emulator.organisations import Organisations
from airflow_provider_atai.emulator.request_log import RequestLog
from airflow_provider_atai.emulator.settings import Life, Switches
from airflow_provider_atai.emulator.store import Store


class Emulator:
    """
    The whole state of one emulator.

    :param data_dir: an existing folder. The emulator continues what an earlier one left there.
    :param api_keys: one key for each organisation. Empty means those of the last start, or ``sk_emulator``.
    :param time_scale: seconds of the job clock in a real second. None means the last one, or 1.
    :raises DataDirInUseError: if another emulator has the folder.
    """

    switches: Switches
    life: Life
    _clock: JobClock
    # The last real instant at which the job clock was read.
    _latest: float

    def __init__(
        self, data_dir: Path, *, api_keys: Sequence[str] = (), time_scale: float | None = None
    ) -> None:
        self.store = Store(data_dir)
        if time_scale is not None:
            self.store.set_setting("start_scale", time_scale)
        self._restore_settings()
        self.organisations = Organisations(self.store, api_keys)
        self.jobs = Jobs(self.store, self)
        self.files = Files(self.store, self, on_lost=self.jobs.lose_file)
        self.secret = self._signing_secret()
        self.uploads = Uploads(self.store, self.files, self, secret=self.secret)
        self.uploads.recover()
        self.faults = Faults(self.store)
        self.requests = RequestLog(self.store)
        if time_scale is not None:
            self.change_clock(scale=time_scale)

    @property
    def clock(self) -> JobClock:
        """The job clock at this instant. Real time may be earlier than before: tests travel in time."""
        wall = real_now()
        if wall < self._latest:
            self._begin_stretch(self._clock.set_back(wall, latest=self._latest))
        self._latest = wall
        return self._clock

    def change_clock(
        self, *, scale: float | None = None, paused: bool | None = None, advance: float = 0.0
    ) -> None:
        """Change the job clock. Whatever it jumps over happens at this instant."""
        self.jobs.settle()
        self._begin_stretch(self.clock.changed(real_now(), scale=scale, paused=paused, advance=advance))
        self.jobs.settle()

    def change_switches(self, changes: dict[str, Any]) -> Switches:
        """Set some switches, and return all. Impossible changes are a pydantic.ValidationError."""
        # Whatever happened before the change stays as it was.
        self.jobs.settle()
        self.switches = Switches.model_validate({**self.switches.model_dump(), **changes})
        self.store.set_setting("switches", self.switches.model_dump())
        return self.switches

    def change_life(self, changes: dict[str, Any]) -> Life:
        """Set some durations for jobs and files that are made afterwards, and return all."""
        self.life = Life.model_validate({**self.life.model_dump(), **changes})
        self.store.set_setting("life", self.life.model_dump())
        return self.life

    def reset(self) -> None:
        """Forget jobs, files, faults and requests; restore the settings, keys and scale of the start."""
        with self.store.transaction():
            self.store.empty()
            self.organisations.restore()
            self._restore_settings()
        for folder in (self.store.data_dir / "files", self.store.data_dir / "uploads"):
            shutil.rmtree(folder)
            folder.mkdir()

    def _restore_settings(self) -> None:
        self.switches = Switches.model_validate(self.store.setting("switches") or {})
        self.life = Life.model_validate(self.store.setting("life") or {})
        scale = self.store.setting("start_scale") or 1.0
        self._begin_stretch(JobClock(**self.store.setting("clock") or {"wall": real_now(), "scale": scale}))

    def _begin_stretch(self, clock: JobClock) -> None:
        self._clock = clock
        self._latest = clock.wall
        self.store.set_setting("clock", vars(clock))

    def _signing_secret(self) -> str:
        secret = self.store.setting("signing_secret")
        if secret is None:
            secret = secrets.token_hex(32)
            self.store.set_setting("signing_secret", secret)
        return str(secret)
