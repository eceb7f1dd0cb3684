"""Tools and generation settings as programs write them (ours, or the OpenAI API's) into the submitted form. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from job_contracts.chat import JsonFormat, JsonSchemaFormat, NamedTool, TextFormat, Tool
from job_contracts.jobs import MOST_TOKENS
from producer_sdk.errors import InvalidRequest
from producer_sdk.messages import Fields, as_fields, marked, no_others

_TOOL = frozenset({"type", "name", "description", "parameters", "strict", "cache"})
_FORMATS = ("json_schema", "json_object", "text")


def tool_list(tools: object) -> list[Any]:
    """Tool definitions as ``job_contracts.chat.Tool`` validates them. Raises InvalidRequest naming ``tools[i]…``."""
    if not isinstance(tools, (list, tuple)):
        raise InvalidRequest("tools: expected a list of tools", field="tools", remedy="write a list")
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def _tool(tool: object, path: str) -> Any:
    if isinstance(tool, Tool):
        return tool
    fields = marked(as_fields(tool, path, "a tool"), path)
    if fields.get("type", "function") != "function":
        where = f"{path}.type"
        raise InvalidRequest(
            f"{where}: {fields['type']!r} tools are not carried", field=where, remedy="describe it as a function"
        )
    if "function" in fields:
        no_others(fields, frozenset({"type", "function", "cache"}), path)
        mark = fields.get("cache")
        path = f"{path}.function"
        fields = marked(as_fields(fields["function"], path, "a function"), path)
        if mark is not None and fields.setdefault("cache", mark) != mark:
            where = f"{path}.cache"
            message = f"{where}: the tool's own says something else"
            raise InvalidRequest(message, field=where, remedy="give one of the two")
    no_others(fields, _TOOL, path)
    return {name: value for name, value in fields.items() if name != "type"}


def settings(given: Mapping[str, Any]) -> Fields:
    """Generation settings as ``job_contracts.chat.Settings`` validates them. Raises InvalidRequest."""
    found = {name: value for name, value in given.items() if value is not None}
    if "max_completion_tokens" in found:
        newer = found.pop("max_completion_tokens")
        if found.setdefault("max_tokens", newer) != newer:
            raise InvalidRequest(
                "max_completion_tokens: max_tokens says something else",
                field="max_completion_tokens",
                remedy="give one of the two",
            )
    most = found.get("max_tokens")
    if isinstance(most, int) and most > MOST_TOKENS:
        message = f"max_tokens: more than {MOST_TOKENS:,} is no bound"
        raise InvalidRequest(message, field="max_tokens", remedy="give a smaller one, or leave it to the model")
    if isinstance(found.get("stop"), str):
        found["stop"] = (found["stop"],)
    if "response_format" in found:
        found["response_format"] = _format(found["response_format"])
    if "tool_choice" in found:
        found["tool_choice"] = _choice(found["tool_choice"])
    return found


def schema_format(model: Any, schema: dict[str, Any], *, strict: bool | None = None) -> JsonSchemaFormat:
    """The answer format of a type with this JSON Schema, named after the type as far as names may go."""
    name = "".join(char if char.isalnum() or char in "_-" else "_" for char in getattr(model, "__name__", "answer"))
    description = inspect.getdoc(model) if inspect.isclass(model) and model.__dict__.get("__doc__") else None
    return JsonSchemaFormat(name=name[:64] or "answer", description=description, json_schema=schema, strict=strict)


def _format(wanted: object) -> Any:
    if isinstance(wanted, (JsonSchemaFormat, JsonFormat, TextFormat)):
        return wanted
    if isinstance(wanted, type):
        make = getattr(wanted, "model_json_schema", None)
        if make is None:
            raise InvalidRequest(
                f"response_format: {wanted.__name__} is not a pydantic model",
                field="response_format",
                remedy="give a pydantic model class or a JSON Schema; parse() takes any type",
            )
        return schema_format(wanted, make())
    path = "response_format"
    fields = as_fields(wanted, path, "a format")
    kind = fields.get("type")
    if kind not in _FORMATS:
        raise InvalidRequest(
            f"{path}.type: unknown format {kind!r}", field=f"{path}.type", remedy=f"use one of: {', '.join(_FORMATS)}"
        )
    nested = fields.get("json_schema")
    if kind == "json_schema" and isinstance(nested, Mapping) and isinstance(nested.get("schema"), Mapping):
        no_others(fields, frozenset({"type", "json_schema"}), path)
        inner = as_fields(nested, f"{path}.json_schema", "a schema")
        no_others(inner, frozenset({"name", "description", "schema", "strict"}), f"{path}.json_schema")
        inner["json_schema"] = inner.pop("schema")
        return inner | {"type": kind}
    return fields


def _choice(choice: object) -> Any:
    if isinstance(choice, (str, NamedTool)):
        return choice
    fields = as_fields(choice, "tool_choice", "a choice")
    if fields.get("type") == "function":
        no_others(fields, frozenset({"type", "function", "name"}), "tool_choice")
        nested = fields.get("function")
        inner = as_fields(nested, "tool_choice.function", "a function") if nested else fields
        return {"name": inner.get("name")}
    no_others(fields, frozenset({"name"}), "tool_choice")
    return fields
