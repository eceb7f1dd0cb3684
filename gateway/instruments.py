"""What an edge measures, and from which events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.telemetry import Instrument, Metrics, count, measure

if TYPE_CHECKING:
    from gateway.edge import Edge
    from gateway.server import Server

__all__ = ["INSTRUMENTS", "gauges"]

_BOUNDS = tuple(0.001 * 2**n for n in range(20))
"""Histogram bounds, 1 ms to 524 s: from a request that is refused to one that waits for its turn."""

_ADDED = tuple(0.00025 * 2**n for n in range(18))
"""A quarter of a millisecond to 33 s."""

INSTRUMENTS: tuple[Instrument, ...] = (
    count("edge_requests", "edge.answered", "Requests by route and class of status", "api", "status"),
    measure(
        "edge_request_seconds",
        "edge.answered",
        "From a request's headers to the end of its answer",
        "api",
        value="seconds",
        buckets=_BOUNDS,
    ),
    measure(
        "edge_first_byte_seconds",
        "edge.answered",
        "From a request's headers to the first byte of its answer's body",
        "api",
        value="first_byte",
        buckets=_BOUNDS,
    ),
    measure(
        "gateway_overhead_seconds",
        "edge.spent",
        "What is added to a call, by stage; of answers with one attempt",
        "stage",
        value="seconds",
        buckets=_ADDED,
        series=8,
    ),
    count("edge_sent_bytes", "edge.answered", "Bytes of answers' bodies", "api", value="sent"),
    count("edge_refused", "edge.refused", "Requests and connections turned away before a route saw them", "code"),
    count("edge_clients_gone", "edge.client_gone", "Requests whose client hung up before the answer was whole"),
    count("edge_answers_cut", "edge.cut", "Answers that the edge broke off", "why"),
    count("edge_streams_resumed", "edge.resumed", "Streams taken up where a client had left them"),
    count("edge_failures", "edge.failed", "Requests that ended by a bug", "error"),
)


def gauges(metrics: Metrics, edge: Edge, server: Server) -> None:
    """What is read when it is scraped."""
    metrics.gauge("edge_connections", "Open connections", lambda: server.connections)
    metrics.gauge("edge_requests_open", "Requests under way", lambda: server.requests)
    metrics.gauge("edge_streams_open", "Streams of events under way", lambda: edge.streams)
    metrics.gauge("edge_received_bytes", "Bytes received so far, headers included", lambda: server.received)
    metrics.gauge("edge_draining", "1 once it takes nothing new", lambda: edge.draining)
