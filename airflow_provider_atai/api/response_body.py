"""Reads the body of a response: decompressed, bounded in time, and with an error if it breaks off."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.connection_errors import (
    Timeout,
    incomplete,
    timed_out,
    translated,
    undecodable,
)
from airflow_provider_atai.api.watchdog import Watchdog
from airflow_provider_atai.errors import AtaiConnectionError

if TYPE_CHECKING:
    import requests

# What a request asks for. Deflate is understood, too, since some servers send it unasked.
ACCEPTED_ENCODING = "gzip"
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_NOT_ASKED_FOR = frozenset({"br", "zstd", "compress", "x-compress"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_BLOCK = 256 * 1024


def read_blocks(
    response: requests.Response, method: str, url: str, timeout: Timeout, *, pace: int | None = None
) -> Iterator[bytes]:
    """
    Yield the decoded body as it arrives. Only the waits for the service count against a limit.

    :param timeout: the read timeout bounds the whole body.
    :param pace: if given, the read timeout bounds each so many bytes instead, so that a large body may take
        its time and a body that drips may not.
    :raises AtaiConnectionError: the body broke off, took too long, or cannot be decompressed.
    """
    named = (response.headers.get("Content-Encoding") or "").lower().split(",")
    # Other names, such as storage's own aws-chunked, say nothing about the bytes that arrive.
    encodings = [name.strip() for name in named if name.strip() in _COMPRESSED | _NOT_ASKED_FOR]
    sent = _sent_blocks(response, method, url, timeout, pace)
    if not encodings:
        return sent
    if len(encodings) > 1 or encodings[0] not in _COMPRESSED:
        raise undecodable(method, url)
    return _decompressed(sent, method, url)


def _sent_blocks(
    response: requests.Response, method: str, url: str, timeout: Timeout, pace: int | None
) -> Iterator[bytes]:
    # read() would wait for a full block, so forever if the response drips.
    read = partial(response.raw.read1, _BLOCK, decode_content=False)
    left, due = timeout[1], pace
    with Watchdog(getattr(response.raw, "watched_socket", None)) as watchdog:
        while True:
            began = time.monotonic()
            try:
                with watchdog.limit(left):
                    block = translated(read, method, url, timeout)
            except AtaiConnectionError:
                if not watchdog.has_cut:
                    raise
            left -= time.monotonic() - began
            if watchdog.has_cut or left <= 0:
                break
            if not block:
                return
            yield block
            if due is not None and pace is not None:
                due -= len(block)
                if due <= 0:
                    left, due = timeout[1], pace
    raise timed_out(method, url, timeout)


def _decompressed(blocks: Iterator[bytes], method: str, url: str) -> Iterator[bytes]:
    member: Any = None
    for block in blocks:
        rest = block
        while rest:
            # A body may consist of several members, one after the other.
            member = member or zlib.decompressobj(_GZIP_OR_ZLIB)
            content = _next_content(member, rest)
            if content is None:
                raise undecodable(method, url)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member = None
            if content:
                yield content
    if member is not None:
        raise incomplete(method, url)


def _next_content(member: Any, sent: bytes) -> bytes | None:
    """Return what can be decompressed at once; None if it is not compressed data."""
    try:
        content: bytes = member.decompress(sent, _BLOCK)
    except zlib.error:
        return None
    return content
