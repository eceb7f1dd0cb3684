"""The batch APIs' formats: what is sent is what they ask for, and whatever they answer is read or passed over."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.dialects.batches import BATCHES
from workers.dialects.batches.port import BatchApi

OPENAI, ANTHROPIC = BATCHES["openai"], BATCHES["anthropic"]
BODY = b'{"model":"m","messages":[]}'


def test_openai_is_sent_a_file_of_requests_and_a_batch_that_carries_the_key() -> None:
    lines = [OPENAI.line(f"k-{place}", "/chat/completions", BODY) for place in range(2)]
    upload = OPENAI.upload("k", lines)
    assert upload is not None
    assert (upload.method, upload.path) == ("POST", "/files")
    edge = upload.headers["content-type"].partition("boundary=")[2].encode()
    parts = upload.body.split(b"--" + edge)
    assert parts[1].endswith(b'name="purpose"\r\n\r\nbatch\r\n')
    sent = [json.loads(line) for line in parts[2].partition(b"\r\n\r\n")[2].splitlines() if line]
    assert sent == [
        {"custom_id": f"k-{place}", "method": "POST", "url": "/v1/chat/completions", "body": json.loads(BODY)}
        for place in range(2)
    ]
    create = OPENAI.create("k", "/chat/completions", (), "file-1")
    assert json.loads(create.body) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"penstock": "k"},
    }


def test_anthropic_is_sent_all_requests_in_one_call() -> None:
    lines = [ANTHROPIC.line(f"k-{place}", "/messages", BODY) for place in range(2)]
    assert ANTHROPIC.upload("k", lines) is None
    create = ANTHROPIC.create("k", "/messages", lines, "")
    assert create.path == "/messages/batches"
    assert json.loads(create.body) == {
        "requests": [{"custom_id": f"k-{place}", "params": json.loads(BODY)} for place in range(2)]
    }


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("validating", ""),
        ("in_progress", ""),
        ("finalizing", ""),
        ("cancelling", ""),
        ("something new", ""),
        ("completed", "completed"),
        ("expired", "expired"),
        ("cancelled", "cancelled"),
        ("failed", "failed"),
    ],
)
def test_openai_says_how_far_a_batch_is(status: str, end: str) -> None:
    said = {"id": "b", "status": status, "output_file_id": "o", "error_file_id": None, "metadata": {"penstock": "k"}}
    sheet = OPENAI.sheet(json.dumps(said).encode())
    assert sheet is not None
    assert (sheet.end, sheet.key) == (end, "k")
    assert sheet.results == (("/files/o/content",) if end else ())


def test_openai_names_the_lines_because_of_which_it_does_not_take_a_batch() -> None:
    errors = {"data": [{"code": "invalid_json", "message": "broken", "line": 3}]}
    sheet = OPENAI.sheet(json.dumps({"id": "b", "status": "failed", "errors": errors}).encode())
    assert sheet is not None
    assert (sheet.wrong_lines, sheet.code) == ({2: "broken"}, "invalid_json")


def test_anthropic_says_when_a_batch_has_ended() -> None:
    counts = {"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 0}
    said = {
        "id": "b",
        "processing_status": "ended",
        "request_counts": counts,
        "created_at": "2026-11-29T12:00:00+00:00",
    }
    sheet = ANTHROPIC.sheet(json.dumps(said).encode())
    assert sheet is not None
    assert (sheet.end, sheet.size, sheet.results) == ("completed", 3, ("/messages/batches/b/results",))
    assert sheet.created == 1_795_953_600


@pytest.mark.parametrize(
    ("api", "line", "status"),
    [
        (OPENAI, {"custom_id": "k-1", "response": {"status_code": 200, "body": {"id": "x"}}, "error": None}, 200),
        (OPENAI, {"custom_id": "k-1", "response": {"status_code": 400, "body": {"error": {}}}, "error": None}, 400),
        (OPENAI, {"custom_id": "k-1", "response": None, "error": {"code": "batch_expired", "message": "late"}}, 503),
        (OPENAI, {"custom_id": "k-1", "response": {"status_code": 0, "body": ""}, "error": None}, 502),
        (ANTHROPIC, {"custom_id": "k-1", "result": {"type": "succeeded", "message": {"id": "x"}}}, 200),
        (ANTHROPIC, {"custom_id": "k-1", "result": {"type": "expired"}}, 503),
        (ANTHROPIC, {"custom_id": "k-1", "result": {"type": "canceled"}}, 503),
        (
            ANTHROPIC,
            {
                "custom_id": "k-1",
                "result": {
                    "type": "errored",
                    "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}},
                },
            },
            400,
        ),
        (ANTHROPIC, {"custom_id": "k-1", "result": {"type": "something new"}}, 502),
    ],
)
def test_a_line_of_answers_is_what_the_request_alone_would_have_been_answered(
    api: BatchApi, line: dict[str, object], status: int
) -> None:
    answered = api.answered(json.dumps(line).encode())
    assert answered is not None
    assert (answered.custom_id, answered.status) == ("k-1", status)
    assert isinstance(json.loads(answered.body), dict)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("id", "status", "data", "errors", "custom_id", "response", "error", "result", "line", "type"),
                    *("metadata", "status_code", "body", "processing_status", "created_at", "request_counts"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(body=_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=64))
def test_no_answer_of_an_api_breaks_its_reader(body: bytes) -> None:
    for api in BATCHES.values():
        api.uploaded(body)
        api.sheet(body)
        api.listed(body)
        api.answered(body)
