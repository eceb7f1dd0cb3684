"""What is told about the system beside metrics and logs, and to whom."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.settings.written import Section

Conventions = Literal["1.37", "1.41", "genai-latest"]


class Traces(Section):
    """Traces by OpenTelemetry (OTLP over HTTP). Never content. Needs the dependency group ``tracing``."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^@?#]+$")] = "http://127.0.0.1:4318/v1/traces"
    """Where spans are sent. Headers with a key come from the environment: ``OTEL_EXPORTER_OTLP_TRACES_HEADERS``."""
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the jobs that is recorded, of those that come without a trace; of the others the producer decides."""
    conventions: Conventions | None = None
    """Version of the GenAI conventions by which spans are written: 1.37 if nothing is said here, and the newest where
    ``OTEL_SEMCONV_STABILITY_OPT_IN`` names ``gen_ai_latest_experimental``."""
    queue: Annotated[int, Field(ge=16)] = 4096
    """Spans that wait to be sent at most; further ones are dropped."""


class TelemetrySettings(Section):
    """What the processes tell of themselves beside metrics and logs."""

    traces: Traces | None = None
    """With it, jobs are traced."""
