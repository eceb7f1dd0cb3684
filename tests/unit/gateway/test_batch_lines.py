"""The lines of a batch: what is refused before anything is asked, what is written, and the account of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies.batch_lines import Account, Checker, Label, Line, answered, failed, label_of, line_of, not_asked
from gateway.bodies.failures import ApiError
from gateway.bodies.openai_batches import MARKS, MOST_ERRORS, Mark

CHAT = "/v1/chat/completions"


def line(**over: Any) -> bytes:
    return json.dumps({"custom_id": "a", "method": "POST", "url": CHAT, "body": {}, **over}).encode()


def looked_over(*lines: bytes, most: int = 100) -> list[tuple[str, int | None]]:
    checker = Checker(CHAT, most)
    for one in lines:
        checker.take(one)
    checker.end()
    return [(error.code, error.line) for error in checker.errors]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"{", "invalid_json_line"),
        (b"[]", "invalid_json_line"),
        (b'{"custom_id": "x"}', "missing_required_parameter"),
        (line(custom_id=1), "invalid_custom_id"),
        (line(custom_id=""), "invalid_custom_id"),
        (line(custom_id="x" * 513), "invalid_custom_id"),
        (line(method="GET"), "invalid_method"),
        (line(url="/v1/embeddings"), "invalid_url"),
        (line(body=[]), "invalid_body"),
        (b'{"custom_id": "\xff"}', "invalid_json_line"),
    ],
)
def test_a_line_that_is_no_request_is_told_with_its_number(text: bytes, code: str) -> None:
    assert looked_over(line(custom_id="first"), b"", text) == [(code, 3)]


def test_a_custom_id_may_be_used_once() -> None:
    assert looked_over(line(), line(custom_id="b"), line()) == [("duplicate_custom_id", 3)]


def test_a_file_without_requests_or_with_too_many_is_refused() -> None:
    assert looked_over() == looked_over(b"", b"  ") == [("empty_file", None)]
    many = [line(custom_id=str(number)) for number in range(4)]
    assert looked_over(*many, most=3) == [("max_lines_exceeded", 4)]
    assert looked_over(*many, most=4) == []


def test_so_many_errors_are_told_and_no_more() -> None:
    checker = Checker(CHAT, 10_000)
    for _ in range(MOST_ERRORS + 20):
        checker.take(b"{")
    assert len(checker.errors) == MOST_ERRORS
    assert checker.full


def test_output_lines_say_whose_they_are_and_what_became_of_it() -> None:
    asked = line_of(7, line(custom_id="mine", body={"model": "fast"}))
    assert asked == Line(7, "mine", {"model": "fast"})
    good = json.loads(answered("batch_00ff", asked, "job-1", {"choices": []}))
    assert good == {
        "id": "batch_req_00ff_7",
        "custom_id": "mine",
        "response": {"status_code": 200, "request_id": "job-1", "body": {"choices": []}},
        "error": None,
    }
    bad = json.loads(failed("batch_00ff", asked, ApiError(404, "model_not_found", "no"), "openai"))
    assert (bad["response"]["status_code"], bad["response"]["body"]["error"]["code"]) == (404, "model_not_found")
    late = json.loads(not_asked("batch_00ff", asked, "expired"))
    assert (late["response"], late["error"]["code"]) == (None, "batch_expired")
    assert not_asked("batch_00ff", asked, "cancelled").endswith(b"\n")


@pytest.mark.parametrize("label", [Label("output", 12), Label("expired", 0), Label("errors", 9, "ab" * 32, 3)])
def test_a_label_is_read_as_it_was_written(label: Label) -> None:
    assert label_of(str(label)) == label


def test_a_label_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        label_of("nonsense 3")


@given(st.lists(st.tuples(st.integers(-1, 30), st.sampled_from(["output", "errors", "cancelled", "expired"]))))
def test_the_account_counts_each_line_once_whatever_it_is_told(told: list[tuple[int, Any]]) -> None:
    account = Account(30)
    first: dict[int, str] = {}
    for seq, (number, said) in enumerate(told, 1):
        account.take(number, Label(said, 10), seq)
        if 0 <= number < 30:
            first.setdefault(number, said)
    said = list(first.values())
    counts = account.counts
    assert (counts.completed, counts.failed) == (said.count("output"), len(said) - said.count("output"))
    assert (counts.cancelled, counts.expired) == (said.count("cancelled"), said.count("expired"))
    assert account.left == 30 - len(said)
    assert account.last.output == 10 * counts.completed
    assert account.last.errors == 10 * counts.failed
    marks = account.marks
    assert list(marks) == sorted(marks, key=lambda mark: mark.seq)
    assert not said or marks[-1] == account.last


def test_marks_are_few_and_lie_all_along_the_lines() -> None:
    account = Account(50_000)
    for number in range(50_000):
        account.take(number, Label("output", 100), 2 * number + 1)
    assert MARKS - 2 <= len(account.marks) <= MARKS + 1
    assert account.marks[0].output < 100 * 50_000 // (MARKS - 2)
    assert account.marks[-1] == Mark(seq=99_999, output=5_000_000)
