"""Where the bytes of a dataset file come from: the local file system or Airflow's object storage."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from airflow_provider_atai.errors import DatasetFileError, SourceUnreadableError

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import ObjectStoragePath

_LOCAL_SCHEME = "file://"
# How much is read from a store at once. Some stores' own default is 50 MB for each part in flight.
_READ_AHEAD = 4 * 1024 * 1024
# Every store has its own names for what changes with the file.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "generation", "VersionId")
_TIME_KEYS = ("LastModified", "last_modified", "modificationTime", "modified", "created", "mtime")


class DatasetSource(Protocol):
    """A file that several threads can read at once."""

    def open(self) -> BinaryIO:
        """Return a new stream at the first byte; see :func:`can_seek`."""

    def signature(self) -> Hashable:
        """
        Return something that changes when the file does.

        :raises DatasetFileError: there is no such file, or it cannot be read.
        :raises SourceUnreadableError: the file's metadata could not be read; a retry may help.
        """


def can_seek(stream: BinaryIO) -> bool:
    """Return whether a stream at its first byte can really seek. Some only claim to."""
    try:
        if not stream.seekable():
            return False
        stream.seek(1)
        stream.seek(0)
    except (OSError, ValueError, NotImplementedError):
        return False
    return True


def source_of(path: str) -> DatasetSource:
    """
    Return the source for a path.

    :param path: a local path, ``file://`` and an absolute path, or a URL that Airflow's
        ``ObjectStoragePath`` opens, such as ``s3://connection@bucket/key``.
    :raises DatasetFileError: a ``file://`` path is not absolute.
    """
    if "://" in path and not path.startswith(_LOCAL_SCHEME):
        return ObjectStorageSource(path)
    local = path.removeprefix(_LOCAL_SCHEME)
    if local != path and not local.startswith("/"):
        raise DatasetFileError(f"{path} is not an absolute path. Write file:///directory/name.")
    return LocalSource(local)


class LocalSource:
    """A file on the worker's machine."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def open(self) -> BinaryIO:
        return self._path.open("rb")

    def signature(self) -> Hashable:
        try:
            found = self._path.stat()
            # Opening a named pipe would wait for its writer.
            if not stat.S_ISREG(found.st_mode):
                kind = "a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file"
                raise DatasetFileError(f"{self._path} is {kind}.")
            self.open().close()
        except (FileNotFoundError, NotADirectoryError):
            raise DatasetFileError(
                f"{self._path} does not exist on this worker (current directory {Path.cwd()})."
            ) from None
        except PermissionError:
            raise DatasetFileError(f"{self._path} cannot be read by this worker's user.") from None
        except ValueError:
            raise DatasetFileError(f"{str(self._path)!r} is not a path.") from None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise DatasetFileError(f"{self._path} is not the path of a file: {error.strerror}.") from None
            raise SourceUnreadableError(f"{self._path} could not be inspected: {error}") from error
        return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


class ObjectStorageSource:
    """A file in object storage, opened with Airflow's own connections."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self) -> BinaryIO:
        path: Any = self._path()
        # Some stores' own default cache reads hundreds of megabytes ahead.
        return cast("BinaryIO", path.open("rb", block_size=_READ_AHEAD, cache_type="readahead"))

    def signature(self) -> Hashable:
        path = self._path()
        try:
            # Some stores cache their listings.
            path.fs.invalidate_cache(path.path)
            info: dict[str, Any] = path.fs.info(path.path)
        except FileNotFoundError:
            raise DatasetFileError(f"{self._url} does not exist.") from None
        except PermissionError as error:
            raise DatasetFileError(
                f"{self._url} cannot be read: its connection has no permission: {error}"
            ) from None
        except Exception as error:
            # Each store has its own exceptions.
            raise SourceUnreadableError(f"{self._url} could not be inspected: {error}") from error
        if info.get("type") == "directory":
            raise DatasetFileError(f"{self._url} is a directory.")
        return info.get("size"), *(str(info.get(key)) for key in _VERSION_KEYS + _TIME_KEYS)

    def _path(self) -> ObjectStoragePath:
        from airflow_provider_atai.compat.sdk import ObjectStoragePath

        try:
            path = ObjectStoragePath(self._url)
            # ObjectStoragePath looks up its file system only on first use.
            _ = path.fs
        except (ValueError, ImportError) as error:
            scheme = self._url.partition("://")[0]
            raise DatasetFileError(
                f"{self._url} cannot be opened: {error}. Is the Airflow provider for {scheme}:// installed?"
            ) from None
        return path


class StagedSource:
    """
    A copy on the worker's disk, for a file that can only be read from start to end.

    It has no name in the file system, so nothing is left of it, however the task ends.
    """

    def __init__(self) -> None:
        self._copy = tempfile.TemporaryFile(buffering=0, prefix="atai-")  # noqa: SIM115 (lives as long as this)

    def write(self, block: bytes) -> None:
        """Append a block to the copy."""
        rest = memoryview(block)
        while rest:
            rest = rest[self._copy.write(rest) :]

    def open(self) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(_SharedFile(self._copy)))

    def signature(self) -> Hashable:
        return os.fstat(self._copy.fileno()).st_size


class _SharedFile(io.RawIOBase):
    """Reads a file that others also read, at its own position."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation("only absolute positions")
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        block = os.pread(self._file.fileno(), len(buffer), self._position)
        buffer[: len(block)] = block
        self._position += len(block)
        return len(block)
