"""Bodies off the wire, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.bodies.failures import ApiError, Failed

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_body(request: Request, limit: int) -> bytes:
    """All bytes of a body. Raises ``Failed``: 413 as soon as there are more than ``limit``, 415 if it is encoded."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Failed(ApiError(415, "unsupported_encoding", "encoded bodies are not read", remedy="send it as it is"))
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            message = f"the body has more than {limit} bytes"
            raise Failed(ApiError(413, "request_too_large", message, remedy="send less, or upload it as a file"))
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
