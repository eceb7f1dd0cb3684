"""Bedrock's Converse API: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.

One form for the models of many makers: what they share stands in ``inferenceConfig`` and ``toolConfig``, what only some
of them know in ``additionalModelRequestFields`` under a name of the model's own, which its row says. The messages are
``bedrock_messages``. Requests are signed where they leave (``workers.signing``): nothing here knows a key or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from catalogue.quirks import quirks_of
from job_contracts.chat import JsonFormat, JsonSchemaFormat, NamedTool
from job_contracts.failures import FailureKind
from workers.dialects import thinking
from workers.dialects.answering import Answering
from workers.dialects.bedrock_answer import ConverseReader
from workers.dialects.bedrock_messages import CachePoints, Messages, called
from workers.dialects.encoding import Losses, Names, Wanted, path_of
from workers.dialects.eventstream import MEDIA_TYPE
from workers.dialects.port import Encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.chat import Conversation, Tool
    from job_contracts.failures import Failure
    from workers.dialects.port import Target

_JSON = {"content-type": "application/json", "accept": "application/json"}
_STREAM = {"content-type": "application/json", "accept": MEDIA_TYPE}
_GONE = "Not offered any more; it must not be called."

_BY_CODE: Mapping[str, FailureKind] = {
    "optinrequired": FailureKind.PERMISSION,
    "modelerrorexception": FailureKind.SERVER_ERROR,
    "modelstreamerrorexception": FailureKind.SERVER_ERROR,
    "modeltimeoutexception": FailureKind.SERVER_ERROR,
}
"""Kinds by the type of AWS's exception, where neither the words of it nor its status say anything more telling."""
_VAGUE = {FailureKind.BAD_REQUEST, FailureKind.PERMISSION, FailureKind.SERVER_ERROR}


