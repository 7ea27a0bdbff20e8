"""A kill in the middle of several steps leaves a consistent state."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from airflow_provider_atai.emulator.errors import RefusedError
from airflow_provider_atai.emulator.state import Emulator

CONTENT = b"0123456789ab"


class KilledError(BaseException):
    """The end of the process: nothing after it is carried out."""


def started(data_dir):
    emulator = Emulator(data_dir)
    org = emulator.organisations.of_header("Bearer sk_emulator")
    assert org is not None
    return emulator, org


def killed_at(
    emulator,
    monkeypatch,
    is_last,
    *,
    before=True,
):
    """End the process before, or after, the first write for which ``is_last`` is true."""
    write, is_dead = emulator.store.write, False

    def killed(statement, values=()):
        nonlocal is_dead
        is_last_now = is_last(statement, values)
        if is_dead or (before and is_last_now):
            is_dead = True
            raise KilledError
        cursor = write(statement, values)
        if is_last_now:
            is_dead = True
            raise KilledError
        return cursor

    monkeypatch.setattr(emulator.store, "write", killed)


def begun(emulator, org, *, resume=False):
    row, _ = emulator.uploads.initiate(
        org, filename="a.txt", file_type="text/plain", num_bytes=12, resume=resume
    )
    return str(row["id"])


def receive(emulator, upload_id, number, piece):
    content = emulator.store.data_dir / "piece"
    content.write_bytes(piece)
    token = hashlib.md5(piece).hexdigest()
    emulator.uploads.receive(upload_id, number, token, content)
    return token


def uploaded(data_dir, part_size):
    emulator, org = started(data_dir)
    emulator.change_switches({"part_size": part_size})
    upload_id = begun(emulator, org)
    tokens = {
        number: receive(emulator, upload_id, number, CONTENT[offset : offset + part_size])
        for number, offset in enumerate(range(0, 12, part_size), 1)
    }
    return emulator, org, upload_id, tokens


@pytest.mark.parametrize("part_size", [5, 12], ids=["several parts", "one part"])
@pytest.mark.parametrize("cut_before", ["the file is there", "the upload is over"])
def test_kill_during_complete_loses_nothing(tmp_path, monkeypatch, part_size, cut_before):
    emulator, org, upload_id, tokens = uploaded(tmp_path, part_size)
    last = "INSERT INTO files" if cut_before == "the file is there" else "UPDATE uploads"
    killed_at(
        emulator,
        monkeypatch,
        lambda statement, values: statement.startswith(last) and "assembling" not in values,
    )
    with pytest.raises(KilledError):
        asyncio.run(emulator.uploads.complete(emulator.uploads.open(org, upload_id), tokens))
    emulator.store.close()

    emulator, org = started(tmp_path)
    if cut_before == "the file is there":
        assert emulator.files.find(org, "a.txt") is None
        asyncio.run(emulator.uploads.complete(emulator.uploads.open(org, upload_id), tokens))
    with pytest.raises(RefusedError, match="already completed"):
        emulator.uploads.open(org, upload_id)
    assert emulator.files.content(org, "a.txt").read_bytes() == CONTENT
    emulator.store.close()


def test_kill_after_initiate_leaves_an_upload_that_takes_its_parts(tmp_path, monkeypatch):
    emulator, org = started(tmp_path)
    killed_at(
        emulator, monkeypatch, lambda statement, _: statement.startswith("INSERT INTO uploads"), before=False
    )
    with pytest.raises(KilledError):
        begun(emulator, org)
    emulator.store.close()

    emulator, org = started(tmp_path)
    upload_id = begun(emulator, org, resume=True)
    token = receive(emulator, upload_id, 1, CONTENT)
    asyncio.run(emulator.uploads.complete(emulator.uploads.open(org, upload_id), {1: token}))
    assert emulator.files.content(org, "a.txt").read_bytes() == CONTENT
    emulator.store.close()


def test_kill_while_a_part_is_sent_again_leaves_the_first_intact(tmp_path, monkeypatch):
    emulator, org, upload_id, tokens = uploaded(tmp_path, 12)
    killed_at(emulator, monkeypatch, lambda statement, _: statement.startswith("INSERT INTO upload_parts"))
    with pytest.raises(KilledError):
        receive(emulator, upload_id, 1, b"other bytes!")
    emulator.store.close()

    emulator, org = started(tmp_path)
    asyncio.run(emulator.uploads.complete(emulator.uploads.open(org, upload_id), tokens))
    assert emulator.files.content(org, "a.txt").read_bytes() == CONTENT
    emulator.store.close()


def test_kill_while_keys_are_restored_loses_no_key(tmp_path, monkeypatch):
    emulator = Emulator(tmp_path, api_keys=["sk_one", "sk_two"])
    killed_at(emulator, monkeypatch, lambda statement, _: "INTO organisations" in statement)
    with pytest.raises(KilledError):
        emulator.organisations.restore()
    emulator.store.close()

    emulator = Emulator(tmp_path)
    assert all(emulator.organisations.of_header(f"Bearer {key}") for key in ("sk_one", "sk_two"))
    emulator.store.close()


@pytest.mark.parametrize("action", ["overwrite", "delete"])
def test_kill_while_a_file_is_lost_keeps_file_and_job(tmp_path, monkeypatch, action):
    emulator, org = started(tmp_path)

    def add():
        content = tmp_path / "content"
        content.write_bytes(CONTENT)
        file = emulator.files.add(
            org, file_id="a.txt", file_type="text/plain", content=content, attributes={}
        )
        return str(file["file_uid"])

    uid = add()
    emulator.jobs.create(org, name="x", config={}, file_uids=[uid], job_id="mine")
    killed_at(emulator, monkeypatch, lambda statement, _: statement.startswith("UPDATE jobs SET plan"))
    with pytest.raises(KilledError):
        add() if action == "overwrite" else emulator.files.delete(org, "a.txt")
    emulator.store.close()

    emulator, org = started(tmp_path)
    assert emulator.files.required(org, "a.txt")["file_uid"] == uid
    assert emulator.files.content(org, "a.txt").read_bytes() == CONTENT
    emulator.change_clock(advance=9999)
    assert emulator.jobs.get(org, "mine")["status"] == "COMPLETED"
    emulator.store.close()
