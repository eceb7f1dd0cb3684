"""What a worker measures, and from which events."""

from __future__ import annotations

from runtime.telemetry import Instrument, Metrics, count, measure
from workers.books import Books
from workers.pool import Pool
from workers.streaming import Streams

__all__ = ["INSTRUMENTS", "gauges"]

PROJECTS = 200
"""Projects that have series of their own; the others share one."""
WAITS = tuple(0.01 * 2**n for n in range(20))
"""Histogram bounds for what jobs wait, 10 ms to an hour and a half."""
SHORT = tuple(0.001 * 2**n for n in range(15))
"""Those for what we add ourselves, 1 ms to 16 s."""
RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
PER_TOKEN = tuple(0.001 * 2**n for n in range(14))

INSTRUMENTS: tuple[Instrument, ...] = (
    count("attempts", "attempt.ended", "Attempts by how they ended", "provider", "model", "outcome"),
    measure("attempt_seconds", "attempt.ended", "Duration of calls", "provider", "model", value="seconds"),
    measure(
        "attempt_ttft_seconds", "attempt.ended", "Time to the first token", "provider", "model", value="first_token"
    ),
    measure(
        "attempt_tpot_seconds",
        "attempt.ended",
        "Time for each further token",
        *("provider", "model"),
        value="per_token",
        buckets=PER_TOKEN,
    ),
    measure(
        "token_estimate_ratio",
        "attempt.ended",
        "Prompt tokens as the provider counted them, to those reserved",
        *("provider", "model"),
        value="estimated",
        buckets=RATIOS,
    ),
    measure(
        "job_queue_wait_seconds",
        "attempt.ended",
        "From a job's submission to its first grant",
        "lane",
        value="waited",
        buckets=WAITS,
    ),
    measure(
        "job_seconds", "attempt.ended", "From a job's submission to its result", "lane", value="whole", buckets=WAITS
    ),
    measure("attempt_handover_seconds", "attempt.ended", "From a grant to its call", value="handover", buckets=SHORT),
    measure(
        "attempt_report_seconds",
        "attempt.ended",
        "From an answer's end to its stored result",
        value="reporting",
        buckets=SHORT,
    ),
    count(
        "cost_usd",
        "attempt.ended",
        "US dollars of attempts by what they were for",
        *("provider", "model", "reason"),
        value="cost",
    ),
    count(
        "project_cost_usd",
        "attempt.ended",
        "The same by project",
        *("project", "reason"),
        value="cost",
        series=PROJECTS * 6,
    ),
    count("tokens_input", "attempt.ended", "Prompt tokens, cached ones included", "provider", "model", value="input"),
    count("tokens_output", "attempt.ended", "Answer tokens, reasoning included", "provider", "model", value="output"),
    count("tokens_cache_read", "attempt.ended", "Cached prompt tokens", "provider", "model", value="cache_read"),
    count(
        "tokens_cache_write", "attempt.ended", "Prompt tokens put in a cache", "provider", "model", value="cache_write"
    ),
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
