"""Polls many jobs at once, in the list of active jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.fine_tune import ACTIVE_STATUSES, TERMINAL_STATUSES, FineTuneJob
from airflow_provider_atai.errors import AtaiResponseError

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi

PAGE_SIZE = 1000
# A service that ignored the offset would send the same page for ever.
_MOST_PAGES = 100


@dataclass
class Listing:
    """
    What the list says about the wanted jobs.

    :param seen: the status of each wanted job that is listed as active, by the wanted id.
    :param changed: those of them whose status has changed.
    :param requests: how many pages were read.
    """

    seen: dict[str, str] = field(default_factory=dict)
    changed: dict[str, FineTuneJob] = field(default_factory=dict)
    requests: int = 0


def list_active(api: FineTuneApi, wanted: Collection[str], known: Mapping[str, str | None]) -> Listing:
    """
    Read the list of active jobs page by page, until all wanted jobs are seen or the list ends.

    Only records with a changed status are parsed; from one poll to the next there are few.

    :param api: the calls on jobs.
    :param wanted: the jobs' ids or uuids.
    :param known: the last known status of each.
    :raises AtaiError: a page could not be read.
    """
    api = api.with_options(max_attempts=1)
    listing = Listing()
    doubtful: set[str] = set()
    while len(listing.seen) < len(wanted) and listing.requests < _MOST_PAGES:
        offset = listing.requests * PAGE_SIZE
        page = api.list_records(limit=PAGE_SIZE, offset=offset, statuses=ACTIVE_STATUSES)
        listing.requests += 1
        for record in page:
            key = _wanted_key(record, wanted)
            if key is not None:
                _note_status(listing, doubtful, key, record, known.get(key))
        if len(page) != PAGE_SIZE:
            break
    for key in doubtful:
        del listing.seen[key]
        listing.changed.pop(key, None)
    return listing


def _wanted_key(record: Any, wanted: Collection[str]) -> str | None:
    if isinstance(record, Mapping):
        for value in (record.get("id"), record.get("uuid")):
            if isinstance(value, str) and value in wanted:
                return value
    return None


def _note_status(
    listing: Listing, doubtful: set[str], key: str, record: Mapping[str, Any], known: str | None
) -> None:
    status = record.get("status")
    # Only a GET proves that a job has ended. A job that is listed twice with different statuses changed while
    # the pages were read, or shares its id with another job; a GET will tell.
    if not isinstance(status, str) or status in TERMINAL_STATUSES:
        return
    if listing.seen.setdefault(key, status) != status:
        doubtful.add(key)
    elif status != known:
        try:
            listing.changed[key] = FineTuneJob.from_record(record)
        except AtaiResponseError:
            doubtful.add(key)
