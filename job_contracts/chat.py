"""The provider-neutral conversation: what every dialect is encoded from and decoded to."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from job_contracts.codec import Wire

Flag = Annotated[bool, Field(strict=True)]
"""True or false, and not a number or a word that may be taken for it."""
CacheFor = Literal["5m", "1h"]
"""How long a provider should keep what stands up to a mark in its prompt cache, where it caches on request."""


class TextPart(Wire):
    """A run of text. ``cache`` marks the end of a prefix that is worth caching; so it does on every part and tool."""

    type: Literal["text"] = "text"
    text: str
    cache: CacheFor | None = None


class ImagePart(Wire):
    """An image by ``url`` or by base64 ``data`` with its ``media_type`` (exactly one of the two)."""

    type: Literal["image"] = "image"
    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: Literal["auto", "low", "high"] | None = None
    cache: CacheFor | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ImagePart:
        if (self.url is None) == (self.data is None):
            message = "give either url or data (base64), not both or neither"
            raise ValueError(message)
        if self.data is not None and self.media_type is None:
            message = "data needs its media_type, for example image/png"
            raise ValueError(message)
        return self


class FilePart(Wire):
    """A document or a recording, by ``url`` or by base64 ``data`` (exactly one of the two): PDF, text, audio.

    ``media_type`` (``application/pdf``, ``audio/wav``) says which; ``name`` is shown to the model where it can be.
    """

    type: Literal["file"] = "file"
    url: str | None = None
    data: str | None = None
    media_type: str
    name: str | None = None
    cache: CacheFor | None = None

    @model_validator(mode="after")
    def _one_source(self) -> FilePart:
        if (self.url is None) == (self.data is None):
            message = "give either url or data (base64), not both or neither"
            raise ValueError(message)
        return self


class ReasoningPart(Wire):
    """Reasoning a model showed.

    ``signature`` or ``redacted`` (opaque) may only be returned to an endpoint whose family equals ``origin``; for any
    other they are stripped.
    """

    type: Literal["reasoning"] = "reasoning"
    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    origin: str | None = None


class ToolCallPart(Wire):
    """A call the model asks for: ``arguments`` is the JSON text as the model wrote it.

    ``signature`` is an endpoint-bound token some families attach to a call; ``origin`` names the family it is good for.
    """

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: str = "{}"
    signature: str | None = None
    origin: str | None = None


class RefusalPart(Wire):
    """The model's own words for declining."""

    type: Literal["refusal"] = "refusal"
    text: str


UserPart = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]
UserContent = str | tuple[UserPart, ...]
AssistantPart = Annotated[TextPart | ReasoningPart | ToolCallPart | RefusalPart, Field(discriminator="type")]
AssistantContent = str | tuple[AssistantPart, ...]


class SystemTurn(Wire):
    """Instructions of the operator of the conversation."""

    role: Literal["system", "developer"]
    content: str | tuple[TextPart, ...]


class UserTurn(Wire):
    """What the user says and shows."""

    role: Literal["user"]
    content: UserContent
    name: str | None = None


class AssistantTurn(Wire):
    """What a model said before, its tool calls included."""

    role: Literal["assistant"]
    content: AssistantContent = ""


class ToolTurn(Wire):
    """The answer to one tool call."""

    role: Literal["tool"]
    tool_call_id: str
    content: UserContent
    name: str | None = None
    is_error: Flag = False


Turn = Annotated[SystemTurn | UserTurn | AssistantTurn | ToolTurn, Field(discriminator="role")]


class Tool(Wire):
    """A function the model may call; ``parameters`` is its JSON Schema."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Flag | None = None
    cache: CacheFor | None = None


class NamedTool(Wire):
    """Forces the call of one tool."""

    name: str


class JsonSchemaFormat(Wire):
    """The answer must be JSON that validates against ``json_schema``."""

    type: Literal["json_schema"] = "json_schema"
    name: str = "answer"
    description: str | None = None
    json_schema: dict[str, Any]
    strict: Flag | None = None


class JsonFormat(Wire):
    """The answer must be a JSON object."""

    type: Literal["json_object"] = "json_object"


class TextFormat(Wire):
    """The answer is free text."""

    type: Literal["text"] = "text"


ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Settings(Wire):
    """Generation settings; ``None`` leaves the choice to the model."""

    max_tokens: Annotated[int, Field(gt=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(gt=0)] | None = None
    stop: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    seed: int | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    response_format: Annotated[TextFormat | JsonFormat | JsonSchemaFormat, Field(discriminator="type")] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    reasoning_budget: Annotated[int, Field(gt=0)] | None = None
    """Tokens the model may reason for; where it takes an effort instead, the nearest one."""
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    n: Literal[1] = 1


class Conversation(Wire):
    """Everything a model is asked: turns, tools, settings."""

    messages: Annotated[tuple[Turn, ...], Field(min_length=1)]
    tools: tuple[Tool, ...] = ()
    settings: Settings = Settings()

    @model_validator(mode="after")
    def _tools_are_known(self) -> Conversation:
        names = [tool.name for tool in self.tools]
        if len(names) != len(set(names)):
            message = "tools: every tool needs a name of its own"
            raise ValueError(message)
        choice = self.settings.tool_choice
        if isinstance(choice, NamedTool) and choice.name not in names:
            message = f"settings.tool_choice: there is no tool named {choice.name!r}"
            raise ValueError(message)
        if choice == "required" and not names:
            message = "settings.tool_choice: 'required' needs at least one tool"
            raise ValueError(message)
        return self


class FinishReason(StrEnum):
    """Why a model stopped, the same five whatever the provider calls them."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


class Usage(Wire):
    """Tokens by kind. ``input`` includes cached reads and writes, ``output`` includes reasoning."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Those of ``cache_write`` that are kept for an hour, which some providers charge more for."""
    reasoning: int = 0
    reported: bool = True
    """False where the provider sent no usage and the figures are our estimate."""

    @property
    def total(self) -> int:
        """Input plus output tokens."""
        return self.input + self.output


class TokenLogprob(Wire):
    """One output token's log probability and its most likely alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Citation(Wire):
    """A source the answer names: its address, and the characters of ``Answer.text`` it stands for, where told."""

    url: str
    title: str | None = None
    start: int | None = None
    end: int | None = None


class Answer(Wire):
    """What a model answered, parts in the order they came."""

    parts: tuple[AssistantPart, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    citations: tuple[Citation, ...] = ()

    @property
    def text(self) -> str:
        """All text parts joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def reasoning(self) -> str:
        """All shown reasoning joined."""
        return "".join(part.text for part in self.parts if isinstance(part, ReasoningPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The calls the model asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def refusal(self) -> str | None:
        """The model's refusal, ``None`` if it did not refuse."""
        found = [part.text for part in self.parts if isinstance(part, RefusalPart)]
        return "".join(found) if found else None

    def as_turn(self) -> AssistantTurn:
        """The same answer as a turn of a further conversation."""
        return AssistantTurn(role="assistant", content=self.parts)
