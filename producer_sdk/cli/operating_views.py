"""What ``penstock pools``, ``limits``, ``audit`` and ``top`` show of what the leader tells. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from job_contracts.jobs import LANES
from job_contracts.operating import (
    Audited,
    AuditLine,
    InForce,
    Overview,
    Rates,
    Standing,
    ToldDeployment,
    ToldPool,
    ToldUnit,
)

POOLS = ("pool", "state", "workers", "slots", "in flight", *LANES, "oldest", "ordered")
LIMITS = ("limit", "unit", "limit/window", "configured", "available", "reserved", "state", "ordered")
TEXT = ("pool", "limit", "unit", "state", "ordered")
"""Columns that are no numbers."""

NAMED = 10
"""Workers that are named in a line."""


def pool_rows(told: Overview) -> list[Sequence[str]]:
    """A row a pool, and one below it for each of its deployments that is ordered or left alone."""
    rows: list[Sequence[str]] = []
    for pool in told.pools:
        lanes = [number(pool.queued.get(lane, 0)) for lane in LANES]
        slots = number(pool.slots) if pool.allowed is None else f"{pool.slots:,} of {pool.allowed:,}"
        rows.append(
            (
                *(pool.name, state_of(pool), number(len(pool.workers)), slots, number(pool.in_flight)),
                *(*lanes, span(pool.oldest), said_of(pool.order, told.at)),
            )
        )
        rows += [
            (
                *(f"  {each.name}", "" if each.order is None else each.order.standing.state, "", ""),
                *(number(each.in_flight), *("" for _ in LANES), ""),
                "; ".join(_said(each, told.at)),
            )
            for each in pool.deployments
            if _said(each, told.at)
        ]
    return rows


def _said(told: ToldDeployment, at: float) -> list[str]:
    """What is ordered of it; else why it is left alone, if it is."""
    said = [said_of(order, at) for order in (told.order, told.weighed) if order is not None]
    return said if told.order is not None or not told.benched else [f"left alone: {told.benched}", *said]


def apart(told: Overview) -> list[str]:
    """The workers that run with another configuration than the leader, as a line; nothing if all that tell agree."""
    ours = told.leader.configured
    if ours is None:
        return []
    found = [
        f"{pool.name} {worker.name} ({', '.join(parts)})"
        for pool in told.pools
        for worker in pool.workers
        if worker.configured is not None and (parts := ours.apart(worker.configured))
    ]
    if not found:
        return []
    more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    return [f"with another configuration than the leader: {', '.join(found[:NAMED])}{more}"]


def state_of(pool: ToldPool) -> str:
    """In a word or two."""
    if pool.state == "draining":
        return "draining" if pool.in_flight else "drained"
    if pool.state == "running" and not pool.slots:
        return "no workers"
    return pool.state


def limit_rows(told: Overview) -> list[Sequence[str]]:
    """A row a metered quantity; a limit that has none has one. Projects' limits come last."""
    rows: list[Sequence[str]] = []
    for limit in (*told.limits, *told.projects):
        state = "open" if limit.closed is None else f"closed {span(limit.closed)}: {limit.closed_why}"
        order = said_of(limit.order, told.at)
        for place, unit in enumerate(limit.units):
            last = ("", "") if place else (state, order)
            rows.append((limit.name if not place else "", *_unit(unit), *last))
        if not limit.units:
            rows.append((limit.name, "none", "", "", "", "", state, order))
    return rows


def _unit(unit: ToldUnit) -> tuple[str, ...]:
    over = "" if unit.window is None else f"/{unit.window:g} s"
    return (
        unit.unit.replace("_", " "),
        f"{rate(unit.limit)}{over}",
        "-" if unit.configured is None else rate(unit.configured),
        f"{unit.available:,.1f}",
        rate(unit.reserved),
    )


def head(told: Overview) -> str:
    """The first line of ``top``."""
    waiting = "  ".join(
        f"{lane.name} {lane.queued:,}" + ("" if lane.oldest is None else f" ({span(lane.oldest)})")
        for lane in told.lanes
    )
    unread = f" + {told.unread:,} beyond the index" if told.unread else ""
    return (
        f"{when(told.at)}  leader {told.leader.owner} (term {told.leader.term}, {span(told.at - told.leader.since)})  "
        f"jobs {told.known:,}{unread}  in flight {told.in_flight:,}  waiting {waiting}"
    )


def said_of(order: InForce | None, at: float) -> str:
    """Who ordered what for how long; nothing where nothing is ordered."""
    if order is None:
        return ""
    left = "" if order.standing.until is None else f", {span(max(0.0, order.standing.until - at))} left"
    why = f": {order.why}" if order.why else ""
    return f"{standing(order.standing)} by {order.by}{left}{why}"


def standing(told: Standing) -> str:
    """In words."""
    if told.factor is not None:
        return f"weight times {told.factor:g}"
    return told.state if told.limits is None else rates(told.limits)


def rates(told: Rates) -> str:
    """Such as ``rpm 100, concurrency 4``."""
    values = ("rpm", "input_tpm", "output_tpm", "tpm", "concurrency")
    said = [(name, getattr(told, name)) for name in values]
    return ", ".join(f"{name} {rate(value)}" for name, value in said if value is not None)


def audit_line(line: AuditLine) -> str:
    """One line: when, who, what, from what to what, why."""
    entry = line.entry
    change = _change(entry)
    detail = "".join(f" {name}={value}" for name, value in entry.detail.items())
    why = f": {entry.why}" if entry.why else ""
    return f"{when(entry.at)} {entry.by}: {entry.did} {entry.on} {entry.name}".rstrip() + f"{change}{detail}{why}"


def _change(entry: Audited) -> str:
    if entry.before is None or entry.after is None:
        return ""
    until = "" if entry.after.until is None else f" until {when(entry.after.until)}"
    return f" ({_from(entry.before)} -> {_from(entry.after)}{until})"


def _from(told: Standing) -> str:
    return "as configured" if told == Standing() else standing(told)


def rate(value: float) -> str:
    """Whole where it is, and never as a power of ten: ``2,000,000``."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}".rstrip("0")


def number(value: int) -> str:
    """Zeros are left out: what is there is seen."""
    return f"{value:,}" if value else "-"


def span(seconds: float | None) -> str:
    """Such as ``12 s``, ``3 min``, ``4.2 h``."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"


def when(at: float) -> str:
    """UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
