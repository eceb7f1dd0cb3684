"""Deviations from the standard form of a dialect, as data: every name a row may use, what it means, and its default.

A provider's row and a model's row may both carry quirks; the model's win. The dialects read ``quirks_of`` and nothing
else, so that an endpoint that speaks a known dialect with an accent of its own is one TOML file and no code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import from_json

from job_contracts.chat import ReasoningEffort
from job_contracts.failures import FailureKind

if TYPE_CHECKING:
    from catalogue.rows import ModelRow, ProviderRow

Refusable = Literal[
    "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "response_format", "tools",
    "tool_choice", "parallel_tool_calls", "reasoning_effort", "logprobs", "top_logprobs", "strict", "images", "name",
    "top_k", "files", "cache",
]  # fmt: skip


class Quirks(BaseModel):
    """The deviations of one target. Defaults are the dialect's standard form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # -- every dialect
    refuses: tuple[Refusable, ...] = ()
    """Settings the target answers with an error: dropped, and said so in the losses."""
    efforts: tuple[ReasoningEffort, ...] = ()
    """Reasoning efforts the target knows; another one becomes the nearest. Empty: all."""
    temperature_max: float = 2.0
    stop_max: int = 16
    """How many stop sequences the target takes."""
    effort_refuses: tuple[Refusable, ...] = ()
    """Settings refused only while the model reasons (a reasoning effort other than ``none`` is asked for)."""
    tool_ids: Literal["any", "word", "alnum9"] = "any"
    """Form of tool call ids: any up to ``tool_id_max``; letters, digits, ``_`` and ``-``; or exactly nine letters and
    digits. Other ids are renamed in calls and results alike."""
    tool_id_max: int = 256
    tool_names: Literal["any", "word"] = "any"
    """``word``: letters, digits, ``_`` and ``-`` only; other names are renamed, and renamed back in the answer."""
    tool_name_max: int = 128
    error_kinds: tuple[str, ...] = ()
    """``code=kind`` for error codes that mean something else here than elsewhere: ``1113=quota_exhausted``. A code is
    what the body says, or the HTTP status."""
    requests_window: float = 60.0
    """Seconds of the window that the headers of the request limit speak of."""
    tokens_window: float = 60.0
    """The same for token limits."""
    path: str = ""
    """Path below the base URL, ``{model}`` stands for the model's name; empty: the dialect's own."""
    stream_path: str = ""
    """The same for streamed answers; empty: ``path``."""

    # -- embeddings
    embed_path: str = ""
    """Path below the base URL for embeddings; empty: the dialect's own."""
    embed_most: int = 2048
    """Texts the target takes in one call."""

    # -- openai_responses

    # -- bedrock

    # -- cohere

    # -- ollama

    # -- openai_chat
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    system_role: Literal["system", "developer", "user"] = "system"
    developer_role: Literal["developer", "system", "user"] = "developer"
    stream_usage: bool = True
    """Whether a stream reports usage only if ``stream_options`` asks for it."""
    schema_as: Literal["json_schema", "json_object", "none"] = "json_schema"
    """The strongest form of structured answers the target knows."""
    required_word: str = "required"
    """What ``tool_choice`` says where a call is required."""
    seed_field: str = "seed"
    reasoning_as: Literal[
        "reasoning_effort", "reasoning", "thinking", "thinking_effort", "enable_thinking", "chat_template_kwargs",
        "chat_template_thinking", "prompt_mode",
    ] = "reasoning_effort"  # fmt: skip
    """How effort is asked for: a field of that name, ``{"reasoning": {"effort": ...}}``, ``{"thinking": {"type":
    "enabled"}}`` (with ``reasoning_effort`` beside it: ``thinking_effort``), ``{"enable_thinking": true}``, that or
    ``thinking`` inside ``chat_template_kwargs``, or ``{"prompt_mode": "reasoning"}``."""
    effort_words: tuple[str, ...] = ()
    """``effort=word`` where the target has a word of its own for an effort: ``medium=default``."""
    budget_as: Literal["", "thinking_budget", "reasoning", "thinking", "chat_template_kwargs"] = ""
    """How a budget of reasoning tokens is asked for: ``{"thinking_budget": n}`` beside what switches reasoning on,
    ``{"reasoning": {"max_tokens": n}}``, ``{"thinking": {"budget_tokens": n}}``, or ``thinking_budget`` inside
    ``chat_template_kwargs``; empty: not at all, the nearest effort is asked for."""
    reasoning_history: Literal["", "reasoning_content", "reasoning", "reasoning_details", "content"] = ""
    """Field in which earlier reasoning text goes back, ``content``: as ``thinking`` parts of it (Mistral),
    ``reasoning_details``: with its signatures, to models of the family they came from (OpenRouter); empty: it does
    not."""
    reasoning_for: Literal["all", "tools"] = "all"
    """Which reasoning goes back: all of it, or only that of exchanges in which tools were called."""
    clear_thinking: Literal["", "field", "thinking"] = ""
    """Where the target must be told to keep reasoning that goes back: ``clear_thinking: false`` as a field, or inside
    ``thinking``."""
    takes_top_k: bool = False
    cache_as: Literal["", "cache_control"] = ""
    """Cache marks go on parts as Anthropic has them; empty: the target caches by itself or not at all."""
    file_as: Literal["", "file", "document_url", "file_url"] = "file"
    """Form of documents: ``file`` with its data, Mistral's ``document_url``, ``file_url``; empty: none are taken."""
    file_urls: bool = False
    """``file`` parts may hold an address instead of data."""
    audio_as: Literal["", "input_audio", "input_audio_url", "plain", "audio_url"] = "input_audio"
    """Form of recordings: data and format, the same with an address or ``data:`` URL for data, the address or data as
    it is (Mistral), an ``audio_url``; empty: none are taken."""
    video_as: Literal["", "video_url"] = ""
    system_place: Literal["any", "first", "one"] = "any"
    """Where system turns may stand: anywhere, before all others, or as a single one before all others."""
    prefill_field: str = ""
    """Set to true on a last assistant message that the model is to continue; empty: there is no such field."""
    tool_choices: tuple[Literal["auto", "none", "required", "named"], ...] = ()
    """What ``tool_choice`` may say; empty: everything."""
    strict_subset: bool = True
    """Schemas asked for with ``strict`` must keep to OpenAI's subset of JSON Schema: they are rewritten to it."""
    stream_only: bool = False
    """The model answers in streams only."""
    temperature_min: float = 0.0
    penalty_min: float = -2.0
    """Lowest presence and frequency penalty the target takes."""
    always_send: tuple[str, ...] = ()
    """``path=JSON`` of fields sent with every request: ``usage.include=true``."""
    reasoning_send: tuple[str, ...] = ()
    """The same for requests that ask for reasoning: ``reasoning_format="parsed"``."""
    joined_text: bool = False
    """Content must be one string: text parts are joined."""
    alternating: bool = False
    """User and assistant must take turns: neighbours of one role are merged."""
    finish_optional: bool = False
    """The target may leave ``finish_reason`` empty: the end of the document, or ``[DONE]``, ends the answer."""

    # -- anthropic
    max_tokens_default: int = 4096
    """Sent where the settings name no ``max_tokens`` and the model's row no ``max_output``."""
    one_sampling: bool = False
    """Of temperature and top_p only one may be set: top_p gives way."""
    mid_system: bool = False
    """System turns may stand between the other turns."""

    # -- anthropic and gemini
    thinking: Literal["none", "budget", "adaptive", "level"] = "none"
    """How reasoning is asked for: a token budget, ``adaptive`` with an effort (anthropic), or a level (gemini)."""
    budget_min: int = 1024
    budget_max: int = 32768
    thinking_off: bool = True
    """Whether the model can be told not to think."""

    # -- gemini
    call_ids: bool = False
    """Calls and their results carry ids."""
    result_images: bool = False
    """Results of tools may hold images; else they are sent beside the result."""
    call_signature: str = ""
    """Stands in for the signature of a call that another model made, where the model refuses calls without one."""
    schema_field: Literal["responseJsonSchema", "responseSchema"] = "responseJsonSchema"
    parameters_field: Literal["parametersJsonSchema", "parameters"] = "parametersJsonSchema"

    @field_validator("always_send", "reasoning_send")
    @classmethod
    def _fields_are_json(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            path, equals, text = entry.partition("=")
            if not path or not equals:
                raise ValueError(f"{entry!r} is not of the form path=JSON")
            try:
                from_json(text)
            except ValueError as error:
                raise ValueError(f"{entry!r}: what follows the '=' is no JSON (texts need their quotes)") from error
        return value

    @field_validator("error_kinds")
    @classmethod
    def _kinds_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = {kind.value for kind in FailureKind}
        for entry in value:
            code, equals, kind = entry.rpartition("=")
            if not code or not equals or kind not in known:
                raise ValueError(f"{entry!r} is not of the form code=kind with a kind of failure after the '='")
        return value


_KNOWN: dict[tuple[int, int], tuple[ProviderRow, ModelRow, Quirks]] = {}
_ROOM = 1024


def quirks_of(provider: ProviderRow, model: ModelRow) -> Quirks:
    """The deviations of a model at a provider: the provider's, overridden by the model's. Computed once per pair."""
    key = (id(provider), id(model))
    found = _KNOWN.get(key)
    if found is not None and found[0] is provider and found[1] is model:
        return found[2]
    quirks = Quirks.model_validate({**provider.quirks, **model.quirks})
    if len(_KNOWN) >= _ROOM:
        _KNOWN.clear()
    # The rows are kept beside the result: while they live, their ids cannot be given to others.
    _KNOWN[key] = (provider, model, quirks)
    return quirks
