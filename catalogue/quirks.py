"""Deviations from the standard form of a dialect, as data: every name a row may use, what it means, and its default.

A provider's row and a model's row may both carry quirks; the model's win. The dialects read ``quirks_of`` and nothing
else, so that an endpoint that speaks a known dialect with an accent of its own is one TOML file and no code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import from_json

from job_contracts.chat import ReasoningEffort
from job_contracts.embeddings import Purpose
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
    image_types: tuple[str, ...] = ()
    """Media types of images the target takes, the preferred one first; others are converted. Empty: all."""
    image_max_bytes: int = 0
    """Bytes of one image in base64, as providers count them; a larger one is scaled down. 0: not known."""
    image_max_side: int = 0
    """Pixels of an image's longer side; a larger one is scaled down. 0: not known."""
    image_urls: bool = True
    """Whether the target fetches images by their address."""
    image_stores: tuple[str, ...] = ()
    """Beginnings of addresses it reads all the same: of stores its maker keeps (``s3://``)."""

    prefill_taken: bool = False
    """The model goes on with an answer that the last turn begins, without being asked for it by a field."""
    prefill_echoed: bool = False
    """Its answer then begins with what was begun for it."""

    # -- embeddings
    embed_path: str = ""
    """Path below the base URL for embeddings; empty: the dialect's own."""
    embed_most: int = 2048
    """Texts the target takes in one call."""
    embed_dimensions: bool = True
    """Whether the length of the vectors can be asked for."""
    embed_dimensions_field: str = "dimensions"
    """What the field is called in which it is (openai_chat)."""
    embed_encoding: Literal["base64", "float", "base64_int8", ""] = "base64"
    """What ``encoding_format`` asks for (openai_chat); empty: it is not sent. Numbers are read in any case, text as
    32-bit floats or, with ``base64_int8``, as signed bytes."""
    embed_purpose_field: str = ""
    """Field for what the vectors are for, where the dialect itself has none (openai_chat)."""
    embed_purposes: tuple[str, ...] = ()
    """``purpose=word``: the target's own words (``document=passage``), over those of the dialect; ``=passage`` is the
    word where the job names no purpose."""

    # -- openai_responses
    reasoning_summary: Literal["", "auto", "concise", "detailed"] = ""
    """The summary of its reasoning that a reasoning model is asked to show; empty: none (OpenAI wants the organization
    verified before it gives one)."""
    reasoning_items: Literal["encrypted", "text"] = "encrypted"
    """How earlier reasoning goes back: as the encrypted content that came with it, or as its text."""
    output_parts: bool = True
    """Results of tools may hold images and files; else these follow in a user turn."""

    # -- bedrock
    embed_body: Literal["one", "many"] = "one"
    """What InvokeModel takes for embeddings: Titan's request with one text, or Cohere's with many."""
    top_k_field: str = ""
    """Where among the model's own fields ``top_k`` stands (``top_k``, ``inferenceConfig.topK``); empty: nowhere."""
    effort_field: Literal["reasoning_effort", "reasoning_config", "reasoningConfig"] = "reasoning_effort"
    """Where among the model's own fields a reasoning effort stands, if ``thinking`` is ``level``."""
    cache_hour: bool = False
    """Whether what is cached can be kept for an hour."""
    system_blocks: bool = True
    """Whether the model takes system text; else the user says it first."""

    # -- cohere
    plans: bool = True
    """What is said beside calls goes as ``tool_plan``; else it stays content."""
    format_with_tools: bool = False
    """A response format may be asked for beside tools."""

    # -- cohere and ollama
    thoughts_back: bool = False
    """The text of earlier reasoning goes back to the model."""

    # -- ollama
    num_ctx: int = 0
    """Tokens of context the server is asked to load the model with; 0: the row's ``context_window``."""
    think: Literal["switch", "level", "none"] = "switch"
    """How reasoning is asked for: on or off, by a level, or not at all."""

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
    prefill_sent: tuple[str, ...] = ()
    """``path=JSON`` of fields of the request that ask for the same: ``continue_final_message=true``."""
    tool_choices: tuple[Literal["auto", "none", "required", "named"], ...] = ()
    """What ``tool_choice`` may say; empty: everything."""
    reasoning_tool_choices: tuple[Literal["auto", "none", "required", "named"], ...] = ()
    """The same while the model reasons; empty: no other than else."""
    reasons_unasked: bool = False
    """The model reasons where the settings say nothing of it."""
    strict_subset: bool = True
    """Schemas asked for with ``strict`` must keep to OpenAI's subset of JSON Schema: they are rewritten to it."""
    strict_defaults: bool = False
    """Strict mode takes ``default`` as well."""
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
    """The target may leave ``finish_reason`` empty: the end of the document, or ``[DONE]``, ends the answer, even
    without an account of usage."""
    reasoning_apart: bool = False
    """Reasoning tokens are in neither ``completion_tokens`` nor ``total_tokens`` where they are the larger number."""

    thinks_beyond: bool = False
    """``max_tokens`` bounds the answer alone: reasoning comes on top of it, and only a budget of its own bounds it."""

    # -- anthropic
    max_tokens_default: int = 4096
    """Sent where the settings name no ``max_tokens`` and the model's row no ``max_output``."""
    one_sampling: bool = False
    """Of temperature and top_p only one may be set: top_p gives way."""
    forced_calls: bool = True
    """Whether a call can be required of the model at all."""
    user_first: bool = True
    """The first turn must be the user's: one is put before an assistant that speaks first."""
    mid_system: bool = False
    """System turns may stand between the other turns."""
    prefill: bool = True
    """Whether the model continues an answer that the last turn begins; else the user asks it to go on."""
    thinking_display: Literal["", "summarized"] = ""
    """Asks a model to show its reasoning that would keep it to itself."""
    interleaved_beta: str = ""
    """Beta under which a model that thinks by a budget also thinks between calls."""
    body_version: str = ""
    """``anthropic_version`` in the body, which then names no model: the path does."""
    inference_geo: str = ""
    """Where inference may run, where the API can be told (``us``, ``global``)."""

    # -- anthropic and gemini
    thinking: Literal["none", "budget", "adaptive", "level"] = "none"
    """How reasoning is asked for: a token budget, ``adaptive`` with an effort (anthropic), or a level (gemini)."""
    thinks_by_budget: bool = False
    """A model that thinks adaptively also takes a budget of tokens."""
    budget_min: int = 1024
    budget_max: int = 32768
    thinking_off: bool = True
    """Whether the model can be told not to think."""

    # -- gemini
    embed_method: Literal["batchEmbedContents", "embedContent", "predict"] = "batchEmbedContents"
    """How vectors are asked for; ``embedContent`` takes one text a call, ``predict`` is Vertex's."""
    call_ids: bool = False
    """Calls and their results carry ids."""
    result_images: bool = False
    """Results of tools may hold images; else they are sent beside the result."""
    call_signature: str = ""
    """Stands in for the signature of a call that another model made, where the model refuses calls without one."""
    tools_or_schema: bool = False
    """A structured answer is not to be had while tools are offered: the tools stay."""
    url_media: bool = True
    """Images and files may come by any address; else only with their data, or from the provider's own store."""
    file_names: bool = False
    """Files may bear their names."""
    schema_field: Literal["responseJsonSchema", "responseSchema"] = "responseJsonSchema"
    parameters_field: Literal["parametersJsonSchema", "parameters"] = "parametersJsonSchema"

    @field_validator("embed_purposes")
    @classmethod
    def _purposes_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            purpose, equals, word = entry.partition("=")
            if not equals or not word or purpose not in {"", *get_args(Purpose)}:
                raise ValueError(
                    f"{entry!r} is not of the form purpose=word (purposes: {', '.join(get_args(Purpose))})"
                )
        return value

    @field_validator("always_send", "reasoning_send", "prefill_sent")
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


RESPONSES_LEAST = 16
"""The smallest ``max_output_tokens`` that OpenAI's Responses API takes."""


def least_output(provider: ProviderRow, model: ModelRow) -> int:
    """The smallest bound to an answer, in tokens, that a target can be given; a smaller one becomes this."""
    return RESPONSES_LEAST if (model.dialect or provider.dialect) == "openai_responses" else 1


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
