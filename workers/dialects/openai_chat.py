"""OpenAI's chat completions, and everything that copies them: deviations are quirks of the provider's or model's row.

Request: https://platform.openai.com/docs/api-reference/chat/create. Answer: ``chat.completion``, or a stream of
``chat.completion.chunk`` closed by ``[DONE]``; a finish reason makes an answer whole, ``[DONE]`` may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from catalogue.quirks import quirks_of
from job_contracts.chat import (
    AssistantTurn,
    ImagePart,
    JsonFormat,
    JsonSchemaFormat,
    NamedTool,
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from workers.dialects import limits
from workers.dialects.encoding import (
    Ids,
    Losses,
    Names,
    Wanted,
    data_url,
    in_order,
    kept_images,
    path_of,
    text_of,
)
from workers.dialects.failures import classify
from workers.dialects.openai_answer import ChatReader
from workers.dialects.port import MAX_ANSWER, NO_NAMES, Encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogue.quirks import Quirks
    from job_contracts.attempts import LimitReading
    from job_contracts.chat import Conversation, Tool, UserContent
    from job_contracts.failures import Failure
    from job_contracts.results import LossKind
    from workers.dialects.port import Decoder, Target

_JSON = {"content-type": "application/json"}


class OpenAIChat:
    """The dialect ``openai_chat``."""

    name = "openai_chat"

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        body: dict[str, Any] = {
            "model": target.model.name,
            "messages": _Messages(conversation, wanted, names).all(),
        }
        if (most := wanted.max_tokens(target.model.max_output)) is not None:
            body[quirks.max_tokens_field] = most
        _put_settings(body, conversation, wanted, names)
        if target.stream:
            body["stream"] = True
            if quirks.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return Encoded(
            path=path_of(target, quirks, "/chat/completions"),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )

    def decoder(
        self, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER, names: Mapping[str, str] = NO_NAMES
    ) -> Decoder:
        quirks = quirks_of(target.provider, target.model)
        return ChatReader(target, quirks, content_type=content_type, max_bytes=max_bytes, names=names)

    def failure(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        quirks = quirks_of(target.provider, target.model)
        return classify(status, headers, body, quirks, provider=target.provider.name)

    def limits(self, target: Target, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        return limits.read(headers, requests_window=quirks_of(target.provider, target.model).requests_window)


def _put_settings(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names) -> None:
    settings, quirks, losses = wanted.settings, wanted.quirks, wanted.losses
    if (temperature := wanted.temperature()) is not None:
        body["temperature"] = temperature
    for name in ("top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"):
        if (value := wanted.get(name)) is not None:
            body[name] = value
    if stop := wanted.stop():
        body["stop"] = stop
    if (seed := wanted.get("seed")) is not None:
        body[quirks.seed_field] = seed
    if (effort := wanted.effort()) is not None:
        _put_effort(body, effort, wanted)
    if conversation.tools and not wanted.refused("tools", field="tools"):
        body["tools"] = [_tool(tool, wanted, names) for tool in conversation.tools]
        choice = wanted.tool_choice(conversation)
        if choice is not None:
            body["tool_choice"] = _choice(choice, quirks, names)
        if (parallel := wanted.get("parallel_tool_calls")) is not None:
            body["parallel_tool_calls"] = parallel
    elif settings.parallel_tool_calls is not None or settings.tool_choice is not None:
        losses.add("dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing")
    if (form := wanted.get("response_format")) is not None:
        _put_format(body, form, wanted)


def _put_effort(body: dict[str, Any], effort: str, wanted: Wanted) -> None:
    match wanted.quirks.reasoning_as:
        case "reasoning_effort":
            body["reasoning_effort"] = effort
            return
        case "reasoning":
            body["reasoning"] = {"effort": effort}
            return
        case "thinking":
            body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
        case "enable_thinking":
            body["enable_thinking"] = effort != "none"
    if effort != "none":
        wanted.losses.add("rewritten", "settings.reasoning_effort", f"{effort}: reasoning is only on or off here")


def _tool(tool: Tool, wanted: Wanted, names: Names) -> dict[str, Any]:
    function: dict[str, Any] = {"name": names.sent(tool.name)}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None and not wanted.refused("strict", field="tools.strict"):
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: str | NamedTool, quirks: Quirks, names: Names) -> Any:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": names.sent(choice.name)}}
    return quirks.required_word if choice == "required" else choice


def _put_format(body: dict[str, Any], form: Any, wanted: Wanted) -> None:
    if isinstance(form, JsonSchemaFormat) and wanted.quirks.schema_as == "json_schema":
        schema: dict[str, Any] = {"name": form.name, "schema": form.json_schema}
        if form.description is not None:
            schema["description"] = form.description
        if form.strict is not None and not wanted.refused("strict", field="settings.response_format.strict"):
            schema["strict"] = form.strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return
    if isinstance(form, JsonSchemaFormat | JsonFormat) and wanted.quirks.schema_as == "none":
        wanted.losses.add("dropped", "settings.response_format", "the target has no structured answers")
        return
    if isinstance(form, JsonSchemaFormat):
        wanted.losses.add("rewritten", "settings.response_format", "json_object: the target takes no schema")
    body["response_format"] = {"type": "text" if form.type == "text" else "json_object"}


class _Messages:
    """The turns of a conversation as messages."""

    __slots__ = ("_conversation", "_ids", "_images", "_losses", "_messages", "_names", "_quirks", "_wanted")

    def __init__(self, conversation: Conversation, wanted: Wanted, names: Names) -> None:
        self._conversation = conversation
        self._wanted = wanted
        self._quirks = wanted.quirks
        self._losses = wanted.losses
        self._names = names
        self._ids = Ids(conversation, wanted.quirks, wanted.losses)
        self._messages: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        for at, turn in in_order(self._conversation, self._losses):
            if self._images and not isinstance(turn, ToolTurn):
                self._show_images()
            match turn:
                case UserTurn():
                    self._user(turn, at)
                case AssistantTurn():
                    self._assistant(turn, at)
                case SystemTurn():
                    self._system(turn, at)
                case ToolTurn():
                    self._tool(turn, at)
        if self._images:
            self._show_images()
        return self._alternating() if self._quirks.alternating else self._messages

    def _system(self, turn: SystemTurn, at: int) -> None:
        role = self._quirks.developer_role if turn.role == "developer" else self._quirks.system_role
        if role != turn.role:
            kind: LossKind = "converted" if role == "user" else "renamed"
            self._losses.add(kind, f"messages[{at}].role", f"{turn.role} is sent as {role}")
        self._messages.append({"role": role, "content": self._content(turn.content, at)})

    def _user(self, turn: UserTurn, at: int) -> None:
        message: dict[str, Any] = {"role": "user", "content": self._content(turn.content, at)}
        if turn.name is not None and not self._wanted.refused("name", field=f"messages[{at}].name"):
            message["name"] = turn.name
        self._messages.append(message)

    def _content(self, content: UserContent, at: int) -> Any:
        if isinstance(content, str):
            return content
        parts = kept_images(content, self._wanted, f"messages[{at}].content")
        if not parts:
            return ""
        if self._quirks.joined_text and all(isinstance(part, TextPart) for part in parts):
            if len(parts) > 1:
                self._losses.add("merged", f"messages[{at}].content", "text parts are joined")
            return text_of(parts)
        return [_part(part) for part in parts]

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        if isinstance(turn.content, str):
            self._messages.append({"role": "assistant", "content": turn.content})
            return
        texts: list[str] = []
        message: dict[str, Any] = {"role": "assistant", "content": None}
        calls: list[dict[str, Any]] = []
        reasoning: list[ReasoningPart] = []
        refusals: list[str] = []
        reordered = False
        for part in turn.content:
            match part:
                case TextPart():
                    texts.append(part.text)
                    reordered = reordered or bool(calls or refusals)
                case ToolCallPart():
                    calls.append(self._call(part, at))
                case ReasoningPart():
                    reasoning.append(part)
                case RefusalPart():
                    refusals.append(part.text)
                    reordered = reordered or bool(calls)
        if reordered:
            self._losses.add("rewritten", f"messages[{at}].content", "text is sent first, then refusals, then calls")
        self._put_texts(message, texts, at)
        if reasoning:
            self._put_reasoning(message, reasoning, at)
        if refusals:
            message["refusal"] = "".join(refusals)
            if len(refusals) > 1:
                self._losses.add("merged", f"messages[{at}].refusal", "refusals are joined")
        if calls:
            message["tool_calls"] = calls
        elif not texts and not refusals:
            message["content"] = ""
        self._messages.append(message)

    def _put_texts(self, message: dict[str, Any], texts: list[str], at: int) -> None:
        if len(texts) == 1:
            message["content"] = texts[0]
        elif texts and self._quirks.joined_text:
            self._losses.add("merged", f"messages[{at}].content", "text parts are joined")
            message["content"] = "".join(texts)
        elif texts:
            message["content"] = [{"type": "text", "text": text} for text in texts]

    def _put_reasoning(self, message: dict[str, Any], parts: list[ReasoningPart], at: int) -> None:
        field = self._quirks.reasoning_history
        if any(part.signature or part.redacted for part in parts):
            self._losses.add("dropped", f"messages[{at}].reasoning.signature", "the wire format has no place for it")
        text = "".join(part.text for part in parts)
        if field and text:
            message[field] = text
        elif text:
            self._losses.add("dropped", f"messages[{at}].reasoning", "earlier reasoning is not sent back here")

    def _call(self, part: ToolCallPart, at: int) -> dict[str, Any]:
        if part.signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "the wire format has no place for it")
        function = {"name": self._names.sent(part.name), "arguments": part.arguments}
        return {"id": self._ids.sent(part.id), "type": "function", "function": function}

    def _tool(self, turn: ToolTurn, at: int) -> None:
        content: Any = turn.content
        if not isinstance(content, str):
            parts = kept_images(content, self._wanted, f"messages[{at}].content")
            images = [_part(part) for part in parts if isinstance(part, ImagePart)]
            if images:
                self._losses.add("converted", f"messages[{at}].content", "images of a result follow in a user turn")
                self._images += images
            content = self._content(tuple(part for part in parts if isinstance(part, TextPart)), at)
        if turn.is_error:
            self._losses.add("dropped", f"messages[{at}].is_error", "the wire format has no word for it")
        self._messages.append({"role": "tool", "tool_call_id": self._ids.sent(turn.tool_call_id), "content": content})

    def _show_images(self) -> None:
        self._messages.append({"role": "user", "content": self._images})
        self._images = []

    def _alternating(self) -> list[dict[str, Any]]:
        """Neighbours of one role as one message, as far as they hold nothing but content."""
        merged: list[dict[str, Any]] = []
        for message in self._messages:
            last = merged[-1] if merged else None
            if (
                last is not None
                and message["role"] == last["role"] in {"user", "assistant"}
                and last.keys() == message.keys() == {"role", "content"}
            ):
                last["content"] = _joined(last["content"], message["content"])
                self._losses.add("merged", "messages", f"neighbouring {message['role']} turns are one")
            else:
                merged.append(message)
        return merged


def _part(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image: dict[str, Any] = {"url": data_url(part)}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_as_list(first), *_as_list(second)]


def _as_list(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
