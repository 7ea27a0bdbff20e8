"""
The smallest server that accepts a direct upload: it counts the bytes and discards them.

It prints the address that it listens on. Each connection has a thread.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_BUFFER = 1024 * 1024


@dataclass
class Sink:
    """
    The only upload that the server knows.

    :param part_size: the size of a part in bytes.
    :param received: all bytes received, including those of incomplete parts.
    :param checkpointed: the numbers of the parts that a resumed upload skips.
    """

    root_url: str
    part_size: int = 8 * 1024 * 1024
    received: int = 0
    num_bytes: int = 0
    is_open: bool = False
    checkpointed: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            if path == "/_reset":
                self.part_size, self.received, self.is_open = body["part_size"], 0, False
                self.checkpointed.clear()
            elif path == "/_state":
                sizes = {part["part_number"]: part["length"] for part in self.parts()}
                done = sum(sizes[number] for number in self.checkpointed)
                return {"received": self.received, "checkpointed": done}
            elif path.endswith("/initiate"):
                return self.initiate(body)
            elif path.endswith("/checkpoint"):
                self.checkpointed.update(part["part_number"] for part in body["parts"])
            elif path.endswith("/complete"):
                self.is_open = False
                return {"file_uid": "fil_sink", "file_name": "sink", "num_bytes": self.num_bytes}
        return {}

    def initiate(self, body: dict[str, Any]) -> dict[str, Any]:
        is_resume = self.is_open and bool(body.get("resume_if_started"))
        self.is_open, self.num_bytes = True, body["num_bytes"]
        parts = self.parts()
        return {
            "upload_id": "upl_sink",
            "file_uid": "fil_sink",
            "num_parts": len(parts),
            "total_bytes": self.num_bytes,
            "is_resume": is_resume,
            "parts": [part for part in parts if part["part_number"] not in self.checkpointed],
        }

    def parts(self) -> list[dict[str, Any]]:
        return [
            {
                "part_number": number,
                "url": f"{self.root_url}/part/{number}",
                "offset": offset,
                "length": min(self.part_size, self.num_bytes - offset),
            }
            for number, offset in enumerate(range(0, self.num_bytes, self.part_size))
        ]

    def serve(self, connection: socket.socket) -> None:
        buffer = memoryview(bytearray(_BUFFER))
        with connection, connection.makefile("rb", buffering=64 * 1024) as stream:
            while line := stream.readline():
                method, path, _ = line.decode("latin-1").split(" ")
                length = 0
                while (header := stream.readline()) not in (b"\r\n", b""):
                    found = re.fullmatch(rb"content-length: *(\d+)\r\n", header, re.IGNORECASE)
                    length = int(found[1]) if found else length
                if method == "PUT":
                    self.swallow(stream, buffer, length)  # type: ignore[arg-type]
                    answer = b""
                else:
                    answer = json.dumps(self.answer(path, json.loads(stream.read(length) or b"{}"))).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n"
                kind = "Content-Type: application/json\r\n" if answer else 'ETag: "sunk"\r\n'
                connection.sendall(f"{head}{kind}\r\n".encode() + answer)

    def swallow(self, stream: BinaryIO, buffer: memoryview, length: int) -> None:
        received = 0
        try:
            while received < length:
                count = stream.readinto(buffer[: min(len(buffer), length - received)])  # type: ignore[attr-defined]
                if not count:
                    raise ConnectionError("the part is incomplete")
                received += count
        finally:
            with self.lock:
                self.received += received


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    sink = Sink(f"http://127.0.0.1:{listener.getsockname()[1]}")
    print(json.dumps({"root_url": sink.root_url}), flush=True)

    def serve(connection: socket.socket) -> None:
        try:
            sink.serve(connection)
        except OSError:
            # The client was killed.
            return

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
