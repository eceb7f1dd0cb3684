"""Reading a generateContent request, in camelCase or snake_case as Gemini takes both (pure)."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import to_json

from simulator.answers import MESSAGE_TOKENS
from simulator.conversation import Ask, Tool
from simulator.dialects.dialect import EFFORTS, Rejected, Route, bad, parse_object, read_model, reasoning_tokens
from simulator.settings import ProviderSettings
from simulator.words import word_list

IMAGE_TOKENS = 258
MOST_STOPS = 5
HIGHEST_TEMPERATURE = 2.0001
DYNAMIC_BUDGET = -1

_FIELDS = frozenset(
    word_list(
        "contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent labels "
        "model store serviceTier"
    )
)
_CONFIG = frozenset(
    word_list(
        "stopSequences responseMimeType responseSchema responseJsonSchema responseModalities candidateCount "
        "maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty responseLogprobs "
        "logprobs thinkingConfig mediaResolution speechConfig audioTimestamp enableEnhancedCivicAnswers "
        "imageConfig routingConfig modelSelectionConfig enableAffectiveDialog responseFormat"
    )
)
_PARTS = frozenset(
    word_list(
        "text inlineData fileData functionCall functionResponse executableCode codeExecutionResult thought "
        "thoughtSignature videoMetadata mediaResolution toolCall toolResponse partMetadata"
    )
)


def read(body: bytes, route: Route, settings: ProviderSettings) -> Ask:
    """The request in a body; the path has said the model and whether to stream.

    Raises:
        Rejected: with the refusal that Gemini would give.
    """
    raw = _camel(parse_object(body))
    if route.operation == "count" and isinstance(raw.get("generateContentRequest"), dict):
        raw = _camel(raw["generateContentRequest"])
    if settings.strict:
        _check_names(raw, _FIELDS, "")
    ask = Ask(model=read_model(route.model, settings), prompt=[], turn="", stream=route.stream, sse=route.sse)
    _read_tools(ask, raw)
    system = raw.get("systemInstruction")
    if system is not None:
        content = _camel(system) if isinstance(system, dict) else {"parts": [{"text": str(system)}]}
        _read_parts(ask, content.get("parts"), "system_instruction", strict=settings.strict)
    _read_contents(ask, raw.get("contents"), strict=settings.strict)
    config = _camel(raw.get("generationConfig") or {})
    if settings.strict:
        _check_names(config, _CONFIG, " at 'generation_config'")
    _read_config(ask, config)
    if settings.strict and ask.tools and config.get("responseMimeType") == "application/json" and _OLD(ask.model.base):
        raise bad("Function calling with a response mime type: 'application/json' is unsupported")
    return ask


_OLD = re.compile("gemini-[12]").match
"""The families whose models do either: call functions, or answer in JSON."""


def _camel(raw: dict[str, Any]) -> dict[str, Any]:
    """The names of one level in camelCase."""
    return {_camel_name(name) if "_" in name else name: one for name, one in raw.items()}


def _camel_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _check_names(raw: dict[str, Any], known: frozenset[str], place: str) -> None:
    for name in raw:
        if name not in known:
            raise bad(f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.')


def _read_contents(ask: Ask, contents: Any, *, strict: bool) -> None:
    if not contents:
        raise bad("* GenerateContentRequest.contents: contents is not specified\n")
    if not isinstance(contents, list):
        contents = [contents]
    called = 0
    for index, content in enumerate(contents):
        if not isinstance(content, dict):
            raise bad(f"Invalid value at 'contents[{index}]'.")
        role = content.get("role", "user")
        if role not in ("user", "model", "function"):
            raise bad("Please use a valid role: user, model.")
        parts = [_camel(part) for part in content.get("parts") or () if isinstance(part, dict)]
        answered = sum("functionResponse" in part for part in parts)
        if strict and (answered or called) and answered != called:
            raise _mismatched(answered, called)
        called = sum("functionCall" in part for part in parts)
        text = _read_parts(ask, content.get("parts"), f"contents[{index}]", strict=strict)
        ask.turn = text if role == "user" else ""
    if strict and called:
        raise _mismatched(0, called)
    ask.extra_tokens += MESSAGE_TOKENS * len(contents) + IMAGE_TOKENS * ask.images


def _mismatched(answered: int, called: int) -> Rejected:
    if not called:
        return bad("Please ensure that function response turn comes immediately after a function call turn.")
    return bad(
        "Please ensure that the number of function response parts is equal to the number of function call parts of the "
        f"function call turn: {answered} and {called}."
    )


def _read_parts(ask: Ask, parts: Any, place: str, *, strict: bool) -> str:
    """Read the parts of a content into the prompt; returns its text."""
    if not isinstance(parts, list) or not parts:
        raise bad(f"* GenerateContentRequest.{place}.parts: contents.parts must not be empty.\n")
    texts: list[str] = []
    for index, one in enumerate(parts):
        part = _camel(one) if isinstance(one, dict) else {"text": one}
        if strict:
            _check_names(part, _PARTS, f" at '{place}.parts[{index}]'")
        if isinstance(part.get("text"), str):
            ask.prompt.append(part["text"])
            if not part.get("thought"):
                texts.append(part["text"])
        elif "inlineData" in part or "fileData" in part:
            _read_media(ask, part, f"{place}.parts[{index}]")
        elif "functionCall" in part or "functionResponse" in part:
            ask.prompt.append(to_json(part).decode())
        elif not part.get("thoughtSignature"):
            raise bad(
                f"* GenerateContentRequest.{place}.parts[{index}].data: required oneof field 'data' must be set\n"
            )
    return "".join(texts)


_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/heif"})
_TAKEN = ("audio/", "video/", "text/")


def _read_media(ask: Ask, part: dict[str, Any], place: str) -> None:
    media = _camel(part.get("inlineData") or part.get("fileData") or {})
    if not (media.get("data") or media.get("fileUri")):
        raise bad(f"* GenerateContentRequest.{place}.inline_data.data: must not be empty\n")
    kind = str(media.get("mimeType", ""))
    if "inlineData" in part and not (kind in _IMAGES or kind == "application/pdf" or kind.startswith(_TAKEN)):
        raise bad(f"Unsupported MIME type: {kind}")
    if not kind.startswith("text/"):
        ask.images += 1


def _read_tools(ask: Ask, raw: dict[str, Any]) -> None:
    tools = raw.get("tools") or ()
    for tool in tools:
        for declared in _camel(tool).get("functionDeclarations") or ():
            function = _camel(declared)
            if not isinstance(function.get("name"), str) or not function["name"]:
                raise bad("* GenerateContentRequest.tools[0].function_declarations[0].name: must not be empty\n")
            schema = function.get("parametersJsonSchema") or function.get("parameters") or {}
            ask.tools.append(Tool(function["name"], schema))
            # In one form, whichever of its own forms and orders the client chose: the answer depends on it.
            ask.prompt.append(to_json([function["name"], function.get("description"), schema]).decode())
    config = _camel(_camel(raw.get("toolConfig") or {}).get("functionCallingConfig") or {})
    mode = str(config.get("mode", "AUTO")).upper()
    if mode not in _MODES:
        raise bad(f"Invalid value at 'tool_config.function_calling_config.mode': \"{mode}\"")
    ask.choice = _MODES[mode]
    allowed = config.get("allowedFunctionNames")
    if allowed and mode in ("ANY", "VALIDATED"):
        ask.tools = [tool for tool in ask.tools if tool.name in allowed]
        if not ask.tools:
            raise bad("allowed_function_names must name declared functions.")


_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}


def _read_config(ask: Ask, config: dict[str, Any]) -> None:
    limit = config.get("maxOutputTokens")
    if limit is not None:
        if not isinstance(limit, int) or limit < 1:
            raise bad("Unable to submit request because it has a max output tokens value of less than 1.")
        ask.max_tokens = limit
    ask.stops = tuple(config.get("stopSequences") or ())
    if len(ask.stops) > MOST_STOPS:
        raise bad(f"* GenerateContentRequest.generation_config.stop_sequences: at most {MOST_STOPS} are supported\n")
    temperature = config.get("temperature")
    if temperature is not None and not 0 <= temperature < HIGHEST_TEMPERATURE:
        raise bad(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n"
        )
    ask.seed = config.get("seed")
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    mime = config.get("responseMimeType", "text/plain")
    if schema and mime != "application/json":
        raise bad("Response schema is only supported with response_mime_type application/json.")
    if mime == "application/json":
        ask.schema = schema if isinstance(schema, dict) else None
        ask.json_object = ask.schema is None
    if config.get("responseLogprobs"):
        ask.logprobs = config.get("logprobs") or 0
    thinking = _camel(config.get("thinkingConfig") or {})
    ask.reasoning = reasoning_tokens(ask.model, _thinking(thinking))
    ask.show_reasoning = bool(thinking.get("includeThoughts"))


def _thinking(config: dict[str, Any]) -> int:
    """Tokens of thought: by level, by budget, and none unless the caller says something about it."""
    level = str(config.get("thinkingLevel", "")).lower()
    if level:
        return EFFORTS.get(level, EFFORTS["medium"])
    budget = config.get("thinkingBudget", DYNAMIC_BUDGET if config.get("includeThoughts") else 0)
    return EFFORTS["medium"] if budget == DYNAMIC_BUDGET else min(int(budget), EFFORTS["medium"])
