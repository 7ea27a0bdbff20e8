from __future__ import annotations

import hashlib
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from airflow_provider_atai.datasets import files
from airflow_provider_atai.datasets.checks import JsonLinesCheck
from airflow_provider_atai.datasets.files import check_file_id, content_file_id, inspect_file, suffix_of
from airflow_provider_atai.errors import DatasetFileError, PermanentError, SourceChangedError

LINES = b'{"a": 1}\n{"b": 2}\n'
SHA256 = hashlib.sha256(LINES).hexdigest()


@pytest.fixture
def write(tmp_path):
    def write(name, content=LINES):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return write


def test_an_inspected_file_has_its_type_size_hash_and_id(write):
    path = write("Training set.JSONL")
    file = inspect_file(path)
    assert file.path == path
    assert file.file_id == f"Training-set-{SHA256[:12]}.jsonl"
    assert file.file_type == "application/x-ndjson"
    assert file.num_bytes == len(LINES)
    assert file.sha256 == SHA256
    assert file.note is None
    with file.open() as stream:
        assert stream.read() == LINES
    file.check_unchanged()


@pytest.mark.parametrize(
    ("suffix", "file_type"),
    [
        (".jsonl", "application/x-ndjson"),
        (".json", "application/json"),
        (".csv", "text/csv"),
        (".txt", "text/plain"),
        (".png", "image/png"),
        (".jpg", "image/jpeg"),
        (".jpeg", "image/jpeg"),
        (".mp4", "video/mp4"),
        (".JPG", "image/jpeg"),
    ],
)
def test_the_suffix_decides_the_type(write, suffix, file_type):
    file = inspect_file(write(f"a{suffix}", b"{}"))
    assert file.file_type == file_type
    assert file.file_id.endswith(suffix.lower())


@pytest.mark.parametrize(
    "path", ["a.yaml", "a.jsonl.gz", "a", "a.", ".jsonl", "/dir.jsonl/a", "jsonl", "a.jsonl/", "a.jsonl ", ""]
)
def test_another_suffix_is_refused_and_the_valid_ones_are_listed(path):
    with pytest.raises(
        DatasetFileError, match=r"has none of the suffixes that the service takes \(.jsonl .json .csv"
    ):
        suffix_of(path)


def test_a_list_rendered_as_text_is_explained():
    with pytest.raises(DatasetFileError, match="a list that was rendered as text"):
        suffix_of("['a.jsonl', 'b.jsonl']")


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("train.jsonl", "train"),
        ("/data/2026/train.jsonl", "train"),
        ("s3://bucket/a/train.jsonl", "train"),
        ("C:\\data\\train.jsonl", "train"),
        ("a b  c.jsonl", "a-b-c"),
        ("../../etc/passwd.jsonl", "passwd"),
        ("..%2f..%2fadmin.jsonl", "2f..-2fadmin"),
        ("a?x=1&y#z.jsonl", "a-x-1-y-z"),
        ("a\nb\x00c.jsonl", "a-b-c"),
        ("größe.jsonl", "gr-e"),
        ("数据.jsonl", "dataset"),
        ("---.jsonl", "dataset"),
        ("...jsonl", "dataset"),
        (".hidden.jsonl", "hidden"),
        ("v1.2_x-y.jsonl", "v1.2_x-y"),
        ("x" * 500 + ".jsonl", "x" * 64),
        ("train-0123456789ab.jsonl", "train-0123456789ab"),
    ],
)
def test_a_content_file_id_is_a_plain_name_with_the_hash(path, stem):
    assert content_file_id(path, SHA256) == f"{stem}-{SHA256[:12]}.jsonl"


def test_no_path_can_forge_the_id_of_other_content(write):
    target = inspect_file(write("train.jsonl")).file_id
    forged = inspect_file(write(target, b'{"forged": 1}\n')).file_id
    assert forged != target


@pytest.mark.parametrize("file_id", ["a.jsonl", "A_b-1.2.jsonl", "x.JSONL", "_.jsonl"])
def test_an_authors_plain_file_id_is_accepted(file_id):
    check_file_id(file_id, "/data/train.jsonl")


@pytest.mark.parametrize(
    ("file_id", "complaint"),
    [
        ("dir/a.jsonl", "not a plain file name"),
        ("..\\a.jsonl", "not a plain file name"),
        ("../a.jsonl", "not a plain file name"),
        ("..", "not a plain file name"),
        (".jsonl", "not a plain file name"),
        ("a b.jsonl", "not a plain file name"),
        ("a.jsonl\n", "not a plain file name"),
        ("-a.jsonl", "not a plain file name"),
        ("ä.jsonl", "not a plain file name"),
        ("", "not a plain file name"),
        (5, "not a plain file name"),
        ("a.csv", "does not end in .jsonl as /data/train.jsonl does. Write a.jsonl"),
        ("a", "does not end in .jsonl as /data/train.jsonl does. Write a.jsonl"),
        ("x" * 200 + ".jsonl", "has 206 characters; use at most 200"),
    ],
)
def test_an_authors_bad_file_id_is_refused(file_id, complaint):
    with pytest.raises(DatasetFileError, match=complaint):
        check_file_id(file_id, "/data/train.jsonl")


