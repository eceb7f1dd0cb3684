"""Ollama's own chat (its OpenAI-compatible endpoint is ``openai_chat``): https://docs.ollama.com/api/chat.

A prompt longer than the context the model was loaded with is cut in silence unless the request forbids it: it does.
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
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from workers.dialects import thinking
from workers.dialects.answering import Answering
from workers.dialects.encoding import (
    Ids,
    Losses,
    Names,
    Wanted,
    image_data,
    kept_images,
    objects,
    path_of,
    unmarked,
)
from workers.dialects.ollama_answer import OllamaReader
from workers.dialects.pairs import paired
from workers.dialects.port import Encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.chat import AssistantPart, Conversation, Tool, UserContent
    from workers.dialects.port import Target

_JSON = {"content-type": "application/json"}


class Ollama(Answering):
    """The dialect ``ollama``."""

    name = "ollama"
    reader = OllamaReader

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        body: dict[str, Any] = {
            "model": target.model.name,
            "messages": _Messages(conversation, wanted, names).all(),
            "stream": target.stream,
            "truncate": False,
            "shift": False,
        }
        if options := _options(wanted, target):
            body["options"] = options
        _put_thinking(body, wanted)
        _put_tools(body, conversation, wanted, names)
        _put_format(body, wanted)
        unmarked(conversation, losses)
        for name in ("logprobs", "top_logprobs"):
            if (value := wanted.get(name)) is not None:
                body[name] = value
        return Encoded(
            path=path_of(target, quirks, "/api/chat"),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )


def _options(wanted: Wanted, target: Target) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if window := wanted.quirks.num_ctx or target.model.context_window:
        options["num_ctx"] = window
    if (most := wanted.max_tokens(target.model.max_output)) is not None:
        options["num_predict"] = most
    if (temperature := wanted.temperature()) is not None:
        options["temperature"] = temperature
    for name in ("top_p", "top_k", "presence_penalty", "frequency_penalty"):
        if (value := wanted.get(name)) is not None:
            options[name] = value
    if (seed := wanted.get("seed")) is not None:
        options["seed"] = seed
    if stop := wanted.stop():
        options["stop"] = stop
    return options


def _put_thinking(body: dict[str, Any], wanted: Wanted) -> None:
    quirks = wanted.quirks
    if quirks.think == "none":
        thinking.unknown(wanted)
        return
    effort = thinking.effort(wanted)
    if effort is None:
        return
    if quirks.think == "level":
        body["think"] = effort
        return
    body["think"] = effort != "none"
    if effort != "none":
        wanted.losses.add("rewritten", thinking.EFFORT, f"{effort}: reasoning is only on or off here")


def _put_tools(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names) -> None:
    settings, losses = wanted.settings, wanted.losses
    if not conversation.tools or wanted.refused("tools", field="tools"):
        if settings.tool_choice is not None or settings.parallel_tool_calls is not None:
            losses.add("dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing")
        return
    choice = wanted.tool_choice(conversation)
    if settings.parallel_tool_calls is False:
        losses.add("dropped", "settings.parallel_tool_calls", "the wire format has no word for it")
    if choice == "none":
        # The one way to keep the model from calling.
        losses.add("rewritten", "settings.tool_choice", "none: the tools are not offered at all")
        losses.add("dropped", "tools", "none of them may be called")
        return
    if choice not in {None, "auto"}:
        losses.add("dropped", "settings.tool_choice", "a call cannot be required here")
    body["tools"] = [_tool(tool, wanted, names) for tool in conversation.tools]


def _tool(tool: Tool, wanted: Wanted, names: Names) -> dict[str, Any]:
    function: dict[str, Any] = {"name": names.sent(tool.name)}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    if tool.strict:
        wanted.losses.add("dropped", "tools.strict", "the wire format has no word for it")
    return {"type": "function", "function": function}


def _put_format(body: dict[str, Any], wanted: Wanted) -> None:
    form = wanted.get("response_format")
    if isinstance(form, JsonFormat):
        body["format"] = "json"
    elif isinstance(form, JsonSchemaFormat):
        body["format"] = form.json_schema
        if form.description is not None or form.strict is False:
            wanted.losses.add("dropped", "settings.response_format", "description and strict: schemas are strict")


class _Messages:
    """The turns of a conversation as messages: each a text, its images beside it."""

    __slots__ = ("_called", "_ids", "_losses", "_names", "_turns", "_wanted")

    def __init__(self, conversation: Conversation, wanted: Wanted, names: Names) -> None:
        self._wanted = wanted
        self._losses = wanted.losses
        self._names = names
        self._turns = paired(conversation, wanted.losses)
        self._ids = Ids(self._turns, wanted.quirks, wanted.losses)
        self._called: dict[str, str] = {}

    def all(self) -> list[dict[str, Any]]:
        return [self._message(turn, at) for at, turn in self._turns]

    def _message(self, turn: Any, at: int) -> dict[str, Any]:
        match turn:
            case UserTurn():
                if turn.name is not None:
                    self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
                return {"role": "user", **self._content(turn.content, at)}
            case AssistantTurn():
                return self._assistant(turn, at)
            case SystemTurn():
                if turn.role == "developer":
                    self._losses.add("renamed", f"messages[{at}].role", "developer is sent as system")
                return {"role": "system", **self._content(turn.content, at)}
            case ToolTurn():
                return self._tool(turn, at)
        raise AssertionError(turn)

    def _content(self, content: UserContent, at: int) -> dict[str, Any]:
        if isinstance(content, str):
            return {"content": content}
        parts = kept_images(content, self._wanted, f"messages[{at}].content")
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        if len(texts) > 1:
            self._losses.add("merged", f"messages[{at}].content", "text parts are joined")
        sent: dict[str, Any] = {"content": "".join(texts)}
        if images := [data for part in parts if (data := self._image(part, at)) is not None]:
            sent["images"] = images
            if any(isinstance(part, ImagePart) for part in parts[: len(parts) - len(images)]):
                self._losses.add("rewritten", f"messages[{at}].content", "images are sent beside the text, not in it")
        return sent

    def _image(self, part: TextPart | ImagePart, at: int) -> str | None:
        if isinstance(part, TextPart):
            return None
        if part.detail not in {None, "auto"}:
            self._losses.add("dropped", f"messages[{at}].content.detail", "the wire format has no word for it")
        data = image_data(part)
        if data is None:
            self._losses.add("dropped", f"messages[{at}].content", "an image by address: the server loads none")
            return None
        return data[1]

    def _assistant(self, turn: AssistantTurn, at: int) -> dict[str, Any]:
        parts: Sequence[AssistantPart]
        parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        for part in parts:
            match part:
                case TextPart() | RefusalPart():
                    if isinstance(part, RefusalPart):
                        self._losses.add("converted", f"messages[{at}].refusal", "the refusal is sent as text")
                    if calls:
                        self._losses.add("rewritten", f"messages[{at}].content", "text is sent before calls")
                    texts.append(part.text)
                case ReasoningPart():
                    thoughts += self._reasoning(part, at)
                case ToolCallPart():
                    calls.append(self._call(part, at))
        if len(texts) > 1:
            self._losses.add("merged", f"messages[{at}].content", "text parts are joined")
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
        if thoughts:
            message["thinking"] = "".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        return message

    def _reasoning(self, part: ReasoningPart, at: int) -> list[str]:
        if part.signature or part.redacted:
            self._losses.add("dropped", f"messages[{at}].reasoning.signature", "the wire format has no place for it")
        if part.text and not self._wanted.quirks.thoughts_back:
            self._losses.add("dropped", f"messages[{at}].reasoning", "earlier reasoning is not sent back here")
            return []
        return [part.text] if part.text else []

    def _call(self, part: ToolCallPart, at: int) -> dict[str, Any]:
        if part.signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "the wire format has no place for it")
        name = self._called[part.id] = self._names.sent(part.name)
        given = objects(part.arguments, self._losses, f"messages[{at}].tool_call.arguments")
        return {"id": self._ids.sent(part.id), "function": {"name": name, "arguments": given}}

    def _tool(self, turn: ToolTurn, at: int) -> dict[str, Any]:
        """Older servers pair a result by the tool's name and the order, newer ones by the id."""
        if turn.is_error:
            self._losses.add("dropped", f"messages[{at}].is_error", "the wire format has no word for it")
        message = {"role": "tool", **self._content(turn.content, at), "tool_call_id": self._ids.sent(turn.tool_call_id)}
        if name := self._called.get(turn.tool_call_id) or turn.name:
            message["tool_name"] = name
        return message
