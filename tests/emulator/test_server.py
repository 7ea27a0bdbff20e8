"""The emulator's server in a process that also does other work."""

from __future__ import annotations

import http.client
import logging
import os
import signal
import socket
from urllib.parse import urlsplit

import pytest

from airflow_provider_atai.emulator.server import EmulatorServer, ThreadedServer, listen
from airflow_provider_atai.emulator.state import Emulator


@pytest.fixture
def emulator(tmp_path):
    return Emulator(tmp_path)


def connection_to(root_url):
    """Return an open connection that was answered once."""
    connection = http.client.HTTPConnection(urlsplit(root_url).netloc, timeout=10)
    connection.request("GET", "/_emulator")
    connection.getresponse().read()
    return connection


def test_log_handlers_of_the_process_stay_open(emulator, tmp_path):
    handler = logging.FileHandler(tmp_path / "log", mode="w")
    with ThreadedServer(emulator):
        handler.emit(logging.makeLogRecord({"msg": "still here"}))
    handler.close()
    assert (tmp_path / "log").read_text() == "still here\n"


def test_idle_connections_are_kept_longer_than_any_poll_interval(emulator):
    listening = listen("127.0.0.1", 0)
    server = EmulatorServer(emulator, listening, lambda: None)
    listening.close()
    emulator.store.close()
    assert server.config.timeout_keep_alive >= 3600


def test_shutdown_does_not_wait_for_idle_connections(emulator):
    with ThreadedServer(emulator) as server:
        connection = connection_to(server.root_url)
    assert isinstance(connection.sock, socket.socket)
    assert connection.sock.recv(1) == b""
    connection.close()


def test_the_command_does_not_wait_for_idle_connections(start_emulator):
    emulator = start_emulator()
    connection = connection_to(emulator.control.root_url)
    assert emulator.end(signal.SIGTERM) == 0
    connection.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("effect", ["drop_before", "drop_after", "drop_midway"])
def test_forked_process_does_not_keep_a_dropped_connection_open(service, effect):
    connection = connection_to(service.control.root_url)
    service.control.add_fault(effect=effect)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        connection.request("GET", "/v0.5/fine-tune/jobs")
        with pytest.raises((http.client.HTTPException, ConnectionResetError)):
            connection.getresponse().read()
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)
        connection.close()
