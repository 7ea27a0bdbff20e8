"""The emulator on a socket: in this thread for the command line, in its own thread for tests."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_atai.emulator.app import create_app
from airflow_provider_atai.emulator.state import Emulator

_SHUTDOWN_SECONDS = 1
# Longer than any poll interval: a pooled connection that closes at the wrong moment looks like an outage.
_IDLE_SECONDS = 3600


class Connections:
    """The open connections by client address, so that a fault can close one."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def drop(self, scope: Scope) -> None:
        """Close the connection of a request without sending another byte."""
        transport = self._transports.get(tuple(scope["client"]))
        if transport is not None:
            number = os.dup(transport.get_extra_info("socket").fileno())
            # Closing alone ends nothing while a forked process has the socket open, too. The error comes if
            # the client has closed first.
            with socket.socket(fileno=number) as connection, suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            transport.abort()

    def protocol(self) -> type[H11Protocol]:
        """Return uvicorn's HTTP protocol, with connections that register here."""
        transports = self._transports

        class Registered(H11Protocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                if self.client is not None:
                    transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    transports.pop(self.client, None)
                super().connection_lost(exc)

        return Registered


class EmulatorServer(uvicorn.Server):
    """
    A server for one emulator.

    :param listening: a bound socket. The server closes it at the end.
    :param on_ready: called in the loop's thread as soon as requests are answered.
    """

    def __init__(self, emulator: Emulator, listening: socket.socket, on_ready: Callable[[], None]) -> None:
        connections = Connections()
        config = uvicorn.Config(
            create_app(emulator, connections.drop),
            http=connections.protocol(),
            ws="none",
            lifespan="off",
            # uvicorn's own logging configuration would close the log handlers of this process.
            log_config=None,
            log_level="warning",
            access_log=False,
            # Connections are found by the client's address, so it must stay that of the socket.
            proxy_headers=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        super().__init__(config)
        self._emulator = emulator
        self._listening = listening
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer requests."""
        await super().startup(sockets)
        self._on_ready()

    def serve_until_stopped(self) -> None:
        """Answer requests until a signal comes or ``should_exit`` is set."""
        try:
            self.run(sockets=[self._listening])
        finally:
            self._listening.close()
            self._emulator.store.close()


class ThreadedServer:
    """A context manager that runs an emulator in a thread of this process, by default on a free port."""

    def __init__(self, emulator: Emulator, *, host: str = "127.0.0.1", port: int = 0) -> None:
        listening = listen(host, port)
        self._ready = threading.Event()
        self._server = EmulatorServer(emulator, listening, self._ready.set)
        self._thread = threading.Thread(
            target=self._server.serve_until_stopped, name="atai-emulator", daemon=True
        )
        self.root_url = url_of(listening)

    def __enter__(self) -> ThreadedServer:
        self._thread.start()
        while not self._ready.wait(0.1):
            if not self._thread.is_alive():
                raise RuntimeError("The emulator's thread ended before it could answer requests")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def listen(host: str, port: int) -> socket.socket:
    """
    Return a listening socket.

    :raises OSError: if the address is taken or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once only on a socket that names its protocol; create_server's do not.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except OSError:
        listening.close()
        raise
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the root URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
