"""
Measure an upload beside the vendor's client and a bare copy, and what a kill in the middle of it costs.

    python -m benchmarks.upload

Every upload is a new process, and the subjects take turns. The file is in the page cache and goes over the
loopback, so that only clients and servers are measured, not the disk or the network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from airflow_provider_atai.datasets.files import inspect_file
from airflow_provider_atai.emulator.control import EmulatorControl
from benchmarks import report
from benchmarks.processes import REPOSITORY, environment_of_child
from benchmarks.subjects import OURS

CLIENT = REPOSITORY / ".venv/client/bin/python"
PYTHONS = {"copy": OURS, "official": CLIENT, "atai": OURS}
MIB = 1024 * 1024
_PATIENCE = 600


class SinkServer:
    """Discards what it receives; see :mod:`benchmarks.upload_sink`."""

    subjects = ("copy", "official", "atai")
    key = "sk_benchmark"

    def __init__(self, root_url: str) -> None:
        self.root_url = root_url
        self._session = requests.Session()
        self._session.trust_env = False

    def reset(self, part_size: int) -> None:
        self._call("/_reset", {"part_size": part_size})

    def state(self) -> dict[str, int]:
        return dict(self._call("/_state", {}))

    def _call(self, path: str, body: dict[str, Any]) -> Any:
        return self._session.post(self.root_url + path, json=body, timeout=30).json()


class EmulatorServer:
    """Writes the parts to the disk, joins them, and computes their MD5."""

    subjects = ("official", "atai")

    def __init__(self, control: EmulatorControl) -> None:
        self._control = control
        self.root_url, self.key = control.root_url, control.api_key

    def reset(self, part_size: int) -> None:
        self._control.reset()
        self._control.set_switches(part_size=part_size)


@contextmanager
def sink() -> Iterator[SinkServer]:
    with _started([sys.executable, "-m", "benchmarks.upload_sink"]) as line:
        yield SinkServer(json.loads(line)["root_url"])


@contextmanager
def emulator(folder: Path) -> Iterator[EmulatorServer]:
    command = [
        sys.executable,
        "-m",
        "airflow_provider_atai.emulator",
        "--port",
        "0",
        "--data-dir",
        str(folder),
    ]
    with _started(command) as line:
        control = EmulatorControl(line.strip().partition(" on ")[2].removesuffix("/v0.5"))
        yield EmulatorServer(control)
        control.close()


@contextmanager
def _started(command: Sequence[str]) -> Iterator[str]:
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
        env=environment_of_child(),
    ) as process:
        try:
            yield process.stdout.readline()  # type: ignore[union-attr]
        finally:
            process.terminate()


def uploader(subject: str, server: SinkServer | EmulatorServer, file: Path) -> subprocess.Popen[str]:
    """Start an upload in a new process."""
    script = REPOSITORY / "benchmarks/uploader.py"
    return subprocess.Popen(
        [PYTHONS[subject], script, subject, server.root_url, server.key, file],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment_of_child(NO_PROXY="127.0.0.1"),
    )


def sample(subject: str, server: SinkServer | EmulatorServer, file: Path, part_size: int) -> dict[str, float]:
    """Upload once, and return the process's measurements."""
    server.reset(part_size)
    process = uploader(subject, server, file)
    printed, _ = process.communicate(timeout=_PATIENCE)
    if process.returncode:
        raise RuntimeError(f"{subject} ended with status {process.returncode}")
    return dict(json.loads(printed))


def throughput(
    server: SinkServer | EmulatorServer, file: Path, part_sizes: Sequence[int], samples: int
) -> list[list[str]]:
    size = file.stat().st_size
    rows = []
    for part_size in part_sizes:
        taken: dict[str, list[dict[str, float]]] = {subject: [] for subject in server.subjects}
        for _ in range(samples):
            for subject in server.subjects:
                taken[subject].append(sample(subject, server, file, part_size))
        rates = {
            subject: size / statistics.median(one["seconds"] for one in ones)
            for subject, ones in taken.items()
        }
        rows += [
            [
                f"{part_size // MIB} MiB, {subject}",
                f"{rates[subject] / 1e6:.0f}",
                f"{size / min(one['seconds'] for one in taken[subject]) / 1e6:.0f}",
                f"{rates[subject] / rates['official']:.2f}",
                f"{rates[subject] / rates['copy']:.2f}" if "copy" in rates else "-",
                f"{max(one['growth'] for one in taken[subject]) / MIB:.1f}",
            ]
            for subject in server.subjects
        ]
    return rows


