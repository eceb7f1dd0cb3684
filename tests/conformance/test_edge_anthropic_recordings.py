"""Recorded traffic with Anthropic's API, as if its clients had spoken to the edge. Skipped where it is not present.

A recorded request goes in at the edge and out at the dialect, and asks the same. A recorded answer goes in at the
dialect and out at the edge, whole and as a stream, and Anthropic's own client reads the same out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from anthropic.types import Message

from gateway.bodies import anthropic
from gateway.bodies.anthropic_answer import message
from gateway.bodies.failures import Failed
from job_contracts.results import Result
from job_contracts.stream import ReasoningDelta, ReasoningToken, StreamEvent, TextDelta, Token, ToolCall, ToolCallDelta
from tests.conformance.essence import essence
from tests.conformance.recordings import Exchange, exchanges, needs_recordings
from tests.conformance.test_dialects_requests import target as without_bounds
from tests.support.anthropic_api import conversation, finished, frames, gathered, in_order, told
from tests.support.builders import result
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Target

pytestmark = needs_recordings

KNOWN = {"text", "thinking", "redacted_thinking", "tool_use"}
SEEN: tuple[anthropic.Thinking, ...] = ("shown", "hidden")
PLAIN = anthropic.read({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "?"}]})


def recorded() -> Iterator[Exchange]:
    for exchange in exchanges():
        if exchange.endpoint == "messages" and exchange.provider == "anthropic":
            yield exchange


def target(exchange: Exchange) -> Target:
    """Without the bounds that our rows have, which the recorded requests need not keep."""
    found = without_bounds(exchange)
    return Target(
        provider=found.provider, model=found.model.model_copy(update={"family": "claude"}), stream=found.stream
    )


def test_a_recorded_request_asks_the_same_of_the_provider_after_the_edge(capsys: pytest.CaptureFixture[str]) -> None:
    same, refused, wrong = 0, [], []
    for exchange in recorded():
        if not isinstance(exchange.request, Mapping) or "messages" not in exchange.request:
            continue
        try:
            request = anthropic.read(exchange.request)
        except Failed as failed:
            refused.append(f"{exchange.id}: {failed.error}")
            continue
        assert request.asked.stream == bool(exchange.request.get("stream"))
        encoded = DIALECTS["anthropic"].encode(conversation(request), target(exchange))
        was = essence("anthropic", exchange.request)
        now = essence("anthropic", json.loads(encoded.body))
        for loss in encoded.losses:
            if loss.kind in {"dropped", "clamped"} and loss.field.startswith("settings."):
                was.pop(loss.field.removeprefix("settings."), None)
        if was == now:
            same += 1
        else:
            wrong.append(f"{exchange.id}:\n  was {was}\n  now {now}\n  {encoded.losses}")
    with capsys.disabled():
        print(f"\n{same} recorded requests come through the edge the same, {len(refused)} are refused")
    assert same > 30
    assert not wrong, "\n".join(wrong)


def test_a_recorded_answer_is_read_the_same_by_anthropics_client_whole_and_streamed() -> None:
    checked = 0
    for exchange in recorded():
        if exchange.status != 200 or exchange.is_failure:
            continue
        events, decoded = _decoded(exchange)
        if isinstance(decoded, Exchange):
            continue
        made = _result(decoded)
        for thinking in SEEN:
            request = anthropic.Request(PLAIN.asked, thinking)
            whole = Message.model_validate(message(request, made))
            sent = frames(request, [*events, finished(made)])
            in_order(told(sent))
            streamed = gathered(sent)
            assert _plain(streamed) == _plain(whole), exchange.id
            assert streamed.stop_reason == whole.stop_reason
            assert streamed.usage.model_dump(exclude={"cache_creation", "service_tier"}) == whole.usage.model_dump(
                exclude={"cache_creation", "service_tier"}
            )
            assert "thinking" not in {block["type"] for block in _plain(whole)} or thinking == "shown"
        if not exchange.is_stream:
            _as_recorded(json.loads(exchange.body), made)
        checked += 1
    assert checked > 30


def _decoded(exchange: Exchange) -> tuple[list[StreamEvent], Decoded | Exchange]:
    """What our dialect makes of it, read in small pieces: the events of its stream, and the end."""
    decoder = DIALECTS["anthropic"].decoder(target(exchange), content_type=exchange.headers.get("content-type", ""))
    events: list[StreamEvent] = []
    for at in range(0, len(exchange.body), 7):
        events += map(_event, decoder.feed(exchange.body[at : at + 7]))
    end = decoder.finish()
    if not isinstance(end, Decoded):
        return [], exchange
    if not exchange.is_stream:  # it came whole: the producer tells what is in the record
        for part in end.answer.parts:
            index = end.answer.tool_calls.index(part) if part.type == "tool_call" else 0
            match part.type:
                case "text":
                    events.append(Token(text=part.text))
                case "reasoning":
                    seal = {"signature": part.signature, "redacted": part.redacted, "origin": part.origin}
                    events.append(ReasoningToken(text=part.text).model_copy(update=seal))
                case "tool_call":
                    events.append(ToolCall(index=index, id=part.id, name=part.name, arguments=part.arguments))
    return events, end


def _event(delta: Any) -> StreamEvent:
    match delta:
        case TextDelta(text=text):
            return Token(text=text)
        case ReasoningDelta():
            seal = {"signature": delta.signature, "redacted": delta.redacted, "origin": delta.origin}
            return ReasoningToken(text=delta.text).model_copy(update=seal)
        case ToolCallDelta():
            return ToolCall(index=delta.index, id=delta.id, name=delta.name, arguments=delta.arguments)
    raise AssertionError(delta)


def _result(decoded: Decoded) -> Result:
    return result(
        answer=decoded.answer.model_copy(update={"citations": ()}),
        finish_reason=decoded.finish_reason,
        finish_raw=decoded.finish_raw,
        usage=decoded.usage,
        model=decoded.model,
    )


def _plain(answer: Message) -> list[dict[str, Any]]:
    """Its blocks, neighbouring text as one, without what is empty."""
    found: list[dict[str, Any]] = []
    for block in answer.content:
        told = {name: value for name, value in block.model_dump().items() if value not in (None, [])}
        told.pop("citations", None)
        if found and told["type"] == found[-1]["type"] == "text":
            found[-1]["text"] += told["text"]
        elif told.get("text") != "":
            found.append(told)
    return found


def _as_recorded(recorded: Mapping[str, Any], made: Result) -> None:
    now = message(anthropic.Request(PLAIN.asked, "shown"), made)
    blocks: Sequence[dict[str, Any]] = recorded["content"]
    if {block["type"] for block in blocks} <= KNOWN:
        assert _named(now["content"]) == _named(blocks)
    assert now["stop_reason"] == recorded["stop_reason"]
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert now["usage"][name] == (recorded["usage"].get(name) or 0), name


def _named(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = ("type", "text", "thinking", "signature", "data", "id", "name", "input")
    return [{name: block[name] for name in names if name in block} for block in blocks]
