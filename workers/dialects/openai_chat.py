"""OpenAI's chat completions, and everything that copies them: deviations are quirks of the provider's or model's row.

Request: https://platform.openai.com/docs/api-reference/chat/create. Answer: ``chat.completion``, or a stream of
``chat.completion.chunk`` closed by ``[DONE]``; a finish reason makes an answer whole, ``[DONE]`` may be missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from catalogue.quirks import quirks_of
from job_contracts.chat import JsonFormat, JsonSchemaFormat, NamedTool
from workers.dialects.answering import Answering
from workers.dialects.encoding import Losses, Names, Wanted, path_of, unmarked
from workers.dialects.openai_answer import ChatReader
from workers.dialects.openai_efforts import put_fields, put_reasoning
from workers.dialects.openai_messages import Messages
from workers.dialects.openai_parts import Parts
from workers.dialects.port import Encoded
from workers.dialects.strict_schema import strict

if TYPE_CHECKING:
    from catalogue.quirks import Quirks, Refusable
    from job_contracts.chat import Conversation, Tool
    from workers.dialects.port import Target

_JSON = {"content-type": "application/json"}


class OpenAIChat(Answering):
    """The dialect ``openai_chat``."""

    name = "openai_chat"
    reader = ChatReader

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        parts = Parts(wanted)
        messages = Messages(conversation, wanted, names, parts, family=target.model.family)
        body: dict[str, Any] = {"model": target.model.name, "messages": messages.all()}
        most = wanted.max_tokens(target.model.max_output)
        if most is not None:
            body[quirks.max_tokens_field] = most
        _Settings(body, conversation, wanted=wanted, names=names, parts=parts).put(most)
        if not quirks.cache_as:
            unmarked(conversation, losses)
        if messages.reasoned:
            _keep_thinking(body, quirks)
        if target.stream or quirks.stream_only:
            body["stream"] = True
            if quirks.stream_usage:
                body["stream_options"] = {"include_usage": True}
        put_fields(body, quirks.always_send)
        if quirks.prefill_sent and body["messages"] and body["messages"][-1]["role"] == "assistant":
            put_fields(body, quirks.prefill_sent)
        return Encoded(
            path=path_of(target, quirks, "/chat/completions"),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )


def _keep_thinking(body: dict[str, Any], quirks: Quirks) -> None:
    """Reasoning goes back: where a target would throw it away, it is told not to."""
    if quirks.clear_thinking == "field":
        body["clear_thinking"] = False
    elif quirks.clear_thinking == "thinking":
        body["thinking"] = {"type": "enabled", **body.get("thinking", {}), "clear_thinking": False}


class _Settings:
    """Everything of a request but its messages."""

    __slots__ = ("_body", "_conversation", "_names", "_parts", "_wanted")

    def __init__(
        self, body: dict[str, Any], conversation: Conversation, *, wanted: Wanted, names: Names, parts: Parts
    ) -> None:
        self._body = body
        self._conversation = conversation
        self._wanted = wanted
        self._names = names
        self._parts = parts

    def put(self, most: int | None) -> None:
        """All of them into the body; ``most`` is what the whole answer may have, if that is said."""
        body, wanted, conversation = self._body, self._wanted, self._conversation
        settings, quirks = wanted.settings, wanted.quirks
        self._sampling()
        if stop := wanted.stop():
            body["stop"] = stop
        if (seed := wanted.get("seed")) is not None:
            body[quirks.seed_field] = seed
        put_reasoning(body, wanted, most)
        if conversation.tools and not wanted.refused("tools", field="tools"):
            self._tools()
        elif settings.parallel_tool_calls is not None or settings.tool_choice is not None:
            why = "no tools are sent: choice and parallel calls mean nothing"
            wanted.losses.add("dropped", "settings.tool_choice", why)
        if (form := wanted.get("response_format")) is not None:
            _put_format(body, form, wanted)

    def _sampling(self) -> None:
        body, wanted, quirks = self._body, self._wanted, self._wanted.quirks
        if (temperature := wanted.temperature()) is not None:
            body["temperature"] = _at_least(temperature, quirks.temperature_min, "temperature", wanted)
        for name in _AS_THEY_ARE:
            if (value := wanted.get(name)) is not None:
                body[name] = value
        for name in _PENALTIES:
            if (value := wanted.get(name)) is not None:
                body[name] = _at_least(value, quirks.penalty_min, name, wanted)
        if not quirks.takes_top_k:
            wanted.unknown("top_k")
        elif (top_k := wanted.get("top_k")) is not None:
            body["top_k"] = top_k

    def _tools(self) -> None:
        body, wanted, conversation = self._body, self._wanted, self._conversation
        known = _choices(wanted)
        choice = _known_choice(wanted.tool_choice(conversation), wanted)
        if choice == "none" and known and "none" not in known:
            wanted.losses.add("rewritten", "settings.tool_choice", "none: the tools are left out instead")
            return
        body["tools"] = [self._tool(tool) for tool in conversation.tools]
        if choice is not None:
            body["tool_choice"] = _choice(choice, wanted.quirks, self._names)
        if (parallel := wanted.get("parallel_tool_calls")) is not None:
            body["parallel_tool_calls"] = parallel

    def _tool(self, tool: Tool) -> dict[str, Any]:
        function: dict[str, Any] = {"name": self._names.sent(tool.name)}
        if tool.description is not None:
            function["description"] = tool.description
        place = f"tools.{tool.name}.parameters"
        parameters, is_strict = _schema((tool.parameters, tool.strict), place, "tools.strict", self._wanted)
        if parameters is not None:
            function["parameters"] = parameters
        if is_strict is not None:
            function["strict"] = is_strict
        made: dict[str, Any] = {"type": "function", "function": function}
        if tool.cache is not None:
            self._parts.mark(made, tool.cache)
        return made


_AS_THEY_ARE: tuple[Refusable, ...] = ("top_p", "logprobs", "top_logprobs")
_PENALTIES: tuple[Refusable, ...] = ("presence_penalty", "frequency_penalty")


def _at_least(value: float, least: float, name: str, wanted: Wanted) -> float:
    if value >= least:
        return value
    wanted.losses.add("clamped", f"settings.{name}", f"{value} to {least}")
    return least


def _choices(wanted: Wanted) -> tuple[str, ...]:
    """What ``tool_choice`` may say here: of some, less while they reason."""
    quirks, settings = wanted.quirks, wanted.settings
    if not quirks.reasoning_tool_choices or settings.reasoning_effort == "none":
        return quirks.tool_choices
    asked = settings.reasoning_effort is not None or settings.reasoning_budget is not None
    reasons = quirks.reasons_unasked or (asked and "reasoning_effort" not in quirks.refuses)
    return quirks.reasoning_tool_choices if reasons else quirks.tool_choices


def _known_choice(choice: str | NamedTool | None, wanted: Wanted) -> str | NamedTool | None:
    """The choice in what the target knows: a named tool, else any tool, else what the model will."""
    known = _choices(wanted)
    if choice is None or not known:
        return choice
    told = f"the tool {choice.name!r}" if isinstance(choice, NamedTool) else choice
    if isinstance(choice, NamedTool):
        if "named" in known:
            return choice
        choice = "required"
    elif choice in known or choice == "none":
        return choice
    if choice == "required" and "required" not in known:
        choice = "auto"
    wanted.losses.add("rewritten", "settings.tool_choice", f"{told} is sent as {choice}: the target knows no other")
    return choice if choice in known else None


def _schema(
    asked: tuple[dict[str, Any] | None, bool | None], place: str, flag: str, wanted: Wanted
) -> tuple[dict[str, Any] | None, bool | None]:
    """A schema and its ``strict``, as the target takes them: rewritten to strict mode's subset, or without strict."""
    given, is_strict = asked
    if is_strict is None or wanted.refused("strict", field=flag):
        return given, None
    if not is_strict or not wanted.quirks.strict_subset:
        return given, is_strict
    found = strict(given or {}, defaults=wanted.quirks.strict_defaults)
    if isinstance(found, str):
        wanted.losses.add("dropped", flag, f"{place}: strict mode cannot say it: {found}")
        return given, None
    for change in found.changes:
        wanted.losses.add("rewritten", place, change)
    return (found.schema if given is not None or found.changes else None), True


