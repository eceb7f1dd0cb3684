"""What must hold of every run, judged from the broker's and the provider's history alone (I1 to I5)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_contracts.jobs import JobState
from scheduler.policy.buckets import burst, refill
from scheduler.policy.resolving import rules_from
from scheduler.policy.rules import Limit
from tests.support.world import CATALOGUE

if TYPE_CHECKING:
    from job_contracts.jobs import Ticket
    from runtime.settings import Config
    from scheduler.policy.board import Board
    from scheduler.policy.jobs import Held, Job
    from tests.e2e.faults.model.network import Event, History, Key

TOLERANCE = 0.01
LONG_AFTER = 8.0
"""Seconds after a job's record from which nobody may send an attempt of it: longer than any write is under way."""


@dataclass
class Verdict:
    """What is wrong with a run, empty if nothing; and what happened."""

    problems: list[str]
    history: History
    figures: dict[str, int] = field(default_factory=dict)


def problems(
    history: History,
    config: Config,
    *,
    board: Board | None,
    left: dict[str, int],
    ledger: Sequence[str],
) -> Verdict:
    """All that is wrong."""
    found = [
        *one_end_each(history),
        *attempts_in_order(history),
        *within_limits(history, config),
        *cancels_hold(history),
        *times_hold(history),
        *ledger[:3],
    ]
    if board is None:
        found.append("I4: nobody leads at the end")
    else:
        found += [f"at the end {told}" for told in ledger_problems(board)]
        counts = board.counts()
        if any(any(each) for each in counts.reserved.values()) or counts.unfinished:
            found.append(f"I3: all is over, and reserved is {counts.reserved}, unfinished {counts.unfinished}")
    if left:
        found.append(f"left behind in the streams: {left}")
    figures = Counter(event.kind for event in history.events)
    return Verdict(found, history, dict(figures))


def one_end_each(history: History) -> list[str]:
    """I1: one record a job, and it is there."""
    records = Counter(event.key for event in history.of("result"))
    submitted = {event.key for event in history.of("submitted")}
    accepted = {event.key for event in history.of("accepted")}
    found = [f"I1/I4: {key} was accepted and has no record" for key in sorted(submitted | accepted) if not records[key]]
    found += [f"I1: {key} has {count} records" for key, count in records.items() if count > 1]
    return found


def attempts_in_order(history: History) -> list[str]:
    """I1: no attempt is committed twice, none after the job's end, none of a job that had ended when it came again."""
    found: list[str] = []
    ended = {event.key: event.at for event in history.of("result")}
    newest: dict[Key, int] = defaultdict(int)
    for event in history.events:
        if event.kind != "committed":
            continue
        if event.attempt <= newest[event.key]:
            found.append(f"I1: {event.key} attempt {event.attempt} was committed after {newest[event.key]}")
        newest[event.key] = event.attempt
        end = ended.get(event.key)
        if end is not None and event.sent > end + LONG_AFTER:
            found.append(f"I1: {event.key} attempt {event.attempt} was sent {event.sent - end:.1f} s after its end")
    return found


def within_limits(history: History, config: Config) -> list[str]:
    """I2: what was committed and metered never exceeds B + r*t in any stretch, nor the limit in any window."""
    rules = rules_from(config, CATALOGUE)
    calls = {(event.key, event.attempt, event.told["order"].epoch): event for event in history.of("called")}
    found: list[str] = []
    for name, domain in rules.domains.items():
        for limit in domain.limits:
            committed: list[tuple[float, float]] = []
            called: list[tuple[float, float]] = []
            for event in history.of("committed"):
                order = event.told["order"]
                call = calls.get((event.key, event.attempt, order.epoch))
                if order.grant.domain == name and call is not None:
                    committed.append((event.at, _amount(limit, call)))
                    called.append((call.at, _amount(limit, call)))
            found += overflow(name, limit, committed)
            found += _window(name, limit, sorted(called))
    return found


def _amount(limit: Limit, call: Event) -> float:
    read, written = (float(amount) for amount in call.told["metered"])
    by_unit: dict[str, float] = {"requests": 1.0, "input_tokens": read, "output_tokens": written}
    return by_unit.get(limit.unit, read + written)


def overflow(name: str, limit: Limit, taken: Sequence[tuple[float, float]]) -> list[str]:
    """B + r*t over every stretch: a bucket that leaks with r never holds more than B (one large request aside)."""
    large = max((amount for _, amount in taken), default=0.0)
    most = max(burst(limit), large)
    rate, level, before = refill(limit, most), 0.0, 0.0
    for at, amount in taken:
        level = max(0.0, level - refill(limit, burst(limit)) * (at - before)) + amount
        before = at
        if level > most + TOLERANCE:
            return [f"I2: {name} {limit.unit}: {level:.1f} at {at:.2f}, B is {most:.1f}, r {rate:.2f}"]
    return []


def _window(name: str, limit: Limit, taken: Sequence[tuple[float, float]]) -> list[str]:
    start, total = 0, 0.0
    for at, amount in taken:
        total += amount
        while taken[start][0] <= at - limit.window:
            total -= taken[start][1]
            start += 1
        if total > limit.amount + TOLERANCE:
            return [f"I2: {name} {limit.unit}: {total:.1f} of {limit.amount} within {limit.window} s at {at:.2f}"]
    return []


