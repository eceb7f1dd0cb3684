"""Nothing is lost unsaid: a conversation, encoded and read back as the API reads it, is the same or has losses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from job_contracts.chat import Conversation, ReasoningEffort, Settings
from tests.conformance.said import (
    FAMILIES,
    READABLE,
    SIGNATURES,
    Understood,
    back,
    marks,
    pairs,
    target,
    things,
    thoughts,
    unsaid,
)
from tests.support import conversations, strategies_plain
from tests.support.examples import examples
from workers.dialects.encoding import BUDGETS, split_data_url
from workers.dialects.pairs import NO_RESULT


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
            origin = draw(st.sampled_from(FAMILIES))
            signed = {"signature": SIGNATURES.get(origin, "c2ln"), "origin": origin}
            parts.insert(0, {"type": "reasoning", "text": draw(text), **signed})
        parts += [
            {
                "type": "tool_call",
                "id": f"call.{step}.{number}",
                "name": draw(strategies_plain.names),
                "arguments": json.dumps(draw(strategies_plain.json_objects)),
            }
            for number in range(calls)
        ]
        words: str = draw(text)
        turns.append({"role": "assistant", "content": parts or words})
        results = [
            {
                "role": "tool",
                "tool_call_id": f"call.{step}.{number}",
                "content": draw(text | strategies_plain.json_objects.map(json.dumps)),
                "is_error": draw(st.booleans()),
            }
            for number in range(calls)
        ]
        between = [{"role": "user", "content": draw(text)}] if draw(st.booleans()) else []
        shuffled: list[Any] = draw(st.permutations([*results, *between]))
        turns += shuffled
    return Conversation.model_validate({"messages": turns})


Complaints = Iterator[str]


def about_words(dialect: str, conversation: Conversation, found: Understood) -> Complaints:
    """What is said and shown comes through, in order, or a loss says so."""
    family = target(dialect).model.family if dialect == "cohere" else ""
    yield from unsaid(things(conversation, family, found.losses), things(found.conversation), found.losses)


def about_settings(dialect: str, conversation: Conversation, found: Understood) -> Complaints:
    """Every setting comes through, or a loss names it."""
    wanted, got = conversation.settings.model_dump(), found.conversation.settings.model_dump()
    named = {loss.field.split(".")[1] for loss in found.losses if loss.field.startswith("settings.")}
    if "tool_choice" in named:
        named.add("parallel_tool_calls")
    for name, value in wanted.items():
        if name in named or value == got[name] or _same(name, value, got[name]):
            continue
        if name in {"reasoning_effort", "reasoning_budget"} and _thinks_as_much(dialect, wanted, got):
            continue
        if name == "reasoning_effort" and value is None and "reasoning_budget" in named:
            continue  # the budget's loss says that it is sent as an effort
        yield f"settings.{name}: {value!r} became {got[name]!r}"


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
    if name == "logprobs":
        return not wanted and not got
    return name == "parallel_tool_calls" and wanted is not False and got is None


def _thinks_as_much(dialect: str, asked: Any, understood: Any) -> bool:
    """An effort and the tokens it stands for are two words for one thing.

    A model that does not reason need not be told not to.
    """
    wanted, got = _tokens(asked), _tokens(understood)
    return wanted == got or (wanted == 0 and got is None and "reasoning" not in target(dialect).model.capabilities)


def _tokens(settings: Any) -> int | None:
    effort: ReasoningEffort | None = settings["reasoning_effort"]
    if effort == "none":
        return 0
    budget: int | None = settings["reasoning_budget"]
    return budget or (BUDGETS[effort] if effort else None)


def about_tools(_: str, conversation: Conversation, found: Understood) -> Complaints:
    """Every tool is offered as it was."""
    read = {tool.name: tool for tool in found.conversation.tools}
    lost = {loss.field for loss in found.losses if loss.kind in {"dropped", "rewritten"}}
    for was in conversation.tools:
        if (now := read.pop(was.name, None)) is None:
            if "tools" not in lost:
                yield f"missing: the tool {was.name}"
            continue
        if (now.description or None) != (was.description or None):  # blank is nothing
            yield f"tools.{was.name}.description: {now.description!r}"
        changed = any(field.startswith(f"tools.{was.name}.") for field in lost)
        if not changed and _schema(was.parameters) != _schema(now.parameters):
            yield f"tools.{was.name}.parameters: {now.parameters}"
        if "tools.strict" not in lost and bool(now.strict) != bool(was.strict):
            yield f"tools.{was.name}.strict: {now.strict}"
    if "tools" not in lost:  # those of earlier calls have to be offered at some, and a loss says so
        yield from (f"added: the tool {name}" for name in read)


def _schema(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Of no parameters and of an object without any, a format may know only one."""
    return {"type": "object", **(parameters or {"properties": {}})}


