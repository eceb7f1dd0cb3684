"""Reading a chat completion request, as strictly as OpenAI does where a client's mistake would show (pure)."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from pydantic_core import to_json

from simulator.answers import MESSAGE_TOKENS
from simulator.conversation import Ask, Tool
from simulator.dialects.dialect import EFFORTS, bad, parse_object, read_model, reasoning_tokens
from simulator.names import ModelName
from simulator.settings import ProviderSettings

IMAGE_TOKENS = 85
REPLY_TOKENS = 3
MOST_STOPS = 4

_ROLES = frozenset(("system", "developer", "user", "assistant", "tool", "function"))
_PARTS = frozenset(("text", "image_url", "input_audio", "file", "refusal"))


def read(body: bytes, settings: ProviderSettings) -> Ask:
    """The request in a body.

    Raises:
        Rejected: with the refusal that OpenAI would give.
    """
    raw = parse_object(body)
    name = raw.get("model")
    if not isinstance(name, str) or not name:
        raise bad("you must provide a model parameter")
    model = read_model(name, settings)
    ask = Ask(model=model, prompt=[], turn="")
    tools = raw.get("tools")
    if tools:
        _read_tools(ask, raw, tools)
    _read_messages(ask, raw.get("messages"), strict=settings.strict)
    ask.stream = raw.get("stream") is True
    if ask.stream:
        options = raw.get("stream_options") or {}
        ask.stream_usage = bool(options.get("include_usage"))
    elif raw.get("stream_options") is not None:
        raise bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    _read_sampling(ask, raw)
    if raw.get("response_format") is not None:
        _read_format(ask, raw["response_format"], strict=settings.strict)
    effort = raw.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise bad(f"Invalid value: '{effort}'. Supported values are: {listed(EFFORTS)}.", "reasoning_effort")
    ask.reasoning = reasoning_tokens(model, EFFORTS[effort] if effort else 0)
    ask.show_reasoning = bool(settings.reasoning_field)
    if settings.strict and effort != "none" and reasons(model, settings):
        _refuse_sampling(raw)
    return ask


def _read_messages(ask: Ask, messages: Any, *, strict: bool) -> None:
    if not isinstance(messages, list):
        raise bad("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not messages:
        raise bad(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    awaited: set[str] = set()
    prompt = ask.prompt
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            role = message.get("role") if isinstance(message, dict) else message
            raise bad(f"Invalid value: '{role}'. Supported values are: {listed(_ROLES)}.", f"messages[{index}].role")
        role = message["role"]
        if strict and (awaited or role == "tool"):
            _check_tool_turn(message, index, awaited)
        content = message.get("content")
        if isinstance(content, str):
            prompt.append(content)
            text = content
        else:
            text = _read_parts(ask, content, role, index, has_calls=bool(message.get("tool_calls")))
        if role == "assistant" and message.get("tool_calls"):
            awaited = {str(call.get("id")) for call in message["tool_calls"]}
            prompt.append(to_json([call.get("function") for call in message["tool_calls"]]).decode())
        ask.turn = text if role == "user" else ""
    if strict and awaited:
        raise _unanswered(awaited, len(messages))
    ask.extra_tokens += MESSAGE_TOKENS * len(messages) + REPLY_TOKENS + IMAGE_TOKENS * ask.images


def _read_parts(ask: Ask, content: Any, role: str, index: int, *, has_calls: bool) -> str:
    """Read content that is not plain text; returns its text."""
    if content is None:
        if role == "assistant" and has_calls:
            return ""
        raise bad(
            f"Invalid value for 'content': expected a string, got null. (messages[{index}])",
            f"messages[{index}].content",
        )
    if not isinstance(content, list):
        raise bad(
            f"Invalid type for 'messages[{index}].content': expected one of a string or array of objects.",
            f"messages[{index}].content",
            "invalid_type",
        )
    texts: list[str] = []
    for at, part in enumerate(content):
        place = f"messages[{index}].content[{at}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _PARTS:
            raise bad(f"Invalid value: '{kind}'. Supported values are: {listed(_PARTS)}.", f"{place}.type")
        if kind == "text":
            if not isinstance(part.get("text"), str):
                raise bad(f"Missing required parameter: '{place}.text'.", f"{place}.text", "missing_required_parameter")
            texts.append(part["text"])
        elif kind == "image_url":
            _check_image(part, role, place)
            ask.images += 1
    ask.prompt.extend(texts)
    return "".join(texts)


def _check_image(part: dict[str, Any], role: str, place: str) -> None:
    if role != "user":
        raise bad(f"Image URLs are only allowed for messages with role 'user', but this is '{role}'.", place)
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "data:image/")):
        raise bad(f"Invalid '{place}.image_url.url'. Expected a valid URL or data URL.", place, "invalid_image_url")


def _check_tool_turn(message: dict[str, Any], index: int, awaited: set[str]) -> None:
    if message["role"] != "tool":
        raise _unanswered(awaited, index)
    call_id = str(message.get("tool_call_id"))
    if call_id not in awaited:
        raise bad(
            "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
            f"messages[{index}].role",
        )
    awaited.discard(call_id)


def _unanswered(awaited: set[str], index: int) -> Exception:
    return bad(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(sorted(awaited))}",
        f"messages[{index}].role",
    )


def _read_tools(ask: Ask, raw: dict[str, Any], tools: Any) -> None:
    if not isinstance(tools, list):
        raise bad("Invalid type for 'tools': expected an array of objects.", "tools", "invalid_type")
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            place = f"tools[{index}].function"
            raise bad(f"Missing required parameter: '{place}'.", place, "missing_required_parameter")
        schema = function.get("parameters") or {}
        if function.get("strict") is True:
            check_strict_schema(schema, f"function '{function['name']}'", f"tools[{index}].function.parameters")
        ask.tools.append(Tool(function["name"], schema))
    ask.prompt.append(to_json(tools).decode())
    choice = raw.get("tool_choice", "auto")
    if isinstance(choice, dict):
        choice = (choice.get("function") or {}).get("name", "")
        if choice not in {tool.name for tool in ask.tools}:
            raise bad(
                f"Invalid value for 'tool_choice': no function named '{choice}' was specified in the 'tools' "
                "parameter.",
                "tool_choice",
            )
    elif choice not in ("auto", "none", "required"):
        raise bad(
            f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.",
            "tool_choice",
            "invalid_value",
        )
    ask.choice = choice
    ask.parallel = raw.get("parallel_tool_calls") is not False


def _read_sampling(ask: Ask, raw: dict[str, Any]) -> None:
    limit = raw.get("max_completion_tokens")
    if limit is None:
        limit = raw.get("max_tokens")
    if limit is not None:
        if not isinstance(limit, int) or limit < 1:
            raise bad(f"Invalid 'max_tokens': expected a value >= 1, but got {limit} instead.", "max_tokens")
        ask.max_tokens = limit
    stop = raw.get("stop")
    if stop is not None:
        ask.stops = (stop,) if isinstance(stop, str) else tuple(stop)
        if len(ask.stops) > MOST_STOPS:
            raise bad(
                f"Invalid 'stop': array too long. Expected an array with maximum length {MOST_STOPS}, but got an array "
                f"with length {len(ask.stops)} instead.",
                "stop",
                "array_above_max_length",
            )
    ask.seed = raw.get("seed")
    temperature = raw.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        bound = "maximum value <= 2" if temperature > 2 else "minimum value >= 0"
        raise bad(
            f"Invalid 'temperature': decimal {'above maximum' if temperature > 2 else 'below minimum'} value. Expected "
            f"a value with {bound}, but got {temperature} instead.",
            "temperature",
            "decimal_above_max_value" if temperature > 2 else "decimal_below_min_value",
        )
    if raw.get("logprobs"):
        ask.logprobs = raw.get("top_logprobs") or 0
    if raw.get("n") not in (None, 1):
        raise bad("The simulator gives one choice: 'n' must be 1.", "n")


def _read_format(ask: Ask, wanted: Any, *, strict: bool) -> None:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        if strict and not any("json" in text.lower() for text in ask.prompt):
            raise bad(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
                "messages",
            )
        ask.json_object = True
    elif kind == "json_schema":
        described = wanted.get("json_schema") or {}
        schema = described.get("schema")
        if not isinstance(described.get("name"), str):
            place = "response_format.json_schema.name"
            raise bad(f"Missing required parameter: '{place}'.", place, "missing_required_parameter")
        if described.get("strict") is True:
            check_strict_schema(schema, f"response_format '{described['name']}'", "response_format")
        ask.schema = schema if isinstance(schema, dict) else {"type": "object"}
    elif kind != "text":
        raise bad(f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.")


def check_strict_schema(schema: Any, owner: str, param: str, context: tuple[str, ...] = ()) -> None:
    """OpenAI's rule for strict schemas: every property required, no further ones, at every level."""
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if isinstance(properties, dict):
        opening = f"Invalid schema for {owner}: In context={context!r}, "
        missing = [name for name in properties if name not in schema.get("required", ())]
        if missing:
            raise bad(
                f"{opening}'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{missing[0]}'.",
                param,
                "invalid_function_parameters" if owner.startswith("function") else None,
            )
        if schema.get("additionalProperties") is not False:
            raise bad(f"{opening}'additionalProperties' is required to be supplied and to be false.", param)
        for name, one in properties.items():
            check_strict_schema(one, owner, param, (*context, "properties", name))
    check_strict_schema(schema.get("items"), owner, param, (*context, "items"))
    for name, one in (schema.get("$defs") or {}).items():
        check_strict_schema(one, owner, param, (*context, "$defs", name))


def reasons(model: ModelName, settings: ProviderSettings) -> bool:
    """Whether the model is one that reasons."""
    return any(fnmatchcase(model.base, pattern) for pattern in settings.reasoning_models)


def _refuse_sampling(raw: dict[str, Any]) -> None:
    """Refuse what reasoning models do not take."""
    if raw.get("max_tokens") is not None:
        raise bad(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if raw.get("stop"):
        raise bad("Unsupported parameter: 'stop' is not supported with this model.", "stop", "unsupported_parameter")
    for name, only in (("temperature", 1), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        value = raw.get(name)
        if value is not None and value != only:
            raise bad(
                f"Unsupported value: '{name}' does not support {value} with this model. Only the default ({only}) "
                "value is supported.",
                name,
                "unsupported_value",
            )


def listed(values: Any) -> str:
    """Values as OpenAI names the ones it knows."""
    return ", ".join(f"'{one}'" for one in sorted(values))
