"""Answers of the service that several tabs share, so that ten open tabs make one call."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_KEPT = 500


@dataclass
class _Kept(Generic[T]):
    # Held by the thread that calls; the others wait for its answer.
    lock: Lock = field(default_factory=Lock)
    value: T | None = None
    read_at: float = float("-inf")


class Readings(Generic[T]):
    """
    Keeps the latest answers, and lets one thread at a time ask for each.

    :param max_age: for how many seconds an answer is good.
    :param clock: returns seconds that only grow.
    """

    def __init__(self, max_age: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_age = max_age
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, load: Callable[[T | None], T]) -> T:
        """
        Return an answer that is fresh enough.

        :param key: what the answer is about.
        :param load: asks for a new one; it is given the previous answer, None if there is none.
        """
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            if kept.value is None or self._clock() - kept.read_at >= self._max_age:
                kept.value = load(kept.value)
                kept.read_at = self._clock()
            return kept.value

    def forget(self, key: Hashable) -> None:
        """Let the next call ask again."""
        with self._lock:
            self._kept.pop(key, None)
