from __future__ import annotations

import pytest

from airflow_provider_atai.waiting.job_listing import Paging, list_active


class ServiceList:
    """
    Stands in for the calls on jobs: a list that counts its requests.

    :param cap: the most records that the service gives at once, whatever the limit.
    :param ignores: the parameters that it takes no notice of.
    """

    def __init__(self, records, *, cap=10_000, ignores=()):
        self.records = list(records)
        self.cap = cap
        self.ignores = ignores
        self.requests = 0
        self.sent = 0

    def with_options(self, **options):
        return self

    def list_records(self, *, limit=None, offset=None, statuses):
        self.requests += 1
        begin = 0 if "offset" in self.ignores else offset or 0
        most = self.cap if limit is None or "limit" in self.ignores else min(limit, self.cap)
        page = self.records[begin : begin + most]
        self.sent += len(page)
        return page

    def poll(self, wanted, paging):
        """Poll once; return what it cost: lists, records, and GETs for what is not listed."""
        self.requests = self.sent = 0
        listing = list_active(self, dict.fromkeys(wanted), paging)
        return self.requests, self.sent, len(wanted) - len(listing.seen)


def job(number, **fields):
    return {"id": f"job-{number}", "name": "j", "status": "RUNNING", **fields}


def ids(numbers):
    return [f"job-{number}" for number in numbers]


FIRST_300, LAST_300 = range(300), range(1000, 1300)


@pytest.mark.parametrize(
    ("active", "wanted", "service", "first", "then"),
    [
        (300, FIRST_300, {}, (1, 300, 0), (1, 300, 0)),
        (1300, LAST_300, {}, (2, 1300, 0), (2, 1300, 0)),
        (300, FIRST_300, {"cap": 100}, (3, 300, 0), (3, 300, 0)),
        (1300, LAST_300, {"cap": 100}, (13, 1300, 0), (13, 1300, 0)),
        (1300, LAST_300, {"ignores": ["offset"]}, (3, 3300, 0), (1, 1300, 0)),
        (300, FIRST_300, {"ignores": ["offset"], "cap": 100}, (3, 300, 200), (1, 100, 200)),
        (1300, LAST_300, {"ignores": ["limit"]}, (1, 1300, 0), (1, 1300, 0)),
        (1300, LAST_300, {"ignores": ["limit", "offset"]}, (1, 1300, 0), (1, 1300, 0)),
        # Two jobs have ended. Only the first poll has to learn how long a page can be.
        (298, FIRST_300, {}, (2, 298, 2), (2, 298, 2)),
        (298, FIRST_300, {"cap": 100}, (3, 298, 2), (3, 298, 2)),
        (300, range(302), {"cap": 100}, (4, 300, 2), (4, 300, 2)),
        (1298, range(1000, 1300), {"ignores": ["limit", "offset"]}, (1, 1298, 2), (1, 1298, 2)),
        # One has: its GET costs no more than another page.
        (299, FIRST_300, {}, (1, 299, 1), (1, 299, 1)),
        # Few jobs among many: no more lists than GETs.
        (1300, (1298, 1299), {"cap": 100}, (2, 200, 2), (2, 200, 2)),
        (0, FIRST_300, {}, (1, 0, 300), (1, 0, 300)),
    ],
)
def test_a_poll_costs(active, wanted, service, first, then):
    api = ServiceList(map(job, range(active)), **service)
    paging = Paging()
    assert api.poll(ids(wanted), paging) == first
    assert api.poll(ids(wanted), paging) == then


def test_a_page_that_is_shorter_than_those_of_the_last_poll_is_the_end_of_the_list():
    api = ServiceList(map(job, range(300)))
    paging = Paging()
    assert api.poll(ids(FIRST_300), paging) == (1, 300, 0)
    del api.records[100:150]
    assert api.poll(ids(FIRST_300), paging) == (1, 250, 50)


def test_a_list_that_shows_ended_jobs_too_is_not_searched_for_them():
    api = ServiceList(map(job, range(5000)))
    for record in api.records[298:]:
        record["status"] = "COMPLETED"
    assert api.poll(ids(FIRST_300), Paging()) == (1, 1000, 2)


def test_a_cap_that_comes_later_is_learned():
    api = ServiceList(map(job, range(300)))
    paging = Paging()
    assert api.poll(ids(FIRST_300), paging) == (1, 300, 0)
    api.cap = 100
    assert api.poll(ids(FIRST_300), paging) == (1, 100, 200)
    assert api.poll(ids(FIRST_300), paging) == (3, 300, 0)


def test_an_ignored_offset_is_reported_once(caplog):
    api = ServiceList(map(job, range(1300)), ignores=["offset"])
    paging = Paging()
    for _ in range(3):
        api.poll(ids(LAST_300), paging)
    (warning,) = caplog.messages
    assert "takes no notice of offset=1000" in warning


def test_one_job_that_a_new_job_moved_to_the_next_page_is_not_taken_for_a_repeated_page():
    api = ServiceList([job(1)])
    list_records = api.list_records

    def beside_a_new_job(**query):
        page = list_records(**query)
        api.records.insert(0, job(f"new-{api.requests}"))
        return page

    api.list_records = beside_a_new_job
    paging = Paging()
    api.poll(ids(range(5)), paging)
    assert not paging.is_ignored


def test_a_job_can_be_wanted_by_its_uuid():
    listing = list_active(ServiceList([job(1, uuid="uuid-1")]), {"uuid-1": None}, Paging())
    assert listing.seen == {"uuid-1": "RUNNING"}
    assert listing.changed["uuid-1"].id == "job-1"


def test_a_changed_record_that_cannot_be_parsed_is_left_to_a_get():
    api = ServiceList([{"id": 5, "uuid": "uuid-1", "name": 5, "status": "RUNNING"}])
    listing = list_active(api, {"uuid-1": None}, Paging())
    assert (listing.seen, listing.changed) == ({}, {})
