"""What a worker measures, and from which events."""

from __future__ import annotations

from runtime.telemetry import Instrument, Metrics, count, measure
from workers.books import Books
from workers.pool import Pool
from workers.streaming import Streams

__all__ = ["INSTRUMENTS", "gauges"]

INSTRUMENTS: tuple[Instrument, ...] = (
    count("attempts", "attempt.ended", "Attempts by how they ended", "provider", "model", "outcome"),
    measure("attempt_seconds", "attempt.ended", "Duration of calls", "provider", "model", value="seconds"),
    measure(
        "attempt_ttft_seconds", "attempt.ended", "Time to the first token", "provider", "model", value="first_token"
    ),
    count("tokens_input", "attempt.ended", "Prompt tokens, cached ones included", "provider", "model", value="input"),
    count("tokens_output", "attempt.ended", "Answer tokens, reasoning included", "provider", "model", value="output"),
    count("tokens_cache_read", "attempt.ended", "Cached prompt tokens", "provider", "model", value="cache_read"),
    count("tokens_reasoning", "attempt.ended", "Reasoning tokens", "provider", "model", value="reasoning"),
    count("verdicts", "verdict.reached", "What verifiers said of answers", "route", "verdict"),
    count("reports_retried", "report.retried", "Reports that had to be repeated", "what", "error"),
    count("reports_given_up", "report.given_up", "Reports that could not be stored", "what"),
    count("facts_stored", "books.stored", "Facts told to the ledger", value="facts"),
    count("facts_retried", "books.retried", "Batches of facts that had to be repeated", "error"),
    count("acknowledgements_lost", "books.acknowledgement_lost", "Assignments the broker may still hold"),
    count("assignments_unreadable", "pool.unreadable", "Assignments set aside"),
    count("worker_errors", "attempt.broken", "Attempts that ended by a bug", "error"),
    count("heartbeats_unanswered", "heartbeat.unanswered", "Times the leader stopped answering", "error"),
)


def gauges(metrics: Metrics, pool: Pool, books: Books, streams: Streams) -> None:
    """What is read when it is scraped."""
    metrics.gauge("pool_slots", "Calls this worker makes at once", lambda: pool.slots)
    metrics.gauge("pool_running", "Assignments in hand", lambda: pool.running)
    metrics.gauge("pool_unsettled", "Finished attempts whose cost is not stored yet", lambda: books.unsettled)
    metrics.gauge("stream_chunks_published", "Chunks of tokens published", lambda: streams.published)
    metrics.gauge("stream_chunks_lost", "Chunks that could not be handed over", lambda: streams.lost)
