"""What is known of one request on its way through a provider, and what follows from it alone (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from simulator.connection import Exchange
from simulator.conversation import Ask, Overflow, Refusal, RefusalKind, Stamp
from simulator.dialects import Route
from simulator.faults import Fault
from simulator.limits import Domain, Exceeded, Lease
from simulator.meter import Tariff, Usage, tariff_of
from simulator.names import ModelName
from simulator.playback import Timing
from simulator.settings import ModelSettings, Pace, ProviderSettings
from simulator.wire import Request

WRONG_SHAPE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a field of the wrong type ends in: the readers take for granted the shape of what they do not need."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a model's full name: settings without gaps, price list, pace with the name's own options."""

    model: ModelSettings
    tariff: Tariff
    pace: Pace
    immediate: bool


@dataclass(slots=True)
class Call:
    """A request on its way. What is not known yet is empty. ``came``: seconds of the epoch. ``arrived``, and ``ended``
    when it took no place any more: of the monotonic clock.
    """

    request: Request
    exchange: Exchange
    stamp: Stamp
    came: float
    arrived: float
    ended: float | None = None
    route: Route | None = None
    key: str = ""
    ask: Ask | None = None
    model: str = ""
    terms: Terms | None = None
    domain: Domain | None = None
    lease: Lease | None = None
    usage: Usage | None = None
    fault: Fault | None = None


AT_ONCE = Timing()


def terms_of(name: ModelName, provider: ProviderSettings) -> Terms:
    """The terms of a model at a provider."""
    settings = provider.model(name.base)
    pace = name.pace(settings.pace or provider.pace)
    return Terms(settings, tariff_of(settings.price or provider.price), pace, not _slow(pace))


def _slow(pace: Pace) -> bool:
    return bool(pace.latency or pace.ttft or pace.tokens_per_second)


def timing_of(terms: Terms, seed: bytes) -> Timing:
    """The timing of one request: its model's pace, varied by the request's hash."""
    if terms.immediate:
        return AT_ONCE
    pace = terms.pace
    factor = 1 + pace.jitter * (int.from_bytes(seed[8:12], "big") / 2**31 - 1)
    per_token = factor / pace.tokens_per_second if pace.tokens_per_second else 0.0
    return Timing(pace.latency * factor, pace.ttft * factor, per_token)


def wrong_shape(error: Exception) -> Refusal:
    """A request in which something is not what it should be."""
    return Refusal("bad_request", f"A field of the request, or of a schema in it, has the wrong type: {error}")


def overflow(tokens: int, reserved: int, window: int, model: str) -> Refusal:
    """A prompt that does not fit."""
    return Refusal("context", model=model, overflow=Overflow(tokens, reserved, window))


def injected(fault: Fault, model: str, window: int) -> Refusal:
    """An injected error, in the words of the real one."""
    wait = fault.amount
    if fault.kind == "context":
        return overflow(window + 1, 0, window, model)
    exceeded = Exceeded("requests", 60, 60, 1, wait, 60.0) if fault.kind == "rate_limit" else None
    return Refusal(
        cast("RefusalKind", fault.kind), status=fault.status, retry_after=wait, model=model, exceeded=exceeded
    )
