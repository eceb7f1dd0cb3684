"""Which kind of failure an error answer is: one ordered table for all dialects, the most telling sign first.

The status alone is right in two cases of three: an exhausted balance comes as 429 or 400, an overload as 429, a wrong
key as 400. So codes and phrases are looked at in the order in which they outweigh one another, and the status decides
what is left. Codes that mean something else at one provider are quirks of its row (``error_kinds``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from job_contracts.failures import Failure, FailureKind
from workers.dialects.errors import Told, told, without_secrets
from workers.dialects.limits import fullest_wait
from workers.dialects.signs import SIGNS, UNSUPPORTED
from workers.dialects.waits import regained, retry_after, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogue.quirks import Quirks

_K = FailureKind
_LONG = 3600.0
"""A stated wait from which a throttle with a daily or monthly quota in it is an exhausted quota."""
_DAY = 86400.0
_MAX_MESSAGE = 600
_BODY = 65536
"""How much of an error body is read."""
_PER_DAY = ("per day", "per-day", "daily", "perday", "/day", "per month", "per-month", "/month", "(rpd)", "(tpd)")
_THROTTLED = frozenset({_K.RATE_LIMIT, _K.OVERLOADED, _K.QUOTA_EXHAUSTED})
_REQUESTS_FAULT = frozenset(
    {
        *("invalid_request_error", "invalid_request", "invalid_argument", "validationexception", "badrequesterror"),
        *("bad_request", "invalid_parameter_error", "invalid_parameter", "invalidparameter"),
    }
)
"""Codes by which an error without a status blames the request."""


def classify(
    status: int, headers: Mapping[str, str], body: bytes, quirks: Quirks, *, provider: str | None = None
) -> Failure:
    """The failure that an answer with this status is. Header names are lower case; never raises on any bytes."""
    about, page = _about(body, headers.get("x-amzn-errortype", ""))
    kind, wait = _judged(status, about, headers, quirks)
    message = about.message or (readable(page) if page else "") or "no explanation"
    return Failure(
        kind=kind,
        message=without_secrets(f"HTTP {status}: {message}")[:_MAX_MESSAGE],
        field=about.parameter,
        status=status,
        code=_code(about),
        retry_after=wait,
        provider=provider,
    )


def classify_in_band(error: Any, quirks: Quirks) -> Failure:
    """The failure that an error object inside a 200 answer or a stream is: the same class as with a status."""
    about = told(error)
    kind, wait = _judged(about.status, about, {}, quirks)
    return Failure(
        kind=kind,
        message=without_secrets(about.message or "an error without explanation")[:_MAX_MESSAGE],
        field=about.parameter,
        status=about.status,
        code=_code(about),
        retry_after=wait,
    )


def readable(data: bytes) -> str:
    """The beginning of bytes that were not understood, as one line of text."""
    text = " ".join(data[:400].decode("utf-8", "replace").split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


_EXCERPT = 160


def _about(body: bytes, errortype: str) -> tuple[Told, bytes]:
    """What the body says, and the body itself if it is no JSON; ``errortype`` is AWS's header for the code."""
    text = body[:_BODY].strip()
    for candidate in (text, text.removeprefix(b"data:")):
        if candidate[:1] in (b"{", b"[", b'"'):
            try:
                return told(from_json(candidate), code=errortype), b""
            except ValueError:
                break
    plain = "" if text[:1] == b"<" else text.decode("utf-8", "replace")
    return told(plain, code=errortype), text


def _code(about: Told) -> str | None:
    specific = [code for code in about.codes if not code.isdecimal() and code not in _EMPTY_CODES]
    return next(iter(specific or about.codes), None)


_EMPTY_CODES = frozenset({"error", "invalid_request_error"})


def _judged(
    status: int | None, about: Told, headers: Mapping[str, str], quirks: Quirks
) -> tuple[FailureKind, float | None]:
    """Kind and wait: the longest stated anywhere; the reset of an empty bucket counts only if nothing is stated."""
    date = headers.get("date", "")
    waits = (retry_after(headers), retry_after({"date": date, **about.headers}), about.wait, said(about.words))
    wait = max((one for one in (*waits, regained(about.words, headers)) if one), default=None)
    kind = _kind(status, about, wait, quirks)
    if wait is None and kind in _THROTTLED:
        wait = fullest_wait(headers) or fullest_wait({"date": date, **about.headers})
    return kind, wait


def _kind(status: int | None, about: Told, wait: float | None, quirks: Quirks) -> FailureKind:
    codes = {code.lower() for code in about.codes}
    own = _own_kind(quirks, codes, status)
    if own is not None and own is not _K.BAD_REQUEST:
        return own
    if _is_used_up(status, about, wait):
        return _K.QUOTA_EXHAUSTED
    for sign in SIGNS:
        if sign.shows(status, codes, about.words):
            return sign.kind
    if status is not None and status >= 500:
        return _K.SERVER_ERROR
    if UNSUPPORTED.shows(status, codes, about.words):
        return _K.UNSUPPORTED_PARAM
    # Codes for requests that are wrong in any way say less than the words beside them: they come last.
    return own or _by_status(status, codes)


def _own_kind(quirks: Quirks, codes: set[str], status: int | None) -> FailureKind | None:
    if not quirks.error_kinds:
        return None
    own = {code.lower(): kind for code, _, kind in (entry.rpartition("=") for entry in quirks.error_kinds)}
    for code in (*codes, str(status)):
        if code in own:
            return FailureKind(own[code])
    return None


def _is_used_up(status: int | None, about: Told, wait: float | None) -> bool:
    """A throttle whose window is a day or longer, or whose limit is nothing at all, is a quota that is used up."""
    if status not in {None, 403, 429}:
        return False
    if any("perday" in quota or "permonth" in quota for quota in about.quotas):
        return True
    if "limit: 0," in about.words or about.words.endswith("limit: 0"):
        return True
    if wait is not None and wait >= _DAY:
        return True
    return (wait is None or wait >= _LONG) and any(phrase in about.words for phrase in _PER_DAY)


def _by_status(status: int | None, codes: set[str]) -> FailureKind:
    if status is None:
        return _K.SERVER_ERROR if codes.isdisjoint(_REQUESTS_FAULT) else _K.BAD_REQUEST
    if status == 403:
        return _K.PERMISSION
    if status in {408, 409, 424, 425}:
        return _K.SERVER_ERROR
    if status == 413:
        return _K.REQUEST_EXCEEDS_LIMIT
    if status < 400:
        return _K.MALFORMED_RESPONSE
    return _K.BAD_REQUEST
