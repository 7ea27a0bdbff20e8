"""
Polls many jobs at once, in the list of active jobs.

The list is documented to take ``limit`` and ``offset``, and to return all jobs without them. Nothing says
that a page is as long as was asked for, so the next page begins after what has come. A job that the list
does not show costs a GET, so pages are read only while they can spare more requests than they cost.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.fine_tune import ACTIVE_STATUSES, TERMINAL_STATUSES, FineTuneJob

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi

log = logging.getLogger(__name__)

PAGE_SIZE = 1000
_MOST_PAGES = 100


@dataclass
class Paging:
    """
    What the polls of a connection have learned about the pages of its list.

    :param longest: the most records on a page of the last poll. A shorter page is the end of the list.
    :param is_ignored: whether the service takes no notice of the offset. The list is then read in one page.
    """

    longest: int = 0
    is_ignored: bool = False


@dataclass
class Listing:
    """
    What the list says about the wanted jobs.

    :param seen: the status of each wanted job that is listed as active, by the wanted id.
    :param changed: those of them whose status has changed.
    :param requests: how many pages were read, without an empty one that only showed where the list ends.
    """

    seen: dict[str, str] = field(default_factory=dict)
    changed: dict[str, FineTuneJob] = field(default_factory=dict)
    requests: int = 0


def list_active(api: FineTuneApi, known: Mapping[str, str | None], paging: Paging) -> Listing:
    """
    Read the list of active jobs page by page, until all wanted jobs are seen or the list ends.

    Only records with a changed status are parsed; from one poll to the next there are few.

    :param api: the calls on jobs.
    :param known: the last known status of each wanted job, by its id or uuid.
    :param paging: what is known of the pages; it is updated.
    :raises AtaiError: a page could not be read.
    """
    api = api.with_options(max_attempts=1)
    listing = Listing()
    found, doubtful = set[str](), set[str]()
    previous: Sequence[Any] = ()
    offset, longest = 0, paging.longest
    paging.longest = 0
    while True:
        query = {} if paging.is_ignored else {"limit": PAGE_SIZE, "offset": offset}
        page = api.list_records(**query, statuses=ACTIVE_STATUSES)
        if not page:
            break
        listing.requests += 1
        if _is_repeated(page, previous):
            _note_ignored_offset(paging, offset)
            return list_active(api, known, paging)
        for record in page:
            key = _wanted_key(record, known)
            if key is not None:
                found.add(key)
                _note_status(listing, doubtful, key, record, known.get(key))
        offset, previous = offset + len(page), page
        paging.longest = max(paging.longest, len(page))
        # For one missing job, a GET costs no more than another page.
        missing = len(known) - len(found)
        if missing < 2 or listing.requests >= min(_MOST_PAGES, len(known)) or paging.is_ignored:
            break
        if len(page) < max(longest, paging.longest) or len(page) > PAGE_SIZE:
            break
    for key in doubtful:
        del listing.seen[key]
        listing.changed.pop(key, None)
    return listing


def _is_repeated(page: Sequence[Any], previous: Sequence[Any]) -> bool:
    # A single record may have come again because a new job has moved it to the next page.
    return len(page) == len(previous) > 1 and _ids(page) == _ids(previous)


def _ids(page: Sequence[Any]) -> list[object]:
    return [record.get("id") if isinstance(record, Mapping) else record for record in page]


def _note_ignored_offset(paging: Paging, offset: int) -> None:
    paging.is_ignored = True
    log.warning(
        "The service's list of jobs takes no notice of offset=%d: it sent the same page twice. From here on, "
        "the list is read in one request. A job that it does not show costs a request of its own.",
        offset,
    )


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
        except Exception:
            # One odd record must not hide the others.
            doubtful.add(key)
