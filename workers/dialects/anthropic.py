"""Anthropic's messages API: https://docs.anthropic.com/en/api/messages.

What differs most from the conversation: system text stands at the top, results of tools are blocks of the next user
message and come first in it, ``max_tokens`` must be there, and reasoning goes back with its signature or not at all.
Rooms: ``anthropic_turns`` the messages, ``anthropic_cache`` the marks on them, ``anthropic_schema`` schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from catalogue.quirks import quirks_of
from job_contracts.chat import JsonFormat, JsonSchemaFormat, NamedTool
from workers.dialects import thinking
from workers.dialects.answering import Answering
from workers.dialects.anthropic_answer import MessageReader
from workers.dialects.anthropic_cache import TOOLS, Marks
from workers.dialects.anthropic_schema import grammar_subset
from workers.dialects.anthropic_turns import Messages
from workers.dialects.encoding import Losses, Names, Wanted, path_of
from workers.dialects.port import Encoded

if TYPE_CHECKING:
    from job_contracts.chat import Conversation, Tool
    from workers.dialects.port import Target

_JSON = {"content-type": "application/json"}


class Anthropic(Answering):
    """The dialect ``anthropic``."""

    name = "anthropic"
    reader = MessageReader

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        marks = Marks(wanted)
        messages = Messages(conversation, target, wanted, names, marks)
        body: dict[str, Any] = {"model": target.model.name, "max_tokens": 0, "messages": messages.all()}
        if quirks.body_version:  # the path names the model
            body = {"anthropic_version": quirks.body_version, **body}
            del body["model"]
        headers = {**_JSON, **target.provider.headers}
        body["max_tokens"] = _max_tokens(target, wanted)
        thinks = _put_thinking(body, wanted, target, messages)
        messages.finish(thinks=thinks)
        if messages.system:
            body["system"] = messages.system
        _put_settings(body, wanted, thinks=thinks)
        _put_tools(body, conversation, wanted, names, marks)
        _put_form(body, wanted)
        marks.put()
        if len(messages.system) == 1 and messages.system[0].keys() == {"type", "text"}:
            body["system"] = messages.system[0]["text"]
        if quirks.inference_geo:
            body["inference_geo"] = quirks.inference_geo
        if quirks.interleaved_beta and "tools" in body and body.get("thinking", {}).get("type") == "enabled":
            _put_beta(headers, quirks.interleaved_beta)
        if target.stream:
            body["stream"] = True
        return Encoded(
            path=path_of(target, quirks, "/messages"),
            headers=headers,
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )


def _put_beta(headers: dict[str, str], beta: str) -> None:
    """One more name in the header of betas, which the row may have set."""
    name = next((name for name in headers if name.lower() == "anthropic-beta"), "anthropic-beta")
    headers[name] = f"{headers[name]},{beta}" if name in headers else beta


def _max_tokens(target: Target, wanted: Wanted) -> int:
    """The API wants a figure: without a wish the model's own bound, or a default where that is not known."""
    most = target.model.max_output
    asked = wanted.max_tokens(most)
    if asked is not None:
        return asked
    return most if most is not None else wanted.quirks.max_tokens_default


