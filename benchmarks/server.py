"""
A small, fast HTTP server that answers the polls of all measured subjects.

    python -m benchmarks.server --jobs 1000

It stands in for four services. Its responses are ready-made, so that its own speed affects no figure. Job
``i`` has the id ``job_id(i)`` and is in progress until the time that ``/control/finish`` sets. Times are
those of :func:`time.monotonic`, which is the same clock in every process of a machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import sys
import time
from collections import Counter
from urllib.parse import parse_qs

IN_PROGRESS = "RUNNING"
COMPLETED = "COMPLETED"
_STAMP = "2026-04-27T14:32:18.421000Z"


def job_id(index: int) -> str:
    """Return a job id as long as a real one."""
    return f"ft-job-benchmark-{index:08x}"


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class Jobs:
    """All jobs and their responses."""

    def __init__(self, count: int) -> None:
        self.ends_at = [math.inf] * count
        self.seen: set[int] = set()
        self._records: dict[tuple[int, bool], bytes] = {}

    def finish(self, first: int, count: int, over: float) -> None:
        """End ``count`` jobs one by one within ``over`` seconds from now, or at once for 0."""
        now = time.monotonic()
        for place in range(count):
            self.ends_at[first + place] = now + over * (place + 1) / count

    def is_over(self, index: int) -> bool:
        self.seen.add(index)
        return time.monotonic() >= self.ends_at[index]

    def record(self, index: int) -> bytes:
        """Return a job's record as the fine-tune API returns it."""
        over = self.is_over(index)
        body = self._records.get((index, over))
        if body is None:
            body = self._records[index, over] = _json(_fine_tune_record(index, over))
        return body

    def page(self, statuses: list[str], limit: int, offset: int) -> bytes:
        """Return a page of the list of jobs, newest first."""
        indexes = self._listed(statuses)
        page = indexes[offset:] if limit < 0 else indexes[offset : offset + limit]
        return b"[" + b",".join([self.record(index) for index in page]) + b"]"

    def _listed(self, statuses: list[str]) -> list[int]:
        everything = range(len(self.ends_at) - 1, -1, -1)
        if not statuses:
            return list(everything)
        now = time.monotonic()
        active = [index for index in everything if self.ends_at[index] > now]
        over = [index for index in everything if self.ends_at[index] <= now]
        return (active if IN_PROGRESS in statuses else []) + (over if COMPLETED in statuses else [])


def _fine_tune_record(index: int, over: bool) -> dict[str, object]:
    datasets = [
        {"name": f"{split}-set", "split": split, "file_ids": [f"pump_{split}-3de60a5c9b1f.jsonl"]}
        for split in ("train", "eval")
    ]
    return {
        "name": "benchmark",
        "id": job_id(index),
        "config": {"model": "Newton::c2_4_7b_251215a172f6d7", "datasets": datasets},
        "uuid": f"job_{index:026d}",
        "org_uuid": "org_2wh4zfagp480wbt3nhm8tcqw6z",
        "status": COMPLETED if over else IN_PROGRESS,
        "created_at": _STAMP,
        "updated_at": _STAMP,
        "inference_config_path": f"s3://benchmark/{job_id(index)}.yaml" if over else None,
    }


def _openai_batch(index: int, over: bool) -> dict[str, object]:
    return {
        "id": f"batch_{index}",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": None,
        "input_file_id": "file-abc123",
        "completion_window": "24h",
        "status": "completed" if over else "in_progress",
        "created_at": 1777300338,
        "in_progress_at": 1777300538,
        "expires_at": 1777386738,
        "request_counts": {"total": 100, "completed": 95, "failed": 5},
    }


def _anthropic_batch(index: int, over: bool) -> dict[str, object]:
    return {
        "id": f"msgbatch_{index}",
        "type": "message_batch",
        "processing_status": "ended" if over else "in_progress",
        "request_counts": {"processing": 100, "succeeded": 50, "errored": 30, "canceled": 10, "expired": 10},
        "ended_at": _STAMP if over else None,
        "created_at": _STAMP,
        "expires_at": _STAMP,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    }


def _dbt_run(index: int, over: bool) -> dict[str, object]:
    run = {
        "id": index,
        "account_id": 1,
        "job_definition_id": 7,
        "status": 10 if over else 3,
        "is_complete": over,
    }
    return {"status": {"code": 200, "is_success": True}, "data": run}


_METRICS = _json(
    {
        "last_checkpoint_step": 600,
        "metrics": [
            {"step": step, "loss": 1.842, "eval_loss": 1.901, "learning_rate": 0.0002, "wall_time_sec": 312.4}
            for step in (200, 400, 600)
        ],
    }
)
_OURS = re.compile(r"/v0\.5/fine-tune/jobs(?:/ft-job-benchmark-([0-9a-f]+)(/metrics)?)?$")
_PEERS = (
    (re.compile(r"/v1/batches/batch_(\d+)$"), _openai_batch),
    (re.compile(r"/v1/messages/batches/msgbatch_(\d+)$"), _anthropic_batch),
    (re.compile(r"/api/v2/accounts/1/runs/(\d+)/$"), _dbt_run),
)


class Service:
    """Routes requests to responses, and counts them."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._counts: Counter[str] = Counter()

    def answer(self, target: str) -> bytes | None:
        """Return the response body for a request target, or None for a 404."""
        path, _, query = target.partition("?")
        if match := _OURS.match(path):
            return self._ours(match, query)
        for pattern, shape in _PEERS:
            if match := pattern.match(path):
                self._counts["get"] += 1
                index = int(match[1])
                return _json(shape(index, self._jobs.is_over(index)))
        if path.startswith("/control/"):
            return self._control(path.removeprefix("/control/"), query)
        self._counts["unknown"] += 1
        return None

    def _ours(self, match: re.Match[str], query: str) -> bytes:
        number, metrics = match.groups()
        if number is None:
            self._counts["list"] += 1
            fields = parse_qs(query)
            limit, offset = (int(fields.get(name, [default])[0]) for name, default in _PAGE.items())
            return self._jobs.page(fields.get("statuses", []), limit, offset)
        if metrics:
            self._counts["metrics"] += 1
            return _METRICS
        self._counts["get"] += 1
        return self._jobs.record(int(number, 16))

    def _control(self, what: str, query: str) -> bytes:
        if what == "finish":
            fields = {name: values[0] for name, values in parse_qs(query).items()}
            self._jobs.finish(int(fields["first"]), int(fields["count"]), float(fields["over"]))
            return b"{}"
        return _json({"counts": self._counts, "seen": len(self._jobs.seen), "ends_at": self._finite()})

    def _finite(self) -> list[float | None]:
        return [None if math.isinf(moment) else moment for moment in self._jobs.ends_at]


_PAGE = {"limit": "-1", "offset": "0"}


class Connection(asyncio.Protocol):
    """One keep-alive connection. Its requests have no body."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for request in requests:
            target = request.split(b" ", 2)[1].decode()
            body = self._service.answer(target)
            status = b"200 OK" if body is not None else b"404 Not Found"
            body = body or b"{}"
            self._transport.write(  # type: ignore[union-attr]
                b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(body), body)
            )


async def _serve(jobs: int) -> None:
    service = Service(Jobs(jobs))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    # The pipe closes when the parent process ends, however it ends.
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    await orders.read()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().jobs))
