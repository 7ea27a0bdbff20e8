from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_atai.api.fine_tune import FineTuneJob
from airflow_provider_atai.waiting.history import Entry, JobHistory

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NEW = JobHistory("job-1")


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def job(status, **fields):
    return FineTuneJob(id="job-1", name="job", status=status, **{"created_at": NOW, **fields})


def told(history):
    return [
        (entry.status or f"outage {entry.outage}", (entry.at - NOW).total_seconds())
        for entry in history.entries
    ]


def seen(*polls):
    """Return the history of polls: (seconds, status), or (seconds, None) for one without an answer."""
    history = NEW
    for seconds, status in polls:
        history = (
            history.could_not_look(at(seconds)) if status is None else history.saw(job(status), at(seconds))
        )
    return history


def test_a_status_is_as_old_as_the_first_poll_that_showed_it():
    history = seen((10, "STARTING"), (70, "STARTING"), (130, "RUNNING"), (190, "RUNNING"))
    assert told(history) == [("REGISTERED", 0), ("STARTING", 10), ("RUNNING", 130)]
    assert history.status == "RUNNING"


def test_without_a_usable_time_of_creation_the_first_poll_begins_it():
    assert told(NEW.saw(job("RUNNING", created_at=None), at(5))) == [("RUNNING", 5)]
    assert told(NEW.saw(job("RUNNING", created_at=at(60)), at(5))) == [("RUNNING", 5)]


@pytest.mark.parametrize(
    ("updated", "ended"),
    [(200, 200), (None, 240), (50, 130), (999, 240)],
    ids=["as the service says", "unknown", "before the last status", "in the future"],
)
def test_the_end_is_as_old_as_the_service_says_if_that_can_be(updated, ended):
    updated_at = None if updated is None else at(updated)
    history = seen((130, "RUNNING")).saw(job("COMPLETED", updated_at=updated_at), at(240))
    assert told(history)[-1] == ("COMPLETED", ended)


def test_an_outage_is_an_entry_of_its_own_and_no_status():
    history = seen((10, "RUNNING"), (70, None), (130, None), (190, "RUNNING"), (250, None))
    assert told(history)[1:] == [
        ("RUNNING", 10),
        ("outage began", 70),
        ("outage ended", 190),
        ("outage began", 250),
    ]
    assert history.status == "RUNNING"
    assert history.in_outage


def test_it_is_bounded_and_keeps_its_beginning():
    history = seen(*((number, f"S{number}") for number in range(1, 1000)))
    assert len(history.entries) == 100
    assert [entry.status for entry in history.entries[:20]] == [
        "REGISTERED",
        *(f"S{n}" for n in range(1, 20)),
    ]
    assert history.status == "S999"


def test_two_histories_of_one_job_become_one():
    worker = seen((1, "REGISTERED"), (2, "STARTING"))
    trigger = seen((60, "STARTING"), (120, "RUNNING"), (180, "COMPLETED"))
    merged = trigger.after(worker)
    assert told(merged) == [("REGISTERED", 0), ("STARTING", 2), ("RUNNING", 120), ("COMPLETED", 180)]
    assert merged.after(worker) == merged
    assert merged.after(merged) == merged
    assert NEW.after(worker) == worker


def test_the_history_of_another_job_counts_nothing():
    other = JobHistory("job-2").saw(job("RUNNING"), at(1))
    assert seen((60, "RUNNING")).after(other) == seen((60, "RUNNING"))
    assert NEW.after(None) == NEW


def test_an_outage_that_two_have_seen_is_one():
    first, second = seen((1, "RUNNING"), (60, None), (120, "RUNNING")), seen((61, None), (121, "RUNNING"))
    assert [name for name, _ in told(second.after(first))].count("outage began") == 1


def test_it_travels_as_json():
    history = seen((10, "RUNNING"), (70, None), (130, "RUNNING"), (190, "FAILED"))
    assert JobHistory.from_json(json.loads(json.dumps(history.to_json()))) == history


@pytest.mark.parametrize(
    "value", [None, 3, "x", [], {}, {"job_id": 3, "statuses": []}, {"job_id": "j", "statuses": 5}]
)
def test_what_is_not_a_history_is_none(value):
    assert JobHistory.from_json(value) is None


def test_a_time_that_no_calendar_has_in_utc_is_left_out():
    entry = {"status": "RUNNING", "at": "0001-01-01T00:00:00+14:00"}
    assert JobHistory.from_json({"job_id": "j", "statuses": [entry]}).to_json()["statuses"] == []


@pytest.mark.parametrize(
    "entry",
    [
        *(None, 3, "RUNNING", {}, {"status": "RUNNING"}, {"status": "RUNNING", "at": 5}),
        *({"status": "RUNNING", "at": "soon"}, {"status": 5, "at": NOW.isoformat()}),
        *({"status": "RUNNING", "at": "2026-11-23T12:00:00"}, {"outage": "x", "at": NOW.isoformat()}),
    ],
)
def test_an_entry_that_cannot_be_read_is_left_out(entry):
    good = {"status": "RUNNING", "at": NOW.isoformat()}
    history = JobHistory.from_json({"job_id": "j", "statuses": [entry, good]})
    assert history.entries == (Entry(NOW, status="RUNNING"),)


def test_a_status_is_made_printable_and_short():
    history = NEW.saw(job("A\n\x1b[31m" + "B" * 500), at(1))
    assert len(history.status) == 64
    assert history.status.isprintable()
    # The next poll shows the same status.
    assert history.saw(job("A\n\x1b[31m" + "B" * 500), at(60)) == history


def test_entries_of_one_moment_keep_their_order():
    history = seen((10, "RUNNING"), (70, None), (130, "COMPLETED"))
    assert told(history)[-2:] == [("outage ended", 130), ("COMPLETED", 130)]
    assert history.after(history) == history
    assert history.after(seen((10, "RUNNING"), (70, None))) == history
