from __future__ import annotations

import pytest

NAMES = [f"{number}.csv" for number in range(5)]


@pytest.fixture
def five_files(service):
    for name in NAMES:
        service.post_file(name, b"a\n1\n", "text/csv")
    service.post_file("other.txt", b"x", "text/plain")
    service("DELETE", "/files/delete/other.txt")
    return service


def names(records):
    return [record["file_id"] for record in records]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", NAMES),
        ("?shard_index=-1&max_items_per_shard=-1", NAMES),
        ("?shard_index=0&max_items_per_shard=2", NAMES[:2]),
        ("?shard_index=2&max_items_per_shard=2", NAMES[4:]),
        ("?shard_index=3&max_items_per_shard=2", []),
        ("?file_type=text/csv", NAMES),
        ("?file_type=text/plain", []),
    ],
)
def test_sharded_list_is_the_documented_array(five_files, query, expected):
    assert names(five_files("GET", f"/files/metadata{query}").json()) == expected


def test_list_finds_one_file_by_its_uid(five_files):
    record = five_files("GET", "/files/metadata/3.csv").json()
    assert five_files("GET", f"/files/metadata?file_uid={record['file_uid']}").json() == [record]


def test_pages_lead_forward_and_back(five_files):
    first = five_files("GET", "/files/metadata?limit=2").json()
    assert list(first) == ["data", "has_more", "next_cursor", "prev_cursor"]
    assert (names(first["data"]), first["has_more"], first["prev_cursor"]) == (["4.csv", "3.csv"], True, None)
    second = five_files("GET", "/files/metadata", params={"limit": 2, "after": first["next_cursor"]}).json()
    assert (names(second["data"]), second["has_more"]) == (["2.csv", "1.csv"], True)
    third = five_files("GET", "/files/metadata", params={"limit": 2, "after": second["next_cursor"]}).json()
    assert (names(third["data"]), third["has_more"], third["next_cursor"]) == (["0.csv"], False, None)
    back = five_files("GET", "/files/metadata", params={"limit": 2, "before": third["prev_cursor"]}).json()
    assert (names(back["data"]), back["has_more"]) == (["2.csv", "1.csv"], True)
    back = five_files("GET", "/files/metadata", params={"limit": 2, "before": back["prev_cursor"]}).json()
    assert (names(back["data"]), back["has_more"], back["prev_cursor"]) == (["4.csv", "3.csv"], False, None)


def test_list_under_api_is_always_a_page(five_files):
    page = five_files.under("/api")("GET", "/files/metadata").json()
    assert (names(page["data"]), page["has_more"], page["next_cursor"]) == (NAMES[::-1], False, None)


def test_pages_are_filtered_too(five_files):
    five_files.post_file("new.txt", b"x", "text/plain")
    uid = five_files("GET", "/files/metadata/3.csv").json()["file_uid"]
    under_api = five_files.under("/api")
    (record,) = under_api("GET", f"/files/metadata?file_uid={uid}").json()["data"]
    assert record["file_id"] == "3.csv"
    page = under_api("GET", "/files/metadata?file_type=text/csv&limit=3").json()
    assert (names(page["data"]), page["has_more"], page["prev_cursor"]) == (NAMES[:1:-1], True, None)
    rest = under_api(
        "GET", "/files/metadata", params={"file_type": "text/csv", "after": page["next_cursor"]}
    ).json()
    assert (names(rest["data"]), rest["next_cursor"]) == (["1.csv", "0.csv"], None)
    page = under_api("GET", "/files/metadata?file_type=text/plain").json()
    assert (names(page["data"]), page["has_more"], page["next_cursor"]) == (["new.txt"], False, None)


def test_page_without_files_has_no_cursors(service):
    assert service("GET", "/files/metadata?limit=1").json() == {
        "data": [],
        "has_more": False,
        "next_cursor": None,
        "prev_cursor": None,
    }


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "max_items_per_shard=1001",
        "shard_index=-2",
        "limit=1.0",
        "shard_index=+1",
        "max_items_per_shard=1_0",
        "after=made-up",
        "before=MTIz",
        "after=ZmlsZTox&before=ZmlsZTox",
    ],
)
def test_undocumented_query_is_refused(service, query):
    answer = service("GET", f"/files/metadata?{query}")
    assert (answer.status_code, service.code_of(answer)) == (400, "invalid_parameter")


def test_invented_cursor_is_refused_as_invalid_cursor(service):
    assert service("GET", "/files/metadata?after=x").json()["errors"][0]["message"] == "invalid cursor"