class Bedrock(Answering):
    """The dialect ``bedrock``."""

    name = "bedrock"
    reader = ConverseReader

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        points = CachePoints(conversation, wanted)
        tools = _tools(conversation, wanted, names, points)
        messages = Messages(conversation, target, wanted, names, points)
        body: dict[str, Any] = {"messages": messages.all()}
        if messages.system:
            body["system"] = messages.system
        asked = _Settings(target, wanted, thoughtless=messages.continues_without_thoughts)
        asked.read()
        if tools:
            body["toolConfig"] = {"tools": tools}
            choice = _choice(conversation, wanted, names, thinks=asked.thinks)
            if choice is not None:
                body["toolConfig"]["toolChoice"] = choice
        elif wanted.settings.tool_choice not in {None, "none"} or wanted.settings.parallel_tool_calls is not None:
            losses.add("dropped", "settings.tool_choice", "no tools are sent: choice and parallel calls mean nothing")
        body.update((place, values) for place, values in asked.fields() if values)
        return Encoded(
            path=path_of(target, quirks, "/model/{model}/converse", stream="/model/{model}/converse-stream"),
            headers={**(_STREAM if target.stream else _JSON), **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )

    def failure(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        found = super().failure(target, status, headers, body)
        # A refused signature is answered with the request that should have been signed, session token and all.
        message = found.message.partition("The Canonical String for this request")[0].rstrip()
        kind = found.kind
        if kind in _VAGUE:
            kind = _BY_CODE.get((found.code or "").lower(), kind)
            if kind is FailureKind.PERMISSION and "api key" in message.lower():
                kind = FailureKind.AUTH
        return found.model_copy(update={"kind": kind, "message": message})


@dataclass
class _Settings:
    """The settings as they are spread over a request's sections."""

    target: Target
    wanted: Wanted
    thoughtless: bool
    """The answer goes on from calls that were made without a thought: Claude refuses to begin thinking there."""
    inference: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    thinks: bool = False

    def fields(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        return (
            ("inferenceConfig", self.inference),
            ("outputConfig", self.output),
            ("additionalModelRequestFields", self.more),
        )

    def read(self) -> None:
        wanted, losses = self.wanted, self.wanted.losses
        wanted.unknown("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
        max_tokens = wanted.max_tokens(self.target.model.max_output)
        if max_tokens is not None:
            self.inference["maxTokens"] = max_tokens
        if stop := wanted.stop():
            kept = [sequence for sequence in stop if sequence.strip()]
            if len(kept) < len(stop):
                losses.add("dropped", "settings.stop", "stop sequences of nothing but blanks are refused")
            if kept:
                self.inference["stopSequences"] = kept
        self._reasoning()
        self._sampling()
        self._format()

    def _sampling(self) -> None:
        wanted, losses = self.wanted, self.wanted.losses
        temperature, top_p = wanted.temperature(), wanted.get("top_p")
        budgeted = "thinking" in self.more and self.thinks  # Claude, which then wants its own figures
        if temperature is not None and budgeted and temperature != 1:
            losses.add("dropped", "settings.temperature", "not together with thinking")
            temperature = None
        if temperature is not None:
            self.inference["temperature"] = temperature
        if top_p is not None and temperature is not None and wanted.quirks.one_sampling:
            losses.add("dropped", "settings.top_p", "not together with a temperature")
        elif top_p is not None:
            self.inference["topP"] = top_p
        if wanted.settings.top_k is None:
            return
        if not wanted.quirks.top_k_field:
            wanted.unknown("top_k")
        elif budgeted:
            losses.add("dropped", "settings.top_k", "not together with thinking")
        elif (top_k := wanted.get("top_k")) is not None:
            section, _, name = wanted.quirks.top_k_field.rpartition(".")
            (self.more.setdefault(section, {}) if section else self.more)[name] = top_k

    def _format(self) -> None:
        wanted = self.wanted
        form = wanted.get("response_format")
        if isinstance(form, JsonSchemaFormat):
            schema: dict[str, Any] = {"schema": to_json(form.json_schema).decode(), "name": form.name}
            if form.description:
                schema["description"] = form.description
            self.output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}
            if form.strict is False:
                wanted.losses.add("dropped", "settings.response_format", "strict: schemas are always strict")
        elif isinstance(form, JsonFormat):
            wanted.losses.add("dropped", "settings.response_format", "the API has no JSON mode without a schema")

    # -- reasoning

    def _reasoning(self) -> None:
        wanted = self.wanted
        if wanted.quirks.thinking == "none":
            thinking.unknown(wanted)
            return
        if wanted.quirks.thinking == "budget":
            self._budget(*thinking.tokens(wanted))
            return
        effort = thinking.effort(wanted)
        if effort == "none":
            self._off(thinking.EFFORT)
        elif effort is not None:
            self.thinks = True
            self._level(effort)

    def _level(self, effort: str) -> None:
        quirks = self.wanted.quirks
        if quirks.thinking == "adaptive":
            self.more["thinking"] = {"type": "adaptive"}
            self.output["effort"] = "low" if effort == "minimal" else effort
            if effort == "minimal":
                self.wanted.losses.add("clamped", "settings.reasoning_effort", "minimal to low")
        elif quirks.effort_field == "reasoningConfig":
            self.more["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
        else:
            self.more[quirks.effort_field] = effort

    def _off(self, field: str) -> None:
        quirks = self.wanted.quirks
        if not quirks.thinking_off:
            self.wanted.losses.add("dropped", field, "the model cannot be told not to reason")
        elif quirks.thinking == "level":
            off = quirks.effort_field == "reasoningConfig"
            self.more[quirks.effort_field] = {"type": "disabled"} if off else "none"
        else:
            self.more["thinking"] = {"type": "disabled"}

    def _budget(self, asked: int | None, field: str) -> None:
        quirks, losses = self.wanted.quirks, self.wanted.losses
        if asked is None:
            return
        if asked == 0:
            self._off(field)
            return
        if self.thoughtless:
            losses.add("dropped", field, "the calls just answered were made without thinking, or by another")
            return
        most = self.inference.get("maxTokens") or self.target.model.max_output
        found = min(asked, quirks.budget_max, *((most - 1,) if most is not None else ()))  # smaller than max_tokens
        if found < quirks.budget_min and (most is None or most > quirks.budget_min):
            found = quirks.budget_min
        if found < quirks.budget_min:
            losses.add("dropped", field, f"max_tokens leaves no {quirks.budget_min} to think")
            return
        if found != asked:
            losses.add("clamped", field, f"{asked} thinking tokens to {found}")
        self.thinks = True
        self.more["thinking"] = {"type": "enabled", "budget_tokens": found}


# -- tools


def _tools(conversation: Conversation, wanted: Wanted, names: Names, points: CachePoints) -> list[dict[str, Any]]:
    """Tools as the request has them.

    The API has no choice ``none`` and takes no call or result in the history without tools: they are left out where
    none may be called and none was, and those of the history are declared where none are given.
    """
    earlier = called(conversation)
    refused = bool(conversation.tools or earlier) and wanted.refused("tools", field="tools")
    if refused:
        return []
    forbidden = wanted.settings.tool_choice == "none"
    if conversation.tools and forbidden and not earlier:
        wanted.losses.add("rewritten", "settings.tool_choice", "none: the tools are left out instead")
        wanted.losses.add("dropped", "tools", "none may be called")
        return []
    if not conversation.tools and earlier:
        wanted.losses.add("rewritten", "tools", "the tools of earlier calls are declared: the API wants them")
        return [_spec({"name": names.sent(name), "description": _GONE}, None) for name in earlier]
    tools: list[dict[str, Any]] = []
    for tool in conversation.tools:
        tools.append(_tool(tool, wanted, names))
        points.after(tools, tool.cache, f"tools.{tool.name}.cache")
    return tools


def _tool(tool: Tool, wanted: Wanted, names: Names) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": names.sent(tool.name)}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict is not None and not wanted.refused("strict", field="tools.strict"):
        spec["strict"] = tool.strict
    return _spec(spec, tool.parameters)


def _spec(spec: dict[str, Any], schema: dict[str, Any] | None) -> dict[str, Any]:
    """A schema must be that of an object, and say so."""
    if not schema:
        schema = {"type": "object", "properties": {}}
    elif "type" not in schema:
        schema = {"type": "object", **schema}
    return {"toolSpec": {**spec, "inputSchema": {"json": schema}}}


def _choice(conversation: Conversation, wanted: Wanted, names: Names, *, thinks: bool) -> dict[str, Any] | None:
    losses = wanted.losses
    if wanted.get("parallel_tool_calls") is False:
        losses.add("dropped", "settings.parallel_tool_calls", "the wire format has no word for it")
    choice = wanted.tool_choice(conversation)
    if choice == "none":
        losses.add("dropped", "settings.tool_choice", "none: earlier calls need their tools, and calls stay possible")
        return None
    if thinks and (choice == "required" or isinstance(choice, NamedTool)):
        losses.add("rewritten", "settings.tool_choice", "auto: a call cannot be forced while the model thinks")
        choice = "auto"
    if isinstance(choice, NamedTool):
        return {"tool": {"name": names.sent(choice.name)}}
    if choice is None:
        return None
    return {"any": {}} if choice == "required" else {"auto": {}}
