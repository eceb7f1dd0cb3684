"""What the headers of any answer say about the provider's limits, in every vocabulary met so far.

OpenAI and those who copied it write ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``, with resets as durations
(``6ms``, ``7m12s``) or bare seconds; Anthropic ``anthropic-ratelimit-{requests,input-tokens,output-tokens,tokens}-…``
with resets as points in time; Mistral, Cerebras and Fireworks put the window or the kind into the name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from job_contracts.attempts import LimitReading
from workers.dialects.waits import duration, until

if TYPE_CHECKING:
    from collections.abc import Mapping

Unit = Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency"]

_MINUTE, _DAY, _MONTH = 60.0, 86400.0, 30 * 86400.0

_SUFFIXES: dict[str, tuple[Unit, float | None]] = {
    "requests": ("requests", None),
    "tokens": ("tokens", _MINUTE),
    "requests-day": ("requests", _DAY),
    "requests-minute": ("requests", _MINUTE),
    "tokens-minute": ("tokens", _MINUTE),
    "tokens-day": ("tokens", _DAY),
    "tokens-month": ("tokens", _MONTH),
    "req-minute": ("requests", _MINUTE),
    "req-10-second": ("requests", 10.0),
    "tokens-prompt": ("input_tokens", _MINUTE),
    "tokens-generated": ("output_tokens", _MINUTE),
    "input-tokens": ("input_tokens", _MINUTE),
    "output-tokens": ("output_tokens", _MINUTE),
}
"""The last part of a header's name -> unit and window in seconds; ``None``: the provider's row says."""

_FIELDS = ("limit", "remaining", "reset")


def read(headers: Mapping[str, str], *, requests_window: float = _MINUTE) -> tuple[LimitReading, ...]:
    """A reading for each limit the headers name, with what they say of it; what cannot be understood is left out."""
    said = _collect(headers)
    if not said:
        return ()
    readings = []
    for suffix, fields in said.items():
        unit, window = _SUFFIXES[suffix]
        limit, remaining = _amount(fields.get("limit")), _amount(fields.get("remaining"))
        reset = _reset(fields.get("reset"), headers)
        if limit is None and remaining is None:
            continue
        readings.append(
            LimitReading(
                unit=unit,
                limit=limit,
                remaining=remaining,
                reset=reset,
                window=requests_window if window is None else window,
            )
        )
    return tuple(readings)


def fullest_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit that has nothing left is full again; the longest if several have nothing left."""
    resets = [
        reset
        for fields in _collect(headers).values()
        if _amount(fields.get("remaining")) == 0 and (reset := _reset(fields.get("reset"), headers))
    ]
    return max(resets, default=None)


def _collect(headers: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Values by suffix and field: both orders of words, ``limit-requests`` and ``requests-limit``."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if "ratelimit-" not in name:
            continue
        rest = name.partition("ratelimit-")[2]
        first, _, suffix = rest.partition("-")
        if first not in _FIELDS:
            suffix, _, first = rest.rpartition("-")
        if first in _FIELDS and suffix in _SUFFIXES:
            found.setdefault(suffix, {})[first] = value
    return found


def _amount(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        amount = float(value)
    except ValueError:
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None


def _reset(value: str | None, headers: Mapping[str, str]) -> float | None:
    if value is None:
        return None
    return until(value, headers) if "T" in value else duration(value)
