"""Anthropic's messages: the request's body. ``anthropic_answer`` is the way back.

After https://docs.anthropic.com/en/api/messages. A field that would change the answer and cannot be carried is refused,
never dropped; one that changes nothing here is told (``Asked.unused``). Rooms: ``anthropic_turns`` the messages,
``anthropic_seals`` the reasoning in them, ``anthropic_fields`` how fields are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.bodies.anthropic_fields import Block, block, blocks, cache, flag, only, optional_text, text, unsupported
from gateway.bodies.anthropic_turns import Turns, marked
from gateway.bodies.asked import Asked
from gateway.bodies.failures import Failed, invalid
from gateway.bodies.kinds import whole
from job_contracts.chat import CacheFor, JsonSchemaFormat, NamedTool, TextPart, Tool, ToolTurn, Turn, UserTurn

Thinking = Literal["shown", "omitted", "hidden"]
"""What a client sees of the reasoning: all, its signatures alone, nothing (it did not ask for thinking)."""

MOST_USER_ID = 256
"""Characters of ``metadata.user_id``, as the API has it."""
UNUSED = frozenset({"service_tier", "speed", "betas", "diagnostics", "user_profile_id", "workspace_id"})
"""Fields that a program may send and that change nothing here."""
NOT_HERE = {
    "container": "containers at a provider are not carried",
    "mcp_servers": "tools that run at a provider are not carried",
    "inference_geo": "where a request is answered is the operator's choice, made for each project",
    "fallbacks": "what is tried next is the route's choice",
    "compaction": "conversations are not shortened at a provider",
    "thread": "conversations are not kept at a provider",
}
"""Fields of the API that would change the answer and cannot be carried."""
SAMPLING = ("temperature", "top_p", "top_k")
KNOWN = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "stop_sequences", "stream", "tools", "tool_choice", "thinking"),
        *("metadata", "output_config", "output_format", "cache_control", "context_management", *SAMPLING),
    }
)
_TOOL = frozenset(
    {
        *("type", "name", "description", "input_schema", "cache_control", "strict", "eager_input_streaming"),
        *("defer_loading", "allowed_callers", "input_examples"),
    }
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
EFFORTS = ("low", "medium", "high", "xhigh", "max")
_USUAL_EFFORT = "high"
"""The API's own, where thinking is left to the model."""


@dataclass(frozen=True, slots=True)
class Request:
    """One body: what is asked, and how the answer is to be told."""

    asked: Asked
    thinking: Thinking = "hidden"
    stop: tuple[str, ...] = ()


def read(body: Mapping[str, Any], *, counting: bool = False) -> Request:
    """What a body asks for; ``counting``: of its tokens alone. Raises ``Failed`` with 400 naming the field."""
    given = block(dict(body), "the body")
    _refuse(given)
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model: expected the name of a route", param="model", remedy="GET /v1/models lists them")
    reader = Turns()
    turns = reader.messages(given.get("messages"))
    if "system" in given:
        turns.insert(0, reader.system(given["system"]))
    if mark := cache(given, ""):
        turns[-1] = _marked(turns[-1], mark)
    unused = reader.unused | (given.keys() & UNUSED)
    settings = {name: given[name] for name in SAMPLING if name in given}
    if not counting or "max_tokens" in given:
        settings["max_tokens"] = _max_tokens(given)
    stop = _stop(given)
    if stop:
        settings["stop"] = stop
    thinking = _put_thinking(settings, given)
    _put_output(settings, given, unused)
    _put_choice(settings, given)
    asked = Asked(
        model=model,
        messages=turns,
        tools=_tools(given, unused),
        settings=settings,
        stream=flag(given, "stream"),
        unused=tuple(sorted(unused)),
        session=_session(given),
    )
    return Request(asked, thinking, stop)


def _refuse(given: Block) -> None:
    for name, why in NOT_HERE.items():
        if given.get(name):
            raise unsupported(name, why)
    only(given, KNOWN | UNUSED | NOT_HERE.keys())
    if "context_management" not in given:
        return
    managed = block(given["context_management"], "context_management")
    for edit, path in blocks(managed.get("edits", []), "context_management.edits"):
        # The one edit that takes nothing away is that which keeps all thinking.
        if not str(edit.get("type")).startswith("clear_thinking_") or edit.get("keep") != "all":
            raise unsupported(path, "nothing is taken out of a conversation here", "shorten it before you send it")


def _max_tokens(given: Block) -> int:
    most = given.get("max_tokens")
    if most is None:
        raise invalid("max_tokens: field required", param="max_tokens", remedy="say how long the answer may become")
    number = whole(most)
    if number is None or number < 1:
        raise invalid(f"max_tokens: expected a whole number above 0, not {most!r}", param="max_tokens")
    return number


def _stop(given: Block) -> tuple[str, ...]:
    sequences = given.get("stop_sequences", [])
    if not isinstance(sequences, list) or not all(isinstance(one, str) for one in sequences):
        raise invalid("stop_sequences: expected a list of strings", param="stop_sequences")
    return tuple(sequences)


def _session(given: Block) -> str | None:
    user = optional_text(block(given.get("metadata", {}), "metadata"), "user_id", "metadata")
    if user is not None and len(user) > MOST_USER_ID:
        where = "metadata.user_id"
        raise invalid(f"{where}: it has more than {MOST_USER_ID} characters", param=where, remedy="send a shorter one")
    return user or None


def _marked(turn: Turn, mark: CacheFor) -> Turn:
    """The same turn with a cache mark at its end: the API puts one there if the request as a whole is marked."""
    if not isinstance(turn, UserTurn | ToolTurn):
        return turn
    parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
    return turn.model_copy(update={"content": marked(parts, mark)}) if parts else turn


