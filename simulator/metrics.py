"""The simulator's books as Prometheus text (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.reports import AuditReport, MeterReport

_OUTCOMES = ("ok", "rate_limited", "refused", "failed", "broken", "aborted")
_KINDS = ("input", "cached_read", "cache_write", "output", "reasoning")


def exposition(meter: MeterReport, audit: AuditReport) -> bytes:
    """Prometheus' text format 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(meter, audit)).encode()


def _lines(meter: MeterReport, audit: AuditReport) -> Iterator[str]:
    yield "# HELP simulator_requests_total Requests by how they ended."
    yield "# TYPE simulator_requests_total counter"
    for row in meter.rows:
        for outcome in _OUTCOMES:
            labels = _labels(provider=row.provider, model=row.model, outcome=outcome)
            yield f"simulator_requests_total{labels} {getattr(row, outcome)}"
    yield "# HELP simulator_tokens_total Tokens billed, by kind."
    yield "# TYPE simulator_tokens_total counter"
    for row in meter.rows:
        for kind in _KINDS:
            labels = _labels(provider=row.provider, model=row.model, kind=kind)
            yield f"simulator_tokens_total{labels} {getattr(row, f'{kind}_tokens')}"
    yield "# HELP simulator_cost_usd_total What was billed."
    yield "# TYPE simulator_cost_usd_total counter"
    for row in meter.rows:
        yield f"simulator_cost_usd_total{_labels(provider=row.provider, model=row.model)} {row.cost_usd:f}"
    yield "# HELP simulator_in_progress Answers in progress."
    yield "# TYPE simulator_in_progress gauge"
    for domain in audit.domains:
        yield f"simulator_in_progress{_labels(provider=domain.provider, model=domain.group)} {domain.in_progress}"


def _labels(**labels: str) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
