"""Batches as the API has them: what may be asked for, and which word says where one is."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.bodies.failures import Failed
from gateway.bodies.openai_batches import Batch, Counts, LineError, Mark, Wish, batch_id, rendered, wish
from gateway.bodies.openai_files import FileHead

CHAT = "/v1/chat/completions"
GOOD = {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "none", "metadata": {"a": "b"}}


def batch(**over: Any) -> Batch:
    head = FileHead(id="file-1", chunk=1, created_at=0, filename="x", purpose="batch")
    made = wish(GOOD, (CHAT,))
    return Batch(id="batch_" + "0" * 24, project="p", wish=made, input=head, created_at=1, expires_at=9, **over)


def test_what_is_asked_for_is_read() -> None:
    expected = Wish(input_file="file-1", endpoint=CHAT, window="none", metadata={"a": "b"})
    assert wish(GOOD, (CHAT,)) == expected


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"endpoint": "/v1/else"}, "endpoint"),
        ({"completion_window": "2h"}, "completion_window"),
        ({"metadata": {"x": 1}}, "metadata.x"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(Failed) as refused:
        wish({**GOOD, **wrong}, (CHAT,))
    assert (refused.value.error.status, refused.value.error.param) == (400, param)


@pytest.mark.parametrize(
    ("over", "status"),
    [
        ({}, "validating"),
        ({"phase": "running"}, "in_progress"),
        ({"phase": "running", "cancelling_at": 3.0}, "cancelling"),
        ({"phase": "finalizing"}, "finalizing"),
        ({"phase": "finalizing", "cancelling_at": 3.0}, "cancelling"),
        ({"phase": "ended"}, "completed"),
        ({"phase": "ended", "counts": Counts(failed=1)}, "completed"),
        ({"phase": "ended", "counts": Counts(failed=1, expired=1)}, "expired"),
        ({"phase": "ended", "counts": Counts(failed=1, expired=1), "cancelling_at": 3.0}, "cancelled"),
        ({"phase": "ended", "errors": (LineError(code="x", message="x"),)}, "failed"),
    ],
)
def test_the_status_follows_from_what_has_happened(over: dict[str, Any], status: str) -> None:
    one = batch(**over, ended_at=5.0)
    told = rendered(one)
    assert told["status"] == status
    ended = {name for name in ("completed_at", "failed_at", "expired_at", "cancelled_at") if told[name]}
    assert ended == ({f"{status}_at"} if one.phase == "ended" else set())


def test_results_have_a_file_from_the_start_and_errors_when_there_are_some() -> None:
    assert rendered(batch())["output_file_id"] == "file-" + "0" * 24 + "o"
    assert rendered(batch())["error_file_id"] is None
    assert rendered(batch(has_errors=True))["error_file_id"] == "file-" + "0" * 24 + "e"
    assert rendered(batch(phase="ended", errors=(LineError(code="x", message="x"),)))["output_file_id"] is None


def test_reading_begins_at_the_last_place_that_is_remembered_before() -> None:
    one = batch(
        marks=(Mark(seq=5, output=10, errors=3), Mark(seq=9, output=30, errors=3), Mark(seq=12, output=30, errors=9))
    )
    assert one.before(0, "output") == Mark()
    assert one.before(10, "output").seq == 5
    assert one.before(29, "output").seq == 5
    assert one.before(30, "output").seq == 12
    assert one.before(8, "errors").seq == 9
    assert one.last.of("errors") == 9


@pytest.mark.parametrize("name", ["", "batch_", "batch_1", "batch_" + "x" * 24, "batch_" + "0" * 25])
def test_what_can_be_no_batch_is_not_found(name: str) -> None:
    with pytest.raises(Failed) as refused:
        batch_id(name)
    assert refused.value.error.status == 404
