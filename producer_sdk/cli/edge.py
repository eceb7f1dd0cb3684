"""Asks the HTTP edge: JSON there and back, refusals as the SDK's errors. Redirects are refused: no key goes there."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import urlsplit

from producer_sdk.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    PenstockError,
    QueueFull,
    Refused,
    TooLarge,
    Unreachable,
)

TIMEOUT = 30.0
MOST = 16 * 1024 * 1024
"""Bytes of an answer that are read."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def ask(base: str, method: str, path: str, key: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object that answers. Raises the SDK's errors."""
    place = urlsplit(base)
    if place.scheme not in {"http", "https"} or not place.hostname:
        raise InvalidRequest(f"url: {base!r} is no HTTP address", field="url", remedy="write http://127.0.0.1:8400")
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "accept": "application/json"}
    if data is not None:
        headers["content-type"] = "application/json"
    request = urllib.request.Request(base.rstrip("/") + path, data, headers, method=method)  # noqa: S310 - see above
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if place.hostname in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT) as answer:
            return _object(answer.read(MOST))
    except urllib.error.HTTPError as error:
        with error:
            refused(error.code, error.read(MOST), error.headers.get("retry-after"))
    except (urllib.error.URLError, OSError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        remedy = "check --url or PENSTOCK_GATEWAY, and that the gateway runs"
        raise Unreachable(f"no answer from {base}: {reason}", remedy=remedy) from error


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise PenstockError("the answer is no JSON object", remedy="is that address a Penstock gateway?")
    return value


def refused(status: int, data: bytes, retry_after: str | None) -> NoReturn:
    """Raise the error that a refusal tells."""
    try:
        told = json.loads(data)["error"]
        message, field = str(told["message"]), told.get("param")
    except (ValueError, KeyError, TypeError):
        message, field = f"the gateway answered {status}", None
    match status:
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            raise InvalidRequest(message, field=field)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            raise Forbidden(message, field=field)
        case HTTPStatus.NOT_FOUND:
            raise NotFound(message, field=field)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise TooLarge(message, field=field)
        case HTTPStatus.TOO_MANY_REQUESTS:
            after = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
            raise QueueFull(message, field=field, retry_after=after)
        case HTTPStatus.CONFLICT | HTTPStatus.INSUFFICIENT_STORAGE:
            raise Refused(message, field=field)
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unreachable(message)
    raise PenstockError(message, field=field)