def _choice(choice: str | NamedTool, quirks: Quirks, names: Names) -> Any:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": names.sent(choice.name)}}
    return quirks.required_word if choice == "required" else choice


def _put_format(body: dict[str, Any], form: Any, wanted: Wanted) -> None:
    field = "settings.response_format"
    if isinstance(form, JsonSchemaFormat) and wanted.quirks.schema_as == "json_schema":
        name = _NO_NAME.sub("_", form.name)[:_LONGEST_NAME] or "answer"
        if name != form.name:
            wanted.losses.add("renamed", f"{field}.name", f"{form.name[:80]!r} is sent as {name!r}")
        asked = (form.json_schema, form.strict)
        given, is_strict = _schema(asked, f"{field}.json_schema", f"{field}.strict", wanted)
        schema: dict[str, Any] = {"name": name, "schema": given}
        if form.description is not None:
            schema["description"] = form.description
        if is_strict is not None:
            schema["strict"] = is_strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return
    if isinstance(form, JsonSchemaFormat | JsonFormat) and wanted.quirks.schema_as == "none":
        wanted.losses.add("dropped", field, "the target has no structured answers")
        return
    if isinstance(form, JsonSchemaFormat):
        wanted.losses.add("rewritten", field, "json_object: the target takes no schema, an instruction holds it")
        _instruct(body["messages"], form.json_schema)
    body["response_format"] = {"type": "text" if form.type == "text" else "json_object"}


def _instruct(messages: list[dict[str, Any]], schema: dict[str, Any]) -> None:
    """The schema as words: targets without schemas want the word JSON in the prompt, the model needs the form."""
    words = f"Answer with one JSON object that is valid under this JSON Schema: {to_json(schema).decode()}"
    first = messages[0] if messages else None
    if first is not None and first["role"] == "system" and isinstance(first["content"], str):
        first["content"] = f"{first['content']}\n\n{words}"
    else:
        messages.insert(0, {"role": "system", "content": words})


_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
