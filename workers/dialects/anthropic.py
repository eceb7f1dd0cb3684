"""Anthropic's messages API: https://docs.anthropic.com/en/api/messages.

What differs most from the conversation: system text stands at the top, results of tools are blocks of the next user
message and come first in it, ``max_tokens`` must be there, and reasoning goes back with its signature or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

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
from workers.dialects.anthropic_answer import MessageReader
from workers.dialects.encoding import (
    BUDGETS,
    Ids,
    Losses,
    Names,
    Wanted,
    fits,
    image_data,
    in_order,
    kept_images,
    objects,
    path_of,
)
from workers.dialects.failures import classify
from workers.dialects.port import MAX_ANSWER, NO_NAMES, Encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.attempts import LimitReading
    from job_contracts.chat import Conversation, Tool, UserContent
    from job_contracts.failures import Failure
    from workers.dialects.port import Decoder, Target

_JSON = {"content-type": "application/json"}


class Anthropic:
    """The dialect ``anthropic``."""

    name = "anthropic"

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        max_tokens = _max_tokens(target, wanted)
        messages = _Messages(conversation, target, wanted, names)
        body: dict[str, Any] = {"model": target.model.name, "max_tokens": max_tokens, "messages": messages.all()}
        if messages.system:
            body["system"] = messages.system[0]["text"] if len(messages.system) == 1 else messages.system
        _put_settings(body, conversation, wanted, names)
        if target.stream:
            body["stream"] = True
        return Encoded(
            path=path_of(target, quirks, "/messages"),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )

    def decoder(
        self, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER, names: Mapping[str, str] = NO_NAMES
    ) -> Decoder:
        quirks = quirks_of(target.provider, target.model)
        return MessageReader(target, quirks, content_type=content_type, max_bytes=max_bytes, names=names)

    def failure(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        quirks = quirks_of(target.provider, target.model)
        return classify(status, headers, body, quirks, provider=target.provider.name)

    def limits(self, target: Target, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        return limits.read(headers, requests_window=quirks_of(target.provider, target.model).requests_window)


def _max_tokens(target: Target, wanted: Wanted) -> int:
    """The API wants a figure: without a wish the model's own bound, or a default where that is not known."""
    most = target.model.max_output
    asked = wanted.max_tokens(most)
    if asked is not None:
        return asked
    return most if most is not None else wanted.quirks.max_tokens_default


