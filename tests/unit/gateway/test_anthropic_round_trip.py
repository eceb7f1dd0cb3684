"""A conversation in Anthropic's shape, in at the edge and out at the workers' dialect, keeps its meaning."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies import anthropic
from gateway.bodies.anthropic_answer import content
from job_contracts.chat import Answer, AssistantPart, AssistantTurn, ReasoningPart, TextPart, ToolCallPart
from tests.conformance.essence import essence
from tests.support.anthropic_api import conversation
from tests.unit.dialects.samples import target
from workers.dialects import DIALECTS

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=9)
data = st.sampled_from(["aGVsbG8=", "JVBERi0xLjQ="])
schemas = st.just({"type": "object", "properties": {"city": {"type": "string"}}})
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = ("weather", "search")


def block(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    made = st.fixed_dictionaries({"type": st.just(kind), **fields})
    marks = st.sampled_from([None, None, None, {"type": "ephemeral", "ttl": "5m"}])
    return st.tuples(made, marks).map(lambda pair: {**pair[0], "cache_control": pair[1]} if pair[1] else pair[0])


texts = block("text", text=words)
images = block(
    "image",
    source=st.fixed_dictionaries({"type": st.just("base64"), "media_type": st.just("image/png"), "data": data})
    | st.just({"type": "url", "url": "https://example.com/a.png"}),
)
documents = block(
    "document",
    title=words,
    source=st.fixed_dictionaries({"type": st.just("base64"), "media_type": st.just("application/pdf"), "data": data})
    | st.fixed_dictionaries({"type": st.just("text"), "media_type": st.just("text/plain"), "data": words}),
)
shown = texts | images | documents


@st.composite
def exchanged(draw: st.DrawFn, at: int) -> list[dict[str, Any]]:
    """What the user says and the assistant answers; perhaps it thinks, calls tools and is told their results."""
    said: list[dict[str, Any]] = [{"role": "user", "content": draw(words | st.lists(shown, min_size=1, max_size=3))}]
    thought = draw(
        st.lists(
            st.fixed_dictionaries({"type": st.just("thinking"), "thinking": words, "signature": data})
            | st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": data}),
            max_size=2,
        )
    )
    names = draw(st.lists(st.sampled_from(TOOLS), max_size=3))
    calls = [
        {
            "type": "tool_use",
            "id": f"toolu_{at}_{n}",
            "name": name,
            "input": draw(st.dictionaries(words, words, max_size=2)),
        }
        for n, name in enumerate(names)
    ]
    spoken = draw(st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": words}), min_size=1, max_size=2))
    said.append({"role": "assistant", "content": [*thought, *spoken, *calls]})
    if calls:
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call["id"],
                "content": draw(words | st.lists(texts.map(unmarked) | images.map(unmarked), min_size=1, max_size=2)),
                **({"is_error": True} if draw(st.booleans()) else {}),
            }
            for call in calls
        ]
        said.append({"role": "user", "content": [*results, *draw(st.lists(texts, max_size=1))]})
        said.append({"role": "assistant", "content": "Now I know."})
    return said


def unmarked(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "cache_control"}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    messages = [one for at in range(draw(st.integers(0, 2))) for one in draw(exchanged(at))]
    body: dict[str, Any] = {
        "model": "chat",
        "max_tokens": draw(st.integers(2_000, 8_000)),
        "messages": [*messages, {"role": "user", "content": draw(words)}],
        "tools": [
            {"name": name, "description": draw(words), "input_schema": draw(schemas), **draw(strictness)}
            for name in TOOLS
        ],
    }
    chosen = {
        "system": words | st.lists(texts, min_size=1, max_size=2),
        "stop_sequences": st.lists(words, min_size=1, max_size=3),
        "temperature": st.floats(0, 1),
        "top_k": st.integers(1, 100),
        "tool_choice": st.sampled_from(
            [
                {"type": "auto"},
                {"type": "any"},
                {"type": "none"},
                {"type": "tool", "name": "search"},
                {"type": "auto", "disable_parallel_tool_use": True},
            ]
        ),
        "output_config": st.just({"format": {"type": "json_schema", "schema": CLOSED}}),
    }
    for name, values in chosen.items():
        if draw(st.booleans()):
            body[name] = draw(values)
    return _at_most_four_marks(body)


strictness = st.sampled_from([{}, {}, {"strict": False}])


def _at_most_four_marks(body: dict[str, Any]) -> dict[str, Any]:
    """The API takes no more, and of more the dialect says which it drops."""
    found = [
        one
        for content in (body.get("system"), *(message["content"] for message in body["messages"]))
        if isinstance(content, list)
        for one in content
        if "cache_control" in one
    ]
    for one in found[4:]:
        del one["cache_control"]
    return body


@given(bodies())
def test_a_conversation_asks_the_same_of_anthropic_through_the_gateway(body: dict[str, Any]) -> None:
    request = anthropic.read(body)
    encoded = DIALECTS["anthropic"].encode(conversation(request), target("anthropic"))
    sent = json.loads(encoded.body)
    kept = {loss.field for loss in encoded.losses if loss.kind == "dropped"}
    assert kept <= {"settings.parallel_tool_calls"}
    was, now = essence("anthropic", body), essence("anthropic", sent)
    assert now == was


@given(st.lists(st.sampled_from(["thinking", "foreign", "redacted", "text", "call"]), min_size=1, max_size=5))
def test_an_answer_that_is_given_back_is_the_answer(kinds: list[str]) -> None:
    made: dict[str, AssistantPart] = {
        "thinking": ReasoningPart(text="Hm.", signature="c2ln", origin="claude"),
        "foreign": ReasoningPart(text="Hm.", signature='{"id":"rs_1"}', origin="gpt-5"),
        "redacted": ReasoningPart(redacted="ZGF0YQ==", origin="claude"),
        "text": TextPart(text="Said."),
    }
    parts: tuple[AssistantPart, ...] = tuple(
        ToolCallPart(id=f"c{at}", name="search", arguments='{"q":"a"}') if kind == "call" else made[kind]
        for at, kind in enumerate(kinds)
    )
    told = content(Answer(parts=parts), "shown")
    body = {"model": "chat", "max_tokens": 9, "messages": [{"role": "assistant", "content": told}]}
    assert anthropic.read(body).asked.messages == [AssistantTurn(role="assistant", content=parts)]
