"""Gemini's generateContent and streamGenerateContent: https://ai.google.dev/api/generate-content.

What differs most from the conversation: two roles (``user``, ``model``), system text beside the contents, calls and
results as parts with objects instead of JSON text, and settings under ``generationConfig``. Rooms: ``gemini_turns``
the contents, ``gemini_schema`` schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import to_json

from catalogue.quirks import quirks_of
from job_contracts.chat import JsonFormat, JsonSchemaFormat, NamedTool
from workers.dialects import thinking
from workers.dialects.answering import Answering
from workers.dialects.encoding import Losses, Names, Wanted, path_of
from workers.dialects.gemini_answer import ContentReader
from workers.dialects.gemini_schema import json_subset, openapi_subset
from workers.dialects.gemini_turns import Contents
from workers.dialects.port import Encoded

if TYPE_CHECKING:
    from job_contracts.chat import Conversation, Tool
    from workers.dialects.port import Target

_JSON = {"content-type": "application/json"}


class Gemini(Answering):
    """The dialect ``gemini``."""

    name = "gemini"
    reader = ContentReader

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        contents = Contents(conversation, target, wanted, names)
        body: dict[str, Any] = {"contents": contents.all()}
        if contents.system:
            body["systemInstruction"] = {"parts": contents.system}
        _put_tools(body, conversation, wanted, names)
        if config := _config(wanted, target.model.max_output, tools="tools" in body):
            body["generationConfig"] = config
        usual = _path(target.model.name)
        stream = f"{usual}:streamGenerateContent?alt=sse"
        return Encoded(
            path=path_of(target, quirks, f"{usual}:generateContent", stream=stream),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )


def _path(model: str) -> str:
    """A bare name lies under ``models``; a name with a folder (``tunedModels/x``) says itself where."""
    return f"/{quote(model)}" if "/" in model else f"/models/{quote(model)}"


def _config(wanted: Wanted, most: int | None, *, tools: bool) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if (max_tokens := wanted.max_tokens(most)) is not None:
        config["maxOutputTokens"] = max_tokens
    if (temperature := wanted.temperature()) is not None:
        config["temperature"] = temperature
    for name, sent in _WORDS:
        if (value := wanted.get(name)) is not None:
            config[sent] = value
    if stop := wanted.stop():
        config["stopSequences"] = stop
    _put_thinking(config, wanted)
    form = wanted.get("response_format")
    if isinstance(form, JsonSchemaFormat | JsonFormat):
        if tools and wanted.quirks.tools_or_schema:
            wanted.losses.add("dropped", "settings.response_format", "the model answers in JSON only without tools")
            return config
        config["responseMimeType"] = "application/json"
    if isinstance(form, JsonSchemaFormat):
        _put_schema(config, form, wanted)
    return config


_WORDS: tuple[tuple[Any, str], ...] = (
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("seed", "seed"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
    ("logprobs", "responseLogprobs"),
    ("top_logprobs", "logprobs"),
)


def _put_schema(config: dict[str, Any], form: JsonSchemaFormat, wanted: Wanted) -> None:
    field = wanted.quirks.schema_field
    subset = openapi_subset if field == "responseSchema" else json_subset
    config[field] = subset(form.json_schema, wanted.losses, "settings.response_format.json_schema")
    if form.description is not None or form.strict is False:
        wanted.losses.add("dropped", "settings.response_format", "name, description and strict: schemas are strict")


def _put_thinking(config: dict[str, Any], wanted: Wanted) -> None:
    """A level or a budget; thoughts are shown where they are asked for, as they are billed either way.

    Models that have levels take a budget of tokens as well, in place of the level:
    https://ai.google.dev/gemini-api/docs/gemini-3#thinking_level
    """
    quirks, settings = wanted.quirks, wanted.settings
    by_budget = settings.reasoning_budget is not None and settings.reasoning_effort is None
    if quirks.thinking == "level" and not by_budget:
        if (level := thinking.effort(wanted)) is not None:
            config["thinkingConfig"] = {"thinkingLevel": level}
    elif quirks.thinking in {"level", "budget"}:
        _put_budget(config, wanted)
    else:
        thinking.unknown(wanted)
    if "thinkingConfig" in config and thinking.asked(wanted):
        config["thinkingConfig"]["includeThoughts"] = True


def _put_budget(config: dict[str, Any], wanted: Wanted) -> None:
    """Thoughts count as output here: a budget that fills ``maxOutputTokens`` would leave no answer."""
    quirks = wanted.quirks
    asked, field = thinking.tokens(wanted)
    if asked is None:
        return
    if asked == 0 and quirks.thinking_off:
        config["thinkingConfig"] = {"thinkingBudget": 0}
        return
    most = min(quirks.budget_max, config.get("maxOutputTokens", quirks.budget_max + 1) - 1)
    budget = max(quirks.budget_min, min(asked, most))
    if budget != asked:
        said = "none" if asked == 0 else f"{asked} thinking tokens"
        wanted.losses.add("clamped", field, f"{said} to {budget}{' thinking tokens' if asked == 0 else ''}")
    config["thinkingConfig"] = {"thinkingBudget": budget}


def _put_tools(body: dict[str, Any], conversation: Conversation, wanted: Wanted, names: Names) -> None:
    settings, losses = wanted.settings, wanted.losses
    if not conversation.tools or wanted.refused("tools", field="tools"):
        if settings.tool_choice is not None or settings.parallel_tool_calls is not None:
            losses.add("dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing")
        return
    body["tools"] = [{"functionDeclarations": [_tool(tool, wanted, names) for tool in conversation.tools]}]
    choice = wanted.tool_choice(conversation)
    if isinstance(choice, NamedTool):
        config = {"mode": "ANY", "allowedFunctionNames": [names.sent(choice.name)]}
        body["toolConfig"] = {"functionCallingConfig": config}
    elif choice is not None:
        body["toolConfig"] = {"functionCallingConfig": {"mode": "ANY" if choice == "required" else choice.upper()}}
    if wanted.get("parallel_tool_calls") is False:
        losses.add("dropped", "settings.parallel_tool_calls", "the wire format has no word for it")


def _tool(tool: Tool, wanted: Wanted, names: Names) -> dict[str, Any]:
    sent: dict[str, Any] = {"name": names.sent(tool.name)}
    if tool.description is not None:
        sent["description"] = tool.description
    if tool.strict:
        wanted.losses.add("dropped", "tools.strict", "the wire format has no word for it")
    if tool.parameters is not None:
        field = wanted.quirks.parameters_field
        if field == "parameters":
            schema = openapi_subset(tool.parameters, wanted.losses, f"tools.{tool.name}.parameters")
            if schema.get("properties"):  # an object without any is refused: no parameters say the same
                sent[field] = schema
        else:
            sent[field] = tool.parameters
    return sent
