"""
The threads that make a triggerer's calls to the service.

requests blocks, so every call runs in one of these: there is one HTTP stack, and the event loop stays free.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

THREADS = 8


@cache
def polling_threads() -> ThreadPoolExecutor:
    """Return the threads that look at jobs."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="atai-poll")


@cache
def metrics_threads() -> ThreadPoolExecutor:
    """Return the threads that read metrics, apart, so that metrics hold up nobody's poll."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="atai-metrics")