def killed(server: SinkServer, file: Path, part_size: int, subject: str) -> list[str]:
    """Kill an upload half way, resume it in another process, and count the bytes sent twice."""
    size = file.stat().st_size
    server.reset(part_size)
    with uploader(subject, server, file) as process:
        while server.state()["checkpointed"] < size / 2:
            if process.poll() is not None:
                return [f"{part_size // MIB} MiB, {subject}", "too fast to be killed", "-", "-"]
            time.sleep(0.002)
        process.kill()
    time.sleep(0.5)
    kept = server.state()
    with uploader(subject, server, file) as process:
        process.communicate(timeout=_PATIENCE)
        if process.returncode:
            raise RuntimeError(f"{subject} could not resume")
    again = server.state()["received"] - size
    return [
        f"{part_size // MIB} MiB, {subject}",
        f"{kept['checkpointed'] / MIB:.0f}",
        f"{again / MIB:.0f}",
        f"{again / part_size:.1f}",
    ]


def checking(file: Path) -> list[list[str]]:
    """Measure one pass over a file, with and without a check of its lines, beside two programs."""
    size = file.stat().st_size

    def run(*command: str | Path) -> Callable[[], object]:
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def lines() -> None:
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            for line in stream:
                digest.update(line)
                json.loads(line)

    work: dict[str, Callable[[], object]] = {
        "atai: JSON of every line and SHA-256": lambda: inspect_file(str(file)),
        "atai: SHA-256 alone (validate=False)": lambda: inspect_file(str(file), validate=False),
        "Python: json.loads of every line and SHA-256": lines,
    }
    if shutil.which("sha256sum"):
        work["sha256sum"] = run("sha256sum", file)
    if shutil.which("jq"):
        work["jq empty"] = run("jq", "empty", file)
    seconds = {}
    for name, do in work.items():
        began = time.perf_counter()
        do()
        seconds[name] = time.perf_counter() - began
    ours = seconds["atai: JSON of every line and SHA-256"]
    rows = [[name, f"{size / took / 1e6:.0f}", report.ratio(took, ours)] for name, took in seconds.items()]
    rows += [[name, "not installed", "-"] for name in ("sha256sum", "jq") if not shutil.which(name)]
    return rows


def write_file(path: Path, size: int) -> None:
    """Write lines like those of a dataset: an instruction, numbers as text, and a label."""
    with path.open("wb") as file:
        block = b"".join(_line(number) for number in range(1000))
        while file.tell() + len(block) <= size:
            file.write(block)


def _line(number: int) -> bytes:
    readings = " ".join(f"{(number * 37 + step * 11) % 1000 / 10}" for step in range(150))
    example = {
        "instruction": "Tell the state of the pump.",
        "inputs": [{"type": "data.text", "event_data": {"contents": readings}}],
        "outputs": [{"type": "data.text", "event_data": {"contents": f"state {number % 4}"}}],
    }
    return json.dumps(example).encode() + b"\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upload", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the file (default: 2000)")
    parser.add_argument(
        "--part-mebibytes",
        type=int,
        nargs="+",
        default=[8, 64, 400],
        help="part sizes (default: 8 64 400)",
    )
    parser.add_argument("--samples", type=int, default=3, help="uploads per subject (default: 3)")
    parser.add_argument("--check-megabytes", type=int, default=500, help="file to check (default: 500)")
    options = parser.parse_args(arguments)
    sizes = [size * MIB for size in options.part_mebibytes]
    header = ("parts of, subject", "MB/s", "best", "/ official", "/ copy", "peak MiB")
    print(report.machine(), end="\n\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="atai-benchmark-") as name:
        folder = Path(name)
        file = folder / "train.jsonl"
        write_file(file, options.megabytes * 1_000_000)
        with sink() as server:
            print(f"{file.stat().st_size} bytes to a server that discards them")
            print(
                report.table(header, throughput(server, file, sizes, options.samples)), end="\n\n", flush=True
            )
            rows = [killed(server, file, size, subject) for size in sizes for subject in ("official", "atai")]
            header_of_kills = ("killed half way", "MiB kept", "MiB sent again", "in parts")
            print(report.table(header_of_kills, rows), end="\n\n", flush=True)
        with emulator(folder / "data") as other:
            print("the same file to the emulator, which writes it to the disk twice and computes its MD5")
            print(
                report.table(header, throughput(other, file, sizes, options.samples)), end="\n\n", flush=True
            )
        write_file(file, options.check_megabytes * 1_000_000)
        print(report.table(("checking the file", "MB/s", "time / atai"), checking(file)))


if __name__ == "__main__":
    main()
