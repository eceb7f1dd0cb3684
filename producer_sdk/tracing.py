"""The trace that a program is in, if it traces by OpenTelemetry; nothing of that is needed, or imported, here."""

from __future__ import annotations

import sys

__all__ = ["current_trace"]


def current_trace() -> str | None:
    """The current span as a W3C ``traceparent``; ``None`` where the program has none, or does not trace.

    Whoever has a span has imported OpenTelemetry: without that, this is one look into a table.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    span = api.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 0xFF:02x}"
