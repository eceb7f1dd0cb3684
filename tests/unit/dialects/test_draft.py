from __future__ import annotations

from typing import Any

import pytest

from job_contracts.chat import ReasoningPart, RefusalPart, TextPart, ToolCallPart
from job_contracts.stream import ReasoningDelta, TextDelta, ToolCallDelta
from workers.dialects.draft import Draft


def draft(**options: object) -> Draft:
    return Draft(**{"origin": None, "names": {}, **options})  # type: ignore[arg-type]


def test_neighbouring_pieces_are_one_delta_and_one_part() -> None:
    one = draft()
    for piece in ("a", "b", ""):
        one.text(piece)
    one.reasoning("r")
    one.text("c")
    assert list(one.drain()) == [TextDelta(text="ab"), ReasoningDelta(text="r"), TextDelta(text="c")]
    assert one.drain() == ()
    assert one.answer().parts == (TextPart(text="ab"), ReasoningPart(text="r"), TextPart(text="c"))
    assert one.characters == 4


def test_a_call_names_itself_in_its_first_delta_only() -> None:
    one = draft()
    one.call("k", id="call_1", name="f")
    one.arguments("k", '{"a"')
    assert list(one.drain()) == [ToolCallDelta(index=0, id="call_1", name="f", arguments='{"a"')]
    one.call("k", id="call_1", name="f")
    one.arguments("k", ": 1}")
    assert list(one.drain()) == [ToolCallDelta(index=0, arguments=": 1}")]
    assert one.answer().tool_calls == (ToolCallPart(id="call_1", name="f", arguments='{"a": 1}'),)


def test_a_call_that_is_named_late_is_told_late_and_whole() -> None:
    one = draft()
    one.call("k", id=None, name=None)
    one.arguments("k", "{")
    assert list(one.drain()) == []
    one.call("k", id="x", name="f")
    one.arguments("k", "}")
    assert list(one.drain()) == [ToolCallDelta(index=0, id="x", name="f", arguments="{}")]


def test_parallel_calls_keep_their_places_when_their_pieces_mix() -> None:
    one = draft()
    for key in ("a", "b"):
        one.call(key, id=key, name=key)
        one.arguments(key, "")
    one.arguments("a", "[1")
    one.arguments("b", "[2")
    one.arguments("a", "]")
    one.arguments("b", "]")
    told = {0: "", 1: ""}
    for delta in one.drain():
        assert isinstance(delta, ToolCallDelta)
        told[delta.index] += delta.arguments
    assert told == {0: "[1]", 1: "[2]"}
    assert [call.arguments for call in one.answer().tool_calls] == ["[1]", "[2]"]


def test_a_call_without_an_id_gets_one_that_belongs_to_its_answer() -> None:
    ids = []
    for answer in ("r1", "r2"):
        one = draft()
        one.id = answer
        one.call(0, id=None, name="f")
        one.arguments(0, "{}")
        (told,) = one.drain()
        assert isinstance(told, ToolCallDelta)
        (call,) = one.answer().tool_calls
        assert told.id == call.id
        ids.append(call.id)
    assert ids[0] != ids[1]


def test_arguments_that_never_came_are_an_empty_object() -> None:
    one = draft()
    one.call(0, id="x", name="f")
    one.arguments(0, " ")
    assert one.answer().tool_calls[0].arguments == "{}"


def test_a_seal_is_told_once_when_its_part_is_over() -> None:
    one = Draft(origin="family", names={})
    one.reasoning("because")
    one.sign("si")
    assert list(one.drain()) == [ReasoningDelta(text="because")]
    one.sign("gn")
    assert not one.drain()
    one.text("so")
    one.redacted("opaque")
    assert list(one.drain()) == [
        ReasoningDelta(text="", signature="sign", origin="family"),
        TextDelta(text="so"),
        ReasoningDelta(text="", redacted="opaque", origin="family"),
    ]
    one.reasoning("all at once")
    one.sign("s")
    one.close()
    assert list(one.drain()) == [ReasoningDelta(text="all at once", signature="s", origin="family")]


def test_signatures_bear_their_origin_and_close_their_part() -> None:
    one = draft(origin="family")
    one.reasoning("because")
    one.sign("c2")
    one.sign("ln")
    one.reasoning("then")
    one.redacted("opaque")
    one.text("so")
    one.sign("alone")
    assert one.answer().parts == (
        ReasoningPart(text="because", signature="c2ln", origin="family"),
        ReasoningPart(text="then"),
        ReasoningPart(redacted="opaque", origin="family"),
        TextPart(text="so"),
        ReasoningPart(signature="alone", origin="family"),
    )


def test_a_refusal_has_no_delta_but_a_part() -> None:
    one = draft()
    one.refusal("I ")
    one.refusal("will not")
    assert list(one.drain()) == []
    assert one.answer().parts == (RefusalPart(text="I will not"),)
    assert one.only_refuses
    one.text("but")
    assert not one.only_refuses


def test_tools_get_their_own_names_back() -> None:
    one = draft(names={"files_read": "files.read"})
    one.call(0, id="x", name="files_read")
    one.arguments(0, "{}")
    (told,) = one.drain()
    assert isinstance(told, ToolCallDelta)
    assert told.name == one.answer().tool_calls[0].name == "files.read"


@pytest.mark.parametrize("wrong", [None, 5, ["a"], {"a": 1}])
def test_what_is_no_text_is_refused_at_once(wrong: Any) -> None:
    one = draft()
    one.call(0, id="x", name="f")
    for take in (one.text, one.reasoning, one.refusal, one.sign, one.redacted):
        with pytest.raises(TypeError):
            take(wrong)
    with pytest.raises(TypeError):
        one.arguments(0, wrong)
