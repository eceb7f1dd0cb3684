"""What can be set: providers, their pace, limits, prices and models; the defaults disturb nobody."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Dollars = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]

WindowKind = Literal["fixed", "sliding", "bucket"]
DialectName = Literal["openai", "anthropic", "gemini", "mistral"]

REASONING_MODELS = ("o1*", "o3*", "o4*", "gpt-5*")


class Frozen(BaseModel):
    """A value that never changes and knows each of its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Price(Frozen):
    """US dollars for a million tokens, by kind. Reasoning tokens are billed as output, as the real providers do."""

    input: Dollars = Decimal("1.00")
    cached_read: Dollars = Decimal("0.10")
    cache_write: Dollars = Decimal("1.25")
    output: Dollars = Decimal("4.00")


class Pace(Frozen):
    """How long an answer takes.

    ``latency``: seconds before the response head. ``ttft``: seconds from the request to the first token, at least
    ``latency``. ``tokens_per_second``: the rate after that, 0 for all at once. ``jitter``: each of the three is varied
    by up to this fraction, by the request's own hash, so the same request always takes the same time.
    """

    latency: Seconds = 0.0
    ttft: Seconds = 0.0
    tokens_per_second: Annotated[float, Field(ge=0)] = 0.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0


class Limits(Frozen):
    """What a provider enforces for one key and model (or group of models); an absent limit is not enforced.

    ``requests``, ``input_tokens``, ``output_tokens`` and ``tokens`` (both together) hold for ``period`` seconds.
    ``window``: ``fixed`` starts anew every period, ``sliding`` looks back exactly one period, ``bucket`` refills evenly
    and holds ``burst`` of each limit (a fraction of it, 1 = all). ``concurrency``: answers in progress at a time.
    ``reserve_output``: what an answer counts as until it ends: its real length, or the caller's ``max_tokens``.
    ``count_cached_reads``: whether cached input counts; by default as the dialect's provider does.
    """

    requests: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    tokens: Count | None = None
    concurrency: Count | None = None
    period: Annotated[float, Field(gt=0, le=2_678_400)] = 60.0
    window: WindowKind = "sliding"
    burst: Annotated[float, Field(gt=0, le=1)] = 1.0
    reserve_output: Literal["actual", "max_tokens"] = "actual"
    count_cached_reads: bool | None = None


class AnswerLength(Frozen):
    """The length of a text answer in tokens; the request's hash chooses between the two, both included."""

    shortest: Count = 16
    longest: Count = 48

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.longest < self.shortest:
            raise ValueError("`longest` is smaller than `shortest`")
        return self


class ModelSettings(Frozen):
    """What one model has of its own; what is absent comes from its provider. ``group``: models that share one limit."""

    group: str | None = None
    limits: Limits | None = None
    pace: Pace | None = None
    price: Price | None = None
    answer: AnswerLength | None = None
    context_window: Count | None = None


class BatchPace(Frozen):
    """How batches go: answered after ``seconds``; the last ``expiring`` (a fraction) of each one's requests expire
    unanswered; one with which more than ``queued`` requests would wait is turned away.
    """

    seconds: Seconds = 0.0
    expiring: Annotated[float, Field(ge=0, le=1)] = 0.0
    queued: Count | None = None


class ProviderSettings(Frozen):
    """One simulated provider: a dialect on a port of its own.

    ``port`` 0 takes a free one. ``keys``: the API keys it accepts, empty for any that is not empty. ``catalogue``: the
    models it has, empty for any name. ``models``: settings of single models. ``context_window``: tokens.
    ``strict``: refuse what the real provider refuses (unknown fields, unanswered tool calls, foreign signatures and,
    for ``reasoning_models``, sampling parameters) instead of shrugging. ``reasoning_field``: where an OpenAI-shaped
    provider puts the text of its reasoning; OpenAI itself shows none. ``cache_minimum``: the shortest prompt whose
    prefix is kept, tokens; ``cache_seconds``: how long it is kept. ``batches``: how its batch API goes, if it has one.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    dialect: DialectName
    port: Port = 0
    keys: tuple[str, ...] = ()
    catalogue: tuple[str, ...] = ()
    models: dict[str, ModelSettings] = {}
    pace: Pace = Pace()
    limits: Limits = Limits()
    price: Price = Price()
    answer: AnswerLength = AnswerLength()
    context_window: Count = 1_000_000
    strict: bool = True
    reasoning_models: tuple[str, ...] = REASONING_MODELS
    reasoning_field: Literal["", "reasoning", "reasoning_content"] = ""
    cache_minimum: Count = 1_024
    cache_seconds: Seconds = 300.0
    batches: BatchPace = BatchPace()

    def model(self, name: str) -> ModelSettings:
        """The settings of a model, every gap filled from the provider; ``name`` without any suffix."""
        own = self.models.get(name, ModelSettings())
        return ModelSettings(
            group=own.group or name,
            limits=own.limits or self.limits,
            pace=own.pace or self.pace,
            price=own.price or self.price,
            answer=own.answer or self.answer,
            context_window=own.context_window or self.context_window,
        )


def default_providers() -> tuple[ProviderSettings, ...]:
    """OpenAI, Anthropic and Gemini, unlimited and immediate."""
    return (
        ProviderSettings(name="openai", dialect="openai"),
        ProviderSettings(name="anthropic", dialect="anthropic"),
        ProviderSettings(name="gemini", dialect="gemini"),
    )


class Settings(Frozen):
    """The whole simulator.

    ``port``: the main listener (control, health, metrics, and every provider by path). ``log_size``: requests the log
    remembers. ``bills``: requests of which the meter can say what each was billed. ``max_body``: bytes of a request
    body. ``longest_hold``: seconds that a hung or stalled answer is held before the simulator gives up on it.
    """

    host: str = "127.0.0.1"
    port: Port = 0
    providers: Annotated[tuple[ProviderSettings, ...], Field(min_length=1)] = Field(default_factory=default_providers)
    log_size: Annotated[int, Field(ge=0, le=1_000_000)] = 1_000
    bills: Annotated[int, Field(ge=0, le=1_000_000)] = 100_000
    max_body: Count = 64 * 1024 * 1024
    longest_hold: Annotated[float, Field(gt=0, le=86_400)] = 600.0

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [provider.name for provider in self.providers]
        if len(set(names)) != len(names):
            raise ValueError("two providers have the same name")
        return self
