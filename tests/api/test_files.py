from __future__ import annotations

import json

import pytest

from airflow_provider_atai.api.client import AtaiClient
from airflow_provider_atai.api.files import FilesApi
from airflow_provider_atai.errors import (
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiNotFoundError,
    AtaiResponseError,
)
from tests.api.conftest import http_answer
from tests.api.uploads import METADATA, PART


class TestScriptedResponses:
    @pytest.fixture
    def api(self, client):
        return FilesApi(client)

    def test_metadata_of_another_file_is_refused(self, bad_server, api):
        bad_server.answer(http_answer(200, json.dumps(METADATA)))
        with pytest.raises(
            AtaiResponseError, match=r"asked for file b.jsonl and answered with file 'a.jsonl'"
        ):
            api.metadata("b.jsonl")

    def test_a_deletion_that_is_not_valid_raises(self, bad_server, api):
        bad_server.answer(http_answer(200, '{"is_valid": false}'))
        with pytest.raises(AtaiResponseError, match="is not valid"):
            api.delete("a.jsonl")

    @pytest.mark.parametrize("answer", [http_answer(503, "{}"), b""])
    def test_a_deletion_is_not_repeated(self, bad_server, api, answer):
        bad_server.answer(answer)
        with pytest.raises(Exception, match=r"503|lost"):
            api.delete("a.jsonl")
        assert len(bad_server.requests) == 1

    def test_initiate_is_repeated_because_it_resumes(self, bad_server, api):
        bad_server.answer(b"", http_answer(200, json.dumps({"upload_id": "u", "parts": []})))
        api.initiate(filename="a", file_type="text/csv", num_bytes=1)
        assert [json.loads(sent.body)["resume_if_started"] for sent in bad_server.requests] == [True, True]

    @pytest.mark.parametrize(
        "parts",
        [
            None,
            [],
            [PART | {"part_number": 4}],
            [PART | {"part_number": 3}] * 2,
            [PART | {"part_number": 3, "url": 5}],
        ],
    )
    def test_urls_for_other_parts_are_refused(self, bad_server, api, parts):
        bad_server.answer(http_answer(200, json.dumps({"parts": parts})))
        with pytest.raises(AtaiResponseError):
            api.part_urls("u", [3])


class TestEmulator:
    @pytest.fixture
    def api(self, atai_emulator):
        with AtaiClient(base_url=atai_emulator.base_url, api_key=atai_emulator.api_key) as client:
            yield FilesApi(client)

    @staticmethod
    def store(api, name):
        content = b"a,b\n1,2\n"
        session = api.initiate(filename=name, file_type="text/csv", num_bytes=len(content))
        tokens = {
            part.part_number: api.client.put_part(part.url, content[part.offset : part.offset + part.length])
            for part in session.parts
        }
        api.checkpoint(session.upload_id, tokens)
        return api.complete(session.upload_id, tokens)

    @pytest.mark.parametrize("base", [0, 1])
    def test_a_file_comes_back_as_it_was_sent(self, api, atai_emulator, base):
        atai_emulator.set_switches(part_size=3, part_number_base=base)
        stored = self.store(api, "a b.csv")
        assert stored.file_id == "a b.csv"
        known = api.metadata("a b.csv")
        assert (known.file_uid, known.num_bytes, known.is_usable) == (stored.file_uid, 8, True)
        assert b"".join(api.stream("a b.csv")) == b"a,b\n1,2\n"

    def test_part_urls_come_in_the_order_asked_for(self, api, atai_emulator):
        atai_emulator.set_switches(part_size=3)
        session = api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8)
        fresh = api.part_urls(session.upload_id, [3, 1])
        assert [(part.part_number, part.offset, part.length) for part in fresh] == [(3, 6, 2), (1, 0, 3)]

    def test_delete_and_abort_free_the_name(self, api):
        self.store(api, "a.csv")
        with pytest.raises(AtaiConflictError):
            api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8)
        api.delete("a.csv")
        for call in (api.metadata, api.delete):
            with pytest.raises(AtaiNotFoundError):
                call("a.csv")
        session = api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8)
        api.abort(session.upload_id)
        assert not api.initiate(filename="a.csv", file_type="text/csv", num_bytes=8).is_resume
        with pytest.raises(AtaiBadRequestError):
            api.initiate(filename="b.bin", file_type="application/octet-stream", num_bytes=8)
