"""The words of a request: what may stand beside ``model``, ``messages`` and ``tools`` in every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict

from job_contracts.chat import (
    AssistantTurn,
    JsonFormat,
    JsonSchemaFormat,
    NamedTool,
    ReasoningEffort,
    SystemTurn,
    TextFormat,
    Tool,
    ToolTurn,
    UserTurn,
)
from job_contracts.jobs import Lane

Message = SystemTurn | UserTurn | AssistantTurn | ToolTurn | Mapping[str, Any]
"""One turn: ours, or a dict as the OpenAI chat API has it."""
Messages = str | Sequence[Message]
"""A conversation; a plain string stands for one user turn."""
Tools = Sequence[Tool | Mapping[str, Any]]
When = datetime | timedelta | float
"""A moment: a datetime with a time zone, a timedelta from now, or seconds from now."""
Format = JsonSchemaFormat | JsonFormat | TextFormat | Mapping[str, Any] | type[Any]
"""How the answer must look: ours, OpenAI's dict, or a pydantic model class."""
Choice = Literal["auto", "none", "required"] | NamedTool | Mapping[str, Any]


class Options(TypedDict, total=False):
    """Everything optional in a request. A setting that is absent or ``None`` is the model's choice."""

    # -- generation
    max_tokens: int | None
    max_completion_tokens: int | None
    """OpenAI's newer name of ``max_tokens``."""
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    response_format: Format | None
    tool_choice: Choice | None
    parallel_tool_calls: bool | None
    reasoning_effort: ReasoningEffort | None
    reasoning_budget: int | None
    """Tokens the model may reason for."""
    logprobs: bool | None
    top_logprobs: int | None
    n: Literal[1] | None
    # -- the job
    lane: Lane
    """``rt`` somebody waits, ``std``, ``batch``, ``bg`` whenever there is room."""
    priority: int
    """0 first … 9 last, among this project's jobs in the lane."""
    deadline: When | None
    """The job has a result by then, or expires."""
    not_before: When | None
    idempotency_key: str | None
    """The same key names the same job: submitted twice it runs once."""
    session: str | None
    max_cost: Decimal | float | str | None
    """US dollars."""
    tags: Mapping[str, str] | None


SETTINGS = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "response_format",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "reasoning_budget",
        "logprobs",
        "top_logprobs",
        "n",
    }
)
"""The options that are generation settings; the others belong to the job."""
JOB_OPTIONS = frozenset(Options.__annotations__) - SETTINGS
