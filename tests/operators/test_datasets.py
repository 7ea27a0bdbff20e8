from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from airflow_provider_atai.api.job_request import check_request
from airflow_provider_atai.compat.sdk import AirflowFailException
from airflow_provider_atai.datasets.sources import ObjectStorageSource
from airflow_provider_atai.errors import (
    AtaiConnectionError,
    AtaiGatewayNotFoundError,
    AtaiNotFoundError,
    AtaiResponseError,
    AtaiServerError,
    FileNotReadyError,
    RetryableError,
)
from airflow_provider_atai.operators.datasets import (
    DeleteDatasetOperator,
    UploadDatasetOperator,
    file_ids_of,
)
from tests.api.uploads import replace_sleep
from tests.harness.airflow_names import DAG


def other_task():
    """Return a task, as a DAG author passes it by mistake for its output."""
    return DeleteDatasetOperator(task_id="other", file_ids=["a"])


LINES = b'{"a": 1}\n{"b": 2}\n'


@pytest.fixture
def write(tmp_path):
    def write(name, content=LINES):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def naps(monkeypatch):
    """The seconds that the clients would have slept."""
    slept: list[float] = []
    replace_sleep(monkeypatch, slept.append)
    return slept


def upload(path, **arguments):
    operator = UploadDatasetOperator(task_id="upload", path=path, **{"name": "set", **arguments})
    dataset: dict[str, Any] = operator.execute({})
    return dataset


def delete(file_ids, **arguments):
    DeleteDatasetOperator(task_id="delete", file_ids=file_ids, **arguments).execute({})


def content_id(stem, suffix=".jsonl", content=LINES):
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"


def stored(emulator):
    return [file["file_id"] for file in emulator.files()]


def sent_parts(emulator):
    return len(emulator.requests(method="PUT", path="/_storage/*"))


