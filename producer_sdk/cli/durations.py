"""Durations as people write them. Pure."""

from __future__ import annotations

import re

from producer_sdk.errors import InvalidRequest

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*")


def seconds(text: str, field: str) -> float:
    """``90``, ``90s``, ``1.5m``, ``6h`` or ``2d`` in seconds. Raises InvalidRequest naming ``field``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"{field}: {text!r} is no duration", field=field, remedy="write 90s, 15m, 6h or 2d")
    return float(match[1]) * _UNITS[match[2]]
