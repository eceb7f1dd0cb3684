"""What the headers of any answer say about the provider's limits, in every vocabulary met so far.

OpenAI and those who copied it write ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``, with resets as durations
(``6ms``, ``7m12s``) or bare seconds; Anthropic ``anthropic-ratelimit-{requests,input-tokens,output-tokens,tokens}-…``
with resets as points in time; Mistral, Cerebras and Fireworks put the window or the kind into the name; Together,
Moonshot and the drafts of the IETF name no unit at all. Anything else (``-1``, ``REDACTED``) says nothing.

Nothing here is a failure: providers send limits, and ``retry-after``, with good answers as well.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal

from job_contracts.attempts import LimitReading
from workers.dialects.waits import after_epoch, duration, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Unit = Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency"]

_MINUTE, _HOUR, _DAY, _MONTH = 60.0, 3600.0, 86400.0, 30 * 86400.0
_NEAR = 0.1
"""How far a window may be off that is computed from a reset."""

_UNITS: dict[str, Unit] = {
    "": "requests",
    "requests": "requests",
    "request": "requests",
    "req": "requests",
    "project-requests": "requests",
    "tokens": "tokens",
    "token": "tokens",
    "project-tokens": "tokens",
    "tokens-usage-based": "tokens",
    "tokens-prompt": "input_tokens",
    "tokens-uncached-prompt": "input_tokens",
    "prompt-tokens": "input_tokens",
    "input-tokens": "input_tokens",
    "tokens-generated": "output_tokens",
    "generated-tokens": "output_tokens",
    "completion-tokens": "output_tokens",
    "output-tokens": "output_tokens",
    "concurrency": "concurrency",
    "concurrent-requests": "concurrency",
}
_WINDOWS = {"second": 1.0, "minute": _MINUTE, "hour": _HOUR, "day": _DAY, "month": _MONTH}
_WINDOW = re.compile(r"(.*?)-?(?:([1-9]\d{0,3})-)?(second|minute|hour|day|month)s?")
_OTHER_NAMES = {
    "x-tokenlimit-limit": ("tokens", "limit"),
    "x-tokenlimit-remaining": ("tokens", "remaining"),
    "x-trial-endpoint-call-limit": ("requests-minute", "limit"),
    "x-trial-endpoint-call-remaining": ("requests-minute", "remaining"),
    "x-endpoint-monthly-call-limit": ("requests-month", "limit"),
    "x-endpoint-monthly-call-remaining": ("requests-month", "remaining"),
}
"""Together's tokens; Cohere's calls."""
_BY_SIZE = "ratelimitbysize-"
"""Mistral's tokens, a minute where the name does not say."""
_RENEWAL = "renewalperiod"
_FIELDS = frozenset({"limit", "remaining", "reset", _RENEWAL})


def read(
    headers: Mapping[str, str], *, requests_window: float = _MINUTE, tokens_window: float = _MINUTE
) -> tuple[LimitReading, ...]:
    """A reading for each limit the headers name, with what they say of it; what cannot be understood is left out.

    The windows, in seconds, are those the provider's row gives where the headers do not tell. Of several limits for the
    same unit and window (a model's and its project's) the tightest figures are told. What allows least in the long run
    comes first: who keeps one bucket a unit keeps that one.
    """
    collected = _collect(headers)
    if not collected:
        return ()
    readings: dict[tuple[Unit, float], LimitReading] = {}
    for suffix, fields in collected.items():
        unit, window = _meaning(suffix)
        limit, remaining = _amount(fields.get("limit")), _amount(fields.get("remaining"))
        if limit is None and remaining is None:
            continue
        reset = _reset(fields.get("reset"), headers)
        if window is None:
            window = _amount(fields.get(_RENEWAL)) or _told_window(limit, remaining, reset)
            window = window or (requests_window if unit == "requests" else tokens_window)
        found = LimitReading(unit=unit, limit=limit, remaining=remaining, reset=reset, window=window)
        known = readings.get((unit, window))
        readings[unit, window] = found if known is None else _tighter(known, found)
    return tuple(sorted(readings.values(), key=_rate))


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
        if "limit" not in name and name not in _OTHER_NAMES:
            continue
        suffix, field = _OTHER_NAMES.get(name) or _split(name)
        if field in _FIELDS:
            found.setdefault(suffix, {})[field] = value
    return found


def _split(name: str) -> tuple[str, str]:
    """The suffix that says what is limited, and the field; an empty field where the header is about something else."""
    before, by_size, rest = name.partition(_BY_SIZE)
    if not by_size:
        before, rate, rest = name.partition("ratelimit-")
        if not rate:
            return "", ""
    if before not in _PREFIXES:
        return "", ""
    rest = rest.replace("_", "-")
    words: Iterable[tuple[str, str]] = (rest.partition("-")[::2], rest.rpartition("-")[::-2])
    for field, suffix in words:
        if field in _FIELDS:
            limited = f"tokens-{suffix or 'minute'}" if by_size else suffix
            return (limited, field) if _known(limited) else ("", "")
    return "", ""


_PREFIXES = frozenset({"", "x-", "anthropic-"})


def _known(suffix: str) -> bool:
    if suffix in _UNITS:
        return True
    dated = _WINDOW.fullmatch(suffix)
    return dated is not None and dated[1] in _UNITS


def _meaning(suffix: str) -> tuple[Unit, float | None]:
    unit = _UNITS.get(suffix)
    if unit is not None:
        return unit, None
    kind, count, window = _WINDOW.fullmatch(suffix).groups()  # type: ignore[union-attr]  # _split let it in
    return _UNITS[kind], _WINDOWS[window] * int(count or 1)


def _told_window(limit: float | None, remaining: float | None, reset: float | None) -> float | None:
    """The window that a reset gives away: what is missing of ``limit`` comes back at ``limit`` a window.

    So OpenAI's 8.64 s for one request of 10,000 is a limit a day, and 6 ms is one a minute, under the same name.
    """
    if not limit or not reset or remaining is None or remaining >= limit:
        return None
    window = reset * limit / (limit - remaining)
    return next((known for known in (_MINUTE, _HOUR, _DAY) if abs(window - known) <= known * _NEAR), None)


def _rate(reading: LimitReading) -> float:
    return math.inf if reading.limit is None else reading.limit / reading.window


def _tighter(one: LimitReading, other: LimitReading) -> LimitReading:
    """The lower limit, the lower remainder, and the reset of what has less left."""
    limits = [found.limit for found in (one, other) if found.limit is not None]
    left = [found for found in (one, other) if found.remaining is not None]
    least = min(left, key=lambda found: found.remaining or 0.0, default=one)
    return one.model_copy(
        update={"limit": min(limits, default=None), "remaining": least.remaining, "reset": least.reset}
    )


def _amount(value: str | None) -> float | None:
    """A number; the first of ``100, 100;w=60`` as the IETF's drafts have it."""
    if value is None:
        return None
    try:
        amount = float(value.split(",", 1)[0].split(";", 1)[0])
    except ValueError:
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None


def _reset(value: str | None, headers: Mapping[str, str]) -> float | None:
    if value is None:
        return None
    if "T" in value:
        return until(value, headers)
    return after_epoch(value, headers) if len(value) >= _EPOCH_DIGITS and value.isdecimal() else duration(value)


_EPOCH_DIGITS = 10
