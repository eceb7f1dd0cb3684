"""Anthropic's API as the edge speaks it, for tests: bodies into conversations, events into the client's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anthropic
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter
from pydantic_core import from_json

from gateway.bodies import anthropic as bodies
from gateway.bodies.anthropic_stream import Rendering
from gateway.bodies.frames import Frame
from gateway.bodies.joining import joined
from job_contracts.chat import Conversation
from job_contracts.codec import check
from job_contracts.results import Result
from job_contracts.stream import Finished, StreamEvent
from producer_sdk.generation import settings

RAW: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def conversation(request: bodies.Request) -> Conversation:
    """What a request asks, as a job has it."""
    asked = request.asked
    values = {"messages": asked.messages, "tools": asked.tools, "settings": settings(asked.settings)}
    return check(Conversation, values, strict_names=True)


def frames(request: bodies.Request, events: Sequence[StreamEvent], job: str = "j1") -> list[Frame]:
    """All frames of a stream that ends well; the last event is ``Finished``."""
    rendering = Rendering(request, "req_1")
    rendering.begin([job])
    found = [frame for event in joined("continue", events) for frame in rendering.event(0, event)]
    last = events[-1]
    assert isinstance(last, Finished)
    return [*found, *rendering.end((last.result,))]


def told(frames: Iterable[Frame]) -> list[Any]:
    """The frames' JSON; each is named as its type."""
    found = []
    for frame in frames:
        event = from_json(frame.data)
        assert event["type"] == frame.event
        found.append(event)
    return found


def in_order(events: Iterable[Mapping[str, Any]]) -> None:
    """Assert that blocks come one after the other, each begun and ended, between start and end of the message."""
    begun, count = None, 0
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_stop") == 1
    for event in events:
        if event["type"] == "content_block_start":
            assert begun is None
            begun = event["index"]
            assert begun == count
            count += 1
        elif event["type"] == "content_block_delta":
            assert event["index"] == begun
        elif event["type"] == "content_block_stop":
            assert event["index"] == begun
            begun = None
    assert begun is None


def gathered(frames: Iterable[Frame]) -> Message:
    """What Anthropic's own client makes of a stream."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in told(frames):
        if event["type"] in {"ping", "error"}:
            continue
        snapshot = accumulate_event(
            event=RAW.validate_python(event),
            current_snapshot=snapshot,
            json_bufs=buffers,
            output_format=anthropic.NOT_GIVEN,
        )
    assert snapshot is not None
    return Message.model_validate(snapshot.to_dict())


def finished(result: Result) -> Finished:
    """The end of a stream."""
    return Finished(generation=1, sequence=999, result=result)