def _put_settings(body: dict[str, Any], wanted: Wanted, *, thinks: bool) -> None:
    losses = wanted.losses
    wanted.unknown("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
    if stop := wanted.stop():
        kept = [sequence for sequence in stop if sequence.strip()]
        if len(kept) < len(stop):
            losses.add("dropped", "settings.stop", "stop sequences of nothing but blanks are refused")
        if kept:
            body["stop_sequences"] = kept
    temperature, top_p, top_k = wanted.temperature(), wanted.get("top_p"), wanted.get("top_k")
    if thinks and temperature is not None and temperature != 1:
        losses.add("dropped", "settings.temperature", "not together with thinking")
        temperature = None
    if thinks and top_p is not None and top_p < _LEAST_TOP_P:
        losses.add("dropped", "settings.top_p", f"below {_LEAST_TOP_P}, not together with thinking")
        top_p = None
    if thinks and top_k is not None:
        losses.add("dropped", "settings.top_k", "not together with thinking")
        top_k = None
    if temperature is not None:
        body["temperature"] = temperature
    if top_p is not None and temperature is not None and wanted.quirks.one_sampling:
        losses.add("dropped", "settings.top_p", "not together with a temperature")
    elif top_p is not None:
        body["top_p"] = top_p
    if top_k is not None:
        body["top_k"] = top_k


_LEAST_TOP_P = 0.95


def _put_tools(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names, marks: Marks) -> None:
    settings = wanted.settings
    if conversation.tools and not wanted.refused("tools", field="tools"):
        body["tools"] = [_tool(tool, wanted, names) for tool in conversation.tools]
        for tool, sent in zip(conversation.tools, body["tools"], strict=True):
            if tool.cache:
                marks.note(TOOLS, sent, tool.cache, f"tools.{tool.name}.cache")
        _put_choice(body, conversation, wanted, names)
    elif settings.tool_choice is not None or settings.parallel_tool_calls is not None:
        wanted.losses.add(
            "dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing"
        )


def _put_form(body: dict[str, Any], wanted: Wanted) -> None:
    form, losses = wanted.get("response_format"), wanted.losses
    if isinstance(form, JsonSchemaFormat):
        schema = grammar_subset(form.json_schema, losses, "settings.response_format.json_schema")
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
        if form.description is not None or form.strict is False:
            losses.add("dropped", "settings.response_format", "name, description and strict: schemas are always strict")
    elif isinstance(form, JsonFormat):
        losses.add("dropped", "settings.response_format", "the API has no JSON mode without a schema")


def _put_thinking(body: dict[str, Any], wanted: Wanted, target: Target, messages: Messages) -> bool:
    """Adaptive thinking with an effort, or a budget of tokens; whether the model thinks."""
    quirks = wanted.quirks
    exactly = wanted.settings.reasoning_budget is not None and wanted.settings.reasoning_effort is None
    if quirks.thinking == "budget" or (quirks.thinks_by_budget and exactly):
        return _put_budget(body, wanted, target, messages)
    if quirks.thinking != "adaptive":
        thinking.unknown(wanted)
        return False
    effort = thinking.effort(wanted)
    if effort is None:
        return False
    if effort == "none":
        _put_off(body, wanted)
        return False
    if effort == "minimal":
        wanted.losses.add("clamped", thinking.EFFORT, "minimal to low")
    body["thinking"] = {"type": "adaptive"}
    if quirks.thinking_display:
        body["thinking"]["display"] = quirks.thinking_display
    body["output_config"] = {"effort": "low" if effort == "minimal" else effort}
    return True


def _put_budget(body: dict[str, Any], wanted: Wanted, target: Target, messages: Messages) -> bool:
    quirks, losses = wanted.quirks, wanted.losses
    asked, field = thinking.tokens(wanted)
    if asked is None:
        return False
    if asked == 0:
        _put_off(body, wanted)
        return False
    if messages.calls_without_thought:
        losses.add(
            "dropped", field, "the calls being answered were made without thinking, which stays off until the end"
        )
        return False
    if wanted.settings.max_tokens is None and target.model.max_output is None:
        body["max_tokens"] += asked  # nobody's figure but ours: the answer keeps its room
    room = body["max_tokens"] - 1  # the budget must be smaller than max_tokens
    budget = max(min(asked, quirks.budget_max, room), min(quirks.budget_min, room))
    if budget < quirks.budget_min:
        losses.add("dropped", field, f"max_tokens leaves no {quirks.budget_min} to think")
        return False
    if budget != asked:
        losses.add("clamped", field, f"{asked} thinking tokens to {budget}")
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


def _put_off(body: dict[str, Any], wanted: Wanted) -> None:
    if wanted.quirks.thinking_off:
        body["thinking"] = {"type": "disabled"}
    else:
        wanted.losses.add("dropped", thinking.EFFORT, "the model cannot be told not to reason")


def _tool(tool: Tool, wanted: Wanted, names: Names) -> dict[str, Any]:
    sent: dict[str, Any] = {"name": names.sent(tool.name)}
    if tool.description is not None:
        sent["description"] = tool.description
    schema = tool.parameters
    if not schema:
        schema = {"type": "object", "properties": {}}
    elif "type" not in schema:
        schema = {"type": "object", **schema}
    if tool.strict is not None and not wanted.refused("strict", field="tools.strict"):
        sent["strict"] = tool.strict
        if tool.strict:
            schema = grammar_subset(schema, wanted.losses, f"tools.{tool.name}.parameters")
    sent["input_schema"] = schema
    return sent


def _put_choice(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names) -> None:
    """A call can be forced while the model thinks adaptively, not while it thinks by a budget; of some models never."""
    choice = wanted.tool_choice(conversation)
    parallel = wanted.get("parallel_tool_calls")
    by_budget = body.get("thinking", {}).get("type") == "enabled"
    if (by_budget or not wanted.quirks.forced_calls) and (choice == "required" or isinstance(choice, NamedTool)):
        when = " while the model thinks" if by_budget else ""
        wanted.losses.add("rewritten", "settings.tool_choice", f"auto: a call cannot be forced{when}")
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
