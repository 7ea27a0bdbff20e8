"""A server that sends the bytes that a test scripts, for responses that no well-behaved server would send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi
from tests.api.uploads import PART_SIZE, replace_sleep

API_KEY = "sk_test_0123456789abcdef"

Script = bytes | Callable[[socket.socket, threading.Event], None]


def http_answer(
    status=200,
    body=b"",
    *,
    content_type="application/json",
    **headers,
):
    """Return a well-formed HTTP response; write header names with underscores."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}", "Connection: close"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def drip(data, *, after=0):
    """Send ``after`` bytes at once, then the rest byte by byte, over and over, until the test ends."""

    def send(connection, over):
        connection.sendall(data[:after])
        while True:
            for byte in data[after:]:
                if over.wait(0.02):
                    return
                connection.sendall(bytes([byte]))

    return send


def endless(head, block):
    """Send ``head`` and then ``block`` without end."""

    def send(connection, over):
        connection.sendall(head)
        while not over.is_set():
            connection.sendall(block)

    return send


def silence(connection, over):
    """Accept the request and never respond."""
    over.wait()


@dataclass
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class BadServer:
    """Answers each request with the next script; the last one serves all later requests."""

    root_url: str
    scripts: list[Script] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self):
        return f"{self.root_url}/v0.5"

    @property
    def port(self):
        return int(self.root_url.rpartition(":")[2])

    def answer(self, *scripts):
        self.scripts[:] = scripts

    def handle(self, connection):
        try:
            with connection, connection.makefile("rb") as stream:
                if not stream.peek(1)[:1].isalpha():
                    # A TLS greeting: respond in plain HTTP, as other web servers do.
                    connection.sendall(http_answer(400, "plain HTTP"))
                    return
                method, target, _ = stream.readline().decode("latin-1").split(" ")
                headers = {}
                while line := stream.readline().strip().decode("latin-1"):
                    name, _, value = line.partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                self.requests.append(Received(method, target, headers, body))
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                if isinstance(script, bytes):
                    connection.sendall(script)
                else:
                    script(connection, self.over)
        except (OSError, ValueError):
            # The client is gone or never spoke HTTP: tests want both.
            return


def serve(tls=None):
    listener = socket.create_server(("127.0.0.1", 0))
    server = BadServer(f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}")
    workers: list[threading.Thread] = []

    def handle(plain):
        try:
            connection = tls.wrap_socket(plain, server_side=True) if tls else plain
        except OSError:
            plain.close()
            return
        server.handle(connection)

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            worker = threading.Thread(target=handle, args=(connection,), daemon=True)
            workers.append(worker)
            worker.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    yield server
    server.over.set()
    # Closing alone does not wake the thread that waits in accept().
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in (acceptor, *workers):
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def bad_server():
    yield from serve()


@pytest.fixture
def naps(monkeypatch):
    """The seconds that retries would have slept."""
    slept: list[float] = []
    replace_sleep(monkeypatch, slept.append)
    return slept


@pytest.fixture
def client(bad_server, naps):
    with AtaiClient(base_url=bad_server.root_url, api_key=API_KEY, timeout=5) as made:
        yield made


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def api(atai_emulator, naps):
    """The file calls on an emulator that uses parts of 6 bytes, and numbers them by their place."""
    atai_emulator.set_switches(part_size=PART_SIZE, part_number_base=0)
    with AtaiClient(base_url=atai_emulator.base_url, api_key=atai_emulator.api_key, max_attempts=3) as client:
        yield FilesApi(client)
