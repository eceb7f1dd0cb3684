"""What a simulated model answers to a request that has been read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.answers import compose, estimate, fingerprint, input_tokens, pieces_of
from simulator.conversation import Answer, Ask, Tool
from simulator.names import parse_name
from simulator.settings import AnswerLength

LENGTH = AnswerLength(shortest=8, longest=20)
WEATHER = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CLOCK = Tool("get_time", {"type": "object", "properties": {"zone": {"type": "string"}}})


def ask(turn: str = "How deep is the lake?", *, model: str = "m", **fields: Any) -> Ask:
    return Ask(model=parse_name(model), prompt=[turn], turn=turn, **fields)


def answer(one: Ask) -> Answer:
    return compose(one, fingerprint(one), LENGTH)


def test_the_same_request_has_the_same_answer_and_another_seed_another() -> None:
    assert answer(ask()) == answer(ask())
    assert answer(ask(seed=1)).text != answer(ask(seed=2)).text
    assert answer(ask("a")).text != answer(ask("b")).text
    assert answer(ask(model="m+tps=5")).text == answer(ask(stream=True)).text


@given(st.text(max_size=30))
def test_a_text_answer_has_the_length_that_was_set(turn: str) -> None:
    one = answer(ask(turn.replace("[[", "")))
    assert LENGTH.shortest <= len(one.pieces) <= LENGTH.longest
    assert one.finish == "stop"
    assert one.text.endswith(".")
    assert answer(ask(turn, model="m+tokens=3")).output_tokens == 3 or "[[say" in turn


@given(st.text(max_size=60))
def test_a_text_in_pieces_is_the_same_text(text: str) -> None:
    assert "".join(pieces_of(text)) == text


def test_words_that_are_asked_for_are_said() -> None:
    assert answer(ask("Now [[say grüße,\n two  lines ]] please")).text == "grüße,\n two  lines "


def test_an_answer_longer_than_max_tokens_is_cut_and_says_so() -> None:
    one = answer(ask(max_tokens=5, reasoning=3))
    assert (len(one.thoughts), len(one.pieces), one.finish) == (3, 2, "length")
    one = answer(ask(max_tokens=2, reasoning=3))
    assert (len(one.thoughts), len(one.pieces), one.finish) == (2, 0, "length")
    assert answer(ask(max_tokens=LENGTH.longest)).finish == "stop"


def test_an_answer_ends_before_the_first_stop_sequence_in_it() -> None:
    one = answer(ask("[[say one two three four]]", stops=("four", "o th", "absent")))
    assert (one.text, one.finish, one.stopped_by) == ("one tw", "stop_sequence", "o th")
    one = answer(ask("[[say one two]]", stops=("one",)))
    assert (one.text, one.finish) == ("", "stop_sequence")


def test_a_schema_is_answered_with_an_instance_and_json_mode_with_an_object() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert isinstance(json.loads(answer(ask(schema=schema)).text)["n"], int)
    assert json.loads(answer(ask("[[say hi]]", json_object=True)).text) == {"answer": "hi"}


def test_json_mode_is_answered_with_an_instance_of_the_schema_that_the_prompt_shows() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    shown = f"Answer {{with}} JSON of this schema: {json.dumps(schema, indent=2)} and nothing else."
    assert isinstance(json.loads(answer(ask(shown, json_object=True)).text)["n"], int)
    assert json.loads(answer(ask(f"{shown} [[say hi]]", json_object=True)).text) == {"answer": "hi"}
    broken = shown.replace("}", "")
    assert list(json.loads(answer(ask(broken, json_object=True)).text)) == ["answer"]
    assert "properties" in answer(ask(f"[[say {shown}]]")).text


@pytest.mark.parametrize(
    ("turn", "fields", "called"),
    [
        ("How deep is the lake?", {}, []),
        ("Please get_weather for Rome", {}, ["get_weather"]),
        ("Get time and get weather", {}, ["get_weather", "get_time"]),
        ("Get time and get weather", {"parallel": False}, ["get_weather"]),
        ("Use a tool", {}, ["get_weather"]),
        ("Use all tools", {}, ["get_weather", "get_time"]),
        ("Use all tools", {"choice": "none"}, []),
        ("How deep is the lake?", {"choice": "required"}, ["get_weather"]),
        ("How deep is the lake?", {"choice": "get_time"}, ["get_time"]),
        ("How is the weather in Rome?", {}, ["get_weather"]),
        ("What time is it, and is the weather fine?", {}, ["get_weather", "get_time"]),
        ("", {}, []),
        ("", {"choice": "required"}, ["get_time"]),
    ],
)
def test_tools_are_called_when_they_are_asked_for(turn: str, fields: dict[str, Any], called: list[str]) -> None:
    one = answer(ask(turn, tools=[WEATHER, CLOCK], **fields))
    assert [call.name for call in one.calls] == called
    assert (one.finish == "tool_calls") is bool(called)
    assert bool(one.pieces) is not bool(called)
    assert all(isinstance(json.loads(call.arguments), dict) for call in one.calls)
    assert len({call.id for call in one.calls}) == len(called)


def test_a_call_that_does_not_fit_is_cut() -> None:
    whole = answer(ask("all tools", tools=[WEATHER, CLOCK])).calls
    one = answer(ask("all tools", tools=[WEATHER, CLOCK], max_tokens=whole[0].tokens + 3))
    assert one.calls[0] == whole[0]
    assert (one.calls[1].tokens, one.calls[1].complete) == (3, False)
    assert whole[1].arguments.startswith(one.calls[1].arguments)
    assert (one.finish, one.output_tokens) == ("length", whole[0].tokens + 3)


def test_input_is_counted_by_characters_and_what_else_it_has() -> None:
    one = Ask(model=parse_name("m"), prompt=["12345", "678"], turn="", extra_tokens=7)
    assert input_tokens(one) == 2 + 7
    assert [estimate(count) for count in (0, 1, 4, 5)] == [0, 1, 1, 2]
