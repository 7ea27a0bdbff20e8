from __future__ import annotations

import socket
import threading

import pytest

from airflow_provider_atai.api.watchdog import Watchdog


@pytest.fixture
def connection():
    here, there = socket.socketpair()
    with here, there:
        yield here


def watchdogs():
    return [thread for thread in threading.enumerate() if thread.name == "atai-watchdog"]


def test_a_read_that_takes_too_long_ends(connection):
    with Watchdog(connection) as watchdog, watchdog.limit(0.01):
        assert connection.recv(1) == b""
    assert watchdog.has_cut


def test_only_what_is_limited_is_cut(connection):
    with Watchdog(connection) as watchdog:
        for _ in range(3):
            with watchdog.limit(60):
                pass
        with watchdog.limit(0.01):
            assert connection.recv(1) == b""
    assert watchdog.has_cut


def test_a_connection_in_time_is_left_alone(connection):
    with Watchdog(connection) as watchdog, watchdog.limit(60):
        pass
    assert not watchdog.has_cut
    connection.send(b"x")


def test_its_thread_ends_with_it(connection):
    with Watchdog(connection) as watchdog, watchdog.limit(60):
        (thread,) = watchdogs()
    thread.join(10)
    assert watchdogs() == []


def test_an_unknown_connection_is_only_reported():
    with Watchdog(None) as watchdog, watchdog.limit(0.0):
        (thread,) = watchdogs()
        thread.join(10)
    assert watchdog.has_cut
