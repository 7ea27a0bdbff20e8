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


@pytest.fixture
def watching(connection):
    """A watchdog in use, and its thread; those of other tests may not have ended yet."""
    before = set(threading.enumerate())
    with Watchdog(connection) as watchdog:
        (thread,) = [one for one in set(threading.enumerate()) - before if one.name == "atai-watchdog"]
        yield watchdog, thread


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


def test_its_thread_ends_with_it(watching):
    watchdog, thread = watching
    with watchdog.limit(60):
        assert thread.is_alive()
    watchdog.__exit__(None, None, None)
    thread.join(10)
    assert not thread.is_alive()


class TestUnknownConnection:
    @pytest.fixture
    def connection(self):
        return None

    def test_it_is_only_reported(self, watching):
        watchdog, thread = watching
        with watchdog.limit(0.0):
            thread.join(10)
        assert watchdog.has_cut
