"""Files as the API has them: uploads' fields, pages of lists, ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies.failures import Failed
from gateway.bodies.openai_files import FileHead, cut, expires_after, file_id, form, page, span


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-30", (70, 100)),
        ("bytes=-300", (0, 100)),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=-", None),
        ("nonsense", None),
    ],
)
def test_a_range_is_read_as_the_rfc_has_it(header: str | None, found: tuple[int, int] | None) -> None:
    assert span(header, 100) == found


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=0-", 0), ("bytes=-5", 0), ("bytes=-0", 10)])
def test_a_range_behind_the_end_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(Failed) as refused:
        span(header, size)
    assert refused.value.error.status == 416
    assert refused.value.error.headers == {"content-range": f"bytes */{size}"}


@given(st.text(), st.integers(0, 1000))
def test_no_range_header_leads_outside(header: str, size: int) -> None:
    try:
        found = span(header, size)
    except Failed:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


def test_a_form_needs_a_purpose_and_a_file() -> None:
    read = form(
        {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}, "x.jsonl"
    )
    assert (read.purpose, read.filename, read.expires_after) == ("batch", "x.jsonl", 3600)
    for fields, name, param in (
        ({}, "x", "purpose"),
        ({"purpose": "fun"}, "x", "purpose"),
        ({"purpose": "batch"}, None, "file"),
        ({"purpose": "batch", "colour": "red"}, "x", "colour"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, "x", "expires_after.anchor"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "x", "expires_after.seconds"),
    ):
        with pytest.raises(Failed) as refused:
            form(fields, name)
        assert refused.value.error.param == param


@pytest.mark.parametrize("seconds", [3_599, 2_592_001, True, "3600", None, 3600.5])
def test_an_expiry_lies_between_an_hour_and_thirty_days(seconds: object) -> None:
    with pytest.raises(Failed):
        expires_after({"anchor": "created_at", "seconds": seconds}, "expires_after")


def test_a_list_is_cut_where_the_last_page_ended() -> None:
    ids = ["a", "b", "c", "d", "e"]
    assert cut(ids, page({"limit": "2"})) == (["e", "d"], True)
    assert cut(ids, page({"limit": "2", "after": "d"})) == (["c", "b"], True)
    assert cut(ids, page({"limit": "2", "after": "b"})) == (["a"], False)
    assert cut(ids, page({"order": "asc", "limit": "5"})) == (ids, False)
    for query in ({"limit": "0"}, {"limit": "x"}, {"order": "up"}):
        with pytest.raises(Failed):
            page(query)
    with pytest.raises(Failed):
        cut(ids, page({"after": "z"}))


@pytest.mark.parametrize("name", ["", "file-", "file-x.y", "file-*", "batch_1", "file-" + "x" * 41])
def test_what_can_be_no_file_is_not_found(name: str) -> None:
    with pytest.raises(Failed) as refused:
        file_id(name)
    assert refused.value.error.status == 404


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_a_file_has_as_many_chunks_as_its_content_needs(size: int, chunk: int) -> None:
    head = FileHead(id="file-x", bytes=size, chunk=chunk, created_at=0, filename="x", purpose="batch")
    assert (head.chunks - 1) * chunk < size <= head.chunks * chunk or size == head.chunks == 0
