"""An operator in a run of the model: orders at random moments, each asked again until it is answered, and what must
hold of them. All of them lower limits and end by themselves, so that the other promises hold as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.operating import AIMS, AskOrder, Audited, Ordered, Rates, Standing, ToldLeader
from runtime.bus.port import BusError
from runtime.settings import Config
from scheduler.policy.board import Board
from scheduler.policy.orders import Orders
from scheduler.policy.overview import Told
from tests.e2e.faults.model.loop import VirtualClock
from tests.e2e.faults.model.network import Event, History, ModelBroker, ModelBus

SOON = 8.0
"""Seconds within which whoever leads has read what another one stored: a lease, and the longest lag."""
ORDERED: dict[str, Any] = {
    "routes": {"fast": {"deployments": ["alpha/m", "beta/m"], "expected_output": 20, "strategy": "weighted"}},
    "projects": {"other": {"retry_share": 1.0, "limits": {"concurrency": 20}}},
}
"""What a configuration has for it."""


def with_orders(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run in which there are orders."""
    return {**values, **{name: {**values[name], **more} for name, more in ORDERED.items()}}


class Operator:
    """Gives orders and keeps what it was answered."""

    def __init__(self, broker: ModelBroker, history: History, clock: VirtualClock, random: Random) -> None:
        self._bus = ModelBus(broker, "operator", random, inbox=subjects.inbox_prefix("-"))
        self._history, self._clock, self._random = history, clock, random

    async def give(self, orders: int, within: float) -> None:
        """So many of them."""
        moments = sorted(self._random.uniform(0.5, within) for _ in range(orders))
        begun = self._clock.monotonic()
        for at in moments:
            await asyncio.sleep(max(0.0, begun + at - self._clock.monotonic()))
            await self._until_answered(self._asked(), begun + within)

    def _asked(self) -> AskOrder:
        random = self._random
        kinds: list[dict[str, Any]] = [
            {"aim": "pool", "name": "alpha", "do": random.choice(["pause", "drain", "resume"])},
            {"aim": "deployment", "name": "beta/m", "do": random.choice(["pause", "drain", "resume"])},
            {"aim": "weight", "name": "alpha/m", "do": "weigh", "factor": random.choice([0.0, 0.1, 5.0])},
            {"aim": "weight", "name": "alpha/m", "do": "restore"},
            {"aim": "limit", "name": "beta", "do": "override", "limits": Rates(rpm=random.choice([60, 120]))},
            {"aim": "limit", "name": "project:other", "do": "override", "limits": Rates(concurrency=2)},
            {"aim": "limit", "name": "project:other", "do": "restore"},
        ]
        return AskOrder(**random.choice(kinds), by="ann", lasts=random.uniform(1.0, 12.0))

    async def _until_answered(self, asked: AskOrder, until: float) -> None:
        while self._clock.monotonic() < until:
            try:
                answer = await self._bus.request(subjects.api("-", "order"), encode(asked), timeout=1.0)
                ordered = decode(Ordered, answer.data)
            except (BusError, ContractError):  # nobody leads, or not any more
                await asyncio.sleep(0.2)
                continue
            self._history.note(Event(self._clock.monotonic(), "ordered", told={"asked": asked, "answer": ordered}))
            return


def problems_of_orders(
    history: History, broker: ModelBroker, config: Config, board: Board | None, clock: VirtualClock
) -> list[str]:
    """What is wrong with them: an answer that is not stored, a pause that was not kept, a board that differs."""
    found: list[str] = []
    records = dict(_records(broker))
    for event in history.of("ordered"):
        line = event.told["answer"].line
        if line is not None and records.get(line.seq) != line.entry:
            found.append(f"an order was answered and is not stored: {line}")
    found += _not_kept(history, records, clock)
    if board is not None:
        found += _differing(records, config, board, clock)
    return found


def _records(broker: ModelBroker) -> Iterator[tuple[int, Audited]]:
    for seq, stored in broker.stream(subjects.AUDIT).messages.items():
        if stored.subject.startswith(f"{subjects.PREFIX}.order."):
            yield seq, decode(Audited, stored.message().data)


def _not_kept(history: History, records: dict[int, Audited], clock: VirtualClock) -> Iterator[str]:
    """Grants to a pool that was paused for a while already."""
    offset = clock.wall() - clock.monotonic()
    stopped = [
        (entry.at, _end(seq, entry, records)) for seq, entry in records.items() if entry.on == "pool" and _stops(entry)
    ]
    for event in history.of("committed"):
        order = event.told["order"]
        granted = order.grant.granted
        if order.deployment == "alpha/m" and any(begin + SOON < granted < end for begin, end in stopped):
            yield f"attempt {order.attempt_id} was granted at {granted - offset:.2f} while its pool was stopped"


def _stops(entry: Audited) -> bool:
    return entry.after is not None and entry.after.state != "running"


def _end(seq: int, entry: Audited, records: dict[int, Audited]) -> float:
    """When another order took its place, or it ended."""
    assert entry.after is not None
    later = [
        other.at for place, other in records.items() if place > seq and (other.on, other.name) == (entry.on, entry.name)
    ]
    return min([*later, entry.after.until or float("inf")])


def _differing(records: dict[int, Audited], config: Config, board: Board, clock: VirtualClock) -> Iterator[str]:
    """Where the leader's board is not as the last orders have it."""
    book, wall = Orders(), clock.wall()
    for seq, entry in sorted(records.items()):
        aim = next(aim for aim in AIMS if aim == entry.on)
        book.read(entry, aim, entry.name, seq)
    force = {target: order.standing for target, order in book.in_force(wall)}
    told = board.overview(Told(at=wall, leader=ToldLeader(owner="", term=0, since=0.0)), clock.monotonic())
    alpha = next(pool for pool in told.pools if pool.name == "alpha")
    rate = config.providers["beta"].limits
    said = {
        "alpha": (alpha.state, force.get(("pool", "alpha"), Standing()).state),
        "weight": (alpha.deployments[0].weights, {"fast": _factor(force.get(("weight", "alpha/m")))}),
        "places": (told.projects[0].units[-1].limit, _of(force.get(("limit", "project:other")), "concurrency", 20)),
        "rate": (
            told.limits[1].units[0].limit,
            _of(force.get(("limit", "beta")), "rpm", rate.rpm or 0) * rate.window / 60.0,
        ),
    }
    for what, (is_so, ordered) in said.items():
        if is_so != ordered:
            yield f"{what} is {is_so} on the leader's board, and ordered is {ordered}"


def _factor(standing: Standing | None) -> float:
    return 1.0 if standing is None or standing.factor is None else standing.factor


def _of(standing: Standing | None, name: str, configured: float) -> float:
    ordered = None if standing is None or standing.limits is None else getattr(standing.limits, name)
    return configured if ordered is None else float(ordered)