class TestUpload:
    def test_one_file_makes_one_dataset_of_a_job(self, atai_emulator, write):
        dataset = upload(write("train set.jsonl"))
        assert dataset == {"name": "set", "split": "train", "file_ids": [content_id("train-set")]}
        check_request(name="run", datasets=[json.loads(json.dumps(dataset))])
        (file,) = atai_emulator.files()
        assert file["file_id"] == content_id("train-set")
        assert file["num_bytes"] == len(LINES)
        (initiate,) = atai_emulator.requests(path="*/initiate")
        assert initiate["body"] == {
            "filename": content_id("train-set"),
            "file_type": "application/x-ndjson",
            "num_bytes": len(LINES),
            "resume_if_started": True,
        }

    def test_several_files_of_any_type_keep_their_order(self, atai_emulator, write):
        paths = [
            write("b.csv", b"a,b\n"),
            write("a.jsonl"),
            write("c.json", b"{}"),
            write("d.txt", b"text"),
            write("e.PNG", b"\x89PNG"),
            write("f.mp4", b"\x00\x01"),
        ]
        dataset = upload(paths, split="eval")
        assert dataset["split"] == "eval"
        assert [file_id.partition("-")[0] for file_id in dataset["file_ids"]] == list("bacdef")
        assert set(dataset["file_ids"]) == set(stored(atai_emulator))
        types = [entry["body"]["file_type"] for entry in atai_emulator.requests(path="*/initiate")]
        assert types == [
            "text/csv",
            "application/x-ndjson",
            "application/json",
            "text/plain",
            "image/png",
            "video/mp4",
        ]

    def test_paths_of_every_kind_are_accepted_and_stored_as_text(self, atai_emulator, write):
        from airflow_provider_atai.compat.sdk import ObjectStoragePath

        first, second, third = write("a.jsonl"), write("b.jsonl"), write("c.jsonl")
        paths = [Path(first), ObjectStoragePath(f"file://{second}"), third]
        operator = UploadDatasetOperator(task_id="upload", path=paths, name="set")
        assert operator.path == [first, f"file://{second}", third]
        assert len(operator.execute({})["file_ids"]) == 3
        assert UploadDatasetOperator(task_id="one", path=Path(first), name="set").path == first
        in_a_bucket = ObjectStoragePath("s3://bucket/key.jsonl", conn_id="aws_x")
        operator = UploadDatasetOperator(task_id="two", path=in_a_bucket, name="set")
        assert operator.path == "s3://aws_x@bucket/key.jsonl"
        # Another task's output may be a path, too.
        operator.path = Path(first)
        assert operator.execute({})["file_ids"] == [content_id("a")]

    def test_the_same_file_twice_is_sent_once(self, atai_emulator, write):
        paths = (write("x/a.jsonl"), write("y/a.jsonl"), write("z/b.jsonl"), f"file://{write('x/a.jsonl')}")
        assert upload(paths)["file_ids"] == [content_id("a"), content_id("b")]
        assert sent_parts(atai_emulator) == 2

    def test_unchanged_data_is_not_sent_again_and_changed_data_gets_a_new_id(self, atai_emulator, write):
        first = upload(write("a.jsonl"))
        assert upload(write("a.jsonl")) == first
        assert sent_parts(atai_emulator) == 1
        changed = upload(write("a.jsonl", b'{"a": 3}\n{"b": 2}\n'))
        assert changed["file_ids"] != first["file_ids"]
        assert len(stored(atai_emulator)) == 2

    def test_a_file_is_sent_in_parts_without_being_held_in_memory(self, atai_emulator, write):
        atai_emulator.set_switches(part_size=1000)
        content = b"".join(b'{"line": %d}\n' % number for number in range(1000))
        upload(write("a.jsonl", content))
        assert sent_parts(atai_emulator) == -(-len(content) // 1000)
        assert atai_emulator.files()[0]["num_bytes"] == len(content)

    def test_a_file_in_object_storage(self, atai_emulator, write, monkeypatch):
        # `file` is the only store that needs no other package, but a shortcut normally bypasses it.
        monkeypatch.setattr("airflow_provider_atai.datasets.files.source_of", ObjectStorageSource)
        atai_emulator.set_switches(part_size=7)
        assert upload(f"file://{write('a.jsonl')}")["file_ids"] == [content_id("a")]
        assert stored(atai_emulator) == [content_id("a")]
        assert sent_parts(atai_emulator) == 3

    def test_the_named_connection_is_used(self, atai_emulator, write, monkeypatch):
        monkeypatch.delenv("AIRFLOW_CONN_ATAI_DEFAULT")
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", atai_emulator.connection_json)
        assert upload(write("a.jsonl"), atai_conn_id="other")["file_ids"] == stored(atai_emulator)

    @pytest.mark.parametrize(
        ("name", "content", "complaint"),
        [
            ("a.jsonl", b"", "is empty"),
            ("a.jsonl", b'{"a": 1}\n{"a"', r"line 2: not JSON"),
            ("a.jsonl", b"\xff\xfe", "line 1: not UTF-8"),
            ("a.json", b"{", "not JSON"),
            ("a.csv", b"\xff", "line 1: not UTF-8"),
        ],
    )
    def test_a_bad_file_fails_at_once_before_anything_is_sent(
        self,
        atai_emulator,
        write,
        name,
        content,
        complaint,
    ):
        with pytest.raises(AirflowFailException, match=complaint) as caught:
            upload([write("good.jsonl"), write(name, content)])
        assert "A retry cannot help" in str(caught.value)
        assert caught.value.__cause__ is not None
        assert atai_emulator.requests() == []

    def test_a_missing_file_fails_at_once(self, atai_emulator, tmp_path):
        with pytest.raises(AirflowFailException, match="does not exist on this worker"):
            upload(str(tmp_path / "gone.jsonl"))
        assert atai_emulator.requests() == []

    def test_without_validation_the_content_is_not_checked(self, atai_emulator, write):
        upload(write("a.jsonl", b"not JSON"), validate=False)
        assert len(stored(atai_emulator)) == 1
        with pytest.raises(AirflowFailException, match="is empty"):
            upload(write("b.jsonl", b""), validate=False)

    @pytest.mark.parametrize(
        ("status", "retried"), [(400, False), (401, False), (403, False), (413, False), (500, True)]
    )
    def test_only_an_error_that_a_retry_can_help_is_retried(self, atai_emulator, write, status, retried):
        atai_emulator.add_fault(
            method="POST", path="/files/uploads/initiate", effect="answer", status=status, count=4
        )
        with pytest.raises(AtaiServerError if retried else AirflowFailException) as caught:
            upload(write("a.jsonl"))
        assert str(status) in str(caught.value)

    def test_a_wrong_key_fails_at_once(self, atai_emulator, write):
        atai_emulator.set_api_key("sk_rotated")
        with pytest.raises(AirflowFailException, match="401") as caught:
            upload(write("a.jsonl"))
        assert atai_emulator.api_key not in str(caught.value)

    def test_a_failed_lookup_is_not_taken_for_a_missing_file(self, atai_emulator, write):
        atai_emulator.add_fault(method="GET", path="/files/metadata/*", effect="answer", status=503, count=9)
        with pytest.raises(AtaiServerError):
            upload(write("a.jsonl"))
        assert stored(atai_emulator) == []

    @pytest.mark.parametrize("body", ["html", "empty"])
    def test_a_404_of_any_shape_means_that_the_file_is_sent(self, atai_emulator, write, body):
        """The service's own 404 is not documented, and initiate never overwrites a file."""
        atai_emulator.add_fault(
            method="GET", path="/files/metadata/*", effect="answer", status=404, body=body, count=None
        )
        assert upload(write("a.jsonl"))["file_ids"] == stored(atai_emulator)
        with pytest.raises(FileNotReadyError):
            upload(write("a.jsonl"))
        assert sent_parts(atai_emulator) == 1

    def test_an_interrupted_upload_is_resumed_by_the_next_try(self, atai_emulator, write):
        atai_emulator.set_switches(part_size=6)
        atai_emulator.add_fault(method="PUT", path="/_storage/*/2", effect="drop_before", count=4)
        with pytest.raises(AtaiConnectionError) as caught:
            upload(write("a.jsonl"))
        assert "A retry resumes from there" in str(caught.value.__notes__)
        atai_emulator.clear_faults()
        atai_emulator.clear_requests()
        assert upload(write("a.jsonl"))["file_ids"] == stored(atai_emulator)
        assert sent_parts(atai_emulator) == 1

    def test_a_file_that_another_task_stored_meanwhile_is_used(self, atai_emulator, write):
        # The first metadata call finds nothing, although the file is there when the upload starts.
        upload(write("a.jsonl"))
        atai_emulator.add_fault(method="GET", path="/files/metadata/*", effect="answer", status=404, count=1)
        assert upload(write("a.jsonl"))["file_ids"] == [content_id("a")]
        assert sent_parts(atai_emulator) == 1
        assert atai_emulator.requests(path="*/initiate")[-1]["status"] == 409

    def test_a_file_that_is_still_being_uploaded_does_not_count_as_stored(self, atai_emulator, write):
        upload(write("a.jsonl"))
        atai_emulator.add_fault(
            method="GET",
            path="/files/metadata/*",
            effect="merge",
            content={"file_status": "Uploading"},
            count=1,
        )
        assert upload(write("a.jsonl"))["file_ids"] == [content_id("a")]
        assert len(atai_emulator.requests(path="*/initiate")) == 2

    def test_a_name_held_by_another_unfinished_upload_fails_at_once(self, atai_emulator, write):
        atai_emulator.add_fault(method="POST", path="/files/uploads/initiate", effect="answer", status=409)
        with pytest.raises(AirflowFailException, match=r"refuses the name mine.*Choose another file_id"):
            upload(write("a.jsonl"), file_id="mine.jsonl")

    def test_a_stored_file_that_is_not_shown_yet_is_waited_for(self, atai_emulator, write, naps):
        upload(write("a.jsonl"))
        hidden = {"method": "GET", "path": "/files/metadata/*", "effect": "answer", "status": 404}
        atai_emulator.add_fault(**hidden, count=4)
        assert upload(write("a.jsonl"))["file_ids"] == [content_id("a")]
        assert naps == [0.5, 1, 2]
        atai_emulator.add_fault(**hidden, count=99)
        with pytest.raises(FileNotReadyError, match="does not show it"):
            upload(write("a.jsonl"))
        assert sent_parts(atai_emulator) == 1

    @pytest.mark.parametrize(
        ("status", "kind", "complaint"),
        [
            ("FILE_STATUS_CORRUPT", AirflowFailException, r"cannot be used \(status CORRUPT\). Delete it"),
            ("Deleting", FileNotReadyError, "is deleting a file named"),
            ("Deleted", FileNotReadyError, "is deleting a file named"),
        ],
    )
    def test_a_stored_file_that_cannot_be_used_is_an_error(
        self,
        *,
        atai_emulator,
        write,
        status,
        kind,
        complaint,
    ):
        upload(write("a.jsonl"))
        atai_emulator.add_fault(
            method="GET", path="/files/metadata/*", effect="merge", content={"file_status": status}
        )
        with pytest.raises(kind, match=complaint):
            upload(write("a.jsonl"))

    @pytest.mark.parametrize(
        "status", ["FILE_STATUS_UNKNOWN", "FILE_STATUS_IN_COLD_STORAGE", "Ingested", "ODD"]
    )
    def test_a_stored_file_in_any_other_state_is_used(self, atai_emulator, write, status):
        upload(write("a.jsonl"))
        atai_emulator.add_fault(
            method="GET", path="/files/metadata/*", effect="merge", content={"file_status": status}
        )
        upload(write("a.jsonl"))
        assert sent_parts(atai_emulator) == 1

    def test_a_stored_file_of_another_size_is_another_file(self, atai_emulator, write):
        upload(write("a.jsonl"))
        atai_emulator.add_fault(
            method="GET", path="/files/metadata/*", effect="merge", content={"num_bytes": 5}
        )
        with pytest.raises(AirflowFailException, match=r"another file named .* \(5 bytes, here 18\)"):
            upload(write("a.jsonl"))
        atai_emulator.clear_faults()
        atai_emulator.add_fault(
            method="GET", path="/files/metadata/*", effect="merge", content={"num_bytes": None}
        )
        with pytest.raises(AtaiResponseError, match="does not report the size"):
            upload(write("a.jsonl"))

    def test_the_services_name_for_the_file_is_used(self, atai_emulator, write):
        atai_emulator.add_fault(
            method="POST",
            path="/files/uploads/*/complete",
            effect="merge",
            content={"file_name": "other.jsonl"},
        )
        assert upload(write("a.jsonl"))["file_ids"] == ["other.jsonl"]


class TestOwnFileId:
    def test_the_file_gets_the_name(self, atai_emulator, write):
        assert upload(write("a.jsonl"), file_id="mine.jsonl")["file_ids"] == ["mine.jsonl"]
        assert stored(atai_emulator) == ["mine.jsonl"]

    def test_the_same_content_is_recognised(self, atai_emulator, write):
        for _ in range(2):
            upload(write("a.jsonl"), file_id="mine.jsonl")
        assert sent_parts(atai_emulator) == 1
        assert len(atai_emulator.requests(path="*/files/download/*")) == 1

    @pytest.mark.parametrize("content", [LINES.replace(b"1", b"7"), LINES * 2])
    def test_a_name_with_other_content_is_refused(self, atai_emulator, write, content):
        upload(write("a.jsonl"), file_id="mine.jsonl")
        with pytest.raises(AirflowFailException, match=r"another file named mine\.jsonl"):
            upload(write("a.jsonl", content), file_id="mine.jsonl")
        assert len(stored(atai_emulator)) == 1

    def test_an_unfinished_upload_of_other_content_is_never_mixed_in(self, atai_emulator, write):
        atai_emulator.set_switches(part_size=6)
        fault = atai_emulator.add_fault(method="PUT", path="/_storage/*/2", effect="drop_before", count=4)
        with pytest.raises(AtaiConnectionError):
            upload(write("a.jsonl", LINES.replace(b"1", b"7")), file_id="mine.jsonl")
        assert atai_emulator.fired(fault) == 4
        upload(write("a.jsonl"), file_id="mine.jsonl")
        # The comparison reads the stored file back.
        upload(write("a.jsonl"), file_id="mine.jsonl")
        assert stored(atai_emulator) == ["mine.jsonl"]


class TestUploadArguments:
    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ({"path": "a.yaml"}, "has none of the suffixes"),
            ({"path": ["a.jsonl", "b.parquet"]}, "b.parquet has none of the suffixes"),
            ({"path": []}, "non-empty list of strings"),
            ({"path": ""}, "non-empty strings"),
            ({"path": None}, "non-empty list of strings"),
            ({"path": [None]}, "non-empty strings, not None"),
            ({"path": {"a": "b"}}, "non-empty list of strings"),
            ({"name": ""}, "name must be a non-empty string"),
            ({"name": None}, "name must be a non-empty string"),
            ({"split": "test"}, 'split must be "train" or "eval", not \'test\''),
            ({"split": None}, 'split must be "train" or "eval"'),
            ({"path": ["a.jsonl", "b.jsonl"], "file_id": "c.jsonl"}, "file_id names a single file"),
            ({"file_id": "a.csv"}, "does not end in .jsonl"),
            ({"file_id": "../b.jsonl"}, "not a plain file name"),
            ({"path": Path("a.parquet")}, "a.parquet has none of the suffixes"),
            ({"path": other_task()}, r"path is given the task 'other' itself.* Write other\.output\."),
            ({"path": ["a.jsonl", other_task()]}, r"path is given the task 'other' itself"),
            ({"file_id": Path("a.jsonl")}, "not a plain file name"),
            ({"name": Path("a")}, "name must be a non-empty string"),
        ],
    )
    def test_wrong_arguments_fail_when_the_dag_is_parsed(self, arguments, complaint):
        with pytest.raises(ValueError, match=complaint):
            UploadDatasetOperator(task_id="upload", **{"path": "a.jsonl", "name": "set", **arguments})

    def test_templates_are_checked_only_after_rendering(self, atai_emulator, write):
        with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1)):
            operator = UploadDatasetOperator(
                task_id="upload",
                path=["{{ params.path }}"],
                name="{{ params.name }}",
                split="{{ params.split }}",
                file_id="{{ params.file_id }}",
                atai_conn_id="{{ params.conn }}",
            )
        values = {
            "path": write("a.jsonl"),
            "name": "rendered",
            "split": "eval",
            "file_id": "mine.jsonl",
            "conn": "atai_default",
        }
        operator.render_template_fields({"params": values})
        assert operator.execute({}) == {"name": "rendered", "split": "eval", "file_ids": ["mine.jsonl"]}

    @pytest.mark.parametrize(
        ("field", "value", "complaint"),
        [
            ("path", "a.yaml", "has none of the suffixes"),
            ("path", "['a.jsonl']", "a list that was rendered as text"),
            ("path", [], "non-empty list of strings"),
            ("name", " ", "name must be a non-empty string"),
            ("split", "test", 'split must be "train" or "eval"'),
            ("file_id", "a/b.jsonl", "not a plain file name"),
        ],
    )
    def test_a_bad_rendered_value_fails_at_once(
        self,
        *,
        atai_emulator,
        write,
        field,
        value,
        complaint,
    ):
        operator = UploadDatasetOperator(task_id="upload", path=write("a.jsonl"), name="set")
        setattr(operator, field, value)
        with pytest.raises(AirflowFailException, match=complaint):
            operator.execute({})
        assert atai_emulator.requests() == []

    @pytest.mark.parametrize("null", [None, "None", ""])
    def test_a_null_file_id_is_none(self, atai_emulator, write, null):
        operator = UploadDatasetOperator(task_id="upload", path=write("a.jsonl"), name="set")
        operator.file_id = null
        assert operator.execute({})["file_ids"] == [content_id("a")]

    def test_outputs_of_other_tasks_and_mapping_are_accepted(self):
        from tests.harness.airflow_names import task

        with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1)) as dag:

            @task
            def paths():
                return ["a.jsonl"]

            made = paths()
            one = UploadDatasetOperator(task_id="one", path=made, name="set")
            two = UploadDatasetOperator(task_id="two", path=[made, "b.jsonl"], name=made)
            UploadDatasetOperator.partial(task_id="three", name="set").expand(path=["a.jsonl", "b.jsonl"])
            DeleteDatasetOperator(task_id="delete", file_ids=[one.output, two.output])
        assert dag.get_task("one").upstream_task_ids == {"paths"}
        assert dag.get_task("two").upstream_task_ids == {"paths"}
        assert dag.get_task("delete").upstream_task_ids == {"one", "two"}


