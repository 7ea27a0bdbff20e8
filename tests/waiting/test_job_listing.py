from __future__ import annotations

from airflow_provider_atai.waiting.job_listing import list_active


class OnePage:
    """Stands in for the calls on jobs: the list has one page."""

    def __init__(self, *records):
        self.records = list(records)

    def with_options(self, **options):
        return self

    def list_records(self, **query):
        return self.records


def test_a_job_can_be_wanted_by_its_uuid():
    api = OnePage({"id": "job-1", "uuid": "uuid-1", "name": "j", "status": "RUNNING"})
    listing = list_active(api, {"uuid-1"}, {})
    assert listing.seen == {"uuid-1": "RUNNING"}
    assert listing.changed["uuid-1"].id == "job-1"


def test_a_changed_record_that_cannot_be_parsed_is_left_to_a_get():
    api = OnePage({"id": 5, "uuid": "uuid-1", "name": 5, "status": "RUNNING"})
    listing = list_active(api, {"uuid-1"}, {})
    assert (listing.seen, listing.changed) == ({}, {})
