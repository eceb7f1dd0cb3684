"""Sets the sending of traces up from the configuration, as something that is started and stopped with its process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from runtime.settings.telemetry import Conventions, Traces
from runtime.telemetry import INFO, WARNING, Telemetry

__all__ = ["CannotTrace", "Sending", "conventions", "sending"]

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST = "gen_ai_latest_experimental"
END = 8.0
"""Seconds at the end of a process in which spans that are left must have been sent."""


class CannotTrace(ValueError):
    """The configuration wants traces and OpenTelemetry is not installed."""


class _Sender(Protocol):
    def shutdown(self) -> None: ...


class Sending:
    """The lifecycle of what sends spans; without traces in the configuration it is empty."""

    def __init__(self, telemetry: Telemetry, sender: _Sender | None, stop: Callable[[], None]) -> None:
        self._telemetry, self._sender, self._stop = telemetry, sender, stop

    async def start(self) -> None:
        """It works from when it is made."""

    async def stop(self) -> None:
        """Listen no more, and send what is left, in a thread that no end of a process waits for."""
        sender, self._sender = self._sender, None
        if sender is None:
            return
        self._stop()
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            sender.shutdown()
            try:
                loop.call_soon_threadsafe(sent.set)
            except RuntimeError:
                return  # nobody waits any more: the loop is closed

        threading.Thread(target=send, name="traces", daemon=True).start()
        try:
            async with asyncio.timeout(END):
                await sent.wait()
        except TimeoutError:
            self._telemetry.emit("traces.left_behind", WARNING)


def sending(settings: Traces | None, telemetry: Telemetry, *, process: str, version: str) -> Sending:
    """Send spans of what is observed, if the configuration wants it. Raises CannotTrace."""
    if settings is None:
        return Sending(telemetry, None, _nothing)
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        message = "telemetry.traces: OpenTelemetry is not installed; install the dependency group 'tracing'"
        raise CannotTrace(message)
    from runtime.tracing.exporter import Exporter, processor  # noqa: PLC0415 - only who traces has it

    to, chosen = processor(settings), conventions(settings)
    exporter = Exporter(to, process=process, version=version, conventions=chosen)
    telemetry.emit("traces.sent", INFO, conventions=chosen, ratio=settings.ratio)
    return Sending(telemetry, to, exporter.listen(telemetry))


def conventions(settings: Traces, opted: str | None = None) -> Conventions:
    """The version to write spans by: what the configuration says, else what OpenTelemetry's own variable asks for."""
    if settings.conventions is not None:
        return settings.conventions
    asked = os.environ.get(OPT_IN, "") if opted is None else opted  # noqa: TID251 - OpenTelemetry's own switch
    return "genai-latest" if LATEST in {word.strip() for word in asked.split(",")} else "1.37"


def _nothing() -> None:
    pass