class TestDelete:
    @pytest.mark.parametrize("form", ["ids", "dataset", "datasets", "mixed"])
    def test_ids_and_datasets_can_be_deleted_in_every_form(self, atai_emulator, write, form):
        one = upload([write("a.jsonl"), write("b.jsonl")])
        two = upload(write("c.jsonl"))
        delete(
            {
                "ids": [*one["file_ids"], *two["file_ids"]],
                "dataset": {"file_ids": [*one["file_ids"], *two["file_ids"]]},
                "datasets": [one, two],
                "mixed": [one, None, *two["file_ids"], one],
            }[form]
        )
        assert stored(atai_emulator) == []
        assert len(atai_emulator.requests(method="DELETE")) == 3

    def test_a_missing_file_is_ignored_unless_ignore_missing_is_false(self, atai_emulator):
        delete(["gone.jsonl"])
        assert len(atai_emulator.requests(method="DELETE")) == 1
        with pytest.raises(AirflowFailException, match="1 of 1 files were not deleted: gone") as caught:
            delete(["gone.jsonl"], ignore_missing=False)
        assert "A retry cannot help" in str(caught.value)

    def test_a_gateways_404_is_not_taken_for_a_missing_file(self, atai_emulator, write):
        dataset = upload(write("a.jsonl"))
        atai_emulator.add_fault(
            method="DELETE", path="/files/delete/*", effect="answer", status=404, body="html"
        )
        with pytest.raises(AtaiGatewayNotFoundError, match="an HTML page"):
            delete(dataset)

    def test_all_that_can_be_deleted_is_deleted_and_all_failures_are_reported(self, atai_emulator, write):
        ids = upload([write(f"{letter}.jsonl") for letter in "abcd"])["file_ids"]
        atai_emulator.add_fault(method="DELETE", path=f"/files/delete/{ids[0]}", effect="answer", status=403)
        atai_emulator.add_fault(method="DELETE", path=f"/files/delete/{ids[2]}", effect="answer", status=400)
        with pytest.raises(AirflowFailException, match="2 of 4 files were not deleted") as caught:
            delete(ids)
        assert ids[0] in str(caught.value)
        assert ids[2] in str(caught.value)
        assert set(stored(atai_emulator)) == {ids[0], ids[2]}

    def test_one_retryable_failure_makes_the_task_retry(self, atai_emulator, write):
        ids = upload([write(f"{letter}.jsonl") for letter in "abc"])["file_ids"]
        atai_emulator.add_fault(
            method="DELETE", path=f"/files/delete/{ids[0]}", effect="answer", status=403, count=1
        )
        atai_emulator.add_fault(
            method="DELETE", path=f"/files/delete/{ids[1]}", effect="answer", status=503, count=1
        )
        with pytest.raises(RetryableError) as caught:
            delete(ids)
        assert "2 of 3 files were not deleted" in str(caught.value.__notes__)
        delete(ids)
        assert stored(atai_emulator) == []

    def test_a_deletion_that_the_service_rejects_is_not_a_success(self, atai_emulator, write):
        dataset = upload(write("a.jsonl"))
        atai_emulator.add_fault(
            method="DELETE", path="/files/delete/*", effect="merge", content={"is_valid": False}
        )
        with pytest.raises(AtaiResponseError, match="is not valid"):
            delete(dataset)

    @pytest.mark.parametrize("nothing", [None, [], [None], [{"file_ids": ["a"]}][:0]])
    def test_the_empty_output_of_a_skipped_task_deletes_nothing(self, atai_emulator, nothing):
        operator = DeleteDatasetOperator(task_id="delete", file_ids=[])
        operator.file_ids = nothing
        operator.execute({})
        assert atai_emulator.requests() == []

    @pytest.mark.parametrize(
        ("file_ids", "complaint"),
        [
            (None, "file_ids is None"),
            ("a.jsonl", r"must be a list, not the string 'a.jsonl'. Write file_ids=\['a.jsonl'\]"),
            ([""], "is not a file id"),
            ([["a"]], "is not a file id"),
            ([5], "is not a file id"),
            ({"name": "x"}, "has no file_ids"),
            ([{"file_ids": "a.jsonl"}], "must be a list, not the string"),
            ([{"file_ids": []}], "non-empty list"),
            ([Path("a.jsonl")], r"contains the path 'a\.jsonl'.* Write file_ids=upload\.output"),
            (Path("a.jsonl"), "must be a list of file ids or datasets"),
            ({"file_ids": [Path("a.jsonl")]}, "is not a file id"),
            (other_task(), r"file_ids is given the task 'other' itself.* Write other\.output\."),
            ([{"file_ids": ["a"]}, other_task()], "file_ids is given the task 'other' itself"),
        ],
    )
    def test_wrong_arguments_fail_when_the_dag_is_parsed(self, file_ids, complaint):
        with pytest.raises(ValueError, match=complaint):
            DeleteDatasetOperator(task_id="delete", file_ids=file_ids)

    def test_a_rendered_string_fails_at_once(self, atai_emulator):
        operator = DeleteDatasetOperator(task_id="delete", file_ids="{{ ti.xcom_pull('upload') }}")
        operator.file_ids = "{'file_ids': ['a']}"
        with pytest.raises(AirflowFailException, match="render_template_as_native_obj"):
            operator.execute({})
        assert atai_emulator.requests() == []

    @pytest.mark.parametrize("left", ["{{ params.x }}", {"file_ids": "{{ params.x }}"}])
    def test_a_template_that_was_not_rendered_fails_at_once(self, atai_emulator, left):
        operator = DeleteDatasetOperator(task_id="delete", file_ids=["a.jsonl", left])
        with pytest.raises(AirflowFailException, match=r"'\{\{ params\.x \}\}', a template"):
            operator.execute({})
        assert atai_emulator.requests() == []

    def test_a_deletion_that_deletes_nothing_says_so(self, atai_emulator, write):
        def warnings(file_ids):
            operator = DeleteDatasetOperator(task_id="delete", file_ids=file_ids)
            with mock.patch.object(operator.log, "warning", autospec=True) as warning:
                operator.execute({})
            return [
                call.args[0] % call.args[1:] for call in warning.call_args_list if "deleted" in call.args[0]
            ]

        assert warnings([*upload(write("a.jsonl"))["file_ids"], "gone.jsonl"]) == []
        assert warnings(["gone.jsonl", "gone.csv"]) == [
            "Nothing was deleted: the service has none of these 2 files."
        ]

    def test_an_id_that_cannot_be_sent_does_not_keep_the_others(self, atai_emulator, write):
        with pytest.raises(AirflowFailException, match="1 of 2 files were not deleted") as caught:
            delete(["\ud800.jsonl", *upload(write("a.jsonl"))["file_ids"]])
        assert str(caught.value).isprintable()
        assert stored(atai_emulator) == []

    def test_it_can_be_a_teardown(self):
        with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
            uploaded = UploadDatasetOperator(task_id="upload", path="a.jsonl", name="set")
            DeleteDatasetOperator(task_id="delete", file_ids=uploaded.output).as_teardown(setups=uploaded)
        assert dag.get_task("delete").is_teardown
        assert dag.get_task("upload").is_setup

    def test_the_lazy_outputs_of_a_mapped_task_are_accepted(self):
        class Lazy:
            """A sequence like the one in which Airflow passes a mapped task's outputs."""

            def __iter__(self):
                return iter([{"file_ids": ["a"]}, {"file_ids": ["b", "a"]}])

        assert file_ids_of(Lazy()) == ["a", "b"]

    def test_a_templated_id_is_skipped(self):
        assert file_ids_of(["{{ params.x }}", "b", {"file_ids": "{{ params.y }}"}]) == ["b"]


def test_a_missing_file_is_an_error_without_ignore_missing(atai_emulator):
    operator = DeleteDatasetOperator(task_id="delete", file_ids=["gone.jsonl"], ignore_missing=False)
    with pytest.raises(AtaiNotFoundError):
        operator._delete("gone.jsonl")
