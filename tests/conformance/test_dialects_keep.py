"""Nothing is lost unsaid: a conversation, encoded and read back as the API reads it, is the same or has losses."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogue.load import providers
from job_contracts.chat import (
    AssistantTurn,
    Conversation,
    ImagePart,
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
)
from job_contracts.results import Loss
from tests.conformance.translate import translate
from tests.support import strategies
from workers.dialects import DIALECTS
from workers.dialects.encoding import data_url, split_data_url
from workers.dialects.port import Target

TARGETS = {
    "openai_chat": ("openai", "gpt-4o"),
    "anthropic": ("anthropic", "claude-sonnet-5"),
    "gemini": ("gemini", "gemini-3-flash"),
}
REORDERING = {"rewritten", "merged", "converted"}

Said = tuple[str, Any]


@cache
def target(dialect: str) -> Target:
    provider, model = TARGETS[dialect]
    row = providers()[provider]
    return Target(provider=row, model=row.model(model))


@st.composite
def agent_conversations(draw: st.DrawFn) -> Conversation:
    """Conversations as agents have them: calls with their results, in good order or not quite."""
    turns: list[Any] = []
    text = st.text(min_size=1, max_size=10)
    for step in range(draw(st.integers(1, 4))):
        turns.append({"role": "user", "content": draw(text)})
        calls = draw(st.integers(0, 3))
        parts: list[Any] = [{"type": "text", "text": draw(text)}] if draw(st.booleans()) else []
        if draw(st.booleans()):
            signed = {
                "signature": "c2ln",
                "origin": target(draw(st.sampled_from(sorted(TARGETS)))).model.family or None,
            }
            parts.insert(0, {"type": "reasoning", "text": draw(text), **signed})
        parts += [
            {
                "type": "tool_call",
                "id": f"call.{step}.{number}",
                "name": draw(strategies.names),
                "arguments": json.dumps(draw(strategies.json_objects)),
            }
            for number in range(calls)
        ]
        words: str = draw(text)
        turns.append({"role": "assistant", "content": parts or words})
        results = [
            {
                "role": "tool",
                "tool_call_id": f"call.{step}.{number}",
                "content": draw(text),
                "is_error": draw(st.booleans()),
            }
            for number in range(calls)
        ]
        between = [{"role": "user", "content": draw(text)}] if draw(st.booleans()) else []
        shuffled: list[Any] = draw(st.permutations([*results, *between]))
        turns += shuffled
    return Conversation.model_validate({"messages": turns})


def said(conversation: Conversation) -> list[Said]:
    """Everything that is said and shown, in order; blank text is nothing, ids are numbers in the order they appear."""
    ids: dict[str, int] = {}
    found: list[Said] = []
    for turn in conversation.messages:
        role = "system" if isinstance(turn, SystemTurn) else turn.role
        if isinstance(turn, ToolTurn):
            found.append(("result", ids.setdefault(turn.tool_call_id, len(ids))))
        parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
        for part in parts:
            if isinstance(part, TextPart | RefusalPart):
                text = _result(part.text) if isinstance(turn, ToolTurn) else part.text.strip()
                found += [(role, text)] if text else []
            elif isinstance(part, ImagePart):
                found.append(("image", data_url(part)))
            elif isinstance(part, ToolCallPart):
                call = (ids.setdefault(part.id, len(ids)), part.name, _arguments(part.arguments))
                found.append(("call", call))
    return found


def _arguments(text: str) -> str:
    try:
        value = json.loads(text, parse_constant=_no_number) if text.strip() else {}
    except ValueError:
        value = text.strip()
    return json.dumps(value if isinstance(value, dict) else {"arguments": value}, sort_keys=True)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _result(text: str) -> str:
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        return text.strip()
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("output"), str):
        return str(value["output"]).strip()
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else text.strip()


def counted(found: list[Said]) -> Counter[str]:
    """What is said without its order and roles; texts that a format joins are compared character by character."""
    counts: Counter[str] = Counter()
    for kind, what in found:
        if kind in {"image", "call", "result"}:
            counts[f"{kind} {what if kind != 'call' else what[1:]}" if kind != "result" else "result"] += 1
        else:
            counts.update(character for character in what if not character.isspace())
    return counts


def back(dialect: str, conversation: Conversation) -> tuple[Conversation, tuple[Loss, ...], dict[str, Any]]:
    """The conversation as the API understands it, with tools under their own names."""
    chosen = target(dialect)
    encoded = DIALECTS[dialect].encode(conversation, chosen)
    body = json.loads(encoded.body)
    read = translate(dialect, body, family=chosen.model.family).conversation
    values = read.model_dump()
    for turn in values["messages"]:
        if turn["role"] == "assistant" and not isinstance(turn["content"], str):
            for part in turn["content"]:
                if part["type"] == "tool_call":
                    part["name"] = encoded.names.get(part["name"], part["name"])
    for tool in values["tools"]:
        tool["name"] = encoded.names.get(tool["name"], tool["name"])
    choice = values["settings"]["tool_choice"]
    if isinstance(choice, dict):
        choice["name"] = encoded.names.get(choice["name"], choice["name"])
    return Conversation.model_validate(values), encoded.losses, body


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(conversation=strategies.conversations() | agent_conversations())
def test_what_is_said_and_shown_comes_through_or_a_loss_says_so(dialect: str, conversation: Conversation) -> None:
    read, losses, _ = back(dialect, conversation)
    was, now = said(conversation), said(read)
    assert counted(was) == counted(now)
    if was != now:
        assert {loss.kind for loss in losses} & REORDERING, f"{was}\n{now}\n{losses}"


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(conversation=agent_conversations())
def test_every_result_answers_the_call_it_answered(dialect: str, conversation: Conversation) -> None:
    read, _, _ = back(dialect, conversation)
    assert _pairs(conversation) == _pairs(read)


def _pairs(conversation: Conversation) -> list[tuple[str, str, str]]:
    """Name, arguments and result of each call, in the order of the calls."""
    results = {
        turn.tool_call_id: _result(turn.content if isinstance(turn.content, str) else turn.content[0].text)  # type: ignore[union-attr]
        for turn in conversation.messages
        if isinstance(turn, ToolTurn) and turn.content
    }
    return [
        (part.name, _arguments(part.arguments), results.get(part.id, ""))
        for turn in conversation.messages
        if isinstance(turn, AssistantTurn) and not isinstance(turn.content, str)
        for part in turn.content
        if isinstance(part, ToolCallPart)
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(conversation=strategies.conversations())
def test_every_setting_comes_through_or_a_loss_names_it(dialect: str, conversation: Conversation) -> None:
    read, losses, _ = back(dialect, conversation)
    wanted, got = conversation.settings.model_dump(), read.settings.model_dump()
    named = {loss.field.split(".")[1] for loss in losses if loss.field.startswith("settings.")}
    if "tool_choice" in named:
        named.add("parallel_tool_calls")
    for name, value in wanted.items():
        if name in named or _same(name, value, got[name]):
            continue
        assert (name, value) == (name, got[name]), losses


def _same(name: str, wanted: Any, got: Any) -> bool:
    """Where a format has another word for the same, or sends its default."""
    if name == "max_tokens" and wanted is None:
        return True
    if name == "response_format" and wanted and got and wanted["type"] == got["type"] == "json_schema":
        return bool(wanted["json_schema"] == got["json_schema"])
    if name == "response_format":
        return (wanted or {}).get("type", "text") == "text" and got is None
    if name == "tool_choice":
        return {wanted, got} <= {None, "auto", "none"} if not isinstance(wanted, dict) else False
    return name == "parallel_tool_calls" and wanted is not False and got is None


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(conversation=strategies.conversations())
def test_every_tool_is_offered_as_it_was(dialect: str, conversation: Conversation) -> None:
    read, losses, _ = back(dialect, conversation)
    strictness_lost = any(loss.field == "tools.strict" for loss in losses)
    rewritten = {loss.field for loss in losses if loss.kind == "rewritten"}
    assert len(read.tools) == len(conversation.tools)
    for at, (was, now) in enumerate(zip(conversation.tools, read.tools, strict=True)):
        assert (now.name, now.description) == (was.name, was.description)
        assert f"tools[{at}].parameters" in rewritten or _schema(was.parameters) == _schema(now.parameters)
        assert strictness_lost or bool(now.strict) == bool(was.strict)


def _schema(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Of no parameters and of an object without any, a format may know only one."""
    return {"type": "object", **(parameters or {"properties": {}})}


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(conversation=strategies.conversations() | agent_conversations())
def test_reasoning_and_signatures_go_only_where_they_belong(dialect: str, conversation: Conversation) -> None:
    family = target(dialect).model.family
    read, losses, body = back(dialect, conversation)
    reasoning = [
        part
        for turn in conversation.messages
        if isinstance(turn, AssistantTurn) and not isinstance(turn.content, str)
        for part in turn.content
        if isinstance(part, ReasoningPart) and (part.text or part.signature or part.redacted)
    ]
    kept = [
        part
        for turn in read.messages
        if isinstance(turn, AssistantTurn) and not isinstance(turn.content, str)
        for part in turn.content
        if isinstance(part, ReasoningPart)
    ]
    assert len(kept) <= len(reasoning)
    if len(kept) < len(reasoning):
        assert any("reasoning" in loss.field for loss in losses)
    ours = {part.signature or part.redacted for part in reasoning if family and part.origin == family}
    assert {part.signature or part.redacted for part in kept} <= ours
    foreign = [part.signature for part in reasoning if part.signature == "c2ln" and part.origin != family]
    if foreign and not ours:
        assert '"c2ln"' not in json.dumps(body)


def test_an_address_that_holds_its_data_is_sent_as_data() -> None:
    assert split_data_url("data:image/gif;base64,AAAA") == ("image/gif", "AAAA")
    assert split_data_url("data:,plain") is None
    assert split_data_url("https://example.com/a.png") is None