def about_reasoning(dialect: str, conversation: Conversation, found: Understood) -> Complaints:
    """Reasoning and signatures go only where they belong, and what does not go is named."""
    family = target(dialect).model.family
    reasoning, kept = thoughts(conversation), thoughts(found.conversation)
    less = sum(len(part.text) for part in kept) < sum(len(part.text) for part in reasoning)
    if less and not any("reasoning" in loss.field for loss in found.losses):
        yield "missing: reasoning"
    ours = {secret for part in reasoning if family and part.origin == family for secret in _secrets(part)}
    if foreign := {secret for part in kept for secret in _secrets(part)} - ours:
        yield f"foreign signatures: {foreign}"
    if not any("c2ln" in secret for secret in ours) and '"c2ln"' in json.dumps(found.body):
        yield "a foreign signature is in the body"


def _secrets(part: Any) -> set[str]:
    return {secret for secret in (part.signature, part.redacted) if secret}


def about_marks(_: str, conversation: Conversation, found: Understood) -> Complaints:
    """What is marked for a prompt cache is marked, or a loss says so."""
    told = any("cache" in loss.field or "cache" in loss.detail for loss in found.losses)
    gone = any(loss.field == "tools" and loss.kind == "dropped" for loss in found.losses)  # with their marks
    left = conversation.model_copy(update={"tools": ()}) if gone else conversation
    if marks(found.conversation) < marks(left) and not told:
        yield "missing: cache marks"


def about_losses(_: str, conversation: Conversation, found: Understood) -> Complaints:
    """Every loss names a place that is there, and a setting that is set."""
    tools = {tool.name for tool in conversation.tools}
    for loss in found.losses:
        root, _, rest = loss.field.partition(".")
        if turn := re.fullmatch(r"messages\[(\d+)]", root):
            there = int(turn[1]) < len(conversation.messages)
        elif root == "settings":
            there = rest.partition(".")[0] in Settings.model_fields
        elif root == "tools":
            known = {"", "strict", "cache", "parameters", "description"}
            there = rest in known or any(rest.startswith(f"{name}.") or rest == name for name in tools)
        else:
            there = root in {"messages", "tool_call_id", "cache"}
        if not there or not loss.detail:
            yield f"a loss that names nothing: {loss!r}"


ABOUT = (about_words, about_settings, about_tools, about_reasoning, about_marks, about_losses)


@examples(300)
@given(conversation=conversations.conversations(FAMILIES) | agent_conversations())
def test_nothing_of_any_conversation_is_lost_unsaid_in_any_dialect(conversation: Conversation) -> None:
    wrong = []
    for dialect in READABLE:
        found = back(dialect, conversation)
        for about in ABOUT:
            wrong += [f"{dialect}: {complaint}" for complaint in about(dialect, conversation, found)]
    assert not wrong, "\n".join(wrong)


@examples(100)
@given(conversation=agent_conversations())
def test_every_result_answers_the_call_it_answered(conversation: Conversation) -> None:
    wanted = pairs(conversation)
    assert {dialect: pairs(back(dialect, conversation).conversation) for dialect in READABLE} == dict.fromkeys(
        READABLE, wanted
    )


def test_of_calls_and_results_in_any_disorder_every_call_has_its_one_result() -> None:
    def call(id: str) -> dict[str, Any]:
        part = {"type": "tool_call", "id": id, "name": "look_up", "arguments": json.dumps({"of": id})}
        return {"role": "assistant", "content": [part]}

    def result(id: str) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": id, "content": f"of {id}"}

    user = {"role": "user", "content": "Go on."}
    turns = [user, call("a"), user, call("b"), result("b"), result("a"), result("stray"), user, call("c"), user]
    conversation = Conversation.model_validate({"messages": turns, "tools": [{"name": "look_up"}]})
    wanted = [
        ("look_up", json.dumps({"of": name}), said) for name, said in (("a", "of a"), ("b", "of b"), ("c", NO_RESULT))
    ]
    for dialect in READABLE:
        found = back(dialect, conversation)
        assert pairs(found.conversation) == wanted, dialect
        kinds = {(loss.kind, loss.field) for loss in found.losses}
        assert kinds >= {("rewritten", "messages[5]"), ("converted", "messages[6]")}, dialect
        assert ("rewritten", "messages[8].tool_call") in kinds, dialect
        body = json.dumps(found.body)
        assert "of stray" in body, dialect


def test_an_address_that_holds_its_data_is_sent_as_data() -> None:
    assert split_data_url("data:image/gif;base64,AAAA") == ("image/gif", "AAAA")
    assert split_data_url("data:,plain") is None
    assert split_data_url("https://example.com/a.png") is None
