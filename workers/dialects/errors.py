"""What an error body says, whatever its shape: codes, words, waits, quotas, in one flat form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.dialects.waits import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_WORDS = 4096
_MAX_CODES = 16


@dataclass(frozen=True, slots=True)
class Told:
    """The facts of one error body."""

    codes: tuple[str, ...] = ()
    """Codes, types and statuses as written, the most specific first."""
    message: str = ""
    """The sentence meant for people."""
    words: str = ""
    """Everything said, in lower case, to look for phrases in."""
    parameter: str | None = None
    status: int | None = None
    """An HTTP status the body names."""
    wait: float | None = None
    """Seconds, from a field of the body."""
    quotas: tuple[str, ...] = ()
    """Names of exhausted quotas."""


def told(value: Any) -> Told:
    """Read an error of any shape: ``{"error": {...}}``, ``{"error": "..."}``, ``[{"error": ...}]``, flat, or text."""
    found = _Found()
    _read(value, found, depth=0)
    message = next(iter(found.messages), "")
    return Told(
        codes=tuple(dict.fromkeys(found.codes))[:_MAX_CODES],
        message=message,
        words=" \n".join(dict.fromkeys(found.messages)).lower()[:_MAX_WORDS],
        parameter=found.parameter,
        status=found.status,
        wait=found.wait,
        quotas=tuple(found.quotas),
    )


class _Found:
    """What has been met on the way through the body."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self.messages: list[str] = []
        self.quotas: list[str] = []
        self.parameter: str | None = None
        self.status: int | None = None
        self.wait: float | None = None

    def code(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            return
        word = str(value)
        if self.status is None and word.isdecimal() and len(word) == 3 and 400 <= int(word) < 600:
            self.status = int(word)
        self.codes.append(word[:200])

    def message(self, value: Any) -> None:
        if isinstance(value, str) and value.strip():
            self.messages.append(value.strip()[:_MAX_WORDS])

    def waits(self, value: Any) -> None:
        seconds = duration(str(value)[:64]) if isinstance(value, str | int | float) else None
        if seconds is not None:
            self.wait = max(seconds, self.wait or 0.0)


_CODES = ("code", "error_code", "reason", "type", "error_type", "status", "status_code")
_MESSAGES = ("message", "msg", "status_msg", "detail", "raw", "error_description", "title")
_WAITS = ("retryDelay", "retry_after", "retry_after_seconds", "estimated_time")
_INNER = ("error", "errors", "details", "detail", "innererror", "metadata", "violations", "base_resp", "response")
_DEPTH = 6
_WIDTH = 16


def _read(value: Any, found: _Found, depth: int) -> None:
    if isinstance(value, str):
        found.message(value)
    elif isinstance(value, list):
        for item in value[:_WIDTH]:
            if depth < _DEPTH:
                _read(item, found, depth + 1)
    elif isinstance(value, dict):
        _read_object(value, found, depth)


def _read_object(value: dict[Any, Any], found: _Found, depth: int) -> None:
    inner = value.get("error")
    if isinstance(inner, dict) and depth < _DEPTH:  # what the error itself says comes before what is around it
        _read_object(inner, found, depth + 1)
    for key in _inner_codes(value):
        found.code(value[key])
    for key in _MESSAGES:
        found.message(value.get(key))
    for key in _WAITS:
        if key in value:
            found.waits(value[key])
    parameter = value.get("param")
    if found.parameter is None and isinstance(parameter, str) and parameter:
        found.parameter = parameter[:200]
    quota = value.get("quotaId")
    if isinstance(quota, str):
        found.quotas.append(quota)
    for key in _INNER:
        part = value.get(key)
        if depth < _DEPTH and (
            isinstance(part, list | dict) and not (key == "error" and part is inner and isinstance(part, dict))
        ):
            _read(part, found, depth + 1)
        elif key == "error":
            found.message(part)


def _inner_codes(value: dict[Any, Any]) -> Iterator[str]:
    return (key for key in _CODES if key in value)


_SECRET = re.compile(
    r"\b(?:sk|psk|gsk|csk|xai|pplx|hf|fw|tgp|nvapi|key|api)[-_][A-Za-z0-9*_-]{8,}"
    r"|\bAIza[A-Za-z0-9_-]{10,}|(?<=Bearer )\S{8,}|\b(?=[A-Za-z*]*\d)[A-Za-z0-9*]{32,}"
)


def without_secrets(text: str) -> str:
    """Some providers repeat the key they were sent: what looks like one is blotted out."""
    return _SECRET.sub("(redacted)", text)
