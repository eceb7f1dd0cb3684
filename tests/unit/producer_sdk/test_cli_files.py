"""The files of a run: lines read and written, what a crash leaves, names of runs; and durations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from producer_sdk.cli.durations import seconds
from producer_sdk.cli.exits import code_of
from producer_sdk.cli.files import MARK, Input, Output
from producer_sdk.cli.lines import read_line
from producer_sdk.errors import (
    Closed,
    Forbidden,
    InvalidRequest,
    NotFound,
    PenstockError,
    QueueFull,
    Timeout,
    TooLarge,
    Unreachable,
)


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("1.5m", 90), (" 2 h ", 7200), ("2d", 172_800)])
def test_durations_as_people_write_them(text: str, value: float) -> None:
    assert seconds(text, "deadline") == value


@pytest.mark.parametrize("text", ["", "soon", "-5", "5w", "1h30m"])
def test_what_is_no_duration_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        seconds(text, "deadline")
    assert caught.value.field == "deadline"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("x"), 2),
        (TooLarge("x"), 2),
        (NotFound("x"), 3),
        (Forbidden("x"), 4),
        (QueueFull("x"), 4),
        (Unreachable("x"), 5),
        (Closed("x"), 5),
        (Timeout("x"), 1),
        (PenstockError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(error: PenstockError, code: int) -> None:
    assert code_of(error) == code


# -- lines


def test_our_line_is_the_arguments_of_complete() -> None:
    line = read_line(3, '{"messages": "x", "temperature": 1}', model="fast")
    assert (line.custom_id, line.batch, line.error) == ("line-3", False, None)
    assert line.request == {"model": "fast", "messages": "x", "temperature": 1}
    assert read_line(1, '{"model": "own", "messages": "x"}', model="fast").request["model"] == "own"


def test_a_line_of_openais_batch_shape_is_its_body() -> None:
    body = {
        "model": "fast",
        "messages": [],
        "stream": False,
        "store": False,
        "service_tier": "auto",
        "seed": None,
        "user": "u",
        "metadata": {"a": "b"},
    }
    line = read_line(1, json.dumps({"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": body}))
    assert (line.custom_id, line.batch, line.error) == ("c", True, None)
    assert line.request == {"model": "fast", "messages": [], "tags": {"a": "b", "user": "u"}}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("nonsense", None),
        ("[1]", None),
        ('{"messages": "x"}', "model"),
        ('{"model": "x"}', "messages"),
        ('{"custom_id": 5, "model": "x", "messages": "x"}', "custom_id"),
        ('{"body": {}, "url": "/v1/embeddings"}', "url"),
        ('{"body": {}, "method": "GET"}', "method"),
        ('{"body": 5}', "body"),
        ('{"body": {}, "extra": 1}', "extra"),
    ],
)
def test_a_line_that_is_no_request_keeps_its_place_with_an_error(text: str, field: str | None) -> None:
    line = read_line(7, text)
    assert line.number == 7
    assert line.error is not None
    assert line.error.field == field


# -- files


def written(path: Path, *objects: Any) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in objects))
    return path


def test_what_a_crash_cut_off_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Output(out) as output:
        output.write({"custom_id": "a", "error": None})
        output.write({"custom_id": "b", "error": {"code": "x"}})
    whole = out.read_bytes()
    out.write_bytes(whole + b'{"custom_id":"c","err')
    with Output(out) as output:
        assert (output.before.done, output.before.failed) == ({"a", "b"}, 1)
        assert out.read_bytes() == whole
        output.write({"custom_id": "c", "error": None})
    assert [json.loads(line)["custom_id"] for line in out.read_text().splitlines()] == ["a", "b", "c"]


def test_a_run_keeps_its_name_until_it_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Output(out) as first, Output(out) as again:
        assert first.run == again.run
        again.finish()
    assert not (tmp_path / f"out.jsonl{MARK}").exists()
    with Output(out) as other:
        assert other.run != first.run


def test_a_line_that_was_edited_is_another_job(tmp_path: Path) -> None:
    with Output(tmp_path / "out.jsonl") as output:
        one = output.key(read_line(1, '{"model": "m", "messages": "x"}'))
        same = output.key(read_line(1, '{"messages": "x", "model": "m"}'))
        other = output.key(read_line(1, '{"model": "m", "messages": "y"}'))
    assert one == same != other


def test_a_broken_mark_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / f"out.jsonl{MARK}").write_text("garbage")
    with Output(tmp_path / "out.jsonl") as output:
        assert output.run


def test_blank_lines_and_a_byte_order_mark_are_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"model": "m", "messages": "x"}\n\n   \n{"model": "m", "messages": "y"}')
    lines = list(Input(path, model=None))
    assert [(line.number, line.error) for line in lines] == [(1, None), (4, None)]


def test_a_given_id_may_not_be_that_of_another_line(tmp_path: Path) -> None:
    request = {"model": "m", "messages": "x"}
    with pytest.raises(InvalidRequest, match="lines 1 and 2"):
        Input(written(tmp_path / "in.jsonl", {"custom_id": "line-2", **request}, request), model=None)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest):
        Input(path, model=None)
