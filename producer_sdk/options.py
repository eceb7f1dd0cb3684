"""The words of a request: what may stand beside ``model``, ``messages`` and ``tools`` in every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from job_contracts.constraints import Constraints
from job_contracts.jobs import Bounds, Lane

Message = SystemTurn | UserTurn | AssistantTurn | ToolTurn | Mapping[str, Any]
"""One turn: ours, or a dict as the OpenAI chat API has it."""
Messages = str | Sequence[Message]
"""A conversation; a plain string stands for one user turn."""
Inputs = str | Sequence[str]
"""Texts to be embedded; a plain string is one of them."""
Tools = Sequence[Tool | Mapping[str, Any]]
When = datetime | timedelta | float
"""A moment: a datetime with a time zone, a timedelta from now, or seconds from now."""
Format = JsonSchemaFormat | JsonFormat | TextFormat | Mapping[str, Any] | type[Any]
"""How the answer must look: ours, OpenAI's dict, or a pydantic model class."""
Choice = Literal["auto", "none", "required"] | NamedTool | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Behalf:
    """For whom a service submits that has checked a key itself: the key's id, and what the scheduler holds it to."""

    key: str
    bounds: Bounds | None = None


class JobOptions(TypedDict, total=False):
    """Everything optional in a job of any kind."""

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
    constraints: Constraints | Mapping[str, Any] | None
    """What a deployment must be to serve it: ``{"residency": ["eu-*"], "hosting": "self"}``. They only narrow what the
    project allows."""
    trace: str | None
    """The span it belongs to, as a W3C ``traceparent``; else the producer's own ``trace`` says. Not part of what is
    asked: with another trace it is the same request."""
    tracestate: str | None
    """What other tracing systems say of that span, as W3C has it; not part of what is asked either."""
    behalf: Behalf | None
    """Of services that submit for others, such as the HTTP edge; no producer needs it."""


class Options(JobOptions, total=False):
    """Everything optional in a request. A setting that is absent or ``None`` is the model's choice."""

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
    """Tokens the model may reason for; one that takes an effort gets the nearest."""
    logprobs: bool | None
    top_logprobs: int | None
    n: Literal[1] | None


JOB_OPTIONS = frozenset(JobOptions.__annotations__)
"""The options that belong to the job, whatever it asks."""
SETTINGS = frozenset(Options.__annotations__) - JOB_OPTIONS
"""The options that are generation settings."""
