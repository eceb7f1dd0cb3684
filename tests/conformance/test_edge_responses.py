"""Recorded requests of the Responses API, read by the edge: they ask what an independent reading says they ask."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from gateway.bodies.failures import Failed
from gateway.bodies.openai_responses import wanted
from job_contracts.codec import ContractError, encode
from job_contracts.results import Result
from job_contracts.stream import (
    Delta,
    ReasoningDelta,
    ReasoningToken,
    StreamEvent,
    TextDelta,
    Token,
    ToolCall,
    ToolCallDelta,
)
from producer_sdk.errors import InvalidRequest
from producer_sdk.request import prepare
from tests.conformance.recordings import Exchange, exchanges, needs_recordings
from tests.conformance.translate import Untranslatable, from_openai_responses
from tests.unit.gateway.test_responses_stream import KEPT, STARTED, rendered, result
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded

pytestmark = needs_recordings

NOT_CARRIED = ("unsupported_parameter", "unknown_parameter")


def by_the_edge(body: dict[str, Any]) -> Any:
    """The conversation as the edge submits it, or the code of its refusal."""
    try:
        asked = wanted(body).asked()
        request = prepare(
            asked.model, asked.messages, asked.tools, asked.settings, stream=False, new_id="a-b", token="t", now=1.0
        )
    except Failed as failed:
        return failed.error.code
    except InvalidRequest as error:
        return str(error)
    return json.loads(request.body)["conversation"]


def plain(conversation: Any) -> Any:
    """Without what the edge leaves aside: another endpoint's signatures; and one text is a text, part or not."""
    messages = []
    for turn in conversation["messages"]:
        content = turn.get("content", "")
        if not isinstance(content, str):
            parts = [
                {name: value for name, value in part.items() if name not in {"signature", "origin", "media_type"}}
                for part in content
                if part["type"] != "reasoning" or part.get("text")
            ]
            is_text = len(parts) == 1 and parts[0]["type"] == "text"
            content = parts[0]["text"] if is_text else parts
        if content or turn["role"] != "assistant":
            messages.append({**turn, "content": content})
    return {**conversation, "messages": messages}


def test_recorded_requests_are_read_as_they_were_meant(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    for exchange in exchanges():
        if exchange.endpoint != "responses" or not isinstance(exchange.request, dict):
            continue
        body = {"model": exchange.model, **exchange.request}
        try:
            meant = json.loads(encode(from_openai_responses(body, model=exchange.model).conversation))
        except (Untranslatable, ContractError):
            meant = None
        read = by_the_edge(body)
        if isinstance(read, str):
            assert meant is None or read in NOT_CARRIED, (exchange.id, read)
            counts["refused"] += 1
            continue
        if meant is None:
            counts["read, of which the other reading says nothing"] += 1
            continue
        assert plain(read) == plain(meant), exchange.id
        counts["read alike"] += 1
    with capsys.disabled():
        print(dict(counts))
    assert counts["read alike"] >= 20


# -- recorded answers of every dialect, as streams of this API


def heard(deltas: Iterable[Delta]) -> list[StreamEvent]:
    """A worker's deltas as the SDK tells them."""
    events: list[StreamEvent] = [STARTED]
    for delta in deltas:
        if isinstance(delta, TextDelta):
            events.append(Token(generation=1, text=delta.text))
        elif isinstance(delta, ReasoningDelta):
            events.append(ReasoningToken(generation=1, text=delta.text))
        elif isinstance(delta, ToolCallDelta):
            given = delta.model_dump(include={"index", "id", "name", "arguments"})
            events.append(ToolCall(generation=1, **given))
    return events


def answered() -> Iterator[tuple[Exchange, list[StreamEvent], Result]]:
    """Every recorded answer: how it came, and its record."""
    for exchange in exchanges():
        if exchange.status >= 300:
            continue
        dialect = DIALECTS[exchange.dialect]
        decoder = dialect.decoder(exchange.target, content_type=exchange.headers.get("content-type", ""))
        deltas: list[Delta] = []
        for at in range(0, len(exchange.body), 64):
            deltas += decoder.feed(exchange.body[at : at + 64])
        found = decoder.finish()
        if isinstance(found, Decoded):
            end = result(found.answer, finish_reason=found.finish_reason, usage=found.usage)
            yield exchange, heard(deltas), end


def test_recorded_answers_make_the_same_events_from_their_pieces_and_from_their_record() -> None:
    count = 0
    for exchange, events, end in answered():
        assert rendered(events, end) == rendered([], end), exchange.id
        count += 1
    assert count >= 400


def shape(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """The kinds of a stream's events, without what is particular to one side: how many pieces, who waits in a queue."""
    kinds = [one["type"] for one in events if one["type"] not in {"response.queued", "keepalive"}]
    return [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before]


def test_recorded_streams_of_this_api_have_the_same_kinds_of_events_here() -> None:
    """Where the answer is text, calls and shown reasoning; a provider's own tools and silent reasoning are not here."""
    alike = 0
    for exchange, events, end in answered():
        if exchange.endpoint != "responses" or not exchange.is_stream or exchange.provider not in {"openai", "azure"}:
            continue
        lines = exchange.body.decode().replace("\r\n", "\n").splitlines()
        there = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        items = [one["item"] for one in there if one["type"] == "response.output_item.done"]
        carried = all(
            one["type"] in {"message", "function_call"} or (one["type"] == "reasoning" and len(one["summary"]) == 1)
            for one in items
        )
        if carried and len({(one["type"]) for one in items}) == len(items):
            here = rendered(events, end, kept=KEPT.model_copy(update={"sealed": False}))
            assert shape(here) == shape(there), exchange.id
            alike += 1
    assert alike >= 3
