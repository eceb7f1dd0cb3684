"""The clients: one that speaks over the broker, and two that speak HTTP, each telling in the end what reached it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from job_contracts.chat import Answer, AssistantTurn, FinishReason, ToolTurn, UserTurn
from job_contracts.stream import Finished, Switched, Token, ToolCall
from producer_sdk import JobFailed, Producer
from tests.e2e.faults.scenarios.rows import Dialect, Form, Row

SEA = [{"role": "user", "content": "Tell me of the sea, and of those who sail on it."}]
WEATHER = [{"role": "user", "content": "What is the weather at sea?"}]
RULED = "Answer as a sailor would."
"""What the route of the form ``system`` puts in the place of the instructions on a switch."""
SCHEMA = {
    "type": "object",
    "properties": {"wind": {"type": "string"}, "knots": {"type": "integer"}},
    "required": ["wind", "knots"],
    "additionalProperties": False,
}
TOOL = {"name": "get_weather", "description": "The weather at a place.", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": TOOL}]
JSON = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
ASKED: Mapping[Form, dict[str, Any]] = {
    "text": {"messages": SEA},
    "tools": {"messages": WEATHER, "tools": TOOLS},
    "json": {"messages": WEATHER, "response_format": JSON},
    "system": {"messages": [{"role": "system", "content": "Answer briefly."}, *SEA]},
}
"""A request in the words of the SDK, which are those of the chat API as well."""


DOORS: Mapping[str, tuple[str, dict[str, str]]] = {
    "chat": ("/v1/chat/completions", {}),
    "messages": ("/v1/messages", {"anthropic-version": "2023-06-01"}),
}
"""Path and headers of those that speak HTTP."""


@dataclass
class Told:
    """What reached a client. ``done``: it was told that the answer is whole; ``error``: what it was told otherwise."""

    text: str = ""
    arguments: str = ""
    reasons: list[str] = field(default_factory=list)
    done: bool = False
    error: str = ""
    after: bool = False
    """Whether anything came after the end."""
    seconds: float = 0.0

    @property
    def said(self) -> tuple[str, str]:
        return self.text, self.arguments


Conversations = Mapping[Dialect, Sequence[Any]]
"""By dialect, one in which a model of it has thought and called a tool."""


def words(form: Form, dialect: Dialect, thoughts: Conversations) -> dict[str, Any]:
    """What is asked; a conversation with thoughts is continued by the dialect that has begun it."""
    if form == "thinking":
        return {"messages": thoughts[dialect], "tools": TOOLS, "reasoning_effort": "low"}
    return ASKED[form]


def continued(answer: Answer) -> Sequence[Any]:
    """The conversation after this answer, whose calls have been made."""
    calls = answer.tool_calls
    assert calls, "the model was to call a tool"
    results = [ToolTurn(role="tool", tool_call_id=call.id, content="Calm.", name=call.name) for call in calls]
    asked = UserTurn(role="user", content=WEATHER[0]["content"])
    return [asked, AssistantTurn(role="assistant", content=answer.parts), *results]


async def ask(
    row: Row, producer: Producer, client: httpx.AsyncClient, thoughts: Conversations, now: Callable[[], float]
) -> Told:
    """Ask as the row says, and wait for the end; ``now`` is a clock in seconds."""
    told, began = Told(), now()
    asked = words(row.form, row.first, thoughts)
    match row.door:
        case "sdk":
            await by_sdk(told, producer, row, asked)
        case "chat":
            await by_http(told, client, row, {**asked, "model": row.name})
        case "messages":
            await by_http(told, client, row, _messages(row, asked))
    told.seconds = now() - began
    return told


async def by_sdk(told: Told, producer: Producer, row: Row, asked: dict[str, Any]) -> None:
    """An answer, or the events of its stream, which begin anew where the SDK says so."""
    options: dict[str, Any] = {"deadline": float(row.counts["deadline"])} if "deadline" in row.counts else {}
    try:
        if not row.streamed:
            answered = await producer.complete(model=row.name, **asked, **options)
            assert answered.result.answer is not None
            told.text = answered.result.answer.text
            told.arguments = "".join(call.arguments for call in answered.result.answer.tool_calls)
            told.reasons = [cast("FinishReason", answered.result.finish_reason).value]
            told.done = True
            return
        async for event in producer.stream(model=row.name, **asked, **options):
            told.after = told.after or told.done
            match event:
                case Switched():
                    told.text = told.arguments = ""
                case Token():
                    told.text += event.text
                case ToolCall():
                    told.arguments += event.arguments
                case Finished() if event.result.finish_reason is not None:  # of a failed job the error follows
                    told.done = True
                    told.reasons = [event.result.finish_reason.value]
                case _:
                    pass
    except JobFailed as error:
        told.error = f"{error.kind}: {error}"


def _messages(row: Row, asked: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"model": row.name, "max_tokens": 1_000, "messages": asked["messages"]}
    if "tools" in asked:
        body["tools"] = [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": SCHEMA}]
    return body


async def by_http(told: Told, client: httpx.AsyncClient, row: Row, body: dict[str, Any]) -> None:
    """A body, or a stream of events that ends in its own mark or in an error."""
    path, headers = DOORS[row.door]
    if "deadline" in row.counts:
        headers = {**headers, "x-penstock-deadline": str(row.counts["deadline"])}
    body = {**body, "stream": row.streamed}
    async with client.stream("POST", path, json=body, headers=headers) as answered:
        if answered.status_code != 200 or not row.streamed:
            said = json.loads(await answered.aread())
            if answered.status_code == 200:
                (_message if row.door == "messages" else _completion)(told, said)
                told.done = True
            else:
                told.error = f"{answered.status_code} {said['error'].get('code', '')} {said['error']['message']}"
            return
        async for data in _events(answered):
            told.after = told.after or told.done or bool(told.error)
            if data == "[DONE]":
                told.done = True
                continue
            said = json.loads(data)
            if said.get("error"):
                told.error = f"{said['error'].get('code', '')} {said['error']['message']}"
            elif row.door == "messages":
                _message_event(told, said)
            else:
                _completion(told, said)


async def _events(answered: httpx.Response) -> AsyncIterator[str]:
    async for line in answered.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def _completion(told: Told, said: dict[str, Any]) -> None:
    for choice in said["choices"]:
        piece = choice.get("delta") or choice.get("message") or {}
        told.text += piece.get("content") or ""
        told.arguments += "".join(call["function"]["arguments"] for call in piece.get("tool_calls") or ())
        if choice.get("finish_reason"):
            told.reasons.append(choice["finish_reason"])


def _message(told: Told, said: dict[str, Any]) -> None:
    for part in said["content"]:
        told.text += part.get("text", "")
        if part["type"] == "tool_use":
            told.arguments += json.dumps(part["input"])
    told.reasons.append(said["stop_reason"])


def _message_event(told: Told, said: dict[str, Any]) -> None:
    match said["type"]:
        case "content_block_delta":
            told.text += said["delta"].get("text", "")
            told.arguments += said["delta"].get("partial_json", "")
        case "message_delta":
            told.reasons.append(said["delta"]["stop_reason"])
        case "message_stop":
            told.done = True
        case _:
            pass
