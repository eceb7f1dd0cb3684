"""Reading a messages request, as strictly as Anthropic does where a client's mistake would show (pure)."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from simulator.answers import MESSAGE_TOKENS
from simulator.conversation import Ask, Tool
from simulator.dialects.anthropic import checks
from simulator.dialects.anthropic.writing import signature
from simulator.dialects.dialect import EFFORTS, Rejected, bad, parse_object, read_model, reasoning_tokens
from simulator.settings import ProviderSettings
from simulator.words import word_list

IMAGE_TOKENS = 1_600
LEAST_BUDGET = 1_024

_FIELDS = frozenset(
    word_list(
        "model messages max_tokens system metadata stop_sequences stream temperature top_k top_p tools "
        "tool_choice thinking service_tier container context_management mcp_servers output_config "
        "output_format cache_control inference_geo speed diagnostics prefill user_profile_id workspace_id "
        "fallbacks betas"
    )
)
_BLOCKS = frozenset(
    word_list(
        "text image document search_result tool_use tool_result thinking redacted_thinking server_tool_use "
        "web_search_tool_result code_execution_tool_result container_upload mcp_tool_use mcp_tool_result "
        "compaction"
    )
)


def read(body: bytes, settings: ProviderSettings, *, counting: bool = False, in_path: str = "") -> Ask:
    """The request in a body; ``counting``: a question for its tokens alone, which needs no ``max_tokens``; ``in_path``:
    the model as the path names it on Google's cloud, where the body has the version instead.

    Raises:
        Rejected: with the refusal that Anthropic would give.
    """
    raw = parse_object(body)
    if in_path:
        if not isinstance(raw.get("anthropic_version"), str):
            raise bad("anthropic_version: Field required")
        if "model" in raw:
            raise bad("model: Extra inputs are not permitted")
        raw = {name: one for name, one in raw.items() if name != "anthropic_version"} | {"model": in_path}
    if settings.strict:
        checks.check_marks(raw)
        for name in raw:
            if name not in _FIELDS:
                raise bad(f"{name}: Extra inputs are not permitted")
    model = raw.get("model")
    if not isinstance(model, str) or not model:
        raise bad("model: Field required")
    ask = Ask(model=read_model(model, settings), prompt=[], turn="", marks=[])
    _read_tools(ask, raw, strict=settings.strict)
    _read_system(ask, raw.get("system"))
    _read_messages(ask, raw.get("messages"), strict=settings.strict)
    if raw.get("cache_control"):
        _mark(ask)
    ask.stream = raw.get("stream") is True
    limit = raw.get("max_tokens")
    if not counting:
        if limit is None:
            raise bad("max_tokens: Field required")
        if not isinstance(limit, int) or limit < 1:
            raise bad("max_tokens: Input should be greater than or equal to 1")
    ask.max_tokens = limit
    if settings.strict:
        checks.check_sampling(raw, ask.model.base)
    _read_sampling(ask, raw)
    _read_output(ask, raw, strict=settings.strict)
    return ask


def _read_system(ask: Ask, system: Any) -> None:
    if isinstance(system, str):
        ask.prompt.append(system)
    elif isinstance(system, list):
        for index, block in enumerate(system):
            if not isinstance(block, dict) or not isinstance(block.get("text"), str):
                raise bad(f"system.{index}.text: Field required")
            _add(ask, block["text"], block)
    elif system is not None:
        raise bad("system: Input should be a valid string or list")


def _read_messages(ask: Ask, messages: Any, *, strict: bool) -> None:
    if not isinstance(messages, list):
        raise bad("messages: Field required")
    if not messages:
        raise bad("messages: at least one message is required")
    awaited: list[str] = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise bad(f"messages.{index}: Input does not match the expected shape.")
        role, content = message.get("role"), message.get("content")
        within = role == "system" and index > 0 and checks.takes_system_within(ask.model.base)
        if role not in ("user", "assistant") and not within:
            raise bad(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if strict and index == 0 and role != "user":
            raise bad('messages: first message must use the "user" role')
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list):
            raise bad(f"messages.{index}.content: Input should be a valid list")
        if strict:
            awaited = _check_tools(blocks, index, awaited)
        text = _read_blocks(ask, blocks, index, strict=strict)
        if not blocks or (not text and not ask.images and strict and _only_text(blocks)):
            raise bad(f"messages.{index}: all messages must have non-empty content")
        if role == "user":
            ask.turn = text
    if strict and awaited:
        raise _unanswered(awaited, len(messages) - 1)
    _check_prefill(messages[-1])
    if strict:
        checks.check_prefill(ask.model.base, messages[-1])
    ask.extra_tokens += MESSAGE_TOKENS * len(messages) + IMAGE_TOKENS * ask.images


def _only_text(blocks: list[Any]) -> bool:
    return all(block.get("type") == "text" for block in blocks)


def _check_prefill(last: dict[str, Any]) -> None:
    if last["role"] == "assistant" and isinstance(last["content"], str) and last["content"] != last["content"].rstrip():
        raise bad("messages: final assistant content cannot end with trailing whitespace")


def _read_blocks(ask: Ask, blocks: list[Any], index: int, *, strict: bool) -> str:
    """Read a message's blocks into the prompt; returns its text."""
    texts: list[str] = []
    for at, block in enumerate(blocks):
        place = f"messages.{index}.content.{at}"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind not in _BLOCKS:
            raise bad(
                f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
                f"{', '.join(repr(one) for one in sorted(_BLOCKS))}"
            )
        if kind == "text":
            if not isinstance(block.get("text"), str):
                raise bad(f"{place}.text.text: Field required")
            texts.append(block["text"])
            _add(ask, block["text"], block)
        elif kind == "image":
            _check_image(block, place)
            ask.images += 1
            _add(ask, "", block)
        elif kind == "document":
            _add(ask, checks.check_document(block, place), block)
            ask.extra_tokens += IMAGE_TOKENS if block["source"]["type"] != "text" else 0
        elif kind == "thinking":
            if strict and block.get("signature") != signature(str(block.get("thinking"))):
                raise bad(f"{place}: Invalid `signature` in `thinking` block")
            _add(ask, str(block.get("thinking")), block)
        else:
            _add(ask, to_json({name: one for name, one in block.items() if name != "cache_control"}).decode(), block)
    return "".join(texts)


