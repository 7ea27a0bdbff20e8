"""A client that shows everything the emulator answers, and emulators in their own processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from airflow_provider_atai.emulator.control import EmulatorControl

REPOSITORY = Path(__file__).resolve().parents[2]
JSONL = "application/x-ndjson"


class Service:
    """The emulated API, called as its documents say. Paths leave the version out."""

    def __init__(self, control, *, prefix="/v0.5", key=None):
        self.control = control
        self.prefix = prefix
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {key or control.api_key}"

    def __call__(self, method, path, **options):
        url = f"{self.control.root_url}{self.prefix}{path}"
        return self.session.request(method, url, timeout=30, **options)

    def under(self, prefix):
        """The same API under another prefix."""
        return Service(self.control, prefix=prefix)

    def upload(self, name="train.jsonl", content=b'{"a": 1}\n', file_type=JSONL):
        """Upload a file directly, in the parts that the emulator asks for; return its uid."""
        upload = self.initiate(name, len(content), file_type)
        tokens = [self.put_part(part, content) for part in upload["parts"]]
        done = self("POST", f"/files/uploads/{upload['upload_id']}/complete", json={"parts": tokens})
        assert done.status_code == 200, done.text
        return str(done.json()["file_uid"])

    def initiate(self, name="train.jsonl", num_bytes=12, file_type=JSONL, **more):
        """Begin a direct upload."""
        body = {"filename": name, "file_type": file_type, "num_bytes": num_bytes, **more}
        answer = self("POST", "/files/uploads/initiate", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def put_part(self, part, content):
        """Send the bytes of one part to storage; return its token in the form that complete expects."""
        piece = content[part["offset"] : part["offset"] + part["length"]]
        answer = requests.put(part["url"], data=piece, timeout=30)
        assert answer.status_code == 200, answer.text
        return {"part_number": part["part_number"], "part_token": answer.headers["ETag"]}

    def post_file(self, name, content, file_type, path="/files", field="file"):
        """Upload a file through the service."""
        return self("POST", path, files={field: (name, content, file_type)})

    def create(self, *, file_id="train.jsonl", **changes):
        """Create a job for a file that is there already."""
        return self("POST", "/fine-tune/jobs", json=self.body(file_id) | changes)

    def created(self, **changes):
        """Upload a file if it is missing, create a job, and return the job's record."""
        if not self("GET", "/files/metadata/train.jsonl").ok:
            self.upload()
        answer = self.create(**changes)
        assert answer.ok, answer.text
        return dict(answer.json())

    @staticmethod
    def body(file_id="train.jsonl"):
        """Return the body of a request for a job."""
        return {
            "name": "pump-states",
            "config": {
                "model": "Newton::c2_4_7b_251215a172f6d7",
                "datasets": [{"name": "training-set", "split": "train", "file_ids": [file_id]}],
            },
        }

    @staticmethod
    def code_of(answer):
        """Return the code of the one entry of a documented error body."""
        (entry,) = answer.json()["errors"]
        return str(entry["code"])

    def job(self, job_id):
        """Return a job's record."""
        answer = self("GET", f"/fine-tune/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture
def service(atai_emulator):
    """A caller of an empty emulator whose job clock is paused."""
    atai_emulator.pause()
    service = Service(atai_emulator)
    yield service
    service.session.close()


class EmulatorProcess:
    """An emulator started from the command line."""

    def __init__(self, data_dir, *options):
        arguments = [sys.executable, "-m", "airflow_provider_atai.emulator", "--port", "0", *options]
        if data_dir is not None:
            arguments += ["--data-dir", str(data_dir)]
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
        )
        assert self.process.stdout is not None
        self.announcement = self.process.stdout.readline().rstrip("\n")
        self.control = EmulatorControl(self.announcement.partition(" on ")[2].removesuffix("/v0.5"))

    def end(self, number=signal.SIGTERM):
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self.control.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


@pytest.fixture
def start_emulator():
    """Start emulators, and end those that the test leaves running."""
    started: list[EmulatorProcess] = []

    def start(data_dir=None, *options):
        started.append(EmulatorProcess(data_dir, *options))
        return started[-1]

    yield start
    for emulator in started:
        if emulator.process.poll() is None:
            emulator.end()
