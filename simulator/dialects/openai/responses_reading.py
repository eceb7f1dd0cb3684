"""Reading a request of OpenAI's Responses API, as strictly as OpenAI does where a client's mistake would show (pure).

Nothing is kept here: an earlier response, or an item by its id alone, is not found.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from simulator.answers import MESSAGE_TOKENS
from simulator.conversation import Ask, Refusal, Tool
from simulator.dialects.dialect import EFFORTS, Rejected, bad, parse_object, read_model, reasoning_tokens
from simulator.dialects.openai.reading import IMAGE_TOKENS, REPLY_TOKENS, check_strict_schema, listed, reasons
from simulator.dialects.openai.responses_writing import is_sealed
from simulator.settings import ProviderSettings
from simulator.words import word_list

LEAST_OUTPUT = 16
FILE_TOKENS = 85
"""What a file counts as: that of an image."""

_FIELDS = frozenset(
    word_list(
        "background conversation include input instructions max_output_tokens max_tool_calls metadata model "
        "parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention reasoning "
        "safety_identifier service_tier store stream stream_options temperature text tool_choice tools top_logprobs "
        "top_p truncation user"
    )
)
_ASKED_FOR = {"user": ("input_text", "input_image", "input_file"), "assistant": ("output_text", "refusal")}
_ROLES = ("assistant", "developer", "system", "user")


def read(body: bytes, settings: ProviderSettings) -> Ask:
    """The request in a body.

    Raises:
        Rejected: with the refusal that OpenAI would give.
    """
    raw = parse_object(body)
    strict = settings.strict
    name = raw.get("model")
    if not isinstance(name, str) or not name:
        raise bad("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    unknown = [field for field in raw if field not in _FIELDS]
    if strict and unknown:
        raise bad(f"Unknown parameter: '{unknown[0]}'.", unknown[0], "unknown_parameter")
    if raw.get("previous_response_id"):
        wanted = raw["previous_response_id"]
        raise bad(
            f"Previous response with id '{wanted}' not found.", "previous_response_id", "previous_response_not_found"
        )
    ask = Ask(model=read_model(name, settings), prompt=[], turn="")
    _read_tools(ask, raw)
    if isinstance(raw.get("instructions"), str):
        ask.prompt.append(raw["instructions"])
        ask.extra_tokens += MESSAGE_TOKENS
    _read_input(ask, raw.get("input"), strict=strict)
    ask.stream = raw.get("stream") is True
    _read_sampling(ask, raw, strict=strict)
    _read_format(ask, (raw.get("text") or {}).get("format"), strict=strict)
    _read_reasoning(ask, raw, settings)
    ask.responses = _repeated(raw)
    return ask


def _repeated(raw: dict[str, Any]) -> dict[str, Any]:
    """What the response repeats of the request, with what holds where nothing was said."""
    text = raw.get("text") or {}
    reasoning = raw.get("reasoning") or {}
    return {
        "instructions": raw.get("instructions"),
        "max_output_tokens": raw.get("max_output_tokens"),
        "metadata": raw.get("metadata") or {},
        "parallel_tool_calls": raw.get("parallel_tool_calls") is not False,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": "default",
        "store": raw.get("store") is not False,
        "temperature": 1.0 if raw.get("temperature") is None else raw["temperature"],
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": raw.get("tool_choice") or "auto",
        "tools": raw.get("tools") or [],
        "top_logprobs": raw.get("top_logprobs") or 0,
        "top_p": 1.0 if raw.get("top_p") is None else raw["top_p"],
        "truncation": "disabled",
        "user": raw.get("user"),
    }


# -- items


def _read_input(ask: Ask, given: Any, *, strict: bool) -> None:
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise bad("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    awaited: dict[str, bool] = {}  # calls, and whether their results have come
    messages = 0
    for at, item in enumerate(items):
        place = f"input[{at}]"
        match item.get("type") or "message":
            case "message":
                messages += 1
                text = _read_message(ask, item, place)
                ask.turn = text if item["role"] == "user" else ""
            case "function_call":
                awaited[_call_id(item, place)] = False
                ask.prompt.append(to_json({"name": item["name"], "arguments": item["arguments"]}).decode())
                ask.turn = ""
            case "function_call_output":
                messages += 1
                _read_result(ask, item, place, awaited, strict=strict)
            case "reasoning":
                if strict:
                    _check_reasoning(items, at)
            case kind:
                raise bad(f"Invalid value: '{kind}'.", f"{place}.type", "invalid_value")
    if strict and not all(awaited.values()):
        missing = next(call for call, answered in awaited.items() if not answered)
        raise bad(f"No tool output found for function call {missing}.", "input")
    ask.extra_tokens += MESSAGE_TOKENS * messages + REPLY_TOKENS + IMAGE_TOKENS * ask.images


def _read_message(ask: Ask, item: dict[str, Any], place: str) -> str:
    role = item.get("role")
    if role not in _ROLES:
        raise bad(f"Invalid value: '{role}'. Supported values are: {listed(_ROLES)}.", f"{place}.role", "invalid_value")
    return _read_content(ask, item.get("content"), place, "assistant" if role == "assistant" else "user")


def _read_content(ask: Ask, content: Any, place: str, said_by: str) -> str:
    """Add content to the prompt; returns its text."""
    if isinstance(content, str):
        ask.prompt.append(content)
        return content
    if not isinstance(content, list):
        raise bad(
            f"Invalid type for '{place}.content': expected one of an array of objects or string, but got null instead.",
            f"{place}.content",
            "invalid_type",
        )
    texts: list[str] = []
    for at, part in enumerate(content):
        kind, known = part.get("type"), _ASKED_FOR[said_by]
        if kind not in known:
            where = f"{place}.content[{at}].type"
            raise bad(f"Invalid value: '{kind}'. Supported values are: {listed(known)}.", where, "invalid_value")
        if kind == "input_image":
            _check_image(part, f"{place}.content[{at}]")
            ask.images += 1
        elif kind == "input_file":
            _check_file(part, f"{place}.content[{at}]")
            ask.extra_tokens += FILE_TOKENS
        else:
            texts.append(str(part["refusal" if kind == "refusal" else "text"]))
    ask.prompt.extend(texts)
    return "".join(texts)


def _check_image(part: dict[str, Any], place: str) -> None:
    url = part.get("image_url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "data:image/")):
        raise bad(f"Invalid '{place}.image_url'. Expected a valid URL or data URL.", place, "invalid_value")


def _check_file(part: dict[str, Any], place: str) -> None:
    data = part.get("file_data")
    if data is not None and not part.get("filename"):
        raise bad(f"Missing required parameter: '{place}.filename'.", place, "missing_required_parameter")
    if data is not None and not str(data).startswith("data:"):
        raise bad(
            f"Invalid file data: '{place}.file_data'. Expected a base64-encoded data URL with a valid file MIME type.",
            place,
            "invalid_value",
        )
    if data is None and not part.get("file_url"):
        raise bad(f"Missing required parameter: '{place}.file_url'.", place, "missing_required_parameter")


def _call_id(item: dict[str, Any], place: str) -> str:
    call = item.get("call_id")
    if not isinstance(call, str):
        raise bad(f"Missing required parameter: '{place}.call_id'.", f"{place}.call_id", "missing_required_parameter")
    return call


def _read_result(ask: Ask, item: dict[str, Any], place: str, awaited: dict[str, bool], *, strict: bool) -> None:
    call = _call_id(item, place)
    if strict and call not in awaited:
        raise bad(f"No tool call found for function call output with call_id {call}.", "input")
    awaited[call] = True
    _read_content(ask, item.get("output"), place, "user")
    ask.turn = ""


def _check_reasoning(items: list[Any], at: int) -> None:
    """Reasoning goes back in its encrypted form, and with what it led to directly behind it."""
    item = items[at]
    named, content = item.get("id"), item.get("encrypted_content")
    if content is None:
        raise Rejected(
            Refusal(
                "not_found",
                f"Item with id '{named}' not found. Items are not persisted when `store` is set to false. Try again "
                "with `store` set to true, or remove this item from your input.",
                param="input",
            )
        )
    if not is_sealed(content):
        raise bad(
            f"The encrypted content for item {named} could not be verified. Reason: Encrypted content could not be "
            "decrypted or parsed.",
            code="invalid_encrypted_content",
        )
    following = items[at + 1] if at + 1 < len(items) else {}
    if following.get("role") != "assistant" and following.get("type") != "function_call":
        raise bad(f"Item '{named}' of type 'reasoning' was provided without its required following item.", "input")


# -- settings


def _read_tools(ask: Ask, raw: dict[str, Any]) -> None:
    tools = raw.get("tools") or []
    for index, tool in enumerate(tools):
        if tool.get("type") != "function":
            raise bad(f"Invalid value: '{tool.get('type')}'.", f"tools[{index}].type", "invalid_value")
        if not isinstance(tool.get("name"), str):
            place = f"tools[{index}].name"
            raise bad(f"Missing required parameter: '{place}'.", place, "missing_required_parameter")
        schema = tool.get("parameters") or {}
        if tool.get("strict") is True:
            check_strict_schema(schema, f"function '{tool['name']}'", f"tools[{index}].parameters")
        ask.tools.append(Tool(tool["name"], schema))
    if tools:
        ask.prompt.append(to_json(tools).decode())
    ask.choice = _choice(ask, raw.get("tool_choice") or "auto")
    ask.parallel = raw.get("parallel_tool_calls") is not False


def _choice(ask: Ask, choice: Any) -> str:
    if isinstance(choice, dict):
        name = str(choice.get("name"))
        if name not in {tool.name for tool in ask.tools}:
            raise bad(f"Tool choice 'function' not found in 'tools' parameter: '{name}'.", "tool_choice")
        return name
    if choice not in ("auto", "none", "required"):
        raise bad(
            f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.",
            "tool_choice",
            "invalid_value",
        )
    if choice == "required" and not ask.tools:
        raise bad("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    return str(choice)


def _read_sampling(ask: Ask, raw: dict[str, Any], *, strict: bool) -> None:
    limit = raw.get("max_output_tokens")
    if limit is not None:
        least = LEAST_OUTPUT if strict else 1
        if not isinstance(limit, int) or limit < least:
            raise bad(
                f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {least}, but got "
                f"{limit} instead.",
                "max_output_tokens",
                "integer_below_min_value",
            )
        ask.max_tokens = limit
    temperature = raw.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        side, bound = ("above maximum", "<= 2") if temperature > 2 else ("below minimum", ">= 0")
        raise bad(
            f"Invalid 'temperature': decimal {side} value. Expected a value {bound}, but got {temperature} instead.",
            "temperature",
            f"decimal_{side.replace('imum', '').replace(' ', '_')}_value",
        )
    if "message.output_text.logprobs" in (raw.get("include") or ()):
        ask.logprobs = raw.get("top_logprobs") or 0


def _read_format(ask: Ask, form: Any, *, strict: bool) -> None:
    kind = "text" if form is None else form.get("type")
    if kind == "json_object":
        if strict and not any("json" in text.lower() for text in ask.prompt):
            raise bad(
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'.",
                "input",
            )
        ask.json_object = True
    elif kind == "json_schema":
        if not isinstance(form.get("name"), str):
            place = "text.format.name"
            raise bad(f"Missing required parameter: '{place}'.", place, "missing_required_parameter")
        schema = form.get("schema")
        if form.get("strict") is True:
            check_strict_schema(schema, f"response_format '{form['name']}'", "text.format.schema")
        ask.schema = schema if isinstance(schema, dict) else {"type": "object"}
    elif kind != "text":
        raise bad(f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.")


def _read_reasoning(ask: Ask, raw: dict[str, Any], settings: ProviderSettings) -> None:
    reasoning = raw.get("reasoning") or {}
    effort = reasoning.get("effort")
    if effort is not None and effort not in EFFORTS:
        message = f"Invalid value: '{effort}'. Supported values are: {listed(EFFORTS)}."
        raise bad(message, "reasoning.effort", "invalid_value")
    ask.reasoning = reasoning_tokens(ask.model, EFFORTS[effort] if effort else 0)
    ask.show_reasoning = bool(reasoning.get("summary"))
    ask.seal_reasoning = "reasoning.encrypted_content" in (raw.get("include") or ())
    if not settings.strict:
        return
    if not reasons(ask.model, settings):
        if effort is not None:
            raise _unsupported("reasoning.effort")
        if ask.seal_reasoning:
            raise bad("Encrypted content is not supported with this model.", "include")
    elif effort != "none":
        for name in ("temperature", "top_p"):
            if raw.get(name) not in (None, 1):
                raise _unsupported(name)


def _unsupported(name: str) -> Rejected:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return bad(message, name, "unsupported_parameter")
