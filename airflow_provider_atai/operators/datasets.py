"""Operators that upload the files of a dataset and delete them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.job_request import SPLITS, check_file_ids
from airflow_provider_atai.compat.rendering import is_dynamic, is_task, normalise_rendered
from airflow_provider_atai.compat.sdk import AirflowFailException, BaseOperator, log_of
from airflow_provider_atai.datasets.files import check_file_id, inspect_file, suffix_of
from airflow_provider_atai.datasets.store import DatasetStore
from airflow_provider_atai.errors import AtaiError, AtaiNotFoundError, PermanentError
from airflow_provider_atai.hooks.atai import AtaiHook, hook_of
from airflow_provider_atai.retries import failing_at_once, telling_why

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_atai.compat.sdk import Context, ObjectStoragePath


class UploadDatasetOperator(BaseOperator):
    """
    Store files on the service as one dataset of a fine-tune job.

    Every file is checked before anything is sent. Its id is ``<stem>-<12 hex of its SHA-256><suffix>``.
    Changed data therefore never overwrites what a job still reads, and unchanged data is not sent again.

    XCom ``return_value`` is one entry of a job's ``datasets``:
    ``{"name": str, "split": "train" | "eval", "file_ids": [str, ...]}``.

    :param path: a path or a list of paths: local to the worker, ``file://``, or whatever Airflow's
        ``ObjectStoragePath`` opens. Each is a string, a ``pathlib.Path`` or an ``ObjectStoragePath``. The
        files are ``.jsonl``, ``.json``, ``.csv``, ``.txt``, ``.png``, ``.jpg``, ``.jpeg`` or ``.mp4``.
        (templated)
    :param name: the dataset's name in the job. (templated)
    :param split: ``"train"`` or ``"eval"``. (templated)
    :param file_id: a name for the file instead of the one made from its content, with the same suffix and for
        a single path only. An existing file with this name is downloaded and compared. (templated)
    :param validate: whether the content is checked: UTF-8 for text, JSON for ``.json`` up to 16 MiB, and
        every line as JSON for ``.jsonl``. That files exist and are not empty is always checked.
    :param atai_conn_id: the connection. (templated)
    :raises AirflowFailException: a file is missing or malformed, or the service refuses it. No retry helps.
    :raises AtaiError: anything else went wrong. A retry resumes where the upload was interrupted.
    """

    template_fields: Sequence[str] = ("path", "name", "split", "file_id", "atai_conn_id")
    ui_color = "#e3f4ea"
    # A job's datasets are a list, so the output of an unmapped task alone cannot be one.
    returns_one_dataset = True
    hook = cached_property(hook_of)

    def __init__(
        self,
        *,
        path: str | Path | ObjectStoragePath | Sequence[str | Path | ObjectStoragePath],
        name: str,
        split: str = "train",
        file_id: str | None = None,
        validate: bool = True,
        atai_conn_id: str = AtaiHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = _spelled(path)
        _check_upload(path=self.path, name=name, split=split, file_id=file_id)
        self.name = name
        self.split = split
        self.file_id = file_id
        self.validate = validate
        self.atai_conn_id = atai_conn_id

    @telling_why
    def execute(self, context: Context) -> dict[str, Any]:
        """Check all files, store the missing ones, and return the dataset."""
        what = "The dataset was not stored completely."
        wrong = (PermanentError, ValueError)
        with failing_at_once(what, note=f"{what} A retry resumes from there.", final=wrong):
            path, file_id = _spelled(normalise_rendered(self.path)), normalise_rendered(self.file_id)
            _check_upload(path=path, name=self.name, split=self.split, file_id=file_id)
            files = [inspect_file(one, file_id=file_id, validate=self.validate) for one in _paths(path)]
            for file in files:
                self.log.info("Checked %s: %d bytes, sha256 %s.", file.path, file.num_bytes, file.sha256)
                if file.note:
                    self.log.warning("%s: %s", file.path, file.note)
            store = DatasetStore(self.hook.files, log=log_of(self))
            # Files of the same name and content share an id and are sent once.
            stored = {
                file.file_id: store.ensure(file, content_addressed=file_id is None)
                for file in {file.file_id: file for file in files}.values()
            }
        file_ids = list(dict.fromkeys(stored[file.file_id] for file in files))
        return {"name": self.name, "split": self.split, "file_ids": file_ids}


class DeleteDatasetOperator(BaseOperator):
    """
    Delete the files of datasets from the service, for example as a teardown.

    File ids are shared by the whole organisation: if another DAG uploaded a file with the same name and
    content, it is the same file.

    :param file_ids: a list of file ids, one dataset as
        :class:`~airflow_provider_atai.operators.datasets.UploadDatasetOperator` returns it, or a list of such
        datasets. None, the output of a task that did not run, deletes nothing. (templated)
    :param atai_conn_id: the connection. (templated)
    :param ignore_missing: whether a missing file is fine.
    :raises AirflowFailException: some files were not deleted and no retry helps; the others are deleted.
    :raises AtaiError: some files were not deleted. A retry tries again.
    """

    template_fields: Sequence[str] = ("file_ids", "atai_conn_id")
    ui_color = "#f2f2f2"
    hook = cached_property(hook_of)

    def __init__(
        self,
        *,
        file_ids: Any,
        atai_conn_id: str = AtaiHook.default_conn_name,
        ignore_missing: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if file_ids is None:
            raise ValueError("file_ids is None. Write a list of file ids, or the .output of an upload task.")
        if not is_dynamic(file_ids):
            file_ids_of(file_ids)
        self.file_ids = file_ids
        self.atai_conn_id = atai_conn_id
        self.ignore_missing = ignore_missing

    @telling_why
    def execute(self, context: Context) -> None:
        """Delete what can be deleted, then report what could not."""
        with failing_at_once("Nothing was deleted.", final=ValueError):
            file_ids = file_ids_of(normalise_rendered(self.file_ids), is_rendered=True)
        if not file_ids:
            self.log.info("There are no files to delete.")
            return
        from airflow_provider_atai.api.printable import printable

        deleted = 0
        failures: dict[str, AtaiError] = {}
        for file_id in file_ids:
            try:
                deleted += self._delete(file_id)
            except AtaiError as error:
                shown = printable(file_id)
                self.log.error("File %s was not deleted: %s", shown, error)
                failures[shown] = error
        if failures:
            raise _deletion_error(failures, len(file_ids))
        if not deleted:
            self.log.warning("Nothing was deleted: the service has none of these %d files.", len(file_ids))

    def _delete(self, file_id: str) -> bool:
        """Delete a file, and return whether there was one."""
        try:
            self.hook.files.delete(file_id)
        except AtaiNotFoundError:
            if not self.ignore_missing:
                raise
            self.log.info("File %s does not exist, so there is nothing to delete.", file_id)
            return False
        self.log.info("File %s is deleted.", file_id)
        return True


def file_ids_of(value: Any, *, is_rendered: bool = False) -> list[str]:
    """
    Return the file ids in a list of them, in a dataset, or in a list of datasets, each once.

    What another task will fill in is left out, and so is None.

    :param is_rendered: whether templates are filled in by now, so that one that is left is a mistake.
    :raises ValueError: the value is something else; the message says what to write.
    """
    _refuse_task(value, "file_ids")
    if isinstance(value, str):
        raise ValueError(
            f"file_ids must be a list, not the string {value[:100]!r}. Write file_ids=[{value[:100]!r}], or "
            "file_ids=upload.output; a Jinja string needs render_template_as_native_obj=True on the DAG."
        )
    found: dict[str, None] = {}
    try:
        entries = iter([value] if isinstance(value, Mapping) or value is None else value)
    except TypeError:
        raise ValueError(f"file_ids must be a list of file ids or datasets, not {value!r}.") from None
    for entry in entries:
        for file_id in _listed(entry):
            _refuse_task(file_id, "file_ids")
            if is_dynamic(file_id):
                if is_rendered:
                    raise ValueError(f"file_ids contains {file_id!r}, a template that was not rendered.")
                continue
            if _is_path(file_id):
                raise ValueError(
                    f"file_ids contains the path {str(file_id)!r}, but the service knows a file by its id "
                    "alone. Write file_ids=upload.output."
                )
            check_file_ids([file_id], "file_ids")
            found[file_id] = None
    return list(found)


def _listed(entry: Any) -> list[Any]:
    if entry is None:
        return []
    if not isinstance(entry, Mapping):
        return [entry]
    if "file_ids" not in entry:
        raise ValueError("A dataset to delete has no file_ids. Write {'file_ids': [...]}.")
    file_ids = entry["file_ids"]
    if is_dynamic(file_ids):
        return [file_ids]
    check_file_ids(file_ids, "file_ids of a dataset")
    return list(file_ids)


def _check_upload(*, path: Any, name: Any, split: Any, file_id: Any) -> None:
    """
    Check the arguments of an upload, except for what a template or another task fills in.

    :raises ValueError: saying what to write instead.
    """
    if not is_dynamic(name) and (not isinstance(name, str) or not name.strip()):
        raise ValueError(f"name must be a non-empty string, not {name!r}.")
    _refuse_task(path, "path")
    if not is_dynamic(split) and split not in SPLITS:
        raise ValueError(f'split must be "train" or "eval", not {split!r}.')
    if is_dynamic(path):
        return
    paths = _paths(path)
    if file_id is not None and len(paths) > 1:
        raise ValueError("file_id names a single file. Give one path, or leave file_id out.")
    for one in paths:
        if is_dynamic(one):
            continue
        try:
            suffix_of(one)
            if file_id is not None and not is_dynamic(file_id):
                check_file_id(file_id, one)
        except PermanentError as error:
            raise ValueError(str(error)) from None


def _paths(path: Any) -> list[Any]:
    paths = [path] if isinstance(path, str) else path
    if not isinstance(paths, list | tuple) or not paths:
        raise ValueError(f"path must be a string or a non-empty list of strings, not {path!r}.")
    for one in paths:
        _refuse_task(one, "path")
        if not (isinstance(one, str) and one.strip()) and not is_dynamic(one):
            raise ValueError(f"path must hold non-empty strings, not {one!r}.")
    return list(paths)


def _spelled(path: Any) -> Any:
    """Return paths as text, which Airflow can render, show and store."""
    if isinstance(path, list | tuple):
        return [_spelled(one) for one in path]
    return str(path) if _is_path(path) else path


def _is_path(value: Any) -> bool:
    # ObjectStoragePath is neither a Path nor an os.PathLike on every Airflow.
    return hasattr(value, "joinpath")


def _refuse_task(value: Any, argument: str) -> None:
    if is_task(value):
        raise ValueError(
            f"{argument} is given the task {value.task_id!r} itself, not what it returns. Write "
            f"{value.task_id}.output."
        )


def _deletion_error(failures: Mapping[str, AtaiError], count: int) -> Exception:
    listed = "; ".join(f"{file_id}: {error}" for file_id, error in failures.items())
    text = f"{len(failures)} of {count} files were not deleted: {listed}"
    retryable = [error for error in failures.values() if not isinstance(error, PermanentError)]
    if not retryable:
        return AirflowFailException(f"{text.rstrip('.')}. A retry cannot help.")
    if len(failures) > 1:
        retryable[0].add_note(f"{text.rstrip('.')}. A retry tries all of them again.")
    return retryable[0]