def _put_settings(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names) -> None:
    settings, losses = wanted.settings, wanted.losses
    wanted.unknown("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
    if stop := wanted.stop():
        kept = [sequence for sequence in stop if sequence.strip()]
        if len(kept) < len(stop):
            losses.add("dropped", "settings.stop", "stop sequences of nothing but blanks are refused")
        if kept:
            body["stop_sequences"] = kept
    thinks = _put_thinking(body, wanted)
    temperature, top_p = wanted.temperature(), wanted.get("top_p")
    if thinks and temperature is not None and temperature != 1:
        losses.add("dropped", "settings.temperature", "not together with thinking")
        temperature = None
    if temperature is not None:
        body["temperature"] = temperature
    if top_p is not None and temperature is not None and wanted.quirks.one_sampling:
        losses.add("dropped", "settings.top_p", "not together with a temperature")
    elif top_p is not None:
        body["top_p"] = top_p
    if conversation.tools and not wanted.refused("tools", field="tools"):
        body["tools"] = [_tool(tool, wanted, names) for tool in conversation.tools]
        _put_choice(body, conversation, wanted, names, thinks=thinks)
    elif settings.tool_choice is not None or settings.parallel_tool_calls is not None:
        losses.add("dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing")
    form = wanted.get("response_format")
    if isinstance(form, JsonSchemaFormat):
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": form.json_schema}
        if form.description is not None or form.strict is False:
            losses.add("dropped", "settings.response_format", "name, description and strict: schemas are always strict")
    elif isinstance(form, JsonFormat):
        losses.add("dropped", "settings.response_format", "the API has no JSON mode without a schema")


def _put_thinking(body: dict[str, Any], wanted: Wanted) -> bool:
    """Effort as a token budget, or as adaptive thinking with an effort; whether the model thinks."""
    effort, quirks = wanted.effort(), wanted.quirks
    if effort is None:
        return False
    if quirks.thinking == "none":
        if effort != "none":
            wanted.losses.add("dropped", "settings.reasoning_effort", "the model does not reason")
        return False
    if effort == "none":
        if quirks.thinking_off:
            body["thinking"] = {"type": "disabled"}
        else:
            wanted.losses.add("dropped", "settings.reasoning_effort", "the model cannot be told not to reason")
        return False
    if quirks.thinking == "adaptive":
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = {"effort": "low" if effort == "minimal" else effort}
        if effort == "minimal":
            wanted.losses.add("clamped", "settings.reasoning_effort", "minimal to low")
        return True
    room = body["max_tokens"] - 1  # the budget must be smaller than max_tokens
    budget = min(BUDGETS[effort], quirks.budget_max, room)
    if budget < quirks.budget_min:
        wanted.losses.add("dropped", "settings.reasoning_effort", f"max_tokens leaves no {quirks.budget_min} to think")
        return False
    if budget < BUDGETS[effort]:
        wanted.losses.add("clamped", "settings.reasoning_effort", f"{BUDGETS[effort]} thinking tokens to {budget}")
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


def _tool(tool: Tool, wanted: Wanted, names: Names) -> dict[str, Any]:
    sent: dict[str, Any] = {"name": names.sent(tool.name)}
    if tool.description is not None:
        sent["description"] = tool.description
    schema = tool.parameters
    if not schema:
        schema = {"type": "object", "properties": {}}
    elif "type" not in schema:
        schema = {"type": "object", **schema}
    sent["input_schema"] = schema
    if tool.strict is not None and not wanted.refused("strict", field="tools.strict"):
        sent["strict"] = tool.strict
    return sent


def _put_choice(
    body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names, *, thinks: bool
) -> None:
    choice = wanted.tool_choice(conversation)
    parallel = wanted.get("parallel_tool_calls")
    if thinks and (choice == "required" or isinstance(choice, NamedTool)):
        wanted.losses.add("rewritten", "settings.tool_choice", "auto: a call cannot be forced while the model thinks")
        choice = "auto"
    sent: dict[str, Any] | None = None
    if isinstance(choice, NamedTool):
        sent = {"type": "tool", "name": names.sent(choice.name)}
    elif choice is not None:
        sent = {"type": "any" if choice == "required" else choice}
    if parallel is False and choice == "none":
        wanted.losses.add("dropped", "settings.parallel_tool_calls", "no call may be made at all")
    elif parallel is not None and choice != "none" and (sent is not None or not parallel):
        sent = sent or {"type": "auto"}
        sent["disable_parallel_tool_use"] = not parallel
    if sent is not None:
        body["tool_choice"] = sent


class _Messages:
    """The turns of a conversation as messages, and the system text that stands above them."""

    __slots__ = ("_conversation", "_family", "_ids", "_losses", "_messages", "_names", "_wanted", "system")

    def __init__(self, conversation: Conversation, target: Target, wanted: Wanted, names: Names) -> None:
        self._conversation = conversation
        self._family = target.model.family
        self._wanted = wanted
        self._losses = wanted.losses
        self._names = names
        self._ids = Ids(conversation, wanted.quirks, wanted.losses)
        self._messages: list[dict[str, Any]] = []
        self.system: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        for at, turn in in_order(self._conversation, self._losses):
            match turn:
                case UserTurn():
                    self._user(turn, at)
                case AssistantTurn():
                    self._assistant(turn, at)
                case SystemTurn():
                    self._system(turn, at)
                case ToolTurn():
                    self._tool(turn, at)
        if not self._messages:
            self._without_turns()
        elif self._messages[-1]["role"] == "assistant":
            self._trim_prefill(self._messages[-1])
        return self._messages

    def _system(self, turn: SystemTurn, at: int) -> None:
        content = turn.content
        blocks = self._texts((TextPart(text=content),) if isinstance(content, str) else content, at)
        if turn.role == "developer":
            self._losses.add("renamed", f"messages[{at}].role", "developer is sent as system")
        if self._messages and blocks:
            if self._wanted.quirks.mid_system:
                self._messages.append({"role": "system", "content": blocks})
                return
            self._losses.add("merged", f"messages[{at}]", "a later system turn joins the system text at the top")
        self.system += blocks

    def _texts(self, parts: tuple[TextPart, ...], at: int) -> list[dict[str, Any]]:
        return [block for part in parts if (block := self._text(part.text, at))]

    def _text(self, text: str, at: int) -> dict[str, Any] | None:
        if text.strip():
            return {"type": "text", "text": text}
        self._losses.add("dropped", f"messages[{at}].content", "blocks of blank text are refused")
        return None

    def _user(self, turn: UserTurn, at: int) -> None:
        if turn.name is not None:
            self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
        content = turn.content
        last = self._messages[-1] if self._messages else None
        if isinstance(content, str) and content.strip() and not _holds_results(last):
            self._messages.append({"role": "user", "content": content})
            return
        blocks = self._blocks(content, at)
        if _holds_results(last):
            last["content"] += blocks
        elif blocks:
            self._messages.append({"role": "user", "content": blocks})

    def _blocks(self, content: UserContent, at: int) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        parts = (TextPart(text=content),) if isinstance(content, str) else content
        for part in kept_images(parts, self._wanted, f"messages[{at}].content"):
            if isinstance(part, TextPart):
                block = self._text(part.text, at)
                if block is not None:
                    blocks.append(block)
            else:
                blocks.append(self._image(part, at))
        return blocks

    def _image(self, part: ImagePart, at: int) -> dict[str, Any]:
        if part.detail not in {None, "auto"}:
            self._losses.add("dropped", f"messages[{at}].content.detail", "the wire format has no word for it")
        data = image_data(part)
        if data is not None:
            return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}
        return {"type": "image", "source": {"type": "url", "url": part.url}}

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
        blocks: list[dict[str, Any]] = []
        for part in parts:
            block: dict[str, Any] | None
            match part:
                case TextPart():
                    block = self._text(part.text, at)
                case RefusalPart():
                    self._losses.add("converted", f"messages[{at}].refusal", "the refusal is sent as text")
                    block = self._text(part.text, at)
                case ReasoningPart():
                    block = self._reasoning(part, at)
                case ToolCallPart():
                    block = self._call(part, at)
            if block is not None:
                blocks.append(block)
        if blocks:
            self._messages.append({"role": "assistant", "content": blocks})

    def _reasoning(self, part: ReasoningPart, at: int) -> dict[str, Any] | None:
        if fits(part, self._family) and part.redacted:
            if part.text:
                self._losses.add("dropped", f"messages[{at}].reasoning", "opaque reasoning is sent without its text")
            return {"type": "redacted_thinking", "data": part.redacted}
        if fits(part, self._family) and part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        if part.text or part.signature or part.redacted:
            self._losses.add("dropped", f"messages[{at}].reasoning", "it has no signature of this model's family")
        return None

    def _call(self, part: ToolCallPart, at: int) -> dict[str, Any]:
        if part.signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "the wire format has no place for it")
        given = objects(part.arguments, self._losses, f"messages[{at}].tool_call.arguments")
        return {
            "type": "tool_use",
            "id": self._ids.sent(part.id),
            "name": self._names.sent(part.name),
            "input": given,
        }

    def _tool(self, turn: ToolTurn, at: int) -> None:
        """Results are blocks of the user message after the calls."""
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": self._ids.sent(turn.tool_call_id)}
        if isinstance(turn.content, str):
            if turn.content:
                result["content"] = turn.content
        elif blocks := self._blocks(turn.content, at):
            result["content"] = blocks
        if turn.is_error:
            result["is_error"] = True
        last = self._messages[-1] if self._messages else None
        if _holds_results(last) and last["content"][-1]["type"] == "tool_result":
            last["content"].append(result)
        else:
            self._messages.append({"role": "user", "content": [result]})

    def _without_turns(self) -> None:
        """The API wants one user message at least: what there is of system text becomes it."""
        if self.system:
            self._losses.add("converted", "messages", "without another turn the system text is sent as the user's")
        self._messages.append({"role": "user", "content": self.system or ""})
        self.system = []

    def _trim_prefill(self, message: dict[str, Any]) -> None:
        """The beginning of an answer may not end in blanks."""
        block = message["content"][-1]
        if block["type"] == "text" and block["text"] != block["text"].rstrip():
            block["text"] = block["text"].rstrip()
            self._losses.add("rewritten", "messages", "blanks at the end of the last assistant turn are cut off")


def _holds_results(message: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    return (
        message is not None
        and message["role"] == "user"
        and isinstance(message["content"], list)
        and any(block["type"] == "tool_result" for block in message["content"])
    )
