"""What the server says by itself, before a request reaches a route or in its place, and how HTTP/1.0 is answered."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.app import refused
from gateway.bodies.failures import ApiError, Shape
from runtime.telemetry import DEBUG

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from runtime.settings.services import Edge as EdgeSettings
    from runtime.telemetry import Telemetry

Headers = list[tuple[bytes, bytes]]


def full(settings: EdgeSettings, telemetry: Telemetry) -> ASGIApp:
    """Answers instead of the application when too much is under way."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        telemetry.emit("edge.refused", DEBUG, code="too_many_requests")
        message = f"{settings.max_requests} requests are under way, which is as many as there may be"
        error = ApiError(503, "too_many_requests", message, remedy="try again later", retry_after=1.0)
        await refused(error, _shape(scope["headers"]), _call_id())(scope, receive, send)

    return answer


def too_large(settings: EdgeSettings) -> ApiError:
    """More headers than may be."""
    message = f"the headers have more than {settings.max_header} bytes, or are more than {settings.max_headers}"
    return ApiError(431, "headers_too_large", message, remedy="send fewer")


def too_slow(what: str, patience: float) -> ApiError:
    """Less than may be, for too long."""
    return ApiError(408, "timeout", f"the {what} did not arrive in {patience:g} s", remedy="send the request again")


def _shape(headers: Headers | None) -> Shape:
    return "anthropic" if any(name == b"anthropic-version" for name, _ in headers or ()) else "openai"


def written(error: ApiError, asked: Headers | None, headers: Headers) -> bytes:
    """A whole answer that ends its connection, to a request with the headers ``asked``."""
    response = refused(error, _shape(asked), _call_id())
    lines = [*headers, *response.raw_headers, (b"connection", b"close")]
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return STATUS_LINE[error.status] + head + b"\r\n" + bytes(response.body)


def _call_id() -> str:
    return f"req_{secrets.token_hex(12)}"


def until_close(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """``app`` for a client of HTTP/1.0, which knows no chunks: an answer without a length ends with the connection."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not any(name.lower() == b"content-length" for name, _ in message.get("headers", ())):
                    cycle.chunked_encoding, cycle.expected_content_length = False, sys.maxsize
            elif not message.get("more_body", False) and cycle.expected_content_length > sys.maxsize // 2:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, told)

    return answer
