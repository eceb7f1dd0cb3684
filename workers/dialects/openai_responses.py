"""OpenAI's Responses API, and those who speak it too: deviations are quirks of the provider's or model's row.

Request: https://platform.openai.com/docs/api-reference/responses/create. Nothing is kept at the provider (``store`` is
false, no earlier response is named), so every request holds the whole conversation, as items (``openai_items``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from catalogue.quirks import RESPONSES_LEAST, quirks_of
from job_contracts.chat import JsonFormat, JsonSchemaFormat, NamedTool
from workers.dialects import strict_schema, thinking
from workers.dialects.answering import Answering
from workers.dialects.encoding import Losses, Names, Wanted, path_of
from workers.dialects.openai_efforts import put_fields
from workers.dialects.openai_items import Items
from workers.dialects.openai_responses_answer import ResponseReader
from workers.dialects.port import Encoded

if TYPE_CHECKING:
    from job_contracts.chat import Conversation, Tool
    from workers.dialects.port import Target

_JSON = {"content-type": "application/json"}


class OpenAIResponses(Answering):
    """The dialect ``openai_responses``."""

    name = "openai_responses"
    reader = ResponseReader

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        items = Items(conversation, target, wanted, names)
        body: dict[str, Any] = {"model": target.model.name, "input": items.all(), "store": False}
        if items.instructions is not None:
            body["instructions"] = items.instructions
        if (most := _max_tokens(target, wanted)) is not None:
            body["max_output_tokens"] = most
        _put_settings(body, wanted)
        _put_reasoning(body, target, wanted)
        _put_logprobs(body, wanted)
        _put_tools(body, conversation, wanted, names)
        if target.stream:
            body["stream"] = True
        put_fields(body, quirks.always_send)
        return Encoded(
            path=path_of(target, quirks, "/responses"),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )


def _max_tokens(target: Target, wanted: Wanted) -> int | None:
    most = wanted.max_tokens(target.model.max_output)
    if most is None or most >= RESPONSES_LEAST:
        return most
    wanted.losses.add("clamped", "settings.max_tokens", f"{most} to {RESPONSES_LEAST}, the least the API takes")
    return RESPONSES_LEAST


def _put_settings(body: dict[str, Any], wanted: Wanted) -> None:
    settings, losses = wanted.settings, wanted.losses
    wanted.unknown("seed", "presence_penalty", "frequency_penalty", "top_k")
    if settings.stop:
        losses.add("dropped", "settings.stop", "the wire format has no word for it")
    if (temperature := wanted.temperature()) is not None:
        body["temperature"] = temperature
    if (top_p := wanted.get("top_p")) is not None:
        body["top_p"] = top_p
    form = wanted.get("response_format")
    if form is not None and form.type != "text":
        _put_format(body, form, wanted)


def _put_format(body: dict[str, Any], form: JsonFormat | JsonSchemaFormat, wanted: Wanted) -> None:
    if wanted.quirks.schema_as == "none":
        wanted.losses.add("dropped", "settings.response_format", "the target has no structured answers")
        return
    if isinstance(form, JsonFormat):
        body["text"] = {"format": {"type": "json_object"}}
        return
    if wanted.quirks.schema_as == "json_object":
        wanted.losses.add("rewritten", "settings.response_format", "json_object: the target takes no schema")
        body["text"] = {"format": {"type": "json_object"}}
        return
    strict = form.strict
    if strict is not None and wanted.refused("strict", field="settings.response_format.strict"):
        strict = None
    schema, is_strict = _schema(form.json_schema, wanted, "settings.response_format", strict=bool(strict))
    sent: dict[str, Any] = {"type": "json_schema", "name": form.name, "schema": schema}
    if form.description is not None:
        sent["description"] = form.description
    if strict is not None:
        sent["strict"] = is_strict
    body["text"] = {"format": sent}


def _put_reasoning(body: dict[str, Any], target: Target, wanted: Wanted) -> None:
    """Effort, a summary of the reasoning where the row wants one, and the reasoning itself to be given back."""
    quirks = wanted.quirks
    effort = thinking.effort(wanted)
    reasons = "reasoning" in target.model.capabilities or effort not in {None, "none"}
    reasoning: dict[str, Any] = {} if effort is None else {"effort": effort}
    if reasons and quirks.reasoning_summary and effort != "none":
        reasoning["summary"] = quirks.reasoning_summary
    if reasoning:
        body["reasoning"] = reasoning
    if reasons and quirks.reasoning_items == "encrypted":
        body["include"] = ["reasoning.encrypted_content"]


def _put_logprobs(body: dict[str, Any], wanted: Wanted) -> None:
    asked, top = wanted.get("logprobs"), wanted.get("top_logprobs")
    if top is not None and asked is False:
        wanted.losses.add("dropped", "settings.top_logprobs", "no log probabilities are asked for")
        return
    if top is not None:
        body["top_logprobs"] = top
        if asked is None:
            wanted.losses.add("rewritten", "settings.logprobs", "asked for, since their alternatives are")
    if asked or top is not None:
        body["include"] = [*body.get("include", ()), "message.output_text.logprobs"]


def _put_tools(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names) -> None:
    settings = wanted.settings
    if conversation.tools and not wanted.refused("tools", field="tools"):
        body["tools"] = [_tool(tool, wanted, names) for tool in conversation.tools]
        choice = wanted.tool_choice(conversation)
        if isinstance(choice, NamedTool):
            body["tool_choice"] = {"type": "function", "name": names.sent(choice.name)}
        elif choice is not None:
            body["tool_choice"] = wanted.quirks.required_word if choice == "required" else choice
        if (parallel := wanted.get("parallel_tool_calls")) is not None:
            body["parallel_tool_calls"] = parallel
    elif settings.parallel_tool_calls is not None or settings.tool_choice is not None:
        wanted.losses.add(
            "dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing"
        )


def _tool(tool: Tool, wanted: Wanted, names: Names) -> dict[str, Any]:
    """A function, flat. ``strict`` is always said: without it the API changes the schema to a strict one by itself."""
    strict = bool(tool.strict)
    if strict and wanted.refused("strict", field="tools.strict"):
        strict = False
    schema = tool.parameters or {"type": "object", "properties": {}}
    if "type" not in schema:
        schema = {"type": "object", **schema}
    sent: dict[str, Any] = {"type": "function", "name": names.sent(tool.name)}
    if tool.description is not None:
        sent["description"] = tool.description
    field = f"tools.{tool.name}.parameters"
    sent["parameters"], sent["strict"] = _schema(schema, wanted, field, strict=strict)
    return sent


def _schema(schema: dict[str, Any], wanted: Wanted, field: str, *, strict: bool) -> tuple[dict[str, Any], bool]:
    """A schema and its ``strict`` as the API takes them: a strict one within the strict subset."""
    if not strict or not wanted.quirks.strict_subset:
        return schema, strict
    found = strict_schema.strict(schema, defaults=wanted.quirks.strict_defaults)
    if isinstance(found, str):
        flag = "tools.strict" if field.startswith("tools.") else "settings.response_format.strict"
        wanted.losses.add("dropped", flag, f"{field}: strict mode cannot say it: {found}")
        return schema, False
    for change in found.changes:
        wanted.losses.add("rewritten", field, change)
    return found.schema, True