def test_an_authors_file_id_is_kept(write):
    assert inspect_file(write("train.jsonl"), file_id="mine.jsonl").file_id == "mine.jsonl"
    with pytest.raises(DatasetFileError, match="does not end in"):
        inspect_file(write("train.jsonl"), file_id="mine.csv")


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("name", ["empty.jsonl", "empty.json", "empty.csv", "empty.png"])
def test_an_empty_file_is_refused(write, name, validate):
    with pytest.raises(DatasetFileError, match="empty"):
        inspect_file(write(name, b""), validate=validate)


def test_a_missing_file_is_reported_with_the_current_directory(tmp_path):
    with pytest.raises(DatasetFileError, match=f"gone.jsonl does not exist on this worker.*{Path.cwd()}"):
        inspect_file(str(tmp_path / "gone.jsonl"))
    with pytest.raises(DatasetFileError, match="does not exist"):
        inspect_file(str(tmp_path / "file.txt" / "gone.jsonl"))
    with pytest.raises(DatasetFileError, match="is not a path"):
        inspect_file("a\x00b.jsonl")


def test_a_directory_pipe_or_socket_is_refused(tmp_path):
    directory = tmp_path / "dir.jsonl"
    directory.mkdir()
    with pytest.raises(DatasetFileError, match="is a directory"):
        inspect_file(str(directory))
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(DatasetFileError, match="is not a regular file"):
        inspect_file(str(pipe))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.jsonl"))
        with pytest.raises(DatasetFileError, match="is not a regular file"):
            inspect_file(str(tmp_path / "s.jsonl"))


def test_a_file_without_read_permission_is_refused(write, monkeypatch):
    # Permission bits do not stop root, and tests often run as root.
    def refuse(self, *args):
        raise PermissionError(13, "Permission denied")

    path = write("a.jsonl")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DatasetFileError, match="cannot be read by this worker's user"):
        inspect_file(path)


def test_the_error_lists_bad_lines_and_what_to_do(write):
    path = write("a.jsonl", b'{"a": 1}\nnope\n{"b": 2}\n{"c"\n')
    with pytest.raises(DatasetFileError) as caught:
        inspect_file(path)
    assert str(caught.value) == (
        f"{path} is not a valid dataset file: line 2: not JSON (Expecting value at column 1); "
        "line 4: not JSON (Expecting ':' delimiter at column 5). "
        "Correct it, or pass validate=False to send it anyway."
    )
    assert isinstance(caught.value, PermanentError)


def test_five_bad_lines_end_the_reading(write, monkeypatch):
    blocks: list[bytes] = []
    feed = JsonLinesCheck.feed

    def noted(check, block):
        blocks.append(block)
        feed(check, block)

    monkeypatch.setattr(JsonLinesCheck, "feed", noted)
    monkeypatch.setattr(files, "_BLOCK", 16)
    with pytest.raises(DatasetFileError, match=r"line 5: .*\. There may be more\.") as caught:
        inspect_file(write("a.jsonl", b"x\n" * 100))
    assert "line 6" not in str(caught.value)
    assert blocks == [b"x\n" * 8]


def test_without_validation_any_content_is_accepted(write):
    file = inspect_file(write("a.jsonl", b"\xff\nnot JSON"), validate=False)
    assert file.num_bytes == 10
    assert inspect_file(write("b.csv", b"\xff"), validate=False).num_bytes == 1


def test_the_note_says_what_was_not_checked(write, monkeypatch):
    monkeypatch.setattr("airflow_provider_atai.datasets.checks.LARGEST_JSON", 10)
    assert "only its encoding" in str(inspect_file(write("a.json", b"[" + b" " * 10)).note)


@pytest.mark.parametrize("change", ["content", "time", "gone", "replaced"])
def test_a_change_after_the_inspection_is_detected(write, change):
    path = Path(write("a.jsonl"))
    file = inspect_file(str(path))
    if change == "content":
        path.write_bytes(LINES * 2)
    elif change == "time":
        os.utime(path, ns=(0, 0))
    elif change == "gone":
        path.unlink()
    else:
        other = Path(write("b.jsonl"))
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        other.replace(path)
    with pytest.raises(SourceChangedError, match="changed since it was checked"):
        file.check_unchanged()


def test_a_change_during_the_inspection_is_detected(write, monkeypatch):
    path = Path(write("a.jsonl"))
    real_open = Path.open

    def open_and_append(self, mode):
        with real_open(path, "ab") as writer:
            writer.write(LINES)
        return real_open(self, mode)

    monkeypatch.setattr(Path, "open", open_and_append)
    with pytest.raises(DatasetFileError, match="changed while it was checked"):
        inspect_file(str(path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.png"])
def test_a_large_file_is_never_held_in_memory(write, name):
    path = write(name, (b'{"a": "' + b"x" * 1000 + b'"}\n') * 30_000)
    assert Path(path).stat().st_size > 30_000_000
    tracemalloc.start()
    try:
        inspect_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000