def cancels_hold(history: History) -> list[str]:
    """I5: who sends an attempt has read the cancels before; what was acknowledged before that reading is known to it.

    And the other way round: nothing ends cancelled that nobody cancelled with the right token.
    """
    found: list[str] = []
    token: dict[Key, str] = {}
    stored: dict[Key, dict[str, float]] = defaultdict(dict)
    read: dict[str, list[float]] = defaultdict(list)
    for event in history.events:
        match event.kind:
            case "submitted":
                token.setdefault(event.key, event.told["token"])
            case "cancel":
                stored[event.key].setdefault(event.told["token"], event.at)
            case "cancels read":
                read[event.who].append(event.at)
            case "committed":
                asked = stored[event.key].get(token.get(event.key, ""))
                looked = max((at for at in read[event.who] if at <= event.sent), default=event.sent)
                if asked is not None and asked < max(looked, event.sent - LONG_AFTER):
                    found.append(f"I5: {event.key} cancelled at {asked:.3f}, attempt sent at {event.sent:.3f}")
            case "result" if event.told["state"] is JobState.CANCELLED:
                if token.get(event.key, "") not in stored[event.key]:
                    found.append(f"I5: {event.key} ended cancelled, and nobody had cancelled it")
    return found


def times_hold(history: History) -> list[str]:
    """Nothing is sent before its ``not_before``, nothing long after its deadline, whoever leads."""
    tickets: dict[Key, Ticket] = {}
    for event in history.of("submitted"):
        tickets.setdefault(event.key, event.told["ticket"])
    found: list[str] = []
    for event in history.of("committed"):
        ticket, sent = tickets.get(event.key), event.sent + 1_750_000_000.0
        if ticket is None:
            found.append(f"{event.key} was never submitted")
        elif ticket.not_before is not None and sent < ticket.not_before - TOLERANCE:
            found.append(f"not_before: {event.key} was sent {ticket.not_before - sent:.1f} s too early")
        elif ticket.deadline is not None and sent > ticket.deadline + 1.0:
            found.append(f"deadline: {event.key} was sent {sent - ticket.deadline:.1f} s too late")
    return found


def ledger_problems(board: Board) -> list[str]:
    """I3: what is reserved is the sum over live attempts, in every place where it is counted."""
    world = board._world
    by_domain: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    pools, deployments, tenants = Counter[str](), Counter[str](), Counter[str]()
    for tenant in world.tenants.values():
        for job in tenant.jobs.values():
            for held in _held(job):
                sums = by_domain[held.deployment.gate.domain.name]
                for place, amount in enumerate((1, *held.tokens)):
                    sums[place] += amount
                pools[held.deployment.gate.domain.pool.name] += 1
                deployments[held.deployment.name] += 1
                tenants[tenant.name] += 1
    found: list[str] = []
    for name, gate in world.gates.items():
        domain = gate.domain
        counted = [domain.slots.used, domain.reserved_input, domain.reserved_output]
        if counted != by_domain[name]:
            found.append(f"I3: {name} has {counted} reserved, its attempts make {by_domain[name]}")
        pending = _pending(board, name)
        for unit, bucket in domain.buckets.items():
            if abs(bucket.pending - pending[unit]) > TOLERANCE:
                found.append(f"I3: {name} {unit}: pending {bucket.pending}, its attempts make {pending[unit]}")
    found += [
        f"I3: pool {p.name}: {p.places.used}, not {pools[p.name]}"
        for p in world.pools.values()
        if p.places.used != pools[p.name]
    ]
    found += [
        f"I3: {d.name}: flying {d.flying}, not {deployments[d.name]}"
        for d in world.deployments.values()
        if d.flying != deployments[d.name]
    ]
    found += [
        f"I3: {t.name}: flying {t.flying}, not {tenants[t.name]}"
        for t in world.tenants.values()
        if t.flying != tenants[t.name]
    ]
    return found + _money_problems(board)


def _money_problems(board: Board) -> list[str]:
    """Every payer has reserved what the attempts make whose facts were not told."""
    accounts = board._world.accounts
    sums = Counter[str]()
    for reservation in accounts.reservations.values():
        sums.update({payer.name: reservation.cost for payer in reservation.payers})
    return [
        f"I3: {name}: {payer.purse.reserved} picodollars reserved, its attempts make {sums[name]}"
        for name, payer in accounts.payers.named.items()
        if payer.purse.reserved != sums[name]
    ]


def _pending(board: Board, domain: str) -> dict[str, float]:
    """What the unacknowledged grants of a domain make, by unit."""
    sums: dict[str, float] = defaultdict(float)
    for tenant in board._world.tenants.values():
        for job in tenant.jobs.values():
            for held in _held(job):
                if not held.pending or held.deployment.gate.domain.name != domain:
                    continue
                sums["requests"] += 1
                sums["input_tokens"] += held.tokens[0]
                sums["output_tokens"] += held.tokens[1]
                sums["tokens"] += held.tokens[0] + held.tokens[1]
    return sums


def _held(job: Job) -> list[Held]:
    """What its attempts hold: the first one, and a hedge beside it."""
    story = job.story
    return [] if story is None else [each for each in (story.held, story.second) if each is not None]
