"""What a provider hands out about its bill: usage exports in the forms of OpenAI and Anthropic, and plain CSV (pure).

A call belongs to the day (UTC) on which it came. In every form a broken or abandoned call is in, with what it was
billed; refused calls cost nothing and are not.

``openai_usage``
    Pages of buckets of a day, as ``/v1/organization/usage/completions`` grouped by model: ``input_tokens`` (cached ones
    included), ``input_cached_tokens``, ``output_tokens``, ``num_model_requests``, ``model``.
``openai_costs``
    The same buckets as ``/v1/organization/costs`` grouped by line item: ``amount.value`` (US dollars) of
    ``"MODEL, input"``, ``"MODEL, cached input"``, ``"MODEL, output"``.
``anthropic_usage``
    Buckets as ``/v1/organizations/usage_report/messages`` grouped by model: ``uncached_input_tokens``,
    ``cache_read_input_tokens``, ``cache_creation.ephemeral_5m_input_tokens``, ``output_tokens``.
``csv``
    A row a day and model: date, model, requests, input_tokens (all of them), cached_tokens (read from a cache),
    output_tokens (reasoning included), cost (US dollars), request_id (empty), cache_write_tokens, reasoning_tokens.
``requests``
    The same columns, a row a call: request_id is what the client named it by (``x-penstock-attempt``), else the
    provider's own id.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, get_args

from simulator.meter import PICO, Bill, DaySum, Sum, Usage

Form = Literal["openai_usage", "openai_costs", "anthropic_usage", "csv", "requests"]
FORMS: tuple[Form, ...] = get_args(Form)
COLUMNS = (
    "date", "model", "requests", "input_tokens", "cached_tokens", "output_tokens", "cost", "request_id",
    "cache_write_tokens", "reasoning_tokens",
)  # fmt: skip

Days = Sequence[tuple[date, str, DaySum]]
"""Day, model, and what was billed."""


def openai_usage(days: Days) -> str:
    """OpenAI's usage of completions, by day and model."""

    def result(model: str, one: DaySum) -> dict[str, Any]:
        counts = one.counts
        return {
            "object": "organization.usage.completions.result",
            "input_tokens": _input(counts),
            "input_cached_tokens": counts.cached_read,
            "input_audio_tokens": 0,
            "output_tokens": counts.output + counts.reasoning,
            "output_audio_tokens": 0,
            "num_model_requests": _billed(counts),
            "project_id": None,
            "user_id": None,
            "api_key_id": None,
            "model": model,
            "batch": False,
        }

    return _openai_page(days, lambda model, one: [result(model, one)])


def openai_costs(days: Days) -> str:
    """OpenAI's costs, by day and line item."""

    def results(model: str, one: DaySum) -> list[dict[str, Any]]:
        return [
            {
                "object": "organization.costs.result",
                "amount": {"value": str(Decimal(cost) / PICO), "currency": "usd"},
                "line_item": f"{model}, {item}",
                "project_id": None,
            }
            for item, cost in one.items.items()
            if cost
        ]

    return _openai_page(days, results)


def anthropic_usage(days: Days) -> str:
    """Anthropic's usage report of messages, by day and model."""
    buckets = [
        {
            "starting_at": f"{day}T00:00:00Z",
            "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": one.counts.input,
                    "cache_creation": {
                        "ephemeral_1h_input_tokens": 0,
                        "ephemeral_5m_input_tokens": one.counts.cache_write,
                    },
                    "cache_read_input_tokens": one.counts.cached_read,
                    "output_tokens": one.counts.output + one.counts.reasoning,
                    "server_tool_use": {"web_search_requests": 0},
                    "api_key_id": None,
                    "workspace_id": None,
                    "model": model,
                    "service_tier": "standard",
                    "context_window": "0-200k",
                }
                for model, one in rows
            ],
        }
        for day, rows in _by_day(days).items()
    ]
    return json.dumps({"data": buckets, "has_more": False, "next_page": None})


def day_csv(days: Days) -> str:
    """A row a day and model."""
    return _csv(
        (day, model, _billed(one.counts), one.counts, _dollars(one.counts.cost), "") for day, model, one in days
    )


def request_csv(bills: Iterable[Bill]) -> str:
    """A row a call that was billed."""
    return _csv(
        (day_of(one.at), one.model, 1, one.usage, _dollars(one.cost), one.request_id)
        for one in bills
        if one.usage is not None
    )


DAILY: Mapping[str, Callable[[Days], str]] = MappingProxyType(
    {"openai_usage": openai_usage, "openai_costs": openai_costs, "anthropic_usage": anthropic_usage, "csv": day_csv}
)


def day_of(at: float) -> date:
    """The day (UTC) of a moment in seconds of the epoch."""
    return datetime.fromtimestamp(at, UTC).date()


def _input(counts: Sum) -> int:
    return counts.input + counts.cached_read + counts.cache_write


def _billed(counts: Sum) -> int:
    return counts.ok + counts.broken + counts.aborted


def _dollars(cost: int) -> str:
    return f"{Decimal(cost) / PICO:f}"


def _by_day(days: Days) -> dict[date, list[tuple[str, DaySum]]]:
    found: dict[date, list[tuple[str, DaySum]]] = {}
    for day, model, one in days:
        found.setdefault(day, []).append((model, one))
    return found


def _openai_page(days: Days, results: Callable[[str, DaySum], list[dict[str, Any]]]) -> str:
    buckets = []
    for day, rows in _by_day(days).items():
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        found = [result for model, one in rows for result in results(model, one)]
        buckets.append({"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": found})
    return json.dumps({"object": "page", "data": buckets, "has_more": False, "next_page": None})


def _csv(rows: Iterable[tuple[date, str, int, Sum | Usage, str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for day, model, requests, one, cost, request in rows:
        whole = one.input + one.cached_read + one.cache_write
        output = one.output + one.reasoning
        writer.writerow(
            (day, model, requests, whole, one.cached_read, output, cost, request, one.cache_write, one.reasoning)
        )
    return out.getvalue()
