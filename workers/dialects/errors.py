"""What an error body says, whatever its shape: codes, words, waits, quotas, in one flat form."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from workers.dialects.waits import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    """Names of exhausted quotas, in lower case."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of another answer that the body repeats (OpenRouter), names in lower case."""


def told(value: Any, *, code: str = "") -> Told:
    """Read an error of any shape: ``{"error": {...}}``, ``{"error": "..."}``, ``[{"error": ...}]``, flat, or text.

    ``code`` is one that came beside it, in a header.
    """
    found = _Found()
    found.code(code)
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
        headers=found.headers,
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
        self.headers: dict[str, str] = {}

    def code(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            return
        # AWS puts a namespace before its codes (up to #) and an address after them (from :http on).
        word = _NAMESPACE.sub("", str(value)[:_MAX_CODE]).partition(":http")[0]
        if self.status is None and word.isdecimal() and len(word) == 3 and 400 <= int(word) < 600:
            self.status = int(word)
        self.codes.append(word)

    def message(self, value: Any) -> None:
        if isinstance(value, str) and value.strip():
            self.messages.append(value.strip()[:_MAX_WORDS])

    def quota(self, name: Any, amount: Any) -> None:
        if isinstance(name, str):
            self.quotas.append(name.lower())
            if amount in _NOTHING:
                self.messages.append("limit: 0")

    def repeats(self, headers: dict[Any, Any]) -> None:
        for name, value in list(headers.items())[:_WIDTH]:
            if isinstance(name, str) and isinstance(value, str | int | float) and not isinstance(value, bool):
                self.headers[name.lower()] = str(value)[:200]

    def waits(self, value: Any) -> None:
        seconds = duration(str(value)[:64]) if isinstance(value, str | int | float) else None
        if seconds is not None:
            self.wait = max(seconds, self.wait or 0.0)


_CODES = (
    "code", "error_code", "errorCode", "__type", "reason", "type", "error_type", "errorType", "status", "status_code",
    "statusCode", "http_code", "httpCode",
)  # fmt: skip
_MESSAGES = (
    "message", "Message", "msg", "error_msg", "errorMessage", "status_msg", "detail", "raw", "error_description",
    "title", "originalMessage",
)  # fmt: skip
_WAITS = ("retryDelay", "retry_after", "retry_after_seconds", "retryAfter", "estimated_time")
_INNER = (
    "error", "errors", "details", "detail", "innererror", "metadata", "violations", "base_resp", "response", "fault",
    "body",
)  # fmt: skip
_NOTHING = (0, "0")
_NAMESPACE = re.compile(r"^[\w.]+#")
_MAX_CODE = 200
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
        _read_message(value.get(key), found, depth)
    for key in _WAITS:
        if key in value:
            found.waits(value[key])
    parameter = value.get("param")
    if found.parameter is None and isinstance(parameter, str) and parameter:
        found.parameter = parameter[:200]
    place = value.get("loc")  # FastAPI: where in the request it is
    if found.parameter is None and isinstance(place, list) and place:
        found.parameter = ".".join(str(step) for step in place[:_WIDTH] if step != "body")[:200]
    found.quota(value.get("quotaId"), value.get("quotaValue"))
    found.quota(value.get("quota_limit"), value.get("quota_limit_value"))
    if isinstance(repeated := value.get("headers"), dict):
        found.repeats(repeated)
    for key in _INNER:
        part = value.get(key)
        if depth < _DEPTH and (
            isinstance(part, list | dict) and not (key == "error" and part is inner and isinstance(part, dict))
        ):
            _read(part, found, depth + 1)
        elif key == "error":
            found.message(part)


def _read_message(value: Any, found: _Found, depth: int) -> None:
    """A sentence; or, where a gateway passes on what it was told, the error of another provider as JSON text."""
    if isinstance(value, str) and depth < _DEPTH and value.lstrip()[:1] in {"{", "["}:
        try:
            inner = from_json(value[:_MAX_NESTED])
        except ValueError:
            inner = None
        if isinstance(inner, dict | list):
            _read(inner, found, depth + 1)
            return
    found.message(value)


_MAX_NESTED = 16384


def _inner_codes(value: dict[Any, Any]) -> Iterator[str]:
    return (key for key in _CODES if key in value)


_SECRET = re.compile(
    r"\b(?:sk|psk|gsk|csk|xai|pplx|hf|fw|tgp|nvapi|key|api)[-_][A-Za-z0-9*_-]{8,}"
    r"|\bAIza[A-Za-z0-9_-]{10,}|(?<=Bearer )\S{8,}|\b(?=[A-Za-z*]*\d)[A-Za-z0-9*]{32,}"
)


def without_secrets(text: str) -> str:
    """Some providers repeat the key they were sent: what looks like one is blotted out."""
    return _SECRET.sub("(redacted)", text)