# -- thinking, and the form of the answer


def _put_thinking(settings: dict[str, Any], given: Block) -> Thinking:
    if "thinking" not in given:
        return "hidden"
    wanted = block(given["thinking"], "thinking")
    kind = wanted.get("type")
    if kind == "disabled":
        settings["reasoning_effort"] = "none"
        return "hidden"
    if kind == "enabled":
        budget = whole(wanted.get("budget_tokens"))
        if budget is None or budget < 1:
            where = "thinking.budget_tokens"
            raise invalid(f"{where}: expected a whole number above 0", param=where, remedy="write one of at least 1024")
        settings["reasoning_budget"] = budget
    elif kind == "adaptive":
        settings["reasoning_effort"] = _USUAL_EFFORT
    elif kind == "between_tools":
        raise unsupported("thinking.type", "when a model thinks is its own choice", "use adaptive or disabled")
    else:
        remedy = "use adaptive, enabled or disabled"
        raise invalid(f"thinking.type: {kind!r} is none", param="thinking.type", remedy=remedy)
    return "omitted" if wanted.get("display") == "omitted" else "shown"


def _put_output(settings: dict[str, Any], given: Block, unused: set[str]) -> None:
    """Effort and schema. An effort beside disabled thinking, or beside a budget of it, changes nothing here."""
    config = block(given.get("output_config", {}), "output_config")
    only(config, frozenset({"effort", "format", "task_budget"}), "output_config")
    if "task_budget" in config:
        raise unsupported("output_config.task_budget", "a budget over several requests is not kept")
    effort = config.get("effort")
    if effort is not None:
        if effort not in EFFORTS:
            where = "output_config.effort"
            raise invalid(f"{where}: {effort!r} is none", param=where, remedy=f"use one of: {', '.join(EFFORTS)}")
        if settings.get("reasoning_effort") == "none" or "reasoning_budget" in settings:
            unused.add("output_config.effort")
        else:
            settings["reasoning_effort"] = effort
    for path, found in (("output_config.format", config.get("format")), ("output_format", given.get("output_format"))):
        if found is not None:
            settings["response_format"] = _format(block(found, path), path)


def _format(wanted: Block, path: str) -> JsonSchemaFormat:
    if wanted.get("type") != "json_schema":
        where = f"{path}.type"
        raise invalid(f"{where}: {wanted.get('type')!r} is none", param=where, remedy="use json_schema")
    schema = wanted.get("schema")
    if not isinstance(schema, dict):
        raise invalid(f"{path}.schema: expected a JSON Schema", param=f"{path}.schema")
    return JsonSchemaFormat(json_schema=schema, strict=True)


# -- tools


def _tools(given: Block, unused: set[str]) -> Sequence[Tool]:
    return [_tool(one, path, unused) for one, path in blocks(given.get("tools", []), "tools")]


def _tool(one: Block, path: str, unused: set[str]) -> Tool:
    kind = one.get("type", "custom")
    if kind != "custom":
        remedy = "describe it with a name, a description and an input_schema, and run it yourself"
        raise unsupported(
            f"{path}.type", f"{kind!r} is a tool of Anthropic's own, which other models do not have", remedy
        )
    only(one, _TOOL, path)
    if one.get("input_examples"):
        raise unsupported(
            f"{path}.input_examples", "examples have no place of their own", "put them in the description"
        )
    if flag(one, "defer_loading", path):
        raise unsupported(f"{path}.defer_loading", "tools are not searched for at a provider")
    if one.get("allowed_callers", ["direct"]) != ["direct"]:
        raise unsupported(f"{path}.allowed_callers", "nothing but the model calls tools here")
    if "eager_input_streaming" in one:
        unused.add("tools.eager_input_streaming")
    schema = one.get("input_schema")
    if not isinstance(schema, dict):
        raise invalid(f"{path}.input_schema: expected a JSON Schema", param=f"{path}.input_schema")
    try:
        return Tool(
            name=text(one, "name", path),
            description=optional_text(one, "description", path),
            parameters=schema,
            strict=flag(one, "strict", path) if "strict" in one else None,
            cache=cache(one, path),
        )
    except ValueError as error:
        where = f"{path}.name"
        remedy = "use letters, digits and _ . : - only, at most 128"
        raise invalid(f"{where}: {one['name']!r} cannot be a tool's name", param=where, remedy=remedy) from error


def _put_choice(settings: dict[str, Any], given: Block) -> None:
    if "tool_choice" not in given:
        return
    choice = block(given["tool_choice"], "tool_choice")
    only(choice, frozenset({"type", "name", "disable_parallel_tool_use"}), "tool_choice")
    if "disable_parallel_tool_use" in choice:
        settings["parallel_tool_calls"] = not flag(choice, "disable_parallel_tool_use", "tool_choice")
    kind = choice.get("type")
    if kind == "tool":
        name = text(choice, "name", "tool_choice")
        if name not in {tool.get("name") for tool in given.get("tools", []) if isinstance(tool, dict)}:
            raise invalid(f"tool_choice.name: there is no tool {name!r}", param="tool_choice.name")
        settings["tool_choice"] = NamedTool(name=name)
    elif isinstance(kind, str) and kind in _CHOICES:
        if not given.get("tools") and kind != "none":
            raise invalid("tool_choice: there are no tools to choose from", param="tool_choice", remedy="give tools")
        settings["tool_choice"] = _CHOICES[kind]
    else:
        raise _no_choice(kind)


def _no_choice(kind: Any) -> Failed:
    where = "tool_choice.type"
    return invalid(f"{where}: {kind!r} is none", param=where, remedy="use auto, any, tool or none")
