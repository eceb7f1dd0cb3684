"""Tells every other second how many workers each pool should have: as metric, and to autoscalers that ask over HTTP.

The leader reckons and tells the others, so any scheduler can be asked, and who takes over goes on from what stood. A
figure that is old is worth less than none: autoscalers leave things as they are while they get no answer.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.scaling import PoolScale, Scales
from runtime.bus.port import BusError
from runtime.telemetry import INFO
from scheduler.policy.scaling import Scaler, needed, patience

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.bus.port import Bus, Message, Subscription
    from runtime.clock import Clock
    from runtime.health import Answer, Health
    from scheduler.lifeline import Lifeline
    from scheduler.term import Term

PERIOD = 2.0
"""Seconds between two reckonings."""
STALE = 30.0
"""Seconds after which what was told is not answered any more: longer than a take-over."""
JSON = "application/json"


class Figures:
    """What the leader told last: this process itself, or the one behind which it stands by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scales: Scales | None = None
        self._told = 0.0
        self._open: Subscription | None = None

    async def follow(self, bus: Bus, shard: int) -> None:
        """Hear what the leader tells, from now on. Raises BusError."""
        if self._open is None:
            self._open = await bus.subscribe(subjects.scaling(shard), self._hear)

    async def close(self) -> None:
        """Hear no more."""
        heard, self._open = self._open, None
        if heard is not None:
            await heard.close()

    def tell(self, scales: Scales) -> None:
        """So it stands now."""
        self._scales = scales
        self._told = self._clock.monotonic()

    def _hear(self, message: Message) -> None:
        try:
            self.tell(decode(Scales, message.data))
        except ContractError:
            return  # of another version: as if nothing had been told

    @property
    def fresh(self) -> Mapping[str, PoolScale] | None:
        """By pool, if it is worth anything."""
        if self._scales is None or self._clock.monotonic() - self._told > STALE:
            return None
        return {scale.pool: scale for scale in self._scales.pools}

    def desired(self) -> Mapping[str, float]:
        """Workers by pool; none where that is not known."""
        return {name: float(scale.desired) for name, scale in (self.fresh or {}).items()}

    def serve(self, health: Health, pools: Iterable[str]) -> None:
        """Answer ``/autoscale`` and ``/autoscale/<pool>`` beside what else is asked there."""
        health.route("/autoscale", self._all)
        for pool in pools:
            health.route(f"/autoscale/{pool}", partial(self._one, pool))

    def _all(self) -> Answer:
        scales = self.fresh
        if scales is None:
            return _unknown()
        told = {name: scale.model_dump(mode="json") for name, scale in scales.items()}
        return HTTPStatus.OK, JSON, json.dumps({"pools": told}).encode()

    def _one(self, pool: str) -> Answer:
        scale = (self.fresh or {}).get(pool)
        return _unknown() if scale is None else (HTTPStatus.OK, JSON, encode(scale))


def _unknown() -> Answer:
    why = {"error": "no leader has told lately how many workers there should be: leave them as they are"}
    return HTTPStatus.SERVICE_UNAVAILABLE, JSON, json.dumps(why).encode()


class Scaling:
    """The leader's reckoning."""

    def __init__(self, term: Term, lifeline: Lifeline) -> None:
        self._term = term
        self._lifeline = lifeline
        self._scalers: dict[str, Scaler] = {}

    async def run(self) -> None:
        """For ever. Who has heard nothing from a predecessor first hears which workers there are: to tell a number that
        is too small would stop some.
        """
        if self._term.figures.fresh is None:
            await asyncio.sleep(self._term.config.scheduler.beat_missed)
        while True:
            await self.tell()
            await asyncio.sleep(PERIOD)

    async def tell(self) -> None:
        """Reckon, and tell everybody, if this process still leads."""
        term = self._term
        if not term.lease.trusted:
            return
        scales = self.take()
        term.figures.tell(scales)
        try:
            await term.bus.publish(subjects.scaling(term.shard), encode(scales))
        except BusError as error:
            term.telemetry.emit("scaling.not_told", INFO, error=type(error).__name__)

    def take(self) -> Scales:
        """One reckoning."""
        term = self._term
        now, before = term.clock.monotonic(), term.figures.fresh or {}
        pools: list[PoolScale] = []
        for name, demand in term.board.demands(now).items():
            alive = [seen.slots for (pool, _), seen in self._lifeline.workers.items() if pool == name and seen.takes]
            slots = max(sum(alive) / len(alive) if alive else float(term.config.providers[name].slots), 1.0)
            needs = needed(demand, slots)
            if name not in self._scalers:
                self._scalers[name] = Scaler(before[name].desired if name in before else len(alive), now)
            pools.append(
                PoolScale(
                    pool=name,
                    desired=self._scalers[name].decide(needs, now, down=patience(demand)),
                    needed=needs,
                    workers=len(alive),
                    slots=slots,
                    in_flight=demand.in_flight,
                    waiting=demand.waiting,
                    held_back=demand.held_back,
                )
            )
        return Scales(at=term.clock.wall(), pools=tuple(pools))
