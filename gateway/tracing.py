"""Spans of requests that submit jobs: a trace begins here, or goes on from the client's; the jobs hang below.

Nothing is made where the configuration has no traces: then a client's own ``traceparent`` goes on with the job as it
came. A request that is not recorded has no span either: what its client says goes on, and where it says nothing, that
nobody records it, so that the share of jobs that is recorded stays the configured one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from job_contracts.subjects import H_STATE, H_TRACE
from job_contracts.tracing import begun_trace, of_request, trace_in
from runtime.tracing.observations import REQUEST, RequestSeen

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Message, Send

    from gateway.call import Call
    from job_contracts.tracing import Trace
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.telemetry import Telemetry

__all__ = ["Span", "Tracing"]


class Tracing:
    """One edge's."""

    def __init__(self, config: Config, telemetry: Telemetry, clock: Clock) -> None:
        traces = config.telemetry.traces
        self.on = traces is not None
        self._ratio = 0.0 if traces is None else traces.ratio
        self._telemetry, self._clock = telemetry, clock

    def begin(self, call: Call, route: str) -> Span | None:
        """What a request belongs to is noted with it; its span, if it is recorded."""
        given = client_trace(call)
        if given is None and not self._ratio:
            return None
        parent = given or begun_trace(call.id, self._ratio)
        if given is not None and not given.sampled:
            return None
        if not parent.sampled:  # a span that nobody tells of needs no more than to be one
            call.trace = replace(parent, span=parent.id[:16])
            return None
        call.trace = of_request(parent, call.id)
        return Span(self._telemetry, self._clock, call, route, parent)


def client_trace(call: Call) -> Trace | None:
    """What its client says, if it says anything."""
    headers = call.request.headers
    given = headers.get(H_TRACE)
    return None if given is None else trace_in({H_TRACE: given, H_STATE: headers.get(H_STATE, "")})


class Span:
    """One request under way."""

    def __init__(self, telemetry: Telemetry, clock: Clock, call: Call, route: str, parent: Trace) -> None:
        self._telemetry, self._clock, self._call, self._route = telemetry, clock, call, route
        self._parent = parent
        self._begun = call.begun
        self._status: int | None = None

    def watching(self, send: Send) -> Send:
        """The same, and it is seen what is answered."""

        def told(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                self._status = message["status"]
            return send(message)

        return told

    def end(self) -> None:
        """The answer is out, or there is none."""
        call = self._call
        if call.trace is None:
            return
        seen = RequestSeen(
            span=call.trace,
            parent=self._parent.span,
            request=call.id,
            project=call.caller.project,
            method=call.request.method,
            route=self._route,
            status=self._status,
            started=self._begun,
            finished=self._clock.wall(),
        )
        self._telemetry.emit(REQUEST, observation=seen)