def _check_image(block: dict[str, Any], place: str) -> None:
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    wanted = {"base64": "data", "url": "url", "file": "file_id"}.get(str(kind))
    if wanted is None:
        raise bad(f"{place}.image.source: Input tag '{kind}' does not match 'base64', 'file', 'url'")
    if not isinstance(source, dict) or not source.get(wanted):
        raise bad(f"{place}.image.source.{kind}.{wanted}: Field required")
    if kind == "base64" and source.get("media_type") not in ("image/jpeg", "image/png", "image/gif", "image/webp"):
        raise bad(
            f"{place}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or "
            "'image/webp'"
        )


def _check_tools(blocks: list[Any], index: int, awaited: list[str]) -> list[str]:
    """Every call of the turn before must have its result here; returns the calls of this turn."""
    named = [block for block in blocks if isinstance(block, dict)]
    results = [str(block.get("tool_use_id")) for block in named if block.get("type") == "tool_result"]
    missing = [one for one in awaited if one not in results]
    if missing:
        raise _unanswered(missing, index - 1)
    unexpected = [one for one in results if one not in awaited]
    if unexpected:
        raise bad(
            f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {unexpected[0]}. "
            "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
        )
    return [str(block.get("id")) for block in named if block.get("type") == "tool_use"]


def _unanswered(missing: list[str], index: int) -> Rejected:
    return bad(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
        "message."
    )


def _read_tools(ask: Ask, raw: dict[str, Any], *, strict: bool) -> None:
    for index, tool in enumerate(raw.get("tools") or ()):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise bad(f"tools.{index}.custom.name: Field required")
        if tool.get("type", "custom") == "custom":
            if not isinstance(tool.get("input_schema"), dict):
                raise bad(f"tools.{index}.custom.input_schema: Field required")
            if strict and tool.get("strict"):
                checks.check_schema(tool["input_schema"], f"tools.{index}.custom.input_schema")
            ask.tools.append(Tool(tool["name"], tool["input_schema"]))
        _add(ask, to_json({name: one for name, one in tool.items() if name != "cache_control"}).decode(), tool)
    choice = raw.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("auto", "any", "tool", "none"):
        raise bad(f"tool_choice: Input tag '{kind}' does not match 'any', 'auto', 'none', 'tool'")
    if not ask.tools and kind != "none":
        raise bad("tool_choice may only be specified while providing tools.")
    ask.parallel = choice.get("disable_parallel_tool_use") is not True
    ask.choice = {"any": "required", "tool": str(choice.get("name"))}.get(kind, str(kind))
    if kind == "tool" and ask.choice not in {tool.name for tool in ask.tools}:
        raise bad(f"Tool '{ask.choice}' not found in provided tools")


def _read_sampling(ask: Ask, raw: dict[str, Any]) -> None:
    temperature = raw.get("temperature")
    if temperature is not None and not 0 <= temperature <= 1:
        raise bad(f"temperature: range: 0..1 but got {temperature}")
    stops = raw.get("stop_sequences") or ()
    if any(not str(stop).strip() for stop in stops):
        raise bad("stop_sequences: each stop sequence must contain non-whitespace")
    ask.stops = tuple(stops)


def _read_output(ask: Ask, raw: dict[str, Any], *, strict: bool) -> None:
    output = raw.get("output_config") or {}
    wanted = output.get("format") or raw.get("output_format")
    if wanted:
        if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
            raise bad("output_config.format.schema: Field required")
        if strict:
            checks.check_schema(wanted["schema"], "output_config.format.schema")
        ask.schema = wanted["schema"]
    effort = output.get("effort")
    if effort is not None and effort not in EFFORTS:
        raise bad(f"output_config.effort: Input should be one of {', '.join(EFFORTS)}")
    thinking = raw.get("thinking") or {}
    kind = thinking.get("type", "disabled")
    if kind == "disabled":
        return
    length = EFFORTS[effort or "medium"]
    if kind == "enabled":
        length = min(length, _budget(thinking, ask.max_tokens, strict=strict))
    if strict:
        if raw.get("temperature") not in (None, 1):
            raise bad("`temperature` may only be set to 1 when thinking is enabled.")
        checks.check_thinking(raw)
        if ask.choice not in ("auto", "none"):
            raise bad("Thinking may not be enabled when tool_choice forces tool use.")
    ask.reasoning = reasoning_tokens(ask.model, length)
    ask.show_reasoning = thinking.get("display") != "omitted"


def _budget(thinking: dict[str, Any], max_tokens: int | None, *, strict: bool) -> int:
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        raise bad("thinking.enabled.budget_tokens: Field required")
    if strict and budget < LEAST_BUDGET:
        raise bad(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET}")
    if strict and max_tokens is not None and budget >= max_tokens:
        raise bad("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return budget


def _add(ask: Ask, text: str, block: dict[str, Any]) -> None:
    ask.prompt.append(text)
    if block.get("cache_control"):
        _mark(ask)


def _mark(ask: Ask) -> None:
    """The caller wants everything up to here cached."""
    if ask.marks is not None and ask.prompt:
        ask.marks.append(len(ask.prompt))
