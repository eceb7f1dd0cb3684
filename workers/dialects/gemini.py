"""Gemini's generateContent and streamGenerateContent: https://ai.google.dev/api/generate-content.

What differs most from the conversation: two roles (``user``, ``model``), system text beside the contents, calls and
results as parts with objects instead of JSON text, and settings under ``generationConfig``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import to_json

from catalogue.quirks import quirks_of
from job_contracts.chat import (
    AssistantTurn,
    ImagePart,
    JsonFormat,
    JsonSchemaFormat,
    NamedTool,
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from workers.dialects import limits
from workers.dialects.encoding import (
    BUDGETS,
    Ids,
    Losses,
    Names,
    Wanted,
    fits,
    image_data,
    in_order,
    json_object,
    kept_images,
    objects,
    path_of,
    text_of,
)
from workers.dialects.failures import classify
from workers.dialects.gemini_answer import ContentReader
from workers.dialects.gemini_schema import openapi_subset
from workers.dialects.port import MAX_ANSWER, NO_NAMES, Encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.attempts import LimitReading
    from job_contracts.chat import Conversation, Tool, UserContent
    from job_contracts.failures import Failure
    from workers.dialects.port import Decoder, Target

_JSON = {"content-type": "application/json"}


class Gemini:
    """The dialect ``gemini``."""

    name = "gemini"

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        quirks = quirks_of(target.provider, target.model)
        losses = Losses()
        wanted = Wanted(conversation.settings, quirks, losses)
        names = Names(conversation, quirks, losses)
        contents = _Contents(conversation, target, wanted, names)
        body: dict[str, Any] = {"contents": contents.all()}
        if contents.system:
            body["systemInstruction"] = {"parts": contents.system}
        if config := _config(wanted, target.model.max_output):
            body["generationConfig"] = config
        _put_tools(body, conversation, wanted, names)
        usual = _path(target.model.name)
        stream = f"{usual}:streamGenerateContent?alt=sse"
        return Encoded(
            path=path_of(target, quirks, f"{usual}:generateContent", stream=stream),
            headers={**_JSON, **target.provider.headers},
            body=to_json(body, inf_nan_mode="null"),
            losses=tuple(losses),
            names=names.back,
        )

    def decoder(
        self, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER, names: Mapping[str, str] = NO_NAMES
    ) -> Decoder:
        quirks = quirks_of(target.provider, target.model)
        return ContentReader(target, quirks, content_type=content_type, max_bytes=max_bytes, names=names)

    def failure(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        quirks = quirks_of(target.provider, target.model)
        return classify(status, headers, body, quirks, provider=target.provider.name)

    def limits(self, target: Target, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        return limits.read(headers, requests_window=quirks_of(target.provider, target.model).requests_window)


def _path(model: str) -> str:
    """A bare name lies under ``models``; a name with a folder (``tunedModels/x``) says itself where."""
    return f"/{quote(model)}" if "/" in model else f"/models/{quote(model)}"


def _config(wanted: Wanted, most: int | None) -> dict[str, Any]:
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
        config["responseMimeType"] = "application/json"
    if isinstance(form, JsonSchemaFormat):
        _put_schema(config, form, wanted)
    return config


_WORDS: tuple[tuple[Any, str], ...] = (
    ("top_p", "topP"),
    ("seed", "seed"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
    ("logprobs", "responseLogprobs"),
    ("top_logprobs", "logprobs"),
)


def _put_schema(config: dict[str, Any], form: JsonSchemaFormat, wanted: Wanted) -> None:
    schema, field = form.json_schema, wanted.quirks.schema_field
    if field == "responseSchema":
        schema = openapi_subset(schema, wanted.losses, "settings.response_format.json_schema")
    config[field] = schema
    if form.description is not None or form.strict is False:
        wanted.losses.add("dropped", "settings.response_format", "name, description and strict: schemas are strict")


def _put_thinking(config: dict[str, Any], wanted: Wanted) -> None:
    effort, quirks = wanted.effort(), wanted.quirks
    if effort is None:
        return
    if quirks.thinking in {"none", "adaptive"}:
        if effort != "none":
            wanted.losses.add("dropped", "settings.reasoning_effort", "the model does not reason")
    elif quirks.thinking == "level":
        config["thinkingConfig"] = {"thinkingLevel": effort, "includeThoughts": True}
    elif effort != "none":
        budget = max(quirks.budget_min, min(BUDGETS[effort], quirks.budget_max))
        if budget != BUDGETS[effort]:
            wanted.losses.add("clamped", "settings.reasoning_effort", f"{BUDGETS[effort]} thinking tokens to {budget}")
        config["thinkingConfig"] = {"thinkingBudget": budget, "includeThoughts": True}
    elif quirks.thinking_off:
        config["thinkingConfig"] = {"thinkingBudget": 0}
    else:
        wanted.losses.add("clamped", "settings.reasoning_effort", f"none to {quirks.budget_min} thinking tokens")
        config["thinkingConfig"] = {"thinkingBudget": quirks.budget_min}


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
            sent[field] = openapi_subset(tool.parameters, wanted.losses, f"tools.{tool.name}.parameters")
        else:
            sent[field] = tool.parameters
    return sent


class _Contents:
    """The turns of a conversation as contents, and the system text beside them."""

    __slots__ = (
        "_called", "_contents", "_conversation", "_family", "_ids", "_losses", "_names", "_placed", "_quirks",
        "_wanted", "system",
    )  # fmt: skip

    def __init__(self, conversation: Conversation, target: Target, wanted: Wanted, names: Names) -> None:
        self._conversation = conversation
        self._family = target.model.family
        self._wanted = wanted
        self._quirks = wanted.quirks
        self._losses = wanted.losses
        self._names = names
        self._ids = Ids(conversation, wanted.quirks, wanted.losses)
        self._contents: list[dict[str, Any]] = []
        self._called: dict[str, str] = {}
        self._placed = 0  # results in the content that is being made
        self.system: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        results: dict[str, Any] | None = None
        for at, turn in in_order(self._conversation, self._losses):
            match turn:
                case UserTurn():
                    self._user(turn, at)
                case AssistantTurn():
                    self._assistant(turn, at)
                case SystemTurn():
                    self._system(turn, at)
                case ToolTurn():
                    if results is None or self._contents[-1] is not results:
                        results = {"role": "user", "parts": []}
                        self._contents.append(results)
                        self._placed = 0
                    self._tool(turn, at, results["parts"])
        if not self._contents:
            self._without_turns()
        return self._contents

    def _system(self, turn: SystemTurn, at: int) -> None:
        content = turn.content
        parts = self._parts((TextPart(text=content),) if isinstance(content, str) else content, at)
        if turn.role == "developer":
            self._losses.add("renamed", f"messages[{at}].role", "developer is sent as system")
        if self._contents and parts:
            self._losses.add("merged", f"messages[{at}]", "a later system turn joins the system instruction")
        self.system += parts

    def _user(self, turn: UserTurn, at: int) -> None:
        if turn.name is not None:
            self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
        if parts := self._parts(turn.content, at):
            self._contents.append({"role": "user", "parts": parts})

    def _parts(self, content: UserContent, at: int) -> list[dict[str, Any]]:
        if isinstance(content, str):
            return self._text(content, at)
        parts: list[dict[str, Any]] = []
        for part in kept_images(content, self._wanted, f"messages[{at}].content"):
            parts += self._text(part.text, at) if isinstance(part, TextPart) else [self._image(part, at)]
        return parts

    def _text(self, text: str, at: int) -> list[dict[str, Any]]:
        if text:
            return [{"text": text}]
        self._losses.add("dropped", f"messages[{at}].content", "parts of empty text are refused")
        return []

    def _image(self, part: ImagePart, at: int) -> dict[str, Any]:
        if part.detail not in {None, "auto"}:
            self._losses.add("dropped", f"messages[{at}].content.detail", "the wire format has no word for it")
        data = image_data(part)
        if data is not None:
            return {"inlineData": {"mimeType": data[0], "data": data[1]}}
        file: dict[str, Any] = {"fileUri": part.url}
        if media_type := part.media_type or _media_type(part.url or ""):
            file["mimeType"] = media_type
        return {"fileData": file}

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        parts: list[dict[str, Any]] = []
        if isinstance(turn.content, str):
            parts = self._text(turn.content, at)
        else:
            stand_in = self._quirks.call_signature
            for part in turn.content:
                match part:
                    case TextPart():
                        parts += self._text(part.text, at)
                    case RefusalPart():
                        self._losses.add("converted", f"messages[{at}].refusal", "the refusal is sent as text")
                        parts += self._text(part.text, at)
                    case ReasoningPart():
                        self._reasoning(part, at, parts)
                    case ToolCallPart():
                        parts.append(self._call(part, at, stand_in))
                        stand_in = ""  # only the first of parallel calls bears one
        if parts:
            self._contents.append({"role": "model", "parts": parts})

    def _reasoning(self, part: ReasoningPart, at: int, parts: list[dict[str, Any]]) -> None:
        """A thought with its signature, or a signature alone: that of the text before it, as the model gave it."""
        if fits(part, self._family) and part.signature:
            if part.text:
                parts.append({"text": part.text, "thought": True, "thoughtSignature": part.signature})
            elif parts and parts[-1].keys() == {"text"}:
                parts[-1]["thoughtSignature"] = part.signature
            else:
                parts.append({"text": "", "thoughtSignature": part.signature})
            return
        if part.text or part.signature or part.redacted:
            self._losses.add("dropped", f"messages[{at}].reasoning", "it has no signature of this model's family")

    def _call(self, part: ToolCallPart, at: int, stand_in: str) -> dict[str, Any]:
        name = self._names.sent(part.name)
        self._called[part.id] = name
        call: dict[str, Any] = {"name": name}
        call["args"] = objects(part.arguments, self._losses, f"messages[{at}].tool_call.arguments")
        if self._quirks.call_ids:
            call["id"] = self._ids.sent(part.id)
        sent: dict[str, Any] = {"functionCall": call}
        signature = part.signature if fits(part, self._family) else None
        if part.signature and not signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "it is not of this model's family")
        if signature or stand_in:
            sent["thoughtSignature"] = signature or stand_in
        return sent

    def _tool(self, turn: ToolTurn, at: int, parts: list[dict[str, Any]]) -> None:
        name = self._called.get(turn.tool_call_id) or turn.name
        if name is None:
            name = "unknown"
            self._losses.add("rewritten", f"messages[{at}].name", "no call has this id: the result's tool is unknown")
        response: dict[str, Any] = {"name": name, "response": self._response(turn, at)}
        if self._quirks.call_ids:
            response["id"] = self._ids.sent(turn.tool_call_id)
        images = self._images(turn, at)
        if images and self._quirks.result_images:
            response["parts"], images = images, []
            shown = [isinstance(part, ImagePart) for part in turn.content]
            if shown != sorted(shown):
                self._losses.add("rewritten", f"messages[{at}].content", "a result's text is sent before its images")
        # Results stay together at the front, pictures that belong to them follow.
        parts.insert(self._placed, {"functionResponse": response})
        self._placed += 1
        if images:
            self._losses.add("converted", f"messages[{at}].content", "images of a result follow beside it")
            parts += images

    def _images(self, turn: ToolTurn, at: int) -> list[dict[str, Any]]:
        if isinstance(turn.content, str):
            return []
        content = kept_images(turn.content, self._wanted, f"messages[{at}].content")
        return [self._image(part, at) for part in content if isinstance(part, ImagePart)]

    def _response(self, turn: ToolTurn, at: int) -> dict[str, Any]:
        """An object as it is; any other text under the documented keys ``output`` and ``error``."""
        text = text_of(turn.content)
        texts = 1 if isinstance(turn.content, str) else sum(isinstance(part, TextPart) for part in turn.content)
        if not texts and turn.content and not turn.is_error:
            return {}
        if texts > 1:
            self._losses.add("merged", f"messages[{at}].content", "text parts of a result are joined")
        if not turn.is_error and text.lstrip()[:1] == "{":
            value = json_object(text)
            if value is not None:
                return value
        return {"error" if turn.is_error else "output": text}

    def _without_turns(self) -> None:
        """The API wants contents: what there is of system text becomes them."""
        if self.system:
            self._losses.add("converted", "messages", "without another turn the system text is sent as the user's")
        self._contents.append({"role": "user", "parts": self.system or [{"text": ""}]})
        self.system = []


_MEDIA_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "heic": "image/heic", "heif": "image/heif", "bmp": "image/bmp", "svg": "image/svg+xml", "avif": "image/avif",
}  # fmt: skip


def _media_type(url: str) -> str | None:
    """What the end of the address says the picture is."""
    path = url.partition("?")[0].partition("#")[0]
    return _MEDIA_TYPES.get(path.rpartition(".")[2].lower())
