from __future__ import annotations

import hashlib
import io
from types import SimpleNamespace
from typing import cast
from unittest import mock

import pytest

from airflow_provider_atai.datasets import files
from airflow_provider_atai.datasets.files import inspect_file
from airflow_provider_atai.datasets.sources import LocalSource, ObjectStorageSource, StagedSource, source_of
from airflow_provider_atai.errors import DatasetFileError, SourceUnreadableError


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.jsonl", LocalSource),
        ("/data/a.jsonl", LocalSource),
        ("file:///data/a.jsonl", LocalSource),
        ("s3://bucket/a.jsonl", ObjectStorageSource),
        ("gs://connection@bucket/a.jsonl", ObjectStorageSource),
        ("local:///data/a.jsonl", ObjectStorageSource),
    ],
)
def test_the_scheme_decides_the_source(path, kind):
    assert type(source_of(path)) is kind


@pytest.mark.parametrize("path", ["file://a.jsonl", "file://data/a.jsonl", "file://"])
def test_a_relative_file_url_is_refused(path):
    with pytest.raises(DatasetFileError, match="Write file:///directory/name"):
        source_of(path)


def test_a_file_url_and_its_path_are_the_same_file(tmp_path):
    path = tmp_path / "a b%20c.jsonl"
    path.write_bytes(b"{}\n")
    by_url, by_path = inspect_file(f"file://{path}"), inspect_file(str(path))
    assert (by_url.file_id, by_url.sha256, by_url.signature) == (
        by_path.file_id,
        by_path.sha256,
        by_path.signature,
    )


def test_a_store_without_its_airflow_provider_names_the_provider():
    source = source_of("nosuchstore://bucket/a.jsonl")
    for call in (source.signature, source.open):
        with pytest.raises(DatasetFileError, match=r"Is the Airflow provider for nosuchstore:// installed\?"):
            call()


def test_an_impossible_path_is_refused(tmp_path):
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    for path in (str(loop), f"{tmp_path}/{'x' * 300}.jsonl"):
        with pytest.raises(DatasetFileError, match="is not the path of a file"):
            inspect_file(path)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(PermissionError("denied"), DatasetFileError), (OSError(5, "I/O"), SourceUnreadableError)],
)
def test_a_file_that_exists_but_cannot_be_read(tmp_path, monkeypatch, error, kind):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n")

    class Unreadable(LocalSource):
        def open(self):
            raise error

        def signature(self):
            return 1

    monkeypatch.setattr(files, "source_of", Unreadable)
    with pytest.raises(kind):
        inspect_file(str(path))


class OneWayStream(io.BytesIO):
    """A stream that cannot seek, whatever it claims."""

    claims_to_seek = False

    def seekable(self):
        return self.claims_to_seek

    def seek(self, offset, whence=0):
        raise io.UnsupportedOperation("seek")


@pytest.mark.parametrize("claims_to_seek", [False, True])
def test_a_file_that_can_only_be_read_from_start_to_end_is_copied_to_the_disk(
    tmp_path, monkeypatch, *, claims_to_seek
):
    content = b'{"a": 1}\n' * 10_000
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)

    class OneWaySource(LocalSource):
        def open(self):
            return OneWayStream(content)

    monkeypatch.setattr(OneWayStream, "claims_to_seek", claims_to_seek)
    monkeypatch.setattr(files, "source_of", OneWaySource)
    monkeypatch.setattr(files, "_BLOCK", 1000)
    file = inspect_file(str(path))
    assert (file.num_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    # Parts are read at once by several threads, each at its own position.
    with file.open() as one, file.open() as other:
        one.seek(50_000)
        assert other.read(30_000) == content[:30_000]
        assert one.read(30_000) == content[50_000:80_000]
        assert other.read() == content[30_000:]
    path.unlink()
    file.check_unchanged()


def test_a_copy_is_complete_even_if_the_disk_takes_a_block_in_pieces():
    source = StagedSource()
    disk = source._copy
    source._copy = cast("io.FileIO", SimpleNamespace(write=lambda block: disk.write(block[:3])))
    source.write(b"0123456789")
    source._copy = disk
    with source.open() as stream:
        assert stream.read() == b"0123456789"


class TestObjectStorage:
    """``file`` is the only store that every Airflow version opens without another package."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_bytes(b'{"a": 1}\n')
        return path

    def test_the_stream_can_seek(self, path):
        source = ObjectStorageSource(f"file://{path}")
        with source.open() as stream:
            stream.seek(5)
            assert stream.read() == b" 1}\n"
        with source.open() as stream:
            assert stream.read(3) == b'{"a'

    def test_the_signature_changes_with_the_file(self, path):
        source = ObjectStorageSource(f"file://{path}")
        before = source.signature()
        assert source.signature() == before
        path.write_bytes(b'{"a": 12}\n')
        assert source.signature() != before

    def test_a_missing_file_or_a_directory_is_refused(self, path):
        with pytest.raises(DatasetFileError, match="does not exist"):
            ObjectStorageSource(f"file://{path}.gone").signature()
        with pytest.raises(DatasetFileError, match="is a directory"):
            ObjectStorageSource(f"file://{path.parent}").signature()

    def test_the_store_is_asked_anew_and_read_in_small_blocks(self, monkeypatch):
        path = mock.Mock(path="bucket/a.jsonl")
        path.fs.info.return_value = {"size": 9}
        monkeypatch.setattr(ObjectStorageSource, "_path", lambda source: path)
        source = ObjectStorageSource("s3://bucket/a.jsonl")
        source.signature()
        assert path.fs.mock_calls == [mock.call.invalidate_cache(path.path), mock.call.info(path.path)]
        source.open()
        path.open.assert_called_once_with("rb", block_size=4 * 1024 * 1024, cache_type="readahead")
