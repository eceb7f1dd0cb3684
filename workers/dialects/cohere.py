"""Cohere's chat, version 2.

Request: https://docs.cohere.com/reference/chat. Answer: one object, or a stream of typed events closed by
``message-end`` (https://docs.cohere.com/v2/docs/streaming). Deviations are quirks of the provider's or model's row.
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
from workers.dialects import thinking
from workers.dialects.answering import Answering
from workers.dialects.cohere_answer import CohereReader
from workers.dialects.encoding import (
    Ids,
    Losses,
    Names,
    Wanted,
    data_url,
    fits,
    json_object,
    kept_images,
    path_of,
    text_of,
    unmarked,
)
from workers.dialects.pairs import paired
from workers.dialects.port import Encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.chat import AssistantPart, Conversation, Tool, UserContent
    from workers.dialects.port import Target

_JSON = {"content-type": "application/json"}
_MOST_K = 500
_LEAST_P, _MOST_P = 0.01, 0.99


class Cohere(Answering):
    """The dialect ``cohere``: ``POST /v2/chat``, below a base URL that may end in the version."""

    name = "cohere"
    reader = CohereReader

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        body: dict[str, Any] = {
            "model": target.model.name,
            "messages": _Messages(conversation, target, wanted, names).all(),
            "stream": target.stream,
        }
        most = wanted.max_tokens(target.model.max_output)
        if most is not None:
            body["max_tokens"] = most
        _put_settings(body, wanted)
        _put_thinking(body, wanted, most)
        _put_tools(body, conversation, wanted, names)
        _put_format(body, wanted)
        unmarked(conversation, losses)
        versioned = target.provider.base_url.rstrip("/").endswith("/v2")
        return Encoded(
            path=path_of(target, quirks, "/chat" if versioned else "/v2/chat"),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )


def _put_settings(body: dict[str, Any], wanted: Wanted) -> None:
    losses = wanted.losses
    if (temperature := wanted.temperature()) is not None:
        body["temperature"] = temperature
    if (top_p := wanted.get("top_p")) is not None:
        body["p"] = _clamped(top_p, _LEAST_P, _MOST_P, losses, "settings.top_p")
    if (top_k := wanted.get("top_k")) is not None:
        body["k"] = _clamped(top_k, 1, _MOST_K, losses, "settings.top_k")
    if (presence := wanted.get("presence_penalty")) is not None:
        body["presence_penalty"] = _clamped(presence, 0.0, 1.0, losses, "settings.presence_penalty")
    if (frequency := wanted.get("frequency_penalty")) is not None:
        body["frequency_penalty"] = _clamped(frequency, 0.0, 1.0, losses, "settings.frequency_penalty")
    if stop := wanted.stop():
        body["stop_sequences"] = stop
    if (seed := wanted.get("seed")) is not None:
        if seed < 0:  # an unsigned number there; the same seed gives the same other one
            losses.add("rewritten", "settings.seed", f"{seed} to {seed & _SEED}: only positive seeds are taken")
            seed &= _SEED
        body["seed"] = seed
    if (logprobs := wanted.get("logprobs")) is not None:
        body["logprobs"] = logprobs
    wanted.unknown("top_logprobs")
    if wanted.get("parallel_tool_calls") is False:
        losses.add("dropped", "settings.parallel_tool_calls", "the wire format has no word for it")


_SEED = 2**63 - 1


def _clamped(value: float, least: float, most: float, losses: Losses, field: str) -> float:
    kept = min(max(value, least), most)
    if kept != value:
        losses.add("clamped", field, f"{value} to {kept}")
    return kept


def _put_thinking(body: dict[str, Any], wanted: Wanted, most: int | None) -> None:
    """Tokens to think for, fewer than the whole answer may have."""
    quirks, losses = wanted.quirks, wanted.losses
    if quirks.thinking == "none":
        thinking.unknown(wanted)
        return
    asked, field = thinking.tokens(wanted)
    if asked is None:
        return
    if asked == 0:
        if quirks.thinking_off:
            body["thinking"] = {"type": "disabled"}
        else:
            losses.add("dropped", field, "the model always reasons")
        return
    tokens = min(asked, quirks.budget_max if most is None else min(quirks.budget_max, max(1, most - 1)))
    if tokens != asked:
        losses.add("clamped", field, f"{asked} thinking tokens to {tokens}")
    body["thinking"] = {"type": "enabled", "token_budget": tokens}


def _put_tools(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names) -> None:
    settings, losses = wanted.settings, wanted.losses
    if not conversation.tools or wanted.refused("tools", field="tools"):
        if settings.tool_choice is not None or settings.parallel_tool_calls is not None:
            losses.add("dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing")
        return
    tools: Sequence[Tool] = conversation.tools
    choice = wanted.tool_choice(conversation)
    if isinstance(choice, NamedTool):
        if len(tools) > 1:
            losses.add("dropped", "tools", f"only {choice.name!r} is offered: no other may be called")
            tools = [tool for tool in tools if tool.name == choice.name]
        losses.add("rewritten", "settings.tool_choice", "a call of the one tool that is offered is required")
    body["tools"] = [_tool(tool, names) for tool in tools]
    if isinstance(choice, NamedTool):
        body["tool_choice"] = "REQUIRED"
    elif choice in {"required", "none"}:
        body["tool_choice"] = choice.upper()
    strict = [bool(tool.strict) for tool in tools]
    if any(strict) and not wanted.refused("strict", field="tools.strict"):
        if all(strict):
            body["strict_tools"] = True
        else:
            losses.add("dropped", "tools.strict", "it holds for all tools or for none")


def _tool(tool: Tool, names: Names) -> dict[str, Any]:
    function: dict[str, Any] = {"name": names.sent(tool.name)}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}  # required, unlike elsewhere
    return {"type": "function", "function": function}


def _put_format(body: dict[str, Any], wanted: Wanted) -> None:
    form = wanted.get("response_format")
    if not isinstance(form, JsonFormat | JsonSchemaFormat):
        return
    if "tools" in body and not wanted.quirks.format_with_tools:
        wanted.losses.add("dropped", "settings.response_format", "it cannot be asked for beside tools")
        return
    body["response_format"] = {"type": "json_object"}
    if isinstance(form, JsonSchemaFormat):
        body["response_format"]["json_schema"] = form.json_schema
        if form.description is not None or form.strict is False:
            wanted.losses.add("dropped", "settings.response_format", "description and strict: schemas are strict")


class _Messages:
    """The turns of a conversation as messages."""

    __slots__ = ("_family", "_ids", "_images", "_losses", "_messages", "_names", "_turns", "_wanted")

    def __init__(self, conversation: Conversation, target: Target, wanted: Wanted, names: Names) -> None:
        self._family = target.model.family
        self._wanted = wanted
        self._losses = wanted.losses
        self._names = names
        self._turns = paired(conversation, wanted.losses)
        self._ids = Ids(self._turns, wanted.quirks, wanted.losses)
        self._messages: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        for at, turn in self._turns:
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
        return self._messages

    def _system(self, turn: SystemTurn, at: int) -> None:
        if turn.role == "developer":
            self._losses.add("renamed", f"messages[{at}].role", "developer is sent as system")
        self._messages.append({"role": "system", "content": self._content(turn.content, at)})

    def _user(self, turn: UserTurn, at: int) -> None:
        if turn.name is not None:
            self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
        self._messages.append({"role": "user", "content": self._content(turn.content, at)})

    def _content(self, content: UserContent, at: int) -> Any:
        if isinstance(content, str):
            return content
        parts = kept_images(content, self._wanted, f"messages[{at}].content")
        return [_part(part) for part in parts] if parts else ""

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        message: dict[str, Any] = {"role": "assistant"}
        parts: Sequence[AssistantPart]
        parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
        blocks: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        plans: list[str] = []
        for part in parts:
            match part:
                case TextPart() | RefusalPart():
                    if calls:
                        self._losses.add("rewritten", f"messages[{at}].content", "text is sent before calls")
                    blocks += self._said(part, at)
                case ReasoningPart():
                    self._reasoning(part, at, blocks, plans)
                case ToolCallPart():
                    calls.append(self._call(part, at))
        if calls:
            message["tool_calls"] = calls
            self._put_plan(message, blocks, plans, at)
        elif plans:
            self._losses.add("dropped", f"messages[{at}].reasoning", "a plan goes with calls only")
        if blocks or not calls:
            message["content"] = blocks[0]["text"] if _is_one_text(blocks) else blocks or ""
        self._messages.append(message)

    def _said(self, part: TextPart | RefusalPart, at: int) -> list[dict[str, Any]]:
        if isinstance(part, RefusalPart):
            self._losses.add("converted", f"messages[{at}].refusal", "the refusal is sent as text")
        return [{"type": "text", "text": part.text}] if part.text else []

    def _reasoning(self, part: ReasoningPart, at: int, blocks: list[dict[str, Any]], plans: list[str]) -> None:
        """Thoughts go back where the model wants them; a plan, which came as an opaque part, as the plan it was."""
        field = f"messages[{at}].reasoning"
        if part.redacted and fits(part, self._family):
            plans.append(part.redacted)
        elif part.redacted or part.signature:
            self._losses.add("dropped", f"{field}.signature", "it is not of this model's family")
        if part.text and self._wanted.quirks.thoughts_back:
            blocks.append({"type": "thinking", "thinking": part.text})
        elif part.text:
            self._losses.add("dropped", field, "earlier reasoning is not sent back here")

    def _put_plan(self, message: dict[str, Any], blocks: list[dict[str, Any]], plans: list[str], at: int) -> None:
        """What is said beside calls is their plan: content is not shown to models that write one."""
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        if not plans and texts and self._wanted.quirks.plans:
            plans = texts
            blocks[:] = [block for block in blocks if block["type"] != "text"]
            self._losses.add("converted", f"messages[{at}].content", "text beside calls is sent as their tool_plan")
        if len(plans) > 1:
            self._losses.add("merged", f"messages[{at}].content", "the parts of a plan are joined")
        if plans:
            message["tool_plan"] = "".join(plans)

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
            texts = [part for part in parts if isinstance(part, TextPart)]
            content = [_part(part) for part in texts] if len(texts) > 1 else text_of(tuple(texts))
        if turn.is_error:
            self._losses.add("dropped", f"messages[{at}].is_error", "the wire format has no word for it")
        if isinstance(content, str) and (document := _document(content)) is not None:
            content = [{"type": "document", "document": {"data": document}}]
        self._messages.append({"role": "tool", "tool_call_id": self._ids.sent(turn.tool_call_id), "content": content})

    def _show_images(self) -> None:
        self._messages.append({"role": "user", "content": self._images})
        self._images = []


def _is_one_text(blocks: list[dict[str, Any]]) -> bool:
    return len(blocks) == 1 and blocks[0]["type"] == "text"


def _document(text: str) -> dict[str, Any] | None:
    """A result that is an object, as a document: so its ``title`` and ``url`` can be cited."""
    return (json_object(text) or None) if text.lstrip()[:1] == "{" else None


def _part(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image: dict[str, Any] = {"url": data_url(part)}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}
